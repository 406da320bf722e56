//! The deadlines of a shutdown.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::later;

/// The last moments of a shutdown. They are the same for all supervisors of a tree, so that none waits for
/// another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadlines {
    /// All children that were not yet asked to stop are asked, without waiting for their turn.
    pub(crate) ask_all: Instant,
    /// All children that are left are cut off.
    pub(crate) kill_all: Instant,
    /// Children that are left now block a thread, and are not waited for.
    pub(crate) give_up: Instant,
}

impl Deadlines {
    /// The deadlines of a shutdown that ends `budget` after `now`. The last two steps take 50 ms each, or a
    /// quarter of a smaller budget, but never less than 10 ms.
    pub(crate) fn within(now: Instant, budget: Duration) -> Self {
        let moment = (budget / 4).clamp(Duration::from_millis(10), Duration::from_millis(50));
        let ask_all = later(now, budget.saturating_sub(moment * 2));
        let kill_all = later(ask_all, moment);
        Self { ask_all, kill_all, give_up: later(kill_all, moment) }
    }
}
