//! What a supervisor says of its children to those who look.

use tokio::time::Instant;

use super::child::{self, Child, StopReason, Stopping};
use super::event::State;
use super::group::Reason;
use crate::exit::Exit;
use crate::policy::Restart;

/// What a supervisor says of one of its children.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub(crate) state: State,
    /// When it came up, if it is up.
    pub(crate) up_since: Option<Instant>,
    /// When it will be started again, where that is known.
    pub(crate) starts_at: Option<Instant>,
    /// The newest; 0 before the first.
    pub(crate) incarnation: u64,
    /// How often it fell and was restarted.
    pub(crate) restarts: u64,
    pub(crate) last_exit: Option<Exit>,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            state: State::Idle,
            up_since: None,
            starts_at: None,
            incarnation: 0,
            restarts: 0,
            last_exit: None,
        }
    }
}

impl Summary {
    pub(super) fn of(child: &Child, group: Option<(Reason, Instant)>, is_ending: bool) -> Self {
        let (state, up_since, starts_at) = match child.state {
            child::State::Idle if is_ending => (State::Down, None, None),
            child::State::Idle => match group {
                Some((Reason::Fall | Reason::ByHand, until)) => (State::Backoff, None, Some(until)),
                Some((Reason::Boot, _)) | None => (State::Idle, None, None),
            },
            child::State::Starting { .. } => (State::Starting, None, None),
            child::State::Up { since } => (State::Up, Some(since), None),
            child::State::Stopping(Stopping { reason: StopReason::Fell(at), .. })
                if !is_ending && !child.removed && child.policy.restart != Restart::Temporary =>
            {
                (State::Backoff, None, Some(at))
            }
            // As long as it cannot be cut off nobody knows whether it comes back.
            child::State::Stopping(Stopping { leaked: true, .. }) => (State::Stopping, None, None),
            child::State::Stopping(_) => (State::Stopping, None, group.map(|(_, until)| until)),
            child::State::Ended => (State::Down, None, None),
        };
        Summary {
            state,
            up_since,
            starts_at,
            incarnation: child.incarnation,
            restarts: child.restarts,
            last_exit: child.last_exit.clone(),
        }
    }
}
