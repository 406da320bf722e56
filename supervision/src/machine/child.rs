//! What the machine knows about each child.

use tokio::time::Instant;

use super::event::Key;
use crate::exit::Exit;
use crate::policy::ChildPolicy;

/// The state of a child, as the machine sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Not running. Exits to `Starting`, `Ended`.
    Idle,
    /// In `init`. Exits to `Up`, `Stopping`, `Idle`, `Ended`.
    Starting {
        /// Whether it has already asked to end.
        finishing: bool,
    },
    /// Running. Exits to `Stopping`, `Idle`, `Ended`.
    Up { since: Instant },
    /// On its way out. Exits to `Idle`, `Ended`.
    Stopping(Stopping),
    /// Ended for good. Exits to `Starting` by `Input::Restart`, and to `Idle` when a transient child
    /// is restarted with a sibling.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stopping {
    pub(super) reason: StopReason,
    /// `None` if it never came up.
    pub(super) up_since: Option<Instant>,
    pub(super) kill_at: Option<Instant>,
    pub(super) leaked_at: Option<Instant>,
    pub(super) leaked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    /// A restart, a removal or a shutdown stops it. This is not a fall.
    Asked,
    /// It asked to end by itself.
    Finishing,
    /// It ended by itself at this moment, and something of it is left.
    Fell(Instant),
    /// Its `init` did not finish in time.
    StartTimedOut,
}

#[derive(Debug)]
pub(super) struct Child {
    pub(super) policy: ChildPolicy,
    pub(super) incarnation: u64,
    pub(super) state: State,
    /// When the newest incarnation was started.
    pub(super) spawned_at: Option<Instant>,
    /// When its `init` began; `None` while something of an earlier one is left.
    pub(super) begun_at: Option<Instant>,
    /// The group that it is started with.
    pub(super) group: Option<u64>,
    /// Restarts since an incarnation was last stable.
    pub(super) attempt: u32,
    /// Failed starts since the last successful one.
    pub(super) failed_starts: u32,
    pub(super) restarts: u64,
    pub(super) removed: bool,
    /// Whether the newest incarnation had to be cut off.
    pub(super) killed: bool,
    /// How the newest incarnation fell, while something of it is left.
    pub(super) fell_with: Option<Exit>,
    pub(super) last_exit: Option<Exit>,
    /// Whether its summary must be published again.
    pub(super) is_changed: bool,
}

impl Child {
    pub(super) fn new(policy: ChildPolicy) -> Self {
        Self {
            policy,
            incarnation: 0,
            state: State::Idle,
            spawned_at: None,
            begun_at: None,
            group: None,
            attempt: 0,
            failed_starts: 0,
            restarts: 0,
            removed: false,
            killed: false,
            fell_with: None,
            last_exit: None,
            is_changed: false,
        }
    }

    pub(super) fn key(&self, child: usize) -> Key {
        Key { child, incarnation: self.incarnation }
    }

    pub(super) fn is_alive(&self) -> bool {
        matches!(self.state, State::Starting { .. } | State::Up { .. } | State::Stopping(_))
    }

    /// When it needs attention if nothing happens before.
    pub(super) fn limit(&self) -> Option<Instant> {
        match self.state {
            // A limit that the clock cannot hold is none.
            State::Starting { .. } => self.begun_at?.checked_add(self.policy.start_timeout?),
            State::Stopping(Stopping { leaked: false, kill_at, leaked_at, .. }) => {
                leaked_at.or(kill_at)
            }
            State::Stopping(_) | State::Up { .. } | State::Idle | State::Ended => None,
        }
    }
}
