//! The ractor actor around a [`Machine`]. It executes the machine's decisions.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ractor::actor::messages::BoxedState;
use ractor::{ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::child::{Child, Plan};
use crate::exit::{Cause, Exit, Fall};
use crate::incarnation::{Command, Report};
use crate::machine::{self, Change, Effect, Input, Key, Machine, Summary};
use crate::published::{Ended, Hub, ShutdownReport};
use crate::quiet::drop_quietly;

/// One incarnation of a supervisor.
pub(crate) struct Driver {
    plan: Arc<Plan>,
    hub: Arc<Hub>,
    parent: Parent,
    /// Whether it has ended and reported that.
    has_ended: AtomicBool,
}

/// Who learns that the supervisor is up or has ended.
enum Parent {
    /// It is the root. The caller of `System::start` learns once that everything is up.
    Nobody(Mutex<Option<oneshot::Sender<()>>>),
    /// The supervisor above.
    Supervisor(Report),
}

pub(crate) struct State {
    machine: Machine,
    /// The running incarnation of each child.
    cells: Vec<Option<ActorCell>>,
    keys: HashMap<ActorId, Key>,
    /// Tasks that wait until nothing of an ended incarnation is left.
    leavers: JoinSet<()>,
    timer: Option<Timer>,
}

/// The timer of a supervisor. There is at most one.
struct Timer {
    at: Instant,
    task: AbortHandle,
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("machine", &self.machine).finish_non_exhaustive()
    }
}

impl Driver {
    pub(crate) fn root(plan: Arc<Plan>, hub: Arc<Hub>, booted: oneshot::Sender<()>) -> Self {
        Self {
            plan,
            hub,
            parent: Parent::Nobody(Mutex::new(Some(booted))),
            has_ended: AtomicBool::new(false),
        }
    }

    pub(crate) fn below(plan: Arc<Plan>, report: Report) -> Self {
        Self {
            plan,
            hub: Arc::clone(&report.hub),
            parent: Parent::Supervisor(report),
            has_ended: AtomicBool::new(false),
        }
    }

    /// Feeds an input to the machine and executes its effects.
    async fn feed(
        &self,
        myself: &ActorRef<Command>,
        state: &mut State,
        input: Input,
    ) -> Result<(), ActorProcessingErr> {
        let (mut next, mut failed) = (Some(input), Vec::new());
        let (mut news, mut has_booted, mut ending) = (Vec::new(), false, None);
        while let Some(input) = next {
            let mut effects = Vec::new();
            state.machine.on(Instant::now(), input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Spawn(key) => {
                        if let Err(exit) = self.spawn(myself, state, key).await {
                            failed.push(Input::Exited(key, exit));
                        }
                    }
                    Effect::Stop(key, deadlines) => {
                        self.child(key).close();
                        if let Some(cell) = &state.cells[key.child] {
                            self.child(key).stop(cell, deadlines);
                        }
                    }
                    Effect::Kill(key) => {
                        self.child(key).close();
                        if let Some(cell) = &state.cells[key.child] {
                            self.child(key).kill(cell);
                        }
                    }
                    Effect::Tell(key, change) => {
                        if let (Change::Started { .. }, Some(cell)) =
                            (&change, &state.cells[key.child])
                        {
                            self.child(key).open(key.incarnation, cell);
                        }
                        news.push((key, change));
                    }
                    Effect::Booted => has_booted = true,
                    Effect::Halt(cause) => ending = Some(cause),
                }
            }
            next = failed.pop();
        }
        // Publish before sending the events, so that a reader of an event finds it in the tree.
        self.publish(state);
        for (key, change) in news {
            self.hub.tell(self.child(key).node(), key.incarnation, change);
        }
        if has_booted {
            self.booted();
        }
        state.arm(myself);
        match ending {
            None => Ok(()),
            Some(cause) => self.end(myself, state, cause),
        }
    }

    async fn spawn(
        &self,
        myself: &ActorRef<Command>,
        state: &mut State,
        key: Key,
    ) -> Result<(), Exit> {
        let child = Arc::clone(&self.plan.children[key.child]);
        let report = Report { key, supervisor: myself.clone(), hub: Arc::clone(&self.hub) };
        match child.spawn(report, myself.get_cell()).await {
            Ok(cell) => {
                state.keys.insert(cell.get_id(), key);
                state.cells[key.child] = Some(cell);
                Ok(())
            }
            Err(error) => Err(Exit::StartFailed(Arc::from(error.to_string()))),
        }
    }

    fn is_below(&self) -> bool {
        matches!(self.parent, Parent::Supervisor(_))
    }

    fn child(&self, key: Key) -> &dyn Child {
        self.plan.children[key.child].as_ref()
    }

    fn booted(&self) {
        match &self.parent {
            Parent::Nobody(booted) => {
                let booted = booted.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(booted) = booted {
                    // First, because the root may give up at any time after this.
                    self.plan.node.set_summary(Summary {
                        state: machine::State::Up,
                        up_since: Some(Instant::now()),
                        incarnation: 1,
                        ..Summary::default()
                    });
                    // It fails if the caller has dropped the future of `System::start`.
                    booted.send(()).ok();
                }
            }
            Parent::Supervisor(report) => report.say(Command::Started),
        }
    }

    fn end(
        &self,
        myself: &ActorRef<Command>,
        state: &State,
        cause: Option<Arc<Cause>>,
    ) -> Result<(), ActorProcessingErr> {
        self.has_ended.store(true, Ordering::Relaxed);
        let report = self.report(state);
        self.plan.node.set_report(report.clone());
        if let Parent::Nobody(_) = self.parent {
            let last_exit = cause.clone().map(Exit::GaveUp);
            self.plan.node.set_summary(Summary { last_exit, ..self.plan.node.summary() });
            self.plan.all_down();
            self.plan.node.set_down();
            self.hub.ended.send_replace(Some(Ended { cause: cause.clone(), report }));
            self.hub.touch();
        }
        if let Some(cause) = cause {
            return Err(Fall(Exit::GaveUp(cause)).into());
        }
        myself.stop(None);
        Ok(())
    }

    /// The report of this supervisor and of those below it.
    fn report(&self, state: &State) -> ShutdownReport {
        let mut report = ShutdownReport::default();
        for (index, child) in self.plan.children.iter().enumerate().rev() {
            let node = child.node();
            if child.plan().is_some() {
                report.append(node.report());
            }
            if state.machine.was_killed(index) {
                report.killed.push(node.path().to_string());
            }
            if node.is_occupied() {
                report.leaked.push(node.path().to_string());
            }
        }
        report
    }

    /// Publishes what has changed in the machine.
    fn publish(&self, state: &mut State) {
        while let Some(index) = state.machine.next_changed() {
            let child = &self.plan.children[index];
            let mut summary = state.machine.summary(index);
            if summary.state == machine::State::Down {
                if self.is_below() && !state.machine.has_ended(index) {
                    // It comes back with this supervisor. If this one does not come back, the supervisor
                    // above publishes that.
                    summary.state = machine::State::Idle;
                } else if let Some(plan) = child.plan() {
                    plan.all_down();
                }
            }
            child.node().set_summary(summary);
        }
        self.plan.node.is_ending.store(state.machine.is_ending(), Ordering::Relaxed);
        self.plan.node.falls_left.store(state.machine.falls_left(), Ordering::Relaxed);
        self.hub.touch();
    }

    /// Takes in that an incarnation has ended, and reports it again when nothing of it is left.
    #[expect(clippy::disallowed_methods, reason = "owned by this supervisor, cut off with it")]
    fn leave(
        &self,
        myself: &ActorRef<Command>,
        state: &mut State,
        cell: &ActorCell,
        exit: Exit,
        left: Option<BoxedState>,
    ) -> Option<Input> {
        // Only the children that this incarnation spawned are linked to it.
        let key = state.keys.remove(&cell.get_id())?;
        let child = Arc::clone(&self.plan.children[key.child]);
        child.close();
        child.node().set_load(None);
        if !state.machine.is_ending() {
            // It ended outside of a shutdown: its report is not part of the next one.
            child.node().set_report(ShutdownReport::default());
        }
        state.cells[key.child] = None;
        // One that ended in order has dropped all that it owned: there is nothing to wait for.
        if matches!(exit, Exit::Stopped) && !child.node().is_occupied() {
            return Some(Input::Exited(key, exit));
        }
        let (myself, fell_with) = (myself.clone(), exit.clone());
        while state.leavers.try_join_next().is_some() {}
        state.leavers.spawn(async move {
            // This is what a killed actor owned. Its drop is the actor's own code, which must neither
            // delay the supervisor nor panic in it.
            drop_quietly(left);
            drop(child.node().occupy().await);
            myself.send_message(Command::Gone(key, fell_with)).ok();
        });
        Some(Input::Fell(key, exit))
    }
}

impl State {
    /// Makes sure that the machine gets a tick at its next deadline. A timer for an earlier moment stays:
    /// one useless tick costs less than setting a timer at every step.
    #[expect(clippy::disallowed_methods, reason = "cut off when the supervisor drops its timer")]
    fn arm(&mut self, myself: &ActorRef<Command>) {
        let deadlines = [self.machine.next_deadline(), self.machine.next_forgiven()];
        let Some(at) = deadlines.into_iter().flatten().min() else {
            self.timer = None;
            return;
        };
        if self.timer.as_ref().is_some_and(|timer| timer.at <= at) {
            return;
        }
        let myself = myself.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep_until(at).await;
            myself.send_message(Command::Tick).ok();
        });
        self.timer = Some(Timer { at, task: task.abort_handle() });
    }
}

/// The exit that an error from ractor stands for.
fn exit_of_failure(error: ActorProcessingErr) -> Exit {
    match error.downcast::<Fall>() {
        Ok(fall) => fall.0,
        // All errors of this crate are a `Fall`, so this one comes from ractor.
        Err(other) => Exit::Panicked(Arc::from(other.to_string())),
    }
}

fn exit_of_termination(reason: Option<&str>) -> Exit {
    match reason {
        None | Some("Drained") => Exit::Stopped,
        Some(_killed_or_cancelled) => Exit::Killed,
    }
}

impl ractor::Actor for Driver {
    type Msg = Command;
    type State = State;
    type Arguments = ();

    async fn pre_start(
        &self,
        _myself: ActorRef<Command>,
        _arguments: (),
    ) -> Result<State, ActorProcessingErr> {
        let policies = self.plan.children.iter().map(|child| child.policy()).collect();
        let mut machine = Machine::new(self.plan.policy, policies, fastrand::u64(..));
        for (index, child) in self.plan.children.iter().enumerate() {
            let node = child.node();
            machine.recall(index, &node.summary(), node.is_removed());
        }
        Ok(State {
            machine,
            cells: self.plan.children.iter().map(|_| None).collect(),
            keys: HashMap::new(),
            leavers: JoinSet::new(),
            timer: None,
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<Command>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        self.plan.live.store(Some(Arc::new(myself.clone())));
        self.feed(&myself, state, Input::Boot).await
    }

    async fn handle(
        &self,
        myself: ActorRef<Command>,
        command: Command,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let input = match command {
            Command::Waits(key) => Input::Waits(key),
            Command::Begins(key) => Input::Begins(key),
            Command::Started(key) => Input::Started(key),
            Command::Finish(key) => Input::Finish(key),
            Command::Gone(key, exit) => Input::Exited(key, exit),
            Command::Tick => {
                // It has fired, even if its task has not quite ended.
                state.timer = None;
                Input::Tick
            }
            Command::Restart(child) => Input::Restart(child),
            Command::Remove(child) => Input::Remove(child),
            Command::Shutdown(deadlines) => Input::Shutdown(deadlines),
        };
        self.feed(&myself, state, input).await
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Command>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let input = match event {
            SupervisionEvent::ActorTerminated(cell, left, reason) => {
                let exit = exit_of_termination(reason.as_deref());
                self.leave(&myself, state, &cell, exit, left)
            }
            SupervisionEvent::ActorFailed(cell, error) => {
                self.leave(&myself, state, &cell, exit_of_failure(error), None)
            }
            // An actor is up when its `init` has succeeded, which it reports itself.
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => None,
        };
        match input {
            Some(input) => self.feed(&myself, state, input).await,
            None => Ok(()),
        }
    }
}

impl Drop for Driver {
    /// A driver that is dropped before it has ended was lost with its runtime, or by a bug in this crate.
    /// Everything below it is gone: publish that, so that nobody waits for it.
    fn drop(&mut self) {
        if let Parent::Nobody(_) = self.parent {
            self.plan.release();
        }
        if self.has_ended.load(Ordering::Relaxed) {
            return;
        }
        for child in &self.plan.children {
            child.close();
        }
        self.plan.all_down();
        if let Parent::Nobody(_) = self.parent {
            self.plan.node.set_down();
            let cause = Some(Arc::new(Cause::SupervisorDied));
            self.hub.ended.send_replace(Some(Ended { cause, report: ShutdownReport::default() }));
        }
        self.hub.touch();
    }
}
