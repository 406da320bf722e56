//! The decisions of one supervisor, without a runtime.
//!
//! The machine is told what happened ([`Input`]) and when, and answers with what to do ([`Effect`]).
//! It reads no clock, draws no random number but from its own seed, and never waits; every event
//! names the incarnation it speaks of, so that a late one is ignored by construction.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::exit::{Cause, Exit};
use crate::intensity::Window;
use crate::policy::{ChildPolicy, Flags, Restart, Shutdown, Strategy};

/// After a kill, how long a child may take to be gone before it is reported as leaked.
const KILL_GRACE: Duration = Duration::from_secs(1);
/// The same once the time for the whole shutdown is over, and what each child that is still up has
/// left then to end well.
const LAST_GRACE: Duration = Duration::from_millis(50);
/// How long a child that asked to end may take where [`Shutdown::Kill`] names no time.
const FINISH_LIMIT: Duration = Duration::from_secs(5);

/// One incarnation of one child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Which child, in start order.
    pub child: usize,
    /// Which of its incarnations; the first is 1.
    pub incarnation: u64,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// Start the children, in order.
    Boot,
    /// This incarnation is up: its `init` succeeded.
    Started(Key),
    /// This incarnation asks to end by itself.
    Finish(Key),
    /// This incarnation has ended, and nothing of it is left.
    Exited(Key, Exit),
    /// Restart this child, without counting it as a fall.
    Restart(usize),
    /// End this child for good.
    Remove(usize),
    /// End all children, in reverse order, until then at the latest.
    Shutdown(Instant),
    /// Time has passed.
    Tick,
}

/// What to do.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Start this incarnation.
    Spawn(Key),
    /// Ask this incarnation to end as its [`Shutdown`] says, until then at the latest.
    Stop(Key, Option<Instant>),
    /// Cut this incarnation off.
    Kill(Key),
    /// Tell whoever watches.
    Tell(Key, Change),
    /// Every child has been started once.
    Booted,
    /// The supervisor is done; with a cause if it gave up.
    Halt(Option<Arc<Cause>>),
}

/// What a watcher is told of one incarnation.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Change {
    /// It is up, after this long.
    Started {
        /// From the spawn to the end of `init`.
        took: Duration,
    },
    /// It ended.
    Exited {
        /// How.
        exit: Exit,
        /// How long it had been up.
        uptime: Duration,
    },
    /// It will be started again.
    RestartScheduled {
        /// How long from now.
        delay: Duration,
        /// The how-manieth attempt without a stable incarnation in between; the first is 1.
        attempt: u32,
    },
    /// It did not end in time and is being cut off.
    StopTimedOut,
    /// It was cut off and is still there: it blocks its thread. No other incarnation of it is
    /// started before it is gone.
    Leaked,
    /// Its fall was one too many: the supervisor gives up.
    Escalated {
        /// Why.
        cause: Arc<Cause>,
    },
    /// It refuses messages, its mailbox being full. Told once until half of it is free again.
    Overloaded {
        /// The messages queued.
        depth: usize,
    },
}

/// What a child is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
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
struct Stopping {
    reason: StopReason,
    /// `None` if it never came up.
    up_since: Option<Instant>,
    kill_at: Option<Instant>,
    leaked_at: Option<Instant>,
    leaked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopReason {
    /// A restart, a removal or a shutdown wants it gone: no fall.
    Asked,
    /// It asked to end by itself.
    Finishing,
    /// Its `init` was not done in time.
    StartTimedOut,
}

#[derive(Debug)]
struct Child {
    policy: ChildPolicy,
    incarnation: u64,
    life: Life,
    /// Attempts since an incarnation was last stable.
    attempt: u32,
    restarts: u64,
    removed: bool,
    last_exit: Option<Exit>,
}

impl Child {
    fn is_alive(&self) -> bool {
        matches!(self.life, Life::Starting { .. } | Life::Up { .. } | Life::Stopping(_))
    }
}

/// Children that are brought up together: all of them at boot, later those that fell together.
#[derive(Debug)]
struct Group {
    /// In start order.
    members: Vec<usize>,
    /// When the first may start.
    until: Instant,
    /// Exits to `Starting` when no member is alive and `until` has come.
    phase: GroupPhase,
    reason: GroupReason,
    /// Whether the boot is done when this group is up.
    boots: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GroupReason {
    Boot,
    Fall,
    ByHand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GroupPhase {
    Stopping,
    Starting,
}

#[derive(Debug)]
enum Phase {
    /// Exits to `Running` by `Input::Boot`, to `Halted`.
    New,
    /// Exits to `Stopping`.
    Running,
    /// Exits to `Halted` when no child is left.
    Stopping { deadline: Option<Instant>, cause: Option<Arc<Cause>> },
    /// The end.
    Halted,
}

/// What a child is doing, for those who look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// Waits for its turn to start.
    Idle,
    /// In `init`.
    Starting,
    /// Running since then.
    Up {
        /// When `init` was done.
        since: Instant,
    },
    /// Fell; is started again then.
    Backoff {
        /// When.
        until: Instant,
    },
    /// Asked to end.
    Stopping,
    /// Ended for good.
    Down,
}

/// The decisions of one supervisor.
#[derive(Debug)]
pub struct Machine {
    strategy: Strategy,
    window: Window,
    within: Duration,
    children: Vec<Child>,
    groups: Vec<Group>,
    phase: Phase,
    booted: bool,
    rng: fastrand::Rng,
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
                    StopReason::Finishing | StopReason::Asked => exit,
                };
                (exit, stopping.up_since, Some(stopping.reason))
            }
            Life::Up { since } => (exit, Some(since), None),
            Life::Starting { .. } | Life::Idle | Life::Ended => (exit, None, None),
        };
        let uptime = up_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
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

    /// Puts a fallen child, and whoever falls with it, into one group that starts at `until`.
    fn regroup(&mut self, fallen: usize, mut until: Instant) {
        let strategy = self.strategy;
        let falls_too = |child: usize| match strategy {
            Strategy::OneForOne => child == fallen,
            Strategy::OneForAll => true,
            Strategy::RestForOne => child >= fallen,
        };
        let mut members: Vec<usize> = (0..self.children.len())
            .filter(|&child| falls_too(child) && !matches!(self.children[child].life, Life::Ended))
            .collect();
        // A further fall joins a restart that is under way. What it must not do is to restart once
        // more what is already back, or to touch the restart by hand of someone it spares.
        let joins = |group: &Group| {
            strategy != Strategy::OneForOne
                && (group.reason != GroupReason::ByHand
                    || group.members.iter().any(|&member| falls_too(member)))
        };
        let mut boots = false;
        for group in self.groups.extract_if(.., |group| joins(group)) {
            until = until.max(group.until);
            boots |= group.boots;
            let is_due = |member: &usize| {
                group.phase == GroupPhase::Stopping || self.children[*member].life == Life::Idle
            };
            members.extend(group.members.iter().copied().filter(is_due));
        }
        members.sort_unstable();
        members.dedup();
        self.leave_groups(fallen);
        let (phase, reason) = (GroupPhase::Stopping, GroupReason::Fall);
        self.groups.push(Group { members, until, phase, reason, boots });
    }

    /// Takes a child out of whatever it was to be started with.
    fn leave_groups(&mut self, child: usize) {
        for group in &mut self.groups {
            group.members.retain(|&member| member != child);
        }
        self.groups.retain(|group| group.boots || !group.members.is_empty());
    }

    fn escalate(&mut self, key: Key, cause: Cause, out: &mut Vec<Effect>) {
        let cause = Arc::new(cause);
        out.push(Effect::Tell(key, Change::Escalated { cause: Arc::clone(&cause) }));
        self.groups.clear();
        self.phase = Phase::Stopping { deadline: None, cause: Some(cause) };
    }

    fn restart(&mut self, now: Instant, child: usize) {
        if !matches!(self.phase, Phase::Running) || self.children[child].removed {
            return;
        }
        self.children[child].attempt = 0;
        let comes_back = match self.children[child].life {
            Life::Idle => true,
            Life::Stopping(Stopping { reason: StopReason::Asked, .. }) => {
                self.children[child].policy.restart != Restart::Temporary
            }
            Life::Stopping(_) | Life::Starting { .. } | Life::Up { .. } | Life::Ended => false,
        };
        let mut groups = self.groups.iter_mut();
        if comes_back && let Some(group) = groups.find(|group| group.members.contains(&child)) {
            // Its turn comes, and now without delay.
            group.until = group.until.min(now);
            return;
        }
        match &mut self.children[child].life {
            life @ Life::Ended => *life = Life::Idle,
            // What it asked for itself is no longer the last word.
            Life::Stopping(Stopping { reason: reason @ StopReason::Finishing, .. }) => {
                *reason = StopReason::Asked;
            }
            Life::Stopping(_) | Life::Starting { .. } | Life::Up { .. } | Life::Idle => {}
        }
        self.leave_groups(child);
        let (phase, reason) = (GroupPhase::Stopping, GroupReason::ByHand);
        let members = vec![child];
        self.groups.push(Group { members, until: now, phase, reason, boots: false });
    }

    fn remove(&mut self, child: usize) {
        self.children[child].removed = true;
        if !self.children[child].is_alive() {
            self.children[child].life = Life::Ended;
        }
        self.leave_groups(child);
    }

    fn shut_down(&mut self, now: Instant, until: Instant, out: &mut Vec<Effect>) {
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
    fn expire(&mut self, now: Instant, out: &mut Vec<Effect>) {
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

    /// Brings a group one step further. `true` when all of it is up.
    fn advance_group(&mut self, now: Instant, group: &mut Group, out: &mut Vec<Effect>) -> bool {
        if group.phase == GroupPhase::Stopping {
            let all_down = self.stop_last_of(now, group.members.iter().copied(), out);
            if !all_down || now < group.until {
                return false;
            }
            group.phase = GroupPhase::Starting;
        }
        for &member in &group.members {
            match self.children[member].life {
                Life::Up { .. } | Life::Ended => {}
                Life::Starting { .. } | Life::Stopping(_) => return false,
                Life::Idle => {
                    let child = &mut self.children[member];
                    child.incarnation += 1;
                    child.life = Life::Starting { since: now, finishing: false };
                    let incarnation = child.incarnation;
                    out.push(Effect::Spawn(Key { child: member, incarnation }));
                    return false;
                }
            }
        }
        if group.boots && !self.booted {
            self.booted = true;
            out.push(Effect::Booted);
        }
        true
    }

    /// Asks the last living child of `members` to end. `true` when none is left that could.
    fn stop_last_of(
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

    fn begin_stop(
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
        // A child in `init` does not read its mailbox: only a kill reaches it.
        let kills = up_since.is_none() || limit == Some(Duration::ZERO);
        let leaked_at = kills.then(|| now + grace);
        child.life =
            Life::Stopping(Stopping { reason, up_since, kill_at, leaked_at, leaked: false });
        out.push(if kills { Effect::Kill(key) } else { Effect::Stop(key, until) });
    }

    fn grace(&self, now: Instant) -> Duration {
        match self.phase {
            Phase::Stopping { deadline: Some(deadline), .. } => {
                deadline.saturating_duration_since(now).clamp(LAST_GRACE, KILL_GRACE)
            }
            _ => KILL_GRACE,
        }
    }

    fn group_of(&self, child: usize) -> Option<&Group> {
        self.groups.iter().find(|group| group.members.contains(&child))
    }
}

/// A supervisor keeps its deadline itself, and needs a moment to cut off its last child.
fn spare_of(shutdown: Shutdown) -> Duration {
    if shutdown == Shutdown::Unlimited { KILL_GRACE } else { Duration::ZERO }
}

/// When an `init` that began at `since` has taken too long. A limit past the end of time is none.
fn start_limit(policy: &ChildPolicy, since: Instant) -> Option<Instant> {
    policy.start_timeout.and_then(|limit| since.checked_add(limit))
}
