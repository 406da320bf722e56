//! The decisions of one supervisor, without a runtime.
//!
//! The machine is told what happened ([`Input`]) and when, and answers with what to do ([`Effect`]).
//! It reads no clock, draws no random number but from its own seed, and never waits; every event
//! names the incarnation it speaks of, so that a late one is ignored by construction.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::child::{Child, Life, StopReason, Stopping, start_limit};
use super::event::{Change, Effect, Input, Key, View};
use super::group::{Group, GroupPhase, GroupReason};
use crate::exit::{Cause, Exit};
use crate::policy::Window;
use crate::policy::{ChildPolicy, Flags, Restart, Strategy};

/// The decisions of one supervisor.
#[derive(Debug)]
pub struct Machine {
    pub(super) strategy: Strategy,
    window: Window,
    within: Duration,
    pub(super) children: Vec<Child>,
    pub(super) groups: Vec<Group>,
    pub(super) phase: Phase,
    pub(super) booted: bool,
    rng: fastrand::Rng,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Exits to `Running` by `Input::Boot`, to `Halted`.
    New,
    /// Exits to `Stopping`.
    Running,
    /// Exits to `Halted` when no child is left.
    Stopping { deadline: Option<Instant>, cause: Option<Arc<Cause>> },
    /// The end.
    Halted,
}

impl Machine {
    /// A machine for these children, in start order. `seed` decides the jitter.
    pub fn new(flags: Flags, children: Vec<ChildPolicy>, seed: u64) -> Self {
        let child = |policy| Child {
            policy,
            incarnation: 0,
            life: Life::Idle,
            attempt: 0,
            restarts: 0,
            removed: false,
            last_exit: None,
        };
        Self {
            strategy: flags.strategy,
            window: Window::new(flags.intensity),
            within: flags.intensity.within,
            children: children.into_iter().map(child).collect(),
            groups: Vec::new(),
            phase: Phase::New,
            booted: false,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Takes over what an earlier machine knew of `child`: its incarnations go on counting, and
    /// once removed it stays so. For a supervisor that is itself restarted; before `Input::Boot`.
    pub fn recall(&mut self, child: usize, incarnation: u64, restarts: u64, removed: bool) {
        let child = &mut self.children[child];
        (child.incarnation, child.restarts, child.removed) = (incarnation, restarts, removed);
        if removed {
            child.life = Life::Ended;
        }
    }

    /// Takes in what happened at `now` and appends what to do.
    pub fn on(&mut self, now: Instant, input: Input, out: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Halted) {
            return;
        }
        match input {
            Input::Boot => self.boot(now),
            Input::Started(key) => self.started(now, key, out),
            Input::Finish(key) => self.finish(now, key, out),
            Input::Fell(key) => self.note_fall(now, key),
            Input::Exited(key, exit) => self.exited(now, key, exit, out),
            Input::Restart(child) => self.restart(now, child),
            Input::Remove(child) => self.remove(child),
            Input::Shutdown(deadline) => self.shut_down(now, deadline, out),
            Input::Tick => {}
        }
        self.window.expire(now);
        self.expire(now, out);
        self.advance(now, out);
    }

    /// When [`Input::Tick`] is next needed.
    pub fn next_deadline(&self) -> Option<Instant> {
        let of_child = |child: &Child| match child.life {
            Life::Starting { since, .. } => start_limit(&child.policy, since),
            Life::Stopping(Stopping { leaked: false, kill_at, leaked_at, .. }) => {
                leaked_at.or(kill_at)
            }
            Life::Stopping(_) | Life::Up { .. } | Life::Idle | Life::Ended => None,
        };
        // A group whose members are not all gone waits for them, not for the clock.
        let waits = |group: &&Group| {
            group.phase == GroupPhase::Stopping
                && !group.members.iter().any(|&member| self.children[member].is_alive())
        };
        let groups = self.groups.iter().filter(waits).map(|group| group.until);
        self.children.iter().filter_map(of_child).chain(groups).min()
    }

    /// When [`falls_left`](Self::falls_left) next changes by time alone.
    pub fn next_forgiven(&self) -> Option<Instant> {
        self.window.next_expiry().filter(|_| matches!(self.phase, Phase::Running))
    }

    /// Whether everything is being ended: it was asked to, or has given up.
    pub fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Stopping { .. } | Phase::Halted)
    }

    /// What `child` is doing.
    pub fn view(&self, child: usize) -> View {
        match self.children[child].life {
            Life::Idle if matches!(self.phase, Phase::Stopping { .. } | Phase::Halted) => {
                View::Down
            }
            Life::Idle => match self.group_of(child) {
                Some(group) if group.reason != GroupReason::Boot => {
                    View::Backoff { until: group.until }
                }
                _ => View::Idle,
            },
            Life::Starting { .. } => View::Starting,
            Life::Up { since } => View::Up { since },
            Life::Stopping(Stopping { reason: StopReason::Fell(at), .. }) => {
                View::Backoff { until: at }
            }
            Life::Stopping(_) => View::Stopping,
            Life::Ended => View::Down,
        }
    }

    /// The newest incarnation of `child`; 0 before the first.
    pub fn incarnation(&self, child: usize) -> u64 {
        self.children[child].incarnation
    }

    /// How often `child` was restarted.
    pub fn restarts(&self, child: usize) -> u64 {
        self.children[child].restarts
    }

    /// Whether `child` was ended for good by hand.
    pub fn is_removed(&self, child: usize) -> bool {
        self.children[child].removed
    }

    /// Whether `child` has ended for good, as opposed to having ended with its supervisor.
    pub fn has_ended(&self, child: usize) -> bool {
        self.children[child].life == Life::Ended
    }

    /// How `child` last ended.
    pub fn last_exit(&self, child: usize) -> Option<&Exit> {
        self.children[child].last_exit.as_ref()
    }

    /// How many falls the supervisor still tolerates at `now`.
    pub fn falls_left(&self, now: Instant) -> u32 {
        self.window.left(now)
    }

    fn boot(&mut self, now: Instant) {
        if matches!(self.phase, Phase::New) {
            self.phase = Phase::Running;
            let members = (0..self.children.len()).collect();
            let (phase, reason) = (GroupPhase::Starting, GroupReason::Boot);
            self.groups.push(Group { members, until: now, phase, reason, boots: true });
        }
    }

    fn started(&mut self, now: Instant, key: Key, out: &mut Vec<Effect>) {
        let child = &mut self.children[key.child];
        if child.incarnation != key.incarnation {
            return;
        }
        // A start that was given up on is being killed: its late success changes nothing.
        if let Life::Starting { since, finishing } = child.life {
            child.life = Life::Up { since: now };
            out.push(Effect::Tell(key, Change::Started { took: now - since }));
            if finishing {
                self.finish(now, key, out);
            }
        }
    }

    fn finish(&mut self, now: Instant, key: Key, out: &mut Vec<Effect>) {
        let child = &mut self.children[key.child];
        // Where everything is ending, its turn comes.
        let is_running = matches!(self.phase, Phase::Running);
        if child.incarnation != key.incarnation || !is_running {
            return;
        }
        match &mut child.life {
            Life::Starting { finishing, .. } => *finishing = true,
            Life::Up { .. } => self.begin_stop(now, key.child, StopReason::Finishing, out),
            Life::Stopping(_) | Life::Idle | Life::Ended => {}
        }
    }

    /// From here on it has a second to be gone. One that was still starting is bounded by that, and
    /// the news that it came up may be on its way.
    fn note_fall(&mut self, now: Instant, key: Key) {
        let leaked_at = Some(now + self.grace(now));
        let child = &mut self.children[key.child];
        if child.incarnation == key.incarnation
            && let Life::Up { since } = child.life
        {
            let (reason, up_since) = (StopReason::Fell(now), Some(since));
            let stopping = Stopping { reason, up_since, kill_at: None, leaked_at, leaked: false };
            child.life = Life::Stopping(stopping);
        }
    }

    fn exited(&mut self, now: Instant, key: Key, exit: Exit, out: &mut Vec<Effect>) {
        let child = &mut self.children[key.child];
        if child.incarnation != key.incarnation || !child.is_alive() {
            return;
        }
        let was = std::mem::replace(&mut child.life, Life::Idle);
        let (exit, up_since, reason) = match was {
            Life::Stopping(stopping) => {
                let exit = match stopping.reason {
                    StopReason::Finishing if !exit.is_abnormal() => Exit::Normal,
                    StopReason::StartTimedOut => {
                        Exit::StartTimedOut(child.policy.start_timeout.unwrap_or_default())
                    }
                    StopReason::Finishing | StopReason::Asked | StopReason::Fell(_) => exit,
                };
                (exit, stopping.up_since, Some(stopping.reason))
            }
            Life::Up { since } => (exit, Some(since), None),
            Life::Starting { .. } | Life::Idle | Life::Ended => (exit, None, None),
        };
        let fell_at = match reason {
            Some(StopReason::Fell(at)) => at,
            _ => now,
        };
        let uptime =
            up_since.map_or(Duration::ZERO, |since| fell_at.saturating_duration_since(since));
        let was_starting =
            matches!(was, Life::Starting { .. }) || reason == Some(StopReason::StartTimedOut);
        child.last_exit = Some(exit.clone());
        out.push(Effect::Tell(key, Change::Exited { exit: exit.clone(), uptime }));
        if child.removed {
            child.life = Life::Ended;
        } else if !matches!(self.phase, Phase::Running) {
            // Everything is ending: `advance` goes on with the next.
        } else if reason == Some(StopReason::Asked) {
            // A temporary child that fell with its siblings is not started again.
            let temporary = child.policy.restart == Restart::Temporary;
            let fell_along = |group: &Group| group.reason == GroupReason::Fall;
            if temporary && self.group_of(key.child).is_some_and(fell_along) {
                self.children[key.child].life = Life::Ended;
            }
        } else {
            self.fell(now, key, exit, uptime, was_starting, out);
        }
    }

    /// Decides what becomes of a child that ended without being asked to.
    fn fell(
        &mut self,
        now: Instant,
        key: Key,
        exit: Exit,
        uptime: Duration,
        was_starting: bool,
        out: &mut Vec<Effect>,
    ) {
        let child = &mut self.children[key.child];
        let path = Arc::clone(&child.policy.path);
        if was_starting && !self.booted {
            return self.escalate(key, Cause::StartFailed { path, exit }, out);
        }
        if child.policy.significant && exit.is_abnormal() {
            return self.escalate(key, Cause::SignificantExit { path, exit }, out);
        }
        let restarts = match child.policy.restart {
            Restart::Permanent => true,
            Restart::Transient => exit.is_abnormal(),
            Restart::Temporary => false,
        };
        if !restarts {
            child.life = Life::Ended;
            return;
        }
        if !self.window.admit(now) {
            let falls = self.window.count() + 1;
            let cause = Cause::TooManyRestarts { path, falls, within: self.within, exit };
            return self.escalate(key, cause, out);
        }
        if uptime >= child.policy.backoff.stable_after {
            child.attempt = 0;
        }
        let delay = child.policy.backoff.delay(child.attempt, self.rng.f64());
        child.attempt = child.attempt.saturating_add(1);
        child.restarts += 1;
        let attempt = child.attempt;
        out.push(Effect::Tell(key, Change::RestartScheduled { delay, attempt }));
        self.regroup(key.child, now + delay);
    }

    fn remove(&mut self, child: usize) {
        self.children[child].removed = true;
        if !self.children[child].is_alive() {
            self.children[child].life = Life::Ended;
        }
        self.leave_groups(child);
    }

    /// Takes every step that what has happened so far allows.
    fn advance(&mut self, now: Instant, out: &mut Vec<Effect>) {
        match &self.phase {
            Phase::New | Phase::Halted => {}
            Phase::Running => {
                self.advance_removals(now, out);
                let mut groups = std::mem::take(&mut self.groups);
                groups.retain_mut(|group| !self.advance_group(now, group, out));
                self.groups = groups;
            }
            Phase::Stopping { cause, .. } => {
                let cause = cause.clone();
                let all = 0..self.children.len();
                if self.stop_last_of(now, all, out) {
                    self.phase = Phase::Halted;
                    out.push(Effect::Halt(cause));
                }
            }
        }
    }

    fn advance_removals(&mut self, now: Instant, out: &mut Vec<Effect>) {
        for child in 0..self.children.len() {
            if self.children[child].removed {
                self.stop_last_of(now, std::iter::once(child), out);
            }
        }
    }
}
