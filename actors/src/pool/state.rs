use std::time::Duration;

use mainstay_supervision::Reply;
use tokio::time::Instant;

use crate::redis::Reason;

/// A replica answers every write with READONLY. It is asked for a new generation no faster than this, doubling with
/// each generation that changed nothing.
const READ_ONLY_PAUSE_MIN: Duration = Duration::from_secs(1);
const READ_ONLY_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Without a READONLY for this long the next one is news again.
const READ_ONLY_FORGOTTEN: Duration = Duration::from_secs(60);

/// When a generation may be replaced.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// An old generation drains: the next one waits for its end, so that there are never three.
    draining: bool,
    wanted: Option<Reason>,
    waiting: Vec<Reply<u64>>,
    read_only: Option<ReadOnly>,
    lanes_replaced: u64,
}

/// A row of READONLY answers.
#[derive(Debug, Clone, Copy)]
struct ReadOnly {
    last_seen: Instant,
    last_wanted: Instant,
    pause: Duration,
}

impl State {
    /// After a restart of the manager an older generation may still drain.
    pub(crate) fn resume(draining: bool) -> Self {
        Self { draining, ..Self::default() }
    }

    /// Someone asks for a new generation. `Some` says that it is due now.
    pub(crate) fn ask(&mut self, reply: Reply<u64>) -> Option<Reason> {
        // Bounds the list by those who still wait.
        self.waiting.retain(|reply| !reply.is_abandoned());
        self.waiting.push(reply);
        self.want(Reason::Requested)
    }

    /// The server is read-only. `Some` says that a new generation is due now.
    pub(crate) fn read_only(&mut self, now: Instant) -> Option<Reason> {
        let since = |then: Instant| now.saturating_duration_since(then);
        let row = self.read_only.filter(|row| since(row.last_seen) < READ_ONLY_FORGOTTEN);
        let pause = match row {
            Some(row) if since(row.last_wanted) < row.pause => {
                self.read_only = Some(ReadOnly { last_seen: now, ..row });
                return None;
            }
            Some(row) => row.pause.saturating_mul(2).min(READ_ONLY_PAUSE_MAX),
            None => READ_ONLY_PAUSE_MIN,
        };
        self.read_only = Some(ReadOnly { last_seen: now, last_wanted: now, pause });
        self.want(Reason::ReadOnly)
    }

    /// The old generation is gone, or cut. `Some` says that the next one is due now.
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

    /// A lane replaced another. Returns how many have so far.
    pub(crate) fn lane_replaced(&mut self) -> u64 {
        self.lanes_replaced += 1;
        self.lanes_replaced
    }

    /// How many wait for the next generation.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn want(&mut self, reason: Reason) -> Option<Reason> {
        if self.draining {
            self.wanted.get_or_insert(reason);
            return None;
        }
        Some(reason)
    }
}
