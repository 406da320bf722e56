use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bb8_redis::bb8;
use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::bb8_adapter::Manager;
use crate::redis::command::Capability;
use crate::redis::connect::Connector;

/// One pool, built from one configuration. An outage makes no new generation; a changed configuration does. Lanes stand
/// beside it, in the endpoint: each belongs to the generation it was made in and is replaced once that is closed.
pub struct Generation {
    pool: bb8::Pool<Manager>,
    lifecycle: Arc<Lifecycle>,
    reason: Reason,
}

/// Why a generation was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// It is the first one.
    Start,
    /// Someone asked for it.
    Requested,
    /// The server answered that it is read-only: it is no longer the primary.
    ReadOnly,
}

/// What a generation and its connections know of each other.
pub(crate) struct Lifecycle {
    number: u64,
    stage: AtomicU8,
    changed: Notify,
    leased: AtomicUsize,
    born: Instant,
    /// In nanoseconds since `born`: an idle connection whose last reply is older is not handed out.
    distrusted: AtomicU64,
    /// What was learned of its server's commands.
    capability: Capability,
}

impl Generation {
    /// Does no IO: connections are made when leases ask for them.
    pub(crate) fn build(number: u64, reason: Reason, connector: Arc<Connector>) -> Self {
        let config = Arc::clone(connector.config());
        let lifecycle = Arc::new(Lifecycle::new(number));
        let pool = bb8::Pool::builder()
            .max_size(config.max_connections.max(1))
            .min_idle(None)
            // Only looks at flags here; a round trip, where one is due, belongs to the lease.
            .test_on_check_out(true)
            // Ours has jitter.
            .max_lifetime(None)
            .idle_timeout(Some(config.recycle_timeout))
            // The lease keeps the deadline and knows the cause; the pool must never answer first.
            .connection_timeout(NEVER)
            // Our connect tries until it succeeds or the generation is closed; then nobody should try again.
            .retry_connection(false)
            .queue_strategy(bb8::QueueStrategy::Lifo)
            .build_unchecked(Manager::new(connector, Arc::clone(&lifecycle)));
        Self { pool, lifecycle, reason }
    }

    /// Counts from 1 within an endpoint.
    pub fn number(&self) -> u64 {
        self.lifecycle.number
    }

    /// How many of its connections are leased now. Answers from memory.
    pub fn leased(&self) -> usize {
        self.lifecycle.leased.load(Ordering::Acquire)
    }

    /// Ends its connecting, drops its idle connections, and has leased ones dropped as they come back. Answers from
    /// memory.
    pub fn close(&self) {
        self.lifecycle.advance(CLOSED);
        // The pool cannot be closed. Taking a connection out of it discards every idle one on the way, because none
        // is valid any more; it needs a runtime only to be refused a new connection.
        if tokio::runtime::Handle::try_current().is_ok() {
            drop(self.pool.get_owned().now_or_never());
        }
    }

    /// Ends what is still leased: commands in flight that block are cut, every further one fails. Answers from
    /// memory.
    pub fn cut(&self) {
        self.close();
        self.lifecycle.advance(CUT);
    }

    /// Ends when none of its connections is leased any more. *Cancel safety*: may be dropped.
    pub async fn drained(&self) {
        loop {
            let changed = self.lifecycle.changed.notified();
            if self.leased() == 0 {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn lifecycle(&self) -> Arc<Lifecycle> {
        Arc::clone(&self.lifecycle)
    }

    pub(crate) fn pool(&self) -> &bb8::Pool<Manager> {
        &self.pool
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        // Connecting would otherwise go on for ever on behalf of nobody.
        self.lifecycle.advance(CLOSED);
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation")
            .field("number", &self.number())
            .field("reason", &self.reason)
            .field("leased", &self.leased())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Requested => "requested",
            Self::ReadOnly => "read-only",
        })
    }
}

impl Lifecycle {
    pub(crate) fn new(number: u64) -> Self {
        Self {
            number,
            stage: AtomicU8::new(OPEN),
            changed: Notify::new(),
            leased: AtomicUsize::new(0),
            born: Instant::now(),
            distrusted: AtomicU64::new(0),
            capability: Capability::default(),
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn capability(&self) -> &Capability {
        &self.capability
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.stage.load(Ordering::Acquire) >= CLOSED
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.stage.load(Ordering::Acquire) >= CUT
    }

    pub(crate) async fn closed(&self) {
        self.reached(CLOSED).await;
    }

    pub(crate) async fn was_cut(&self) {
        self.reached(CUT).await;
    }

    /// An idle connection turned out to be dead: its silent siblings are not worth a round trip each.
    pub(crate) fn distrust_idle(&self) {
        self.distrusted.fetch_max(self.nanos(Instant::now()), Ordering::Release);
    }

    pub(crate) fn trusts(&self, last_reply: Instant) -> bool {
        self.nanos(last_reply) >= self.distrusted.load(Ordering::Acquire)
    }

    async fn reached(&self, stage: u8) {
        loop {
            let changed = self.changed.notified();
            if self.stage.load(Ordering::Acquire) >= stage {
                return;
            }
            changed.await;
        }
    }

    fn advance(&self, stage: u8) {
        self.stage.fetch_max(stage, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    fn nanos(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.born).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// One connection of a generation is leased for as long as this lives.
pub(crate) struct Leased(Arc<Lifecycle>);

impl Leased {
    pub(crate) fn count(lifecycle: &Arc<Lifecycle>) -> Self {
        lifecycle.leased.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(lifecycle))
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        if self.0.leased.fetch_sub(1, Ordering::AcqRel) == 1 && self.0.is_closed() {
            self.0.changed.notify_waiters();
        }
    }
}

const OPEN: u8 = 0;
const CLOSED: u8 = 1;
const CUT: u8 = 2;

/// Long enough that the pool never answers a waiter, short enough to be added to any clock.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);
