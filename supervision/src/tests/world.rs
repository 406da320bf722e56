//! A world for the machine: children that misbehave by script, and a clock that only tests move.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::machine::{Change, Deadlines, Effect, Input, Key, Machine, State};
use crate::policy::{ChildPolicy, SupervisorPolicy};
use crate::{Backoff, Cause, Exit, Jitter, Restart, Shutdown, Strategy};

/// What one incarnation does. Times are milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plot {
    pub(super) start: Start,
    pub(super) run: Run,
    pub(super) stop: Ending,
    /// How long it takes to be gone after a kill; far beyond the grace it leaks.
    pub(super) kill_ms: u64,
    /// How long something of it is left after its end.
    pub(super) lingers_ms: u64,
    /// How long it waits before its start begins, for what is left of an incarnation that the machine
    /// never knew.
    pub(super) waits_ms: u64,
    /// How long its messages travel.
    pub(super) lag_ms: u64,
    /// Whether everything it said is said once more after its end.
    pub(super) echoes: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Start {
    Succeeds(u64),
    Fails(u64),
    Hangs,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Run {
    Stays,
    Falls(u64),
    Finishes(u64),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    Obeys(u64),
    Panics(u64),
    Ignores,
}

impl Plot {
    pub(super) const GOOD: Self = Self {
        start: Start::Succeeds(0),
        run: Run::Stays,
        stop: Ending::Obeys(0),
        kill_ms: 0,
        lingers_ms: 0,
        waits_ms: 0,
        lag_ms: 0,
        echoes: false,
    };
}

/// What an operator does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Deed {
    Restart(usize),
    Remove(usize),
    Shutdown(u64),
    /// The supervisor gets no processor for so long.
    Stall(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    Waiting,
    Starting,
    Up,
}

#[derive(Debug, Clone, Copy)]
enum Doing {
    Begins,
    StartSucceeds,
    StartFails,
    Falls,
    Finishes,
    Stops,
    StopPanics,
    DiesOfKill,
}

#[derive(Debug, Clone)]
enum Happening {
    /// Something happens to a child, whoever knows.
    Happens(Key, Doing),
    /// The machine is told.
    Told(Input),
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "a check list, not a state")]
struct Child {
    plots: Vec<Plot>,
    /// The incarnation that truly exists.
    alive: Option<(Key, Truth)>,
    /// No message of it arrives before this.
    heard: Instant,
    /// What the machine may know.
    newest: u64,
    up: bool,
    ended_before: bool,
    by_hand: bool,
    /// Restarted by hand, and not up since: it keeps no order.
    apart: bool,
    removed: bool,
    /// A `Stop` or `Kill` of this incarnation was seen.
    stopping: bool,
    /// It is ended for a reason that is not its own.
    asked: bool,
    leaked: bool,
    fell: bool,
    /// It has ended, and something of it is left.
    lingers: bool,
    spawned_at: u64,
    fell_at: u64,
    spawn_time: Instant,
    /// When it truly began to start; `None` while it waits.
    begun_time: Option<Instant>,
    /// Whether the machine was told that it waits, and not yet that it begins.
    told_waits: bool,
}

/// The machine in its world, with the promises checked at each step.
pub(super) struct World {
    pub(super) machine: Machine,
    pub(super) now: Instant,
    pub(super) log: Vec<String>,
    start: Instant,
    /// What watchers were last told of each child.
    published: Vec<String>,
    flags: SupervisorPolicy,
    policies: Vec<ChildPolicy>,
    children: Vec<Child>,
    queue: BTreeMap<(Instant, u64), Happening>,
    sequence: u64,
    restarts: Vec<Instant>,
    booted: bool,
    ending: bool,
    /// When everyone who is left may be ended, in whatever order.
    ask_all_at: Option<Instant>,
    /// Those that the end of everything has asked to end, one after the other.
    ended_by_order: Vec<usize>,
    pub(super) halted: bool,
    pub(super) cause: Option<Arc<Cause>>,
}

pub(super) fn policy(path: &str) -> ChildPolicy {
    ChildPolicy {
        path: Arc::from(path),
        is_supervisor: false,
        restart: Restart::Permanent,
        significant: false,
        backoff: Backoff { jitter: Jitter::None, ..Backoff::default() },
        shutdown: Shutdown::Stop(Duration::from_secs(5)),
        start_timeout: Some(Duration::from_secs(5)),
        stall_after: None,
    }
}

impl World {
    pub(super) fn new(
        flags: SupervisorPolicy,
        children: Vec<(ChildPolicy, Vec<Plot>)>,
        seed: u64,
    ) -> Self {
        let now = Instant::now();
        let (policies, plots): (Vec<_>, Vec<_>) = children.into_iter().unzip();
        let child = |plots| Child {
            plots,
            alive: None,
            heard: now,
            newest: 0,
            up: false,
            ended_before: false,
            by_hand: false,
            apart: false,
            removed: false,
            stopping: false,
            asked: false,
            leaked: false,
            fell: false,
            lingers: false,
            spawned_at: 0,
            fell_at: 0,
            spawn_time: now,
            begun_time: None,
            told_waits: false,
        };
        let machine = Machine::new(flags, policies.clone(), seed);
        let published =
            (0..policies.len()).map(|child| format!("{:?}", machine.summary(child))).collect();
        Self {
            machine,
            published,
            now,
            log: Vec::new(),
            start: now,
            flags,
            policies,
            children: plots.into_iter().map(child).collect(),
            queue: BTreeMap::new(),
            sequence: 0,
            restarts: Vec::new(),
            booted: false,
            ending: false,
            ask_all_at: None,
            ended_by_order: Vec::new(),
            halted: false,
            cause: None,
        }
    }

    pub(super) fn boot(&mut self) {
        self.feed(Input::Boot);
    }

    pub(super) fn view(&self, child: usize) -> State {
        self.machine.summary(child).state
    }

    pub(super) fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    pub(super) fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    pub(super) fn act(&mut self, deed: Deed) {
        match deed {
            Deed::Restart(child) => {
                if !self.children[child].removed && !self.ending {
                    self.children[child].by_hand = true;
                    self.children[child].apart = true;
                }
                self.feed(Input::Restart(child));
            }
            Deed::Remove(child) => {
                self.children[child].removed = true;
                self.feed(Input::Remove(child));
            }
            Deed::Shutdown(budget) => {
                self.begin_ending();
                let deadlines = Deadlines::within(self.now, Duration::from_millis(budget));
                let ask_all = deadlines.ask_all;
                self.ask_all_at = Some(self.ask_all_at.map_or(ask_all, |at| at.min(ask_all)));
                self.feed(Input::Shutdown(deadlines));
            }
            Deed::Stall(ms) => self.now += Duration::from_millis(ms),
        }
    }

    /// Lets everything happen that is due by then.
    pub(super) fn run_until(&mut self, until: Instant) {
        for _ in 0..20_000 {
            let happening = self.queue.first_key_value().map(|(&(at, _), _)| at);
            let deadline = self.machine.next_deadline();
            let next = match (happening, deadline) {
                (Some(one), Some(other)) => one.min(other),
                (one, other) => match one.or(other) {
                    Some(next) => next,
                    None => break,
                },
            };
            if next > until {
                break;
            }
            self.now = self.now.max(next);
            if happening == Some(next) {
                let (_, happening) = self.queue.pop_first().expect("it was looked at above");
                self.happen(happening);
            } else {
                self.feed(Input::Tick);
            }
        }
        if let Some((&(at, _), _)) = self.queue.first_key_value() {
            assert!(at > until, "the world does not come to rest");
        }
        self.now = self.now.max(until);
    }

    pub(super) fn run_for(&mut self, ms: u64) {
        self.run_until(self.now + Duration::from_millis(ms));
    }

    /// Lets everything happen that will.
    pub(super) fn run_to_rest(&mut self) {
        self.run_until(self.now + Duration::from_secs(86_400 * 10));
        assert_eq!(self.machine.next_deadline(), None, "a timer is left that nothing comes of");
        assert!(self.queue.is_empty(), "the world comes to rest");
    }

    /// What must hold when everything has come to rest.
    pub(super) fn check_rest(&self) {
        if self.halted {
            return;
        }
        assert!(!self.ending, "an end that was begun comes to its end");
        assert!(self.booted, "a boot that was begun ends in Booted, or in Halt");
        for (index, child) in self.children.iter().enumerate() {
            let temporary = self.policies[index].restart != Restart::Permanent;
            match self.machine.summary(index).state {
                State::Up => assert!(child.up, "{index} is up only in the machine's mind"),
                State::Down => assert!(
                    child.removed || (temporary && child.ended_before),
                    "{index} is down although it should come back"
                ),
                other => panic!("{index} rests in {other:?}"),
            }
            if child.up {
                for (other, cause) in self.children.iter().enumerate() {
                    assert!(
                        !self.fall_together(other, index) || cause.fell_at < child.spawned_at,
                        "{index} was to be restarted with {other}"
                    );
                }
            }
        }
    }

    fn fall_together(&self, fallen: usize, other: usize) -> bool {
        match self.flags.strategy {
            Strategy::OneForOne => false,
            Strategy::OneForAll => fallen != other,
            Strategy::RestForOne => fallen < other,
        }
    }

    fn begin_ending(&mut self) {
        if !self.ending {
            self.ending = true;
            self.ended_by_order.clear();
        }
    }

    fn plot(&self, key: Key) -> Plot {
        let plots = &self.children[key.child].plots;
        let index = usize::try_from(key.incarnation - 1).unwrap();
        plots.get(index).copied().unwrap_or(Plot::GOOD)
    }

    fn later(&mut self, key: Key, ms: u64, doing: Doing) {
        self.enqueue(self.now + Duration::from_millis(ms), Happening::Happens(key, doing));
    }

    fn enqueue(&mut self, at: Instant, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), happening);
    }

    /// A child's messages travel, and keep their order.
    fn send(&mut self, key: Key, input: Input) {
        let lag = Duration::from_millis(self.plot(key).lag_ms);
        let at = self.children[key.child].heard.max(self.now + lag);
        self.children[key.child].heard = at;
        self.enqueue(at, Happening::Told(input));
    }

    /// What the supervisor is told through another door may arrive before what was said earlier.
    fn overtake(&mut self, key: Key, input: Input) {
        let lag = Duration::from_millis(self.plot(key).lag_ms / 2);
        self.enqueue(self.now + lag, Happening::Told(input));
    }

    fn happen(&mut self, happening: Happening) {
        let (key, doing) = match happening {
            Happening::Told(input) => return self.feed(input),
            Happening::Happens(key, doing) => (key, doing),
        };
        let Some((alive, truth)) = self.children[key.child].alive else { return };
        if alive != key {
            return;
        }
        let panicked = || Exit::Panicked(Arc::from("boom"));
        match (doing, truth) {
            (Doing::Begins, Truth::Waiting) => {
                self.children[key.child].alive = Some((key, Truth::Starting));
                self.children[key.child].begun_time = Some(self.now);
                self.send(key, Input::Begins(key));
                self.begin(key);
            }
            (Doing::Stops, Truth::Starting) if self.policies[key.child].is_supervisor => {
                self.end(key, Exit::Stopped);
            }
            (Doing::StartSucceeds, Truth::Starting) => {
                self.children[key.child].alive = Some((key, Truth::Up));
                self.send(key, Input::Started(key));
                match self.plot(key).run {
                    Run::Stays => {}
                    Run::Falls(ms) => self.later(key, ms, Doing::Falls),
                    Run::Finishes(ms) => self.later(key, ms, Doing::Finishes),
                }
            }
            (Doing::StartFails, Truth::Starting) => {
                self.end(key, Exit::StartFailed(Arc::from("no luck")));
            }
            (Doing::Finishes, Truth::Up) => self.send(key, Input::Finish(key)),
            (Doing::Falls | Doing::StopPanics, Truth::Up) => self.end(key, panicked()),
            (Doing::Stops, Truth::Up) => self.end(key, Exit::Stopped),
            (Doing::DiesOfKill, _) => self.end(key, Exit::Killed),
            (
                Doing::Begins
                | Doing::StartSucceeds
                | Doing::StartFails
                | Doing::Falls
                | Doing::Finishes
                | Doing::Stops
                | Doing::StopPanics,
                _,
            ) => {}
        }
    }

    fn end(&mut self, key: Key, exit: Exit) {
        self.children[key.child].alive = None;
        self.children[key.child].lingers = true;
        self.overtake(key, Input::Fell(key, exit.clone()));
        let gone = self.now + Duration::from_millis(self.plot(key).lingers_ms);
        self.children[key.child].heard = self.children[key.child].heard.max(gone);
        self.send(key, Input::Exited(key, exit.clone()));
        if self.plot(key).echoes {
            self.send(key, Input::Started(key));
            self.send(key, Input::Finish(key));
            self.send(key, Input::Exited(key, exit));
        }
    }

    fn feed(&mut self, input: Input) {
        let was_ended = self.halted;
        let told_of_fall = self.note(&input);
        let mut effects = Vec::new();
        self.machine.on(self.now, input, &mut effects);
        assert!(!was_ended || effects.is_empty(), "after Halt there came {effects:?}");
        if let Some(key) = told_of_fall {
            let escalates =
                |effect: &Effect| matches!(effect, Effect::Tell(_, Change::Escalated { .. }));
            assert!(effects.iter().any(escalates), "{key:?} was significant: {effects:?}");
        }
        for effect in effects {
            self.carry_out(effect);
        }
        // What is due is done within a few ticks: no busy loop.
        for _ in 0..=4 * self.children.len() {
            let Some(deadline) = self.machine.next_deadline() else { break };
            if deadline > self.now {
                break;
            }
            let mut effects = Vec::new();
            self.machine.on(self.now, Input::Tick, &mut effects);
            for effect in effects {
                self.carry_out(effect);
            }
        }
        if let Some(deadline) = self.machine.next_deadline() {
            assert!(deadline > self.now, "a deadline lies in the past after a tick");
        }
        self.publish();
        self.check_alarms();
    }

    /// Whoever watches was told of everything that is new, and of nothing else.
    fn publish(&mut self) {
        while let Some(index) = self.machine.next_changed() {
            self.published[index] = format!("{:?}", self.machine.summary(index));
        }
        for (index, published) in self.published.iter().enumerate() {
            let now = format!("{:?}", self.machine.summary(index));
            assert_eq!(*published, now, "watchers know something old of {index}");
        }
    }

    /// Keeps the books on what the machine is about to hear. The key of a significant child whose
    /// fall must escalate.
    fn note(&mut self, input: &Input) -> Option<Key> {
        if let Input::Waits(key) | Input::Begins(key) = input
            && self.children[key.child].newest == key.incarnation
        {
            self.children[key.child].told_waits = matches!(input, Input::Waits(_));
        }
        let Input::Exited(key, exit) = input else { return None };
        let child = &mut self.children[key.child];
        if child.newest != key.incarnation || child.fell {
            return None;
        }
        child.up = false;
        child.fell = true;
        child.lingers = false;
        child.ended_before = true;
        child.leaked = false;
        let wanted = child.asked || child.by_hand || child.removed || self.ending;
        let must = !wanted && exit.is_abnormal() && self.policies[key.child].significant;
        must.then_some(*key)
    }

    /// Whatever must happen by time has a timer.
    fn check_alarms(&self) {
        if self.halted {
            return;
        }
        for (index, child) in self.children.iter().enumerate() {
            let needs = match self.machine.summary(index).state {
                State::Starting => {
                    !child.told_waits
                        && self.policies[index]
                            .start_timeout
                            .is_some_and(|limit| limit < Duration::MAX)
                }
                // It waits for no one's end, as far as the machine may know.
                State::Backoff => self.children.iter().all(|child| child.fell || child.newest == 0),
                State::Stopping => {
                    !child.leaked
                        && self.policies[index].shutdown != Shutdown::Unlimited
                        && self.policies[index].shutdown != Shutdown::Stop(Duration::MAX)
                }
                State::Idle | State::Up | State::Down => false,
            };
            assert!(
                !needs || self.machine.next_deadline().is_some(),
                "{index} is {:?}, and no timer is set",
                self.machine.summary(index).state
            );
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        assert!(!self.halted, "after Halt there came {effect:?}");
        match effect {
            Effect::Spawn(key) => self.spawn(key),
            Effect::Stop(key, deadlines) if self.policies[key.child].is_supervisor => {
                self.log(key, "stop");
                self.check_end(key);
                // One obeys in its own time, and gives up on its children by the deadlines.
                let ms = match self.plot(key).stop {
                    Ending::Obeys(ms) | Ending::Panics(ms) => ms,
                    Ending::Ignores => 100_000,
                };
                let at = self.now + Duration::from_millis(ms);
                let give_up = deadlines.map_or(at, |deadlines| deadlines.give_up.max(self.now));
                self.enqueue(at.min(give_up), Happening::Happens(key, Doing::Stops));
            }
            Effect::Stop(key, _) => {
                self.log(key, "stop");
                self.check_end(key);
                match self.plot(key).stop {
                    Ending::Obeys(ms) => self.later(key, ms, Doing::Stops),
                    Ending::Panics(ms) => self.later(key, ms, Doing::StopPanics),
                    Ending::Ignores => {}
                }
            }
            Effect::Kill(key) => {
                self.log(key, "kill");
                assert!(!self.policies[key.child].is_supervisor, "{key:?} keeps its own deadlines");
                self.check_end(key);
                self.later(key, self.plot(key).kill_ms, Doing::DiesOfKill);
            }
            Effect::Tell(key, change) => self.told(key, change),
            Effect::Booted => {
                assert!(!self.booted, "it booted twice");
                self.booted = true;
                self.log.push("booted".to_owned());
            }
            Effect::Halt(cause) => {
                for (index, child) in self.children.iter().enumerate() {
                    let is_gone = child.alive.is_none() && !child.lingers;
                    assert!(is_gone || child.leaked, "{index} outlives the end");
                }
                self.log.push("halt".to_owned());
                self.halted = true;
                self.cause = cause;
            }
        }
    }

    fn spawn(&mut self, key: Key) {
        self.log(key, "spawn");
        let index = key.child;
        let (policy, child) = (&self.policies[index], &self.children[index]);
        assert!(!self.ending, "{key:?} is started although all is ending");
        assert!(!child.removed, "{key:?} was removed");
        assert_eq!(child.alive, None, "{key:?} overlaps the one before it");
        assert!(!child.lingers, "{key:?} overlaps what is left of the one before it");
        assert_eq!(key.incarnation, child.newest + 1);
        assert!(
            policy.restart != Restart::Temporary || !child.ended_before || child.by_hand,
            "{key:?} is temporary"
        );
        for (other, lower) in self.children[..index].iter().enumerate() {
            let alone = self.flags.strategy == Strategy::OneForOne;
            let is_finishing = lower.stopping && !lower.asked && !lower.fell && lower.up;
            let is_settled = is_finishing
                || matches!(self.machine.summary(other).state, State::Up | State::Down);
            // What falls with a child is decided when nothing of it is left.
            let is_undecided = lower.lingers;
            let had_its_turn = is_settled
                || is_undecided
                || lower.apart
                || lower.removed
                || alone && lower.ended_before;
            assert!(
                child.by_hand || had_its_turn || alone && self.booted,
                "{key:?} before its turn"
            );
        }
        self.sequence += 1;
        let child = &mut self.children[index];
        child.newest = key.incarnation;
        child.alive = Some((key, Truth::Waiting));
        child.told_waits = false;
        child.begun_time = None;
        child.by_hand = false;
        child.fell = false;
        child.asked = false;
        child.stopping = false;
        child.spawned_at = self.sequence;
        child.spawn_time = self.now;
        let waits_ms = self.plot(key).waits_ms;
        if waits_ms > 0 {
            self.send(key, Input::Waits(key));
            return self.later(key, waits_ms, Doing::Begins);
        }
        let child = &mut self.children[index];
        child.alive = Some((key, Truth::Starting));
        child.begun_time = Some(self.now);
        self.begin(key);
    }

    fn begin(&mut self, key: Key) {
        match self.plot(key).start {
            Start::Succeeds(ms) => self.later(key, ms, Doing::StartSucceeds),
            Start::Fails(ms) => self.later(key, ms, Doing::StartFails),
            Start::Hangs => {}
        }
    }

    /// Somebody is asked to end: is it meant, and is it its turn?
    fn check_end(&mut self, key: Key) {
        let child = &self.children[key.child];
        assert_eq!(child.newest, key.incarnation, "a stale incarnation is ended");
        assert!(!child.fell, "{key:?} has ended already");
        if std::mem::replace(&mut self.children[key.child].stopping, true) {
            return;
        }
        let child = &self.children[key.child];
        let hung = !child.up
            && self.policies[key.child]
                .start_timeout
                .and_then(|limit| child.spawn_time.checked_add(limit))
                .is_some_and(|limit| self.now >= limit);
        if self.ask_all_at.is_some_and(|at| self.now >= at) {
            return;
        }
        if self.ending {
            for &before in self.ended_by_order.iter().filter(|_| !hung) {
                let gone = self.children[before].fell || self.children[before].leaked;
                assert!(gone && before > key.child, "{key:?} is ended before its turn");
            }
            if !hung {
                self.ended_by_order.push(key.child);
            }
            return;
        }
        let finishes = child.up && matches!(self.plot(key).run, Run::Finishes(_));
        let falls_along = self.children.iter().enumerate().any(|(other, cause)| {
            self.fall_together(other, key.child) && cause.fell_at > child.spawned_at
        });
        let asked = falls_along || child.by_hand || child.removed;
        assert!(asked || finishes || hung, "{key:?} is ended, and nobody it falls with fell");
        self.children[key.child].asked = asked;
    }

    fn told(&mut self, key: Key, change: Change) {
        assert_eq!(self.children[key.child].newest, key.incarnation, "stale: {change:?}");
        let within = self.flags.intensity.within;
        match change {
            Change::Started { took } => {
                self.log(key, "up");
                assert_eq!(took, self.now - self.children[key.child].spawn_time);
                self.children[key.child].up = true;
                self.children[key.child].apart = false;
            }
            Change::Exited { exit, uptime } => {
                self.log(key, &format!("exit {exit}"));
                assert!(uptime <= self.now - self.children[key.child].spawn_time);
            }
            Change::RestartScheduled { delay, attempt } => {
                self.log(key, &format!("restart in {delay:?}"));
                assert!(attempt > 0 && delay <= self.policies[key.child].backoff.max);
                self.restarts.push(self.now);
                let now = self.now;
                let counted = self.restarts.iter().filter(|&&at| now - at < within).count();
                assert!(counted <= self.flags.intensity.max as usize, "one restart too many");
                self.sequence += 1;
                self.children[key.child].fell_at = self.sequence;
            }
            Change::StopTimedOut => self.log(key, "stop timed out"),
            Change::Leaked => {
                self.log(key, "leaked");
                self.children[key.child].leaked = true;
            }
            Change::Escalated { cause } => {
                self.log(key, &format!("escalates: {cause}"));
                self.begin_ending();
            }
            Change::Overloaded { .. } => panic!("that is not the machine's to say"),
        }
    }

    fn log(&mut self, key: Key, what: &str) {
        self.log.push(format!("{}#{} {what}", self.policies[key.child].path, key.incarnation));
    }
}
