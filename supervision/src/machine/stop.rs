//! How children are stopped, and what happens to those that do not stop.

use std::time::Duration;

use tokio::time::Instant;

use super::child::{Child, State, StopReason, Stopping};
use super::children::Children;
use super::deadlines::Deadlines;
use super::event::{Change, Effect};
use crate::clock::later;
use crate::exit::Exit;
use crate::policy::Shutdown;

/// How long after a kill or a fall a child may take to be gone. Then it is reported as leaked.
const KILL_GRACE: Duration = Duration::from_secs(1);
/// The shortest such time, however late it is.
const LEAST_GRACE: Duration = Duration::from_millis(10);
/// How long a child that ends itself may take if its [`Shutdown::Kill`] sets no limit.
const FINISH_LIMIT: Duration = Duration::from_secs(5);

/// Asks a child to stop, or cuts it off if its policy says so. There are `deadlines` if the whole tree is
/// ending.
pub(super) fn begin_stop(
    now: Instant,
    index: usize,
    reason: StopReason,
    deadlines: Option<Deadlines>,
    children: &mut Children,
    out: &mut Vec<Effect>,
) {
    let child = &children[index];
    let limit = match child.policy.shutdown {
        // It ends itself: do not cut it off in the middle of that.
        Shutdown::Kill if reason == StopReason::Finishing => Some(FINISH_LIMIT),
        Shutdown::Kill => Some(Duration::ZERO),
        Shutdown::Stop(limit) | Shutdown::Drain(limit) => Some(limit),
        Shutdown::Unlimited => None,
    };
    // An actor in `init` does not read its mailbox, so only a kill reaches it. A supervisor that is
    // still starting its children does, and stops them in order.
    let up_since = up_since(child);
    let in_init = up_since.is_none() && !child.policy.is_supervisor;
    let kills = in_init || limit == Some(Duration::ZERO);
    let key = child.key(index);
    let stopping = Stopping {
        reason,
        up_since,
        // A limit that the clock cannot hold is none.
        kill_at: limit.and_then(|limit| now.checked_add(limit)),
        leaked_at: kills.then(|| later(now, KILL_GRACE)),
        leaked: false,
    };
    children.set_state(index, State::Stopping(stopping));
    out.push(if kills { Effect::Kill(key) } else { Effect::Stop(key, deadlines) });
}

/// Notes that a child has ended without being asked. From now on it has a second to be gone.
pub(super) fn note_fall(now: Instant, index: usize, exit: Exit, children: &mut Children) {
    if let State::Starting { .. } | State::Up { .. } = children[index].state {
        let stopping = Stopping {
            reason: StopReason::Fell(now),
            up_since: up_since(&children[index]),
            kill_at: None,
            leaked_at: Some(later(now, KILL_GRACE)),
            leaked: false,
        };
        children.update(index, |child| {
            child.state = State::Stopping(stopping);
            child.fell_with = Some(exit);
        });
    }
}

/// Acts on every limit that has passed. Returns the children that have leaked and were never up.
pub(super) fn expire(now: Instant, children: &mut Children, out: &mut Vec<Effect>) -> Vec<usize> {
    let mut never_up = Vec::new();
    while let Some(index) = children.first_due(now) {
        let key = children[index].key(index);
        match children[index].state {
            State::Starting { .. } => {
                let stopping = Stopping {
                    reason: StopReason::StartTimedOut,
                    up_since: None,
                    kill_at: None,
                    leaked_at: Some(later(now, KILL_GRACE)),
                    leaked: false,
                };
                children.set_state(index, State::Stopping(stopping));
                out.push(Effect::Kill(key));
            }
            State::Stopping(stopping) if stopping.leaked_at.is_some() => {
                children.set_state(index, State::Stopping(Stopping { leaked: true, ..stopping }));
                out.push(Effect::Tell(key, Change::Leaked));
                let is_asked = children[index].removed || stopping.reason == StopReason::Asked;
                if stopping.up_since.is_none() && !is_asked {
                    never_up.push(index);
                }
            }
            State::Stopping(stopping) => {
                cut_off(later(now, KILL_GRACE), index, stopping, children, out);
            }
            State::Idle | State::Up { .. } | State::Ended => {
                unreachable!("only a child that starts or stops has a limit")
            }
        }
    }
    never_up
}

/// Asks all children to stop at once that were not asked yet.
pub(super) fn ask_all(
    now: Instant,
    deadlines: Deadlines,
    children: &mut Children,
    out: &mut Vec<Effect>,
) {
    for index in (0..children.len()).rev() {
        if let State::Starting { .. } | State::Up { .. } = children[index].state {
            begin_stop(now, index, StopReason::Asked, Some(deadlines), children, out);
        }
    }
}

/// Passes the deadlines to the supervisors that are already ending. They have none, or later ones.
pub(super) fn tell_the_ending(deadlines: Deadlines, children: &Children, out: &mut Vec<Effect>) {
    for index in 0..children.len() {
        let child = &children[index];
        if child.policy.is_supervisor && matches!(child.state, State::Stopping(_)) {
            out.push(Effect::Stop(child.key(index), Some(deadlines)));
        }
    }
}

/// Cuts off all children that are left, at once.
pub(super) fn kill_all(
    now: Instant,
    deadlines: Deadlines,
    children: &mut Children,
    out: &mut Vec<Effect>,
) {
    let give_up = deadlines.give_up.max(later(now, LEAST_GRACE));
    for index in (0..children.len()).rev() {
        let child = &children[index];
        let State::Stopping(stopping) = child.state else { continue };
        if stopping.leaked {
            continue;
        }
        if child.policy.is_supervisor {
            // It keeps the same deadlines itself, and reports what is left below it.
            let leaked_at = Some(later(give_up, KILL_GRACE));
            children.set_state(index, State::Stopping(Stopping { leaked_at, ..stopping }));
        } else if let Some(earlier) = stopping.leaked_at {
            let leaked_at = Some(earlier.min(give_up));
            children.set_state(index, State::Stopping(Stopping { leaked_at, ..stopping }));
        } else {
            cut_off(give_up, index, stopping, children, out);
        }
    }
}

fn cut_off(
    leaked_at: Instant,
    index: usize,
    stopping: Stopping,
    children: &mut Children,
    out: &mut Vec<Effect>,
) {
    let key = children.update(index, |child| {
        child.killed = true;
        child.state = State::Stopping(Stopping { leaked_at: Some(leaked_at), ..stopping });
        child.key(index)
    });
    out.push(Effect::Tell(key, Change::StopTimedOut));
    out.push(Effect::Kill(key));
}

fn up_since(child: &Child) -> Option<Instant> {
    match child.state {
        State::Up { since } => Some(since),
        State::Starting { .. } | State::Stopping(_) | State::Idle | State::Ended => None,
    }
}
