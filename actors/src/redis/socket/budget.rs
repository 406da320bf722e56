use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::redis::config::Config;
use crate::redis::status::Cause;

/// What a connection is for; part of its name in `CLIENT LIST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Lease,
    Lane(Load),
    Probe,
    Subscription,
}

/// What a lane carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    Ordinary,
    /// Large values, which would hold up everything behind them.
    Bulk,
}

/// How many connections an endpoint may open, and how many are open. The sum is logged at the start.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) leases: Quota,
    pub(crate) lanes: Quota,
    /// Probes and subscriptions.
    pub(crate) control: Quota,
}

/// The share of the budget for one kind of connection.
#[derive(Debug)]
pub(crate) struct Quota {
    free: Arc<Semaphore>,
    open: Arc<AtomicUsize>,
}

/// The right to have a socket open, and a second one while it is not known which of the two will be used. It is given back
/// when they are closed, a moment after their last user drops them.
pub(crate) type Permit = Arc<OwnedSemaphorePermit>;

/// Counts one connection for as long as it is open.
#[derive(Debug)]
pub(crate) struct OpenCount(Arc<AtomicUsize>);

impl Budget {
    pub(crate) fn new(config: &Config) -> Self {
        let [leases, lanes, control] = config.connections().map(Quota::new);
        Self { leases, lanes, control }
    }

    pub(crate) fn of(&self, purpose: Purpose) -> &Quota {
        match purpose {
            Purpose::Lease => &self.leases,
            Purpose::Lane(_) => &self.lanes,
            Purpose::Probe | Purpose::Subscription => &self.control,
        }
    }
}

impl Quota {
    fn new(most: usize) -> Self {
        let free = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { free, open: Arc::default() }
    }

    /// Waits for the right to open a connection.
    pub(crate) async fn take(&self) -> Permit {
        let permit = Arc::clone(&self.free).acquire_owned().await;
        Arc::new(permit.expect("nobody closes this semaphore"))
    }

    /// Waits for the right to open a connection, for at most `limit`.
    pub(crate) async fn take_within(&self, limit: Duration) -> Result<Permit, Cause> {
        timeout(limit, self.take()).await.map_err(|_| Cause::Timeout)
    }

    /// Counts a connection for as long as it is open.
    pub(crate) fn count(&self) -> OpenCount {
        self.open.fetch_add(1, Ordering::Relaxed);
        OpenCount(Arc::clone(&self.open))
    }

    /// How many are open, including those that were replaced and only finish what is under way.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Drop for OpenCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
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
