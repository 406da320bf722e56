use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::cause::Cause;
use super::config::Config;
use super::connection::Open;
use super::lane::Load;

/// What a connection is for; part of its name in `CLIENT LIST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Lease,
    Lane(Load),
    Probe,
    Subscription,
}

/// How many connections may be open, which is what is logged at the start and held, and how many are.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) leases: Kind,
    pub(super) lanes: Kind,
    /// Those of our own.
    pub(super) control: Kind,
}

/// The places for one kind of connection.
#[derive(Debug)]
pub(super) struct Kind {
    free: Arc<Semaphore>,
    open: Arc<AtomicUsize>,
}

/// The right to have a socket. A connection has it until its socket is closed, which is a moment after it was let go of.
pub(super) type Place = OwnedSemaphorePermit;

impl Places {
    pub(super) fn new(config: &Config) -> Self {
        let [leases, lanes, control] = config.connections().map(Kind::new);
        Self { leases, lanes, control }
    }

    pub(super) fn of(&self, purpose: Purpose) -> &Kind {
        match purpose {
            Purpose::Lease => &self.leases,
            Purpose::Lane(_) => &self.lanes,
            Purpose::Probe | Purpose::Subscription => &self.control,
        }
    }
}

impl Kind {
    fn new(most: usize) -> Self {
        let free = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { free, open: Arc::default() }
    }

    /// Waits until there is room for a connection.
    pub(super) async fn take(&self) -> Place {
        Arc::clone(&self.free).acquire_owned().await.expect("nobody closes this semaphore")
    }

    /// The same for at most `limit`.
    pub(super) async fn take_within(&self, limit: Duration) -> Result<Place, Cause> {
        timeout(limit, self.take()).await.map_err(|_| Cause::Timeout)
    }

    /// Counts a connection for as long as it is open.
    pub(super) fn count(&self) -> Open {
        Open::count(&self.open)
    }

    /// How many are open, those included that were replaced and end what is under way.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lease => "lease",
            Self::Lane(Load::Ordinary) => "lane",
            Self::Lane(Load::Bulk) => "bulk",
            Self::Probe => "probe",
            Self::Subscription => "subscriptions",
        })
    }
}
