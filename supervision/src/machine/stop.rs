//! How children are ended, one after the other, and what happens to those who do not.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::child::{Life, StopReason, Stopping, start_limit};
use super::event::{Change, Effect, Key};
use super::machine::{Machine, Phase};
use crate::exit::{Cause, Exit};
use crate::policy::Shutdown;

/// After a kill, how long a child may take to be gone before it is reported as leaked.
const KILL_GRACE: Duration = Duration::from_secs(1);
/// The same once the time for the whole shutdown is over, and what each child that is still up has
/// left then to end well.
const LAST_GRACE: Duration = Duration::from_millis(50);
/// How long a child that asked to end may take where [`Shutdown::Kill`] names no time.
const FINISH_LIMIT: Duration = Duration::from_secs(5);

impl Machine {
    pub(super) fn escalate(&mut self, key: Key, cause: Cause, out: &mut Vec<Effect>) {
        let cause = Arc::new(cause);
        out.push(Effect::Tell(key, Change::Escalated { cause: Arc::clone(&cause) }));
        self.groups.clear();
        self.phase = Phase::Stopping { deadline: None, cause: Some(cause) };
    }

    pub(super) fn shut_down(&mut self, now: Instant, until: Instant, out: &mut Vec<Effect>) {
        self.groups.clear();
        match &mut self.phase {
            Phase::New => {
                self.phase = Phase::Halted;
                out.push(Effect::Halt(None));
            }
            Phase::Running => {
                self.phase = Phase::Stopping { deadline: Some(until), cause: None };
            }
            Phase::Stopping { deadline, .. } => {
                *deadline = Some(deadline.map_or(until, |earlier| earlier.min(until)));
            }
            Phase::Halted => return,
        }
        // Whoever is already stopping shares the new deadline.
        let until = until.max(now + LAST_GRACE);
        for (index, child) in self.children.iter_mut().enumerate() {
            let key = Key { child: index, incarnation: child.incarnation };
            if let Life::Stopping(stopping) = &mut child.life
                && stopping.leaked_at.is_none()
            {
                let kill_at = until + spare_of(child.policy.shutdown);
                if stopping.kill_at.is_none_or(|at| kill_at < at) {
                    stopping.kill_at = Some(kill_at);
                    if child.policy.shutdown == Shutdown::Unlimited {
                        out.push(Effect::Stop(key, Some(until)));
                    }
                }
            }
        }
    }

    /// Acts on every limit that has passed.
    pub(super) fn expire(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let grace = self.grace(now);
        let mut cannot_boot = None;
        for (index, child) in self.children.iter_mut().enumerate() {
            let key = Key { child: index, incarnation: child.incarnation };
            let has_come = |at: Option<Instant>| at.is_some_and(|at| now >= at);
            match &mut child.life {
                Life::Starting { since, .. } => {
                    if has_come(start_limit(&child.policy, *since)) {
                        child.life = Life::Stopping(Stopping {
                            reason: StopReason::StartTimedOut,
                            up_since: None,
                            kill_at: None,
                            leaked_at: Some(now + grace),
                            leaked: false,
                        });
                        out.push(Effect::Kill(key));
                    }
                }
                Life::Stopping(stopping) if !stopping.leaked => {
                    if has_come(stopping.leaked_at) {
                        stopping.leaked = true;
                        out.push(Effect::Tell(key, Change::Leaked));
                        if stopping.reason == StopReason::StartTimedOut {
                            cannot_boot = Some(key);
                        }
                    } else if stopping.leaked_at.is_none() && has_come(stopping.kill_at) {
                        stopping.leaked_at = Some(now + grace);
                        out.push(Effect::Tell(key, Change::StopTimedOut));
                        out.push(Effect::Kill(key));
                    }
                }
                Life::Stopping(_) | Life::Idle | Life::Up { .. } | Life::Ended => {}
            }
        }
        if let Some(key) = cannot_boot
            && !self.booted
            && matches!(self.phase, Phase::Running)
        {
            // It may never be gone, and whoever started the tree waits.
            let policy = &self.children[key.child].policy;
            let path = Arc::clone(&policy.path);
            let exit = Exit::StartTimedOut(policy.start_timeout.unwrap_or_default());
            self.escalate(key, Cause::StartFailed { path, exit }, out);
        }
    }

    /// Asks the last living child of `members` to end. `true` when none is left that could.
    pub(super) fn stop_last_of(
        &mut self,
        now: Instant,
        members: impl DoubleEndedIterator<Item = usize>,
        out: &mut Vec<Effect>,
    ) -> bool {
        let ending = matches!(self.phase, Phase::Stopping { .. });
        for member in members.rev() {
            match self.children[member].life {
                Life::Idle | Life::Ended => {}
                // What cannot be ended does not hold up the end of everything else; a restart,
                // though, waits for it: two incarnations never overlap.
                Life::Stopping(Stopping { leaked: true, .. }) if ending => {}
                Life::Stopping(_) => return false,
                Life::Starting { .. } | Life::Up { .. } => {
                    self.begin_stop(now, member, StopReason::Asked, out);
                    return false;
                }
            }
        }
        true
    }

    pub(super) fn begin_stop(
        &mut self,
        now: Instant,
        index: usize,
        reason: StopReason,
        out: &mut Vec<Effect>,
    ) {
        let deadline = match self.phase {
            Phase::Stopping { deadline, .. } => deadline.map(|at| at.max(now + LAST_GRACE)),
            Phase::New | Phase::Running | Phase::Halted => None,
        };
        let grace = self.grace(now);
        let child = &mut self.children[index];
        let key = Key { child: index, incarnation: child.incarnation };
        let limit = match child.policy.shutdown {
            // It ends by its own wish: that is no reason to cut it off in the middle.
            Shutdown::Kill if reason == StopReason::Finishing => Some(FINISH_LIMIT),
            Shutdown::Kill => Some(Duration::ZERO),
            Shutdown::Stop(limit) | Shutdown::Drain(limit) => Some(limit),
            Shutdown::Unlimited => None,
        };
        let until = match (limit.and_then(|limit| now.checked_add(limit)), deadline) {
            (Some(own), Some(all)) => Some(own.min(all)),
            (own, all) => own.or(all),
        };
        let kill_at = until.map(|until| until + spare_of(child.policy.shutdown));
        let up_since = match child.life {
            Life::Up { since } => Some(since),
            Life::Starting { .. } | Life::Stopping(_) | Life::Idle | Life::Ended => None,
        };
        // An actor in `init` does not read its mailbox: only a kill reaches it. A supervisor that is
        // still starting its children does, and ends them in order.
        let in_init = up_since.is_none() && child.policy.start_timeout.is_some();
        let kills = in_init || limit == Some(Duration::ZERO);
        let leaked_at = kills.then(|| now + grace);
        child.life =
            Life::Stopping(Stopping { reason, up_since, kill_at, leaked_at, leaked: false });
        out.push(if kills { Effect::Kill(key) } else { Effect::Stop(key, until) });
    }

    pub(super) fn grace(&self, now: Instant) -> Duration {
        match self.phase {
            Phase::Stopping { deadline: Some(deadline), .. } => {
                deadline.saturating_duration_since(now).clamp(LAST_GRACE, KILL_GRACE)
            }
            _ => KILL_GRACE,
        }
    }
}

/// A supervisor keeps its deadline itself, and needs a moment to cut off its last child.
fn spare_of(shutdown: Shutdown) -> Duration {
    if shutdown == Shutdown::Unlimited { KILL_GRACE } else { Duration::ZERO }
}
