use std::sync::atomic::{AtomicU64, Ordering};

/// A state in which a server answers but refuses commands that are correct.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ServerState {
    /// Its memory is used up, and it may not or cannot evict anything.
    #[error("redis is out of memory (OOM); check its maxmemory and maxmemory-policy")]
    Full,
    /// It is a replica.
    #[error(
        "redis is a replica that takes no writes (READONLY); check that the url names the primary, see ROLE"
    )]
    ReadOnly,
    /// It cannot save its data, and takes no writes until it can.
    #[error("redis cannot save to its disk (MISCONF); check the disk and the server's log")]
    Unsaved,
    /// Fewer replicas follow it than it requires for a write.
    #[error(
        "redis has too few replicas for a write (NOREPLICAS); check them and min-replicas-to-write"
    )]
    FewReplicas,
    /// It is a node of a cluster, and does not hold all keys.
    #[error(
        "redis is a node of a cluster, and other nodes hold the rest of the keys (MOVED); clusters are not supported yet"
    )]
    ClusterNode,
}

impl ServerState {
    /// All states.
    pub const ALL: [Self; 5] =
        [Self::Full, Self::ReadOnly, Self::Unsaved, Self::FewReplicas, Self::ClusterNode];
}

/// How often the server has refused in each state. Requests count, and the health monitor reads.
#[derive(Debug, Default)]
pub(crate) struct RefusalCounts {
    refused: [AtomicU64; ServerState::ALL.len()],
}

impl RefusalCounts {
    pub(crate) fn refused_for(&self, state: ServerState) {
        self.refused[state as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refusals(&self, state: ServerState) -> u64 {
        self.refused[state as usize].load(Ordering::Relaxed)
    }
}
