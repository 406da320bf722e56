use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Something that a server lacks or does not permit, and that we can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MissingCapability {
    Resp3,
    ClientSetname,
    ClientSetinfo,
    ScriptLoad,
    CommandInfo,
    ClusterNodes,
}

/// What was missing so far. Each capability is logged once.
///
/// Some servers and proxies do not answer what they do not know, but hang up. Once is an accident: the server was full, or
/// was stopped at that moment. So a capability is missing at an address when the server has hung up twice in a row at that
/// command, and served without it after each.
#[derive(Debug)]
pub(crate) struct MissingCapabilities {
    logged: AtomicU8,
    /// How long it counts before the server is asked again.
    lifetime: Duration,
    seen: Mutex<Vec<Seen>>,
}

#[derive(Debug)]
struct Seen {
    capability: MissingCapability,
    /// `None` for that of a unix socket.
    peer: Option<SocketAddr>,
    is_missing: bool,
    at: Instant,
}

impl MissingCapabilities {
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self { logged: AtomicU8::new(0), lifetime, seen: Mutex::default() }
    }

    /// Whether the server at `peer` is not asked for it.
    pub(crate) fn has(&self, missing: MissingCapability, peer: Option<SocketAddr>) -> bool {
        self.seen().iter().any(|seen| {
            seen.is_of(missing, peer) && seen.is_missing && !seen.is_over(self.lifetime)
        })
    }

    /// Logs that it is missing, the first time.
    pub(crate) fn log(&self, endpoint: &str, missing: MissingCapability) {
        let bit = 1 << missing as u8;
        if self.logged.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            tracing::info!(endpoint, "{}", missing.meaning());
        }
    }

    /// Notes that the server at `peer` has answered that it lacks it, and was served without.
    pub(crate) fn refused(
        &self,
        endpoint: &str,
        missing: MissingCapability,
        peer: Option<SocketAddr>,
    ) {
        self.note(missing, peer, true);
        self.log(endpoint, missing);
    }

    /// Notes that the server at `peer` has hung up at it, and served without it; the attempt began at `begun`.
    pub(crate) fn hung_up(
        &self,
        endpoint: &str,
        missing: MissingCapability,
        peer: Option<SocketAddr>,
        begun: Instant,
    ) {
        // Attempts that were under way together may have met one accident.
        let is_second = |seen: &Seen| seen.is_of(missing, peer) && seen.at < begun;
        let is_missing = self.seen().iter().any(is_second);
        let is_first = !self.seen().iter().any(|seen| seen.is_of(missing, peer));
        if is_missing || is_first {
            self.note(missing, peer, is_missing);
        }
        if is_missing {
            self.log(endpoint, missing);
        }
    }

    /// Notes that the server at `peer` has answered it.
    pub(crate) fn answered(&self, missing: MissingCapability, peer: Option<SocketAddr>) {
        self.seen().retain(|seen| !seen.is_of(missing, peer));
    }

    fn note(&self, capability: MissingCapability, peer: Option<SocketAddr>, is_missing: bool) {
        let mut seen = self.seen();
        seen.retain(|seen| !seen.is_of(capability, peer) && !seen.is_over(self.lifetime));
        if seen.len() >= MOST_SEEN {
            seen.remove(0);
        }
        seen.push(Seen { capability, peer, is_missing, at: Instant::now() });
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn is_of(&self, capability: MissingCapability, peer: Option<SocketAddr>) -> bool {
        self.capability == capability && self.peer == peer
    }

    fn is_over(&self, lifetime: Duration) -> bool {
        // Asking for it costs the probe its connection, and so the service its readiness.
        self.capability != MissingCapability::ClusterNodes && self.at.elapsed() >= lifetime
    }
}

impl MissingCapability {
    fn meaning(self) -> &'static str {
        match self {
            Self::Resp3 => "redis has no RESP3, so RESP2 is spoken",
            Self::ClientSetname => {
                "redis refuses CLIENT SETNAME, so our connections have no names in CLIENT LIST"
            }
            Self::ClientSetinfo => {
                "redis hangs up at CLIENT SETINFO, so our connections have no library in CLIENT LIST"
            }
            Self::ScriptLoad => {
                "redis refuses SCRIPT LOAD, so scripts are not loaded before they are called"
            }
            Self::CommandInfo => {
                "redis refuses COMMAND INFO, so each command that we do not know takes a connection of its own"
            }
            Self::ClusterNodes => {
                "redis hangs up at CLUSTER NODES, so it is not asked whether it is a node of a cluster"
            }
        }
    }
}

/// A host's name may lead to another address each time.
const MOST_SEEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const RESP3: MissingCapability = MissingCapability::Resp3;
    const MOMENT: Duration = Duration::from_millis(1);

    fn peer(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_hangup_counts_from_the_second_in_a_row_on_and_an_answer_at_once() {
        let missing = MissingCapabilities::new(Duration::from_secs(300));
        let hangs_up = async |peer| {
            tokio::time::advance(MOMENT).await;
            missing.hung_up("main", RESP3, peer, Instant::now());
        };
        hangs_up(Some(peer(1))).await;
        assert!(!missing.has(RESP3, Some(peer(1))), "once is an accident");
        missing.answered(RESP3, Some(peer(1)));
        hangs_up(Some(peer(1))).await;
        hangs_up(Some(peer(2))).await;
        assert!(!missing.has(RESP3, Some(peer(1))), "not in a row");
        hangs_up(Some(peer(1))).await;
        assert!(missing.has(RESP3, Some(peer(1))) && !missing.has(RESP3, Some(peer(2))));
        assert!(!missing.has(MissingCapability::ScriptLoad, Some(peer(1))));
        missing.refused("main", RESP3, None);
        assert!(missing.has(RESP3, None));
    }

    #[tokio::test(start_paused = true)]
    async fn hangups_of_attempts_that_were_under_way_together_count_as_one() {
        let missing = MissingCapabilities::new(Duration::from_secs(300));
        let begun = Instant::now();
        for _ in 0..3 {
            tokio::time::advance(MOMENT).await;
            missing.hung_up("main", RESP3, None, begun);
        }
        assert!(!missing.has(RESP3, None));
        tokio::time::advance(MOMENT).await;
        missing.hung_up("main", RESP3, None, Instant::now());
        assert!(missing.has(RESP3, None));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_missing_is_asked_for_again_after_a_while() {
        let missing = MissingCapabilities::new(Duration::from_secs(300));
        missing.refused("main", RESP3, None);
        missing.refused("main", MissingCapability::ClusterNodes, None);
        tokio::time::advance(Duration::from_secs(299)).await;
        assert!(missing.has(RESP3, None));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!missing.has(RESP3, None));
        assert!(missing.has(MissingCapability::ClusterNodes, None), "for good");
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_addresses_are_kept_than_the_bound() {
        let missing = MissingCapabilities::new(Duration::from_secs(300));
        for port in 0..1000 {
            missing.refused("main", RESP3, Some(peer(port)));
        }
        assert_eq!(missing.seen().len(), MOST_SEEN);
        assert!(missing.has(RESP3, Some(peer(999))) && !missing.has(RESP3, Some(peer(0))));
    }
}
