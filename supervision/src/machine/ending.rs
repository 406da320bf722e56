//! How a supervisor stops all of its children: in reverse order and by its deadlines.

use std::sync::Arc;

use tokio::time::Instant;

use super::child::{State, StopReason, Stopping};
use super::children::Children;
use super::deadlines::Deadlines;
use super::event::Effect;
use super::stop;
use crate::exit::Cause;

/// A supervisor that is stopping all of its children.
#[derive(Debug)]
pub(super) struct Ending {
    /// `None` without a shutdown: a supervisor that gives up has no deadline.
    deadlines: Option<Deadlines>,
    next: LastMoment,
    /// So many children, counted from the first, may still be alive.
    left: usize,
    pub(super) cause: Option<Arc<Cause>>,
}

/// Which of the deadlines comes next.
#[derive(Debug, Clone, Copy)]
enum LastMoment {
    AskAll,
    KillAll,
    Over,
}

impl Ending {
    pub(super) fn new(
        children: &Children,
        deadlines: Option<Deadlines>,
        cause: Option<Arc<Cause>>,
    ) -> Self {
        Self { deadlines, next: LastMoment::AskAll, left: children.len(), cause }
    }

    /// Takes over earlier deadlines. Returns `false` if they are not earlier.
    pub(super) fn shorten(&mut self, deadlines: Deadlines) -> bool {
        let is_nearer = self.deadlines.is_none_or(|known| deadlines.give_up < known.give_up);
        if is_nearer {
            // Both deadlines are run again: children that are already killed have less time now.
            (self.deadlines, self.next) = (Some(deadlines), LastMoment::AskAll);
        }
        is_nearer
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let deadlines = self.deadlines?;
        match self.next {
            LastMoment::AskAll => Some(deadlines.ask_all),
            LastMoment::KillAll => Some(deadlines.kill_all),
            LastMoment::Over => None,
        }
    }

    /// Does what is due at the deadlines that have passed.
    pub(super) fn hurry(&mut self, now: Instant, children: &mut Children, out: &mut Vec<Effect>) {
        let Some(deadlines) = self.deadlines else { return };
        if matches!(self.next, LastMoment::AskAll) && now >= deadlines.ask_all {
            self.next = LastMoment::KillAll;
            stop::ask_all(now, deadlines, children, out);
        }
        if matches!(self.next, LastMoment::KillAll) && now >= deadlines.kill_all {
            self.next = LastMoment::Over;
            stop::kill_all(now, deadlines, children, out);
        }
    }

    /// Stops the last child that is alive. Returns `true` when none is left that can be stopped.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        children: &mut Children,
        out: &mut Vec<Effect>,
    ) -> bool {
        while self.left > 0 {
            let child = self.left - 1;
            match children[child].state {
                // A leaked child does not delay the end of the others. A restart does wait for it,
                // because incarnations never overlap.
                State::Idle | State::Ended | State::Stopping(Stopping { leaked: true, .. }) => {}
                State::Stopping(_) => return false,
                State::Starting { .. } | State::Up { .. } => {
                    let reason = StopReason::Asked;
                    stop::begin_stop(now, child, reason, self.deadlines, children, out);
                    return false;
                }
            }
            self.left -= 1;
        }
        true
    }
}
