//! What a supervisor publishes about its children.

use tokio::time::Instant;

use super::child::{self, Child, StopReason, Stopping};
use super::event::State;
use super::group::Reason;
use crate::exit::Exit;
use crate::policy::Restart;

/// What a supervisor publishes about one child.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub(crate) state: State,
    /// When it came up, if it is up.
    pub(crate) up_since: Option<Instant>,
    /// When it will be restarted, if that is known.
    pub(crate) starts_at: Option<Instant>,
    /// The newest incarnation; 0 before the first.
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
            child::State::Stopping(stopping) => {
                let comes_back = comes_back(child, stopping, group.is_some(), is_ending);
                let starts_at = group.map(|(_, until)| until).or(child.spawned_at);
                (State::Stopping, None, starts_at.filter(|_| comes_back))
            }
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

/// Whether a child that is stopping is going to be started again, as far as its supervisor knows.
fn comes_back(child: &Child, stopping: Stopping, is_in_group: bool, is_ending: bool) -> bool {
    // While it cannot be cut off, nothing is known.
    if stopping.leaked || child.removed {
        return false;
    }
    // It is started again with its supervisor, if that is.
    if is_ending || is_in_group {
        return true;
    }
    match stopping.reason {
        StopReason::Finishing => child.policy.restart == Restart::Permanent,
        StopReason::StartTimedOut | StopReason::Fell(_) => {
            child.policy.restart != Restart::Temporary
        }
        StopReason::Asked => false,
    }
}
