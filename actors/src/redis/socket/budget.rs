use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::redis::config::Config;
use crate::redis::lanes::Load;
use crate::redis::leases::Open;
use crate::redis::status::Cause;

/// What a connection is for; part of its name in `CLIENT LIST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Lease,
    Lane(Load),
    Probe,
    Subscription,
}

/// How many connections may be open, which is what is logged at the start and held, and how many are.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) leases: Kind,
    pub(crate) lanes: Kind,
    /// Those of our own.
    pub(crate) control: Kind,
}

/// The places for one kind of connection.
#[derive(Debug)]
pub(crate) struct Kind {
    free: Arc<Semaphore>,
    open: Arc<AtomicUsize>,
}

/// The right to have a socket. A connection has it until its socket is closed, which is a moment after it was let go of.
pub(crate) type Place = OwnedSemaphorePermit;

impl Places {
    pub(crate) fn new(config: &Config) -> Self {
        let [leases, lanes, control] = config.connections().map(Kind::new);
        Self { leases, lanes, control }
    }

    pub(crate) fn of(&self, purpose: Purpose) -> &Kind {
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
    pub(crate) async fn take(&self) -> Place {
        Arc::clone(&self.free).acquire_owned().await.expect("nobody closes this semaphore")
    }

    /// The same for at most `limit`.
    pub(crate) async fn take_within(&self, limit: Duration) -> Result<Place, Cause> {
        timeout(limit, self.take()).await.map_err(|_| Cause::Timeout)
    }

    /// Counts a connection for as long as it is open.
    pub(crate) fn count(&self) -> Open {
        Open::count(&self.open)
    }

    /// How many are open, those included that were replaced and end what is under way.
    pub(crate) fn open(&self) -> usize {
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
