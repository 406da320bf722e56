use std::time::Duration;

use mainstay_supervision::Reply;
use tokio::time::Instant;

use crate::redis::Reason;

/// A replica answers every write with READONLY. The pause between two new generations for that doubles with each one
/// that changed nothing.
const READ_ONLY: Pauses = Pauses {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(30),
    forgotten: Duration::from_secs(60),
};
/// A name that has one of several addresses each time it is looked up never stands still.
const MOVED: Pauses = Pauses {
    first: Duration::from_secs(60),
    longest: Duration::from_secs(3600),
    forgotten: Duration::from_secs(2 * 3600),
};
/// After this long without a stalled lane the next one is news.
const STALLS_FORGOTTEN: Duration = Duration::from_secs(60);

/// Decides when a generation may be replaced.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Whether an old generation drains. The next one waits for its end, so that there are never three.
    draining: bool,
    wanted: Option<Reason>,
    waiting: Vec<Reply<u64>>,
    read_only: Option<Row>,
    moved: Option<Row>,
    /// Whether a generation for a name that has moved is due later.
    is_put_off: bool,
    lanes_replaced: u64,
    last_stall: Option<Instant>,
}

/// When a new generation is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Now(Reason),
    /// It is to be asked for again after this time.
    In(Duration),
    NotNow,
}

/// The pauses between new generations for the same reason.
#[derive(Debug, Clone, Copy)]
struct Pauses {
    first: Duration,
    longest: Duration,
    /// After this long without the reason the next one starts again with the first pause.
    forgotten: Duration,
}

/// Times in a row that a new generation was wanted for the same reason.
#[derive(Debug, Clone, Copy)]
struct Row {
    last_seen: Instant,
    last_wanted: Instant,
    pause: Duration,
}

impl State {
    /// The state after a restart of the manager, when an older generation may still drain.
    pub(crate) fn resume(draining: bool) -> Self {
        Self { draining, ..Self::default() }
    }

    /// Notes that a caller asks for a new generation. `Some` says that it is due now.
    pub(crate) fn ask(&mut self, reply: Reply<u64>) -> Option<Reason> {
        // Bounds the list by the callers that still wait.
        self.waiting.retain(|reply| !reply.is_abandoned());
        self.waiting.push(reply);
        self.want(Reason::Requested)
    }

    /// Notes that the present generation leads to the wrong server. A new one may be due now, or only later.
    pub(crate) fn outdated(&mut self, reason: Reason, now: Instant) -> Due {
        let (row, pauses) = match reason {
            Reason::Moved => (&mut self.moved, MOVED),
            Reason::ReadOnly | Reason::Requested | Reason::Start => {
                (&mut self.read_only, READ_ONLY)
            }
        };
        let since = |then: Instant| now.saturating_duration_since(then);
        let pause = match row.filter(|row| since(row.last_seen) < pauses.forgotten) {
            Some(early) if since(early.last_wanted) < early.pause => {
                *row = Some(Row { last_seen: now, ..early });
                // A server that stays read-only says so again.
                let is_said_once = reason == Reason::Moved && !self.is_put_off;
                self.is_put_off |= is_said_once;
                let left = early.pause.saturating_sub(since(early.last_wanted));
                return if is_said_once { Due::In(left) } else { Due::NotNow };
            }
            Some(late) => late.pause.saturating_mul(2).min(pauses.longest),
            None => pauses.first,
        };
        *row = Some(Row { last_seen: now, last_wanted: now, pause });
        self.want(reason).map_or(Due::NotNow, Due::Now)
    }

    /// Notes that the time has come for which a new generation was put off.
    pub(crate) fn put_off_ends(&mut self) {
        self.is_put_off = false;
    }

    /// Notes that the old generation has drained or was cut. `Some` says that the next one is due now.
    pub(crate) fn drained(&mut self) -> Option<Reason> {
        self.draining = false;
        self.wanted.take()
    }

    /// Notes that a generation was published; `drains` says whether an older one drains. Returns the callers that wait
    /// for the new number.
    pub(crate) fn built(&mut self, drains: bool) -> Vec<Reply<u64>> {
        self.draining = drains;
        std::mem::take(&mut self.waiting)
    }

    /// Counts a lane that replaced another, and returns how many there were.
    pub(crate) fn lane_replaced(&mut self) -> u64 {
        self.lanes_replaced += 1;
        self.lanes_replaced
    }

    /// Notes that a lane was replaced because it had stalled. `true` says that this is news: there was none for a minute.
    pub(crate) fn stalled(&mut self, now: Instant) -> bool {
        let before = self.last_stall.replace(now);
        before.is_none_or(|before| now.saturating_duration_since(before) >= STALLS_FORGOTTEN)
    }

    /// How many callers wait for the next generation.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn want(&mut self, reason: Reason) -> Option<Reason> {
        if self.draining {
            // A generation for this has other addresses tried first.
            let is_first = self.wanted.is_none() || reason == Reason::ReadOnly;
            self.wanted = if is_first { Some(reason) } else { self.wanted };
            return None;
        }
        Some(reason)
    }
}
