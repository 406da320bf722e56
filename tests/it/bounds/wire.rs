//! What goes over the wire, and how.

use std::collections::HashMap;
#[cfg(target_os = "linux")]
use std::net::SocketAddr;
#[cfg(target_os = "linux")]
use std::os::fd::{AsRawFd, OwnedFd};
#[cfg(target_os = "linux")]
use std::path::Path;

use tokio::time::Instant;

use crate::support::{Server, tree};

/// How often the server has executed each command.
async fn counted(server: &Server) -> HashMap<String, u64> {
    let info: String = server.ask(&["INFO", "commandstats"]).await;
    let lines =
        info.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="));
    lines
        .map(|(name, rest)| (name.to_owned(), rest.split(',').next().unwrap().parse().unwrap()))
        .collect()
}

/// How often the server has read from anyone.
async fn reads(server: &Server) -> usize {
    let info: String = server.ask(&["INFO", "stats"]).await;
    let line = info.lines().find_map(|line| line.strip_prefix("total_reads_processed:"));
    line.unwrap().parse().unwrap()
}

async fn connections(server: &Server) -> usize {
    server.client_names().await.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_gets_at_once_share_the_lanes_and_cost_no_ping() {
    const GETS: usize = 1000;
    let server = Server::start().await;
    let tree = tree::healthy(server.url(), |config| config.lanes = Some(2)).await;
    let (begun, before) = (Instant::now(), counted(&server).await);
    let reads_before = reads(&server).await;
    let gets = (0..GETS).map(|_| {
        let cache = tree.cache();
        tokio::spawn(async move {
            let mut conn = cache.get().await.unwrap();
            conn.get::<_, Option<String>>("key").await.unwrap()
        })
    });
    let gets = futures_util::future::join_all(gets).await;
    assert!(gets.into_iter().all(|got| got.unwrap().is_none()));
    let reads = reads(&server).await - reads_before;
    assert!(reads < GETS / 4, "{GETS} commands came to the server in {reads} pieces");
    let after = counted(&server).await;
    let more = |name: &str| after.get(name).unwrap_or(&0) - before.get(name).unwrap_or(&0);
    assert_eq!(more("get"), u64::try_from(GETS).unwrap());
    // Two probes a second, and one for each of three lanes that are idle.
    let looks = 5 * (begun.elapsed().as_secs() + 1);
    assert!(more("ping") <= looks, "{} PINGs in {:?}", more("ping"), begun.elapsed());
    // Two lanes, the one for large values, the probe.
    assert_eq!(connections(&server).await, 4);
    assert_eq!(tree.cache().status().size, 0, "nobody took a lease");
    tree::end(tree).await;
}

/// Every socket of this process that is connected to `server`. `None` where a process may not take twins of its own
/// descriptors, as in some containers.
#[cfg(target_os = "linux")]
fn sockets_to(server: SocketAddr) -> Option<Vec<OwnedFd>> {
    use rustix::net::getpeername;
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let this = pidfd_open(getpid(), PidfdFlags::empty()).ok()?;
    let entries = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap());
    let is_socket = |path: &Path| {
        let link = std::fs::read_link(path).unwrap_or_default();
        link.to_str().is_some_and(|link| link.starts_with("socket:"))
    };
    let sockets = entries.filter(|entry| is_socket(&entry.path()));
    let numbers = sockets.map(|entry| entry.file_name().to_str().unwrap().parse().unwrap());
    let numbers: Vec<i32> = numbers.collect();
    let twin = |number| pidfd_getfd(&this, number, PidfdGetfdFlags::empty());
    twin(this.as_raw_fd()).ok()?;
    let twins: Vec<_> = numbers.into_iter().filter_map(|number| twin(number).ok()).collect();
    let is_there = |twin: &OwnedFd| {
        let peer = getpeername(twin).ok().flatten();
        peer.and_then(|peer| SocketAddr::try_from(peer).ok()) == Some(server)
    };
    Some(twins.into_iter().filter(is_there).collect())
}

// redis R17
#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_socket_of_ours_waits_for_more_to_send_and_none_waits_long_for_the_dead() {
    use rustix::net::sockopt::{socket_keepalive, tcp_nodelay, tcp_user_timeout};
    let server = Server::start().await;
    let tree = tree::healthy(server.url(), |config| config.lanes = Some(2)).await;
    let mut pinned = tree.cache().get().await.unwrap();
    pinned.pin().await.unwrap();
    pinned.set("key", "value").await.unwrap();
    // Where they cannot be looked at, the test of the one place that opens sockets has to do.
    let Some(sockets) = sockets_to(server.address()) else { return };
    // Two lanes, the one for large values, the probe, the lease.
    assert_eq!(sockets.len(), 5);
    for socket in &sockets {
        assert!(tcp_nodelay(socket).unwrap());
        assert!(socket_keepalive(socket).unwrap());
        assert_eq!(tcp_user_timeout(socket).unwrap(), 5000);
    }
    drop((sockets, pinned));
    tree::end(tree).await;
}
