//! When the end of a whole tree has to be over.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::later;

/// The last moments of a shutdown: the same for every supervisor of a tree, so that no one waits for
/// another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadlines {
    /// From here on no one waits for a turn: whoever was not yet asked to end is asked.
    pub(crate) ask_all: Instant,
    /// Whoever is left is cut off.
    pub(crate) kill_all: Instant,
    /// Whoever is left now blocks a thread, and is not waited for.
    pub(crate) give_up: Instant,
}

impl Deadlines {
    /// An end that is over `budget` after `now`. The two moments before that take 50 ms each, or less
    /// if the budget is small, but never less than 10 ms.
    pub(crate) fn within(now: Instant, budget: Duration) -> Self {
        let moment = (budget / 4).clamp(Duration::from_millis(10), Duration::from_millis(50));
        let ask_all = later(now, budget.saturating_sub(moment * 2));
        let kill_all = later(ask_all, moment);
        Self { ask_all, kill_all, give_up: later(kill_all, moment) }
    }
}
