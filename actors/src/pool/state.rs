use std::time::Duration;

use mainstay_supervision::Reply;
use tokio::time::Instant;

use crate::redis::Reason;

/// A replica answers every write with READONLY: it is asked for a new generation no faster than
/// this.
const READ_ONLY_PAUSE: Duration = Duration::from_secs(1);

/// When a generation may be replaced.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// An old generation drains: the next one waits for its end, so that there are never three.
    draining: bool,
    wanted: Option<Reason>,
    waiting: Vec<Reply<u64>>,
    last_read_only: Option<Instant>,
}

impl State {
    /// After a restart of the manager an older generation may still drain.
    pub(crate) fn resume(draining: bool) -> Self {
        Self { draining, ..Self::default() }
    }

    /// Someone asks for a new generation. `Some` says that it is due now.
    pub(crate) fn ask(&mut self, reply: Reply<u64>) -> Option<Reason> {
        self.waiting.push(reply);
        self.want(Reason::Requested)
    }

    /// The server is read-only. `Some` says that a new generation is due now.
    pub(crate) fn read_only(&mut self, now: Instant) -> Option<Reason> {
        let lately = |last: Instant| now.saturating_duration_since(last) < READ_ONLY_PAUSE;
        if self.last_read_only.is_some_and(lately) {
            return None;
        }
        self.last_read_only = Some(now);
        self.want(Reason::ReadOnly)
    }

    /// The old generation is gone. `Some` says that the next one is due now.
    pub(crate) fn drained(&mut self) -> Option<Reason> {
        self.draining = false;
        self.wanted.take()
    }

    /// A generation was published; `drains` says whether an older one is on its way out. Returns
    /// whoever waits for its number.
    pub(crate) fn built(&mut self, drains: bool) -> Vec<Reply<u64>> {
        self.draining = drains;
        std::mem::take(&mut self.waiting)
    }

    fn want(&mut self, reason: Reason) -> Option<Reason> {
        if self.draining {
            self.wanted.get_or_insert(reason);
            return None;
        }
        Some(reason)
    }
}
