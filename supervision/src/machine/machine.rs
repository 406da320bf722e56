//! The decisions of one supervisor.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::child::{self, StopReason, Stopping};
use super::children::Children;
use super::deadlines::Deadlines;
use super::ending::Ending;
use super::event::{Change, Effect, Input, Key};
use super::group::{Groups, Reason};
use super::stop;
use super::summary::Summary;
use crate::clock::later;
use crate::exit::{Cause, Exit};
use crate::policy::{ChildPolicy, Restart, Strategy, SupervisorPolicy, Window};

/// The decisions of one supervisor.
///
/// The machine is told what happened ([`Input`]) and when, and answers with what to do ([`Effect`]).
/// It reads no clock, takes random numbers only from its seed, and never waits. Every event names its
/// incarnation, so a late event is ignored.
#[derive(Debug)]
pub(crate) struct Machine {
    strategy: Strategy,
    window: Window,
    max: u32,
    within: Duration,
    children: Children,
    groups: Groups,
    phase: Phase,
    booted: bool,
    /// The failed starts of all children that have not been up since.
    failed_starts: u32,
    rng: fastrand::Rng,
}

/// The phase of the supervisor as a whole.
#[derive(Debug)]
enum Phase {
    /// Exits to `Running` by `Input::Boot`, to `Halted`.
    New,
    /// Exits to `Stopping`.
    Running,
    /// Exits to `Halted` when no child is left.
    Stopping(Ending),
    /// Final.
    Halted,
}

impl Machine {
    /// A machine for `children` in start order. `seed` determines the jitter.
    pub(crate) fn new(policy: SupervisorPolicy, children: Vec<ChildPolicy>, seed: u64) -> Self {
        Self {
            strategy: policy.strategy,
            window: Window::new(policy.intensity),
            max: policy.intensity.max,
            within: policy.intensity.within,
            children: Children::new(children),
            groups: Groups::default(),
            phase: Phase::New,
            booted: false,
            failed_starts: 0,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Takes over the counts of `child` from an earlier machine, and whether it was removed. For a
    /// supervisor that is itself restarted; call it before `Input::Boot`.
    pub(crate) fn recall(&mut self, child: usize, earlier: &Summary, removed: bool) {
        self.children.update(child, |child| {
            child.incarnation = earlier.incarnation;
            child.restarts = earlier.restarts;
            child.last_exit.clone_from(&earlier.last_exit);
            child.removed = removed;
            if removed {
                child.state = child::State::Ended;
            }
        });
    }

    /// Takes in what happened at `now`, and appends what to do to `out`.
    pub(crate) fn on(&mut self, now: Instant, input: Input, out: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Halted) {
            return;
        }
        match input {
            Input::Boot => self.boot(now),
            Input::Waits(key) => self.begins(key, None),
            Input::Begins(key) => self.begins(key, Some(now)),
            Input::Started(key) => self.started(now, key, out),
            Input::Finish(key) => self.finish(now, key, out),
            Input::Fell(key, exit) => self.note_fall(now, key, exit),
            Input::Exited(key, exit) => self.exited(now, key, exit, out),
            Input::Restart(child) => self.restart(now, child),
            Input::Remove(child) => self.remove(now, child, out),
            Input::Shutdown(deadlines) => self.shut_down(deadlines, out),
            Input::Tick => {}
        }
        self.window.expire(now);
        self.expire(now, out);
        self.advance(now, out);
    }

    /// When [`Input::Tick`] is next needed.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let of_ending = match &self.phase {
            Phase::Stopping(ending) => ending.next_deadline(),
            Phase::New | Phase::Running | Phase::Halted => None,
        };
        let deadlines = [self.children.next_limit(), self.groups.next_start(), of_ending];
        deadlines.into_iter().flatten().min()
    }

    /// When [`falls_left`](Self::falls_left) next changes by time alone.
    pub(crate) fn next_forgiven(&self) -> Option<Instant> {
        self.window.next_expiry().filter(|_| matches!(self.phase, Phase::Running))
    }

    /// Whether it is ending all children, because of a shutdown or because it has given up.
    pub(crate) fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Stopping(_) | Phase::Halted)
    }

    /// How many more falls the supervisor allows within its window.
    pub(crate) fn falls_left(&self) -> u32 {
        self.max.saturating_sub(self.window.count().max(self.failed_starts))
    }

    /// The next child of which [`summary`](Self::summary) may have changed.
    pub(crate) fn next_changed(&mut self) -> Option<usize> {
        self.children.next_changed()
    }

    /// The summary of `child` to publish.
    pub(crate) fn summary(&self, child: usize) -> Summary {
        let group = self.groups.of(child, &self.children);
        Summary::of(&self.children[child], group, self.is_ending())
    }

    /// Whether `child` has ended for good, and not only with its supervisor.
    pub(crate) fn has_ended(&self, child: usize) -> bool {
        self.children[child].state == child::State::Ended
    }

    /// Whether the newest incarnation of `child` did not stop in time and was cut off.
    pub(crate) fn was_killed(&self, child: usize) -> bool {
        self.children[child].killed
    }

    fn boot(&mut self, now: Instant) {
        if matches!(self.phase, Phase::New) {
            self.phase = Phase::Running;
            self.groups.boot(now, &mut self.children);
        }
    }

    fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    fn is_current(&self, key: Key) -> bool {
        self.children[key.child].incarnation == key.incarnation
    }

    /// Sets the moment from which `start_timeout` counts: `None` while the child waits for what is left of an
    /// earlier incarnation.
    fn begins(&mut self, key: Key, at: Option<Instant>) {
        if self.is_current(key) {
            self.children.update(key.child, |child| child.begun_at = at);
        }
    }

    fn started(&mut self, now: Instant, key: Key, out: &mut Vec<Effect>) {
        if !self.is_current(key) {
            return;
        }
        let child = &self.children[key.child];
        let (state, finishing) = match child.state {
            child::State::Starting { finishing } => (child::State::Up { since: now }, finishing),
            // It has already fallen: its `Started` arrives late.
            child::State::Stopping(
                stopping @ Stopping { reason: StopReason::Fell(_), up_since: None, .. },
            ) => (child::State::Stopping(Stopping { up_since: Some(now), ..stopping }), false),
            // Its start timed out and it is being killed: the late success changes nothing.
            child::State::Stopping(_)
            | child::State::Up { .. }
            | child::State::Idle
            | child::State::Ended => return,
        };
        let took = child.spawned_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.children.set_state(key.child, state);
        self.forget_failed_starts(key.child);
        out.push(Effect::Tell(key, Change::Started { took }));
        if finishing {
            self.finish(now, key, out);
        }
        self.groups.stir(key.child, &self.children);
    }

    fn finish(&mut self, now: Instant, key: Key, out: &mut Vec<Effect>) {
        // If all children are ending, it is stopped in its turn.
        if !self.is_current(key) || !self.is_running() {
            return;
        }
        match self.children[key.child].state {
            child::State::Starting { .. } => {
                self.children.set_state(key.child, child::State::Starting { finishing: true });
            }
            child::State::Up { .. } => {
                let reason = StopReason::Finishing;
                stop::begin_stop(now, key.child, reason, None, &mut self.children, out);
                self.groups.stir(key.child, &self.children);
            }
            child::State::Stopping(_) | child::State::Idle | child::State::Ended => {}
        }
    }

    fn note_fall(&mut self, now: Instant, key: Key, exit: Exit) {
        if self.is_current(key) {
            stop::note_fall(now, key.child, exit, &mut self.children);
            self.groups.stir(key.child, &self.children);
        }
    }

    fn exited(&mut self, now: Instant, key: Key, exit: Exit, out: &mut Vec<Effect>) {
        let child = &self.children[key.child];
        if !self.is_current(key) || !child.is_alive() {
            return;
        }
        let (reason, up_since) = match child.state {
            child::State::Stopping(stopping) => (Some(stopping.reason), stopping.up_since),
            child::State::Up { since } => (None, Some(since)),
            child::State::Starting { .. } | child::State::Idle | child::State::Ended => {
                (None, None)
            }
        };
        let exit = match reason {
            Some(StopReason::Finishing) if !exit.is_abnormal() => Exit::Normal,
            Some(StopReason::StartTimedOut) => {
                Exit::StartTimedOut(child.policy.start_timeout.unwrap_or_default())
            }
            _ => exit,
        };
        let fell_at = match reason {
            Some(StopReason::Fell(at)) => at,
            _ => now,
        };
        let uptime =
            up_since.map_or(Duration::ZERO, |since| fell_at.saturating_duration_since(since));
        self.children.update(key.child, |child| {
            child.state = child::State::Idle;
            child.fell_with = None;
            child.last_exit = Some(exit.clone());
        });
        out.push(Effect::Tell(key, Change::Exited { exit: exit.clone(), uptime }));
        let child = &self.children[key.child];
        if child.removed {
            self.children.set_state(key.child, child::State::Ended);
        } else if !self.is_running() {
            // All children are ending: `advance` continues with the next.
        } else if reason == Some(StopReason::Asked) {
            // A temporary child that was stopped with its siblings is not started again.
            let group = self.groups.of(key.child, &self.children);
            let fell_along = matches!(group, Some((Reason::Fall, _)));
            if child.policy.restart == Restart::Temporary && fell_along {
                self.children.set_state(key.child, child::State::Ended);
            }
        } else {
            let uptime = up_since.map(|_| uptime);
            self.fell(now, key, exit, uptime, out);
        }
        self.groups.stir(key.child, &self.children);
    }

    /// Decides what follows the exit of a child that was not asked to stop. `uptime` is `None` if it was
    /// never up.
    fn fell(
        &mut self,
        now: Instant,
        key: Key,
        exit: Exit,
        uptime: Option<Duration>,
        out: &mut Vec<Effect>,
    ) {
        let child = &self.children[key.child];
        let path = Arc::clone(&child.policy.path);
        if uptime.is_none() && !self.booted {
            return self.escalate(key, Cause::StartFailed { path, exit }, out);
        }
        if child.policy.significant && exit.is_abnormal() {
            return self.escalate(key, Cause::SignificantExit { path, exit }, out);
        }
        if !child.policy.restart.follows(&exit) {
            if !self.groups.is_asked_for(key.child, &self.children) {
                self.children.set_state(key.child, child::State::Ended);
            }
            return;
        }
        if !self.window.admit(now) {
            let falls = self.window.count() + 1;
            let cause = Cause::TooManyRestarts { path, falls, within: self.within, exit };
            return self.escalate(key, cause, out);
        }
        if uptime.is_none() {
            self.children.update(key.child, |child| child.failed_starts += 1);
            self.failed_starts += 1;
        }
        // The window would forget starts that fail slowly, so failed starts also count without it.
        if self.failed_starts > self.max {
            let cause = Cause::TooManyFailedStarts { path, starts: self.failed_starts, exit };
            return self.escalate(key, cause, out);
        }
        let luck = self.rng.f64();
        let (delay, attempt) = self.children.update(key.child, |child| {
            let backoff = child.policy.backoff;
            if uptime.is_some_and(|uptime| uptime >= backoff.stable_after) {
                child.attempt = 0;
            }
            let delay = backoff.delay(child.attempt, luck);
            child.attempt = child.attempt.saturating_add(1);
            child.restarts += 1;
            (delay, child.attempt)
        });
        out.push(Effect::Tell(key, Change::RestartScheduled { delay, attempt }));
        let until = later(now, delay);
        self.groups.regroup(self.strategy, key.child, until, &mut self.children);
    }

    fn restart(&mut self, now: Instant, index: usize) {
        if !self.is_running() || self.children[index].removed {
            return;
        }
        self.children.update(index, |child| child.attempt = 0);
        self.forget_failed_starts(index);
        if self.groups.hasten(now, index, &mut self.children) {
            return;
        }
        self.children.update(index, |child| match &mut child.state {
            state @ child::State::Ended => *state = child::State::Idle,
            // The restart replaces its own request to end.
            child::State::Stopping(Stopping { reason: reason @ StopReason::Finishing, .. }) => {
                *reason = StopReason::Asked;
            }
            child::State::Stopping(_)
            | child::State::Starting { .. }
            | child::State::Up { .. }
            | child::State::Idle => {}
        });
        self.groups.restart(now, index, &mut self.children);
    }

    fn remove(&mut self, now: Instant, index: usize, out: &mut Vec<Effect>) {
        self.groups.leave(index, &mut self.children);
        self.children.update(index, |child| child.removed = true);
        self.forget_failed_starts(index);
        match self.children[index].state {
            child::State::Starting { .. } | child::State::Up { .. } if self.is_running() => {
                stop::begin_stop(now, index, StopReason::Asked, None, &mut self.children, out);
            }
            child::State::Idle => self.children.set_state(index, child::State::Ended),
            child::State::Starting { .. }
            | child::State::Up { .. }
            | child::State::Stopping(_)
            | child::State::Ended => {}
        }
    }

    fn forget_failed_starts(&mut self, index: usize) {
        let forgotten =
            self.children.update(index, |child| std::mem::take(&mut child.failed_starts));
        self.failed_starts -= forgotten;
    }

    fn escalate(&mut self, key: Key, cause: Cause, out: &mut Vec<Effect>) {
        let cause = Arc::new(cause);
        out.push(Effect::Tell(key, Change::Escalated { cause: Arc::clone(&cause) }));
        self.begin_ending(None, Some(cause));
    }

    fn begin_ending(&mut self, deadlines: Option<Deadlines>, cause: Option<Arc<Cause>>) {
        self.groups.clear(&mut self.children);
        // Every child is marked as changed, since none is started any more. Kills of those that are gone do
        // not count for the report of this end.
        for index in 0..self.children.len() {
            self.children.update(index, |child| child.killed &= child.is_alive());
        }
        self.phase = Phase::Stopping(Ending::new(&self.children, deadlines, cause));
    }

    fn shut_down(&mut self, deadlines: Deadlines, out: &mut Vec<Effect>) {
        match &mut self.phase {
            Phase::New => {
                self.phase = Phase::Halted;
                return out.push(Effect::Halt(None));
            }
            Phase::Running => self.begin_ending(Some(deadlines), None),
            Phase::Stopping(ending) => {
                // A second shutdown can only shorten the first.
                if !ending.shorten(deadlines) {
                    return;
                }
            }
            Phase::Halted => return,
        }
        stop::tell_the_ending(deadlines, &self.children, out);
    }

    fn expire(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let never_up = stop::expire(now, &mut self.children, out);
        if let Some(&index) = never_up.first()
            && !self.booted
            && self.is_running()
        {
            // It may never be gone, and the caller of `System::start` waits.
            let child = &self.children[index];
            let timed_out = || Exit::StartTimedOut(child.policy.start_timeout.unwrap_or_default());
            let exit = child.fell_with.clone().unwrap_or_else(timed_out);
            let path = Arc::clone(&child.policy.path);
            self.escalate(child.key(index), Cause::StartFailed { path, exit }, out);
        }
    }

    /// Takes every step that is possible now.
    fn advance(&mut self, now: Instant, out: &mut Vec<Effect>) {
        match &mut self.phase {
            Phase::New | Phase::Halted => {}
            Phase::Running => {
                let has_booted = self.groups.advance(now, &mut self.children, out);
                if has_booted && !self.booted {
                    self.booted = true;
                    out.push(Effect::Booted);
                }
            }
            Phase::Stopping(ending) => {
                ending.hurry(now, &mut self.children, out);
                if ending.advance(now, &mut self.children, out) {
                    let cause = ending.cause.clone();
                    self.phase = Phase::Halted;
                    out.push(Effect::Halt(cause));
                }
            }
        }
    }
}
