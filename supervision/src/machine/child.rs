//! What the machine remembers of each child.

use tokio::time::Instant;

use crate::exit::Exit;
use crate::policy::ChildPolicy;

/// What a child is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// Not running. Exits to `Starting`, `Ended`.
    Idle,
    /// In `init`. Exits to `Up`, `Stopping`, `Idle`.
    Starting { since: Instant, finishing: bool },
    /// Running. Exits to `Stopping`, `Idle`, `Ended`.
    Up { since: Instant },
    /// Asked to end. Exits to `Idle`, `Ended`.
    Stopping(Stopping),
    /// Ended for good. Exits to `Starting` by `Input::Restart` alone.
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
    /// A restart, a removal or a shutdown wants it gone: no fall.
    Asked,
    /// It asked to end by itself.
    Finishing,
    /// It has ended by itself, then, and not all of it is gone.
    Fell(Instant),
    /// Its `init` was not done in time.
    StartTimedOut,
}

#[derive(Debug)]
pub(super) struct Child {
    pub(super) policy: ChildPolicy,
    pub(super) incarnation: u64,
    pub(super) life: Life,
    /// Attempts since an incarnation was last stable.
    pub(super) attempt: u32,
    pub(super) restarts: u64,
    pub(super) removed: bool,
    pub(super) last_exit: Option<Exit>,
}

impl Child {
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.life, Life::Starting { .. } | Life::Up { .. } | Life::Stopping(_))
    }
}

/// When an `init` that began at `since` has taken too long. A limit past the end of time is none.
pub(super) fn start_limit(policy: &ChildPolicy, since: Instant) -> Option<Instant> {
    policy.start_timeout.and_then(|limit| since.checked_add(limit))
}
