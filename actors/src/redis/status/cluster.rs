//! What a node of a cluster says of the cluster.

/// Whether a reply to `CLUSTER NODES` gives slots to another node than the one that was asked.
pub(crate) fn has_foreign_slots(nodes: &str) -> bool {
    let nodes = || nodes.lines().map(Node::of);
    nodes().any(|node| node.is_asked) && nodes().any(|node| !node.is_asked && node.has_slots)
}

struct Node {
    is_asked: bool,
    has_slots: bool,
}

impl Node {
    fn of(line: &str) -> Self {
        let mut words = line.split(' ');
        let is_asked =
            words.nth(FLAGS).is_some_and(|flags| flags.split(',').any(|flag| flag == "myself"));
        // A slot on its way from or to the node stands in brackets.
        let has_slots = words.skip(SLOTS - FLAGS - 1).any(|slots| !slots.starts_with('['));
        Self { is_asked, has_slots }
    }
}

/// The places of the words in a line (<https://redis.io/docs/latest/commands/cluster-nodes/>).
const FLAGS: usize = 2;
const SLOTS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const SELF: &str = "07c37d 127.0.0.1:30004@31004 myself,master - 0 1426238317239 4 connected";
    const OTHER: &str = "67ed2d 127.0.0.1:30002@31002 master - 0 1426238316232 2 connected";

    #[test]
    fn another_node_with_slots_is_told_from_one_without() {
        for (nodes, is_so) in [
            (format!("{SELF} 0-16383\n"), false),
            (format!("{SELF} 0-16383\n{OTHER}\n"), false),
            (format!("{SELF} 0-5460\n{OTHER} 5461-16383\n"), true),
            (format!("{OTHER} 7\n{SELF}\n"), true),
            (format!("{SELF} 0-16383 [93->-67ed2d]\n{OTHER} [93-<-07c37d]\n"), false),
            // A proxy that does not say which node it is.
            (format!("{OTHER} 0-16383\n"), false),
            (String::new(), false),
        ] {
            assert_eq!(has_foreign_slots(&nodes), is_so, "{nodes}");
        }
    }
}
