//! The ractor actor around each [`Machine`]: it carries out what the machine decides.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use ractor::actor::messages::BoxedState;
use ractor::{ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::child::{Child, Plan};
use crate::exit::{Cause, Exit, Fall, error_message};
use crate::incarnation::{Command, Report};
use crate::machine::{Change, Effect, Input, Key, Machine, View};
use crate::published::{Ended, Hub, Status};

/// One incarnation of a supervisor.
pub(crate) struct Driver {
    plan: Arc<Plan>,
    hub: Arc<Hub>,
    parent: Parent,
}

/// Who is told how the supervisor does.
enum Parent {
    /// It is the root; whoever starts the tree is told once that everything is up.
    Nobody(Mutex<Option<oneshot::Sender<()>>>),
    /// The supervisor above.
    Supervisor(Report),
}

pub(crate) struct State {
    machine: Machine,
    /// The running incarnation of each child.
    cells: Vec<Option<ActorCell>>,
    keys: HashMap<ActorId, Key>,
    /// What waits for the last part of an incarnation to be gone.
    leavers: JoinSet<()>,
    timer: Option<Timer>,
}

/// The one armed timer of a supervisor.
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
        Self { plan, hub, parent: Parent::Nobody(Mutex::new(Some(booted))) }
    }

    pub(crate) fn below(plan: Arc<Plan>, report: Report) -> Self {
        Self { plan, hub: Arc::clone(&report.hub), parent: Parent::Supervisor(report) }
    }

    /// Feeds the machine, and carries out what it answers.
    async fn feed(
        &self,
        myself: &ActorRef<Command>,
        state: &mut State,
        input: Input,
    ) -> Result<(), ActorProcessingErr> {
        let mut inputs = VecDeque::from([input]);
        let mut ending = None;
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            state.machine.on(Instant::now(), input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Spawn(key) => {
                        if let Err(exit) = self.spawn(myself, state, key).await {
                            inputs.push_back(Input::Exited(key, exit));
                        }
                    }
                    Effect::Stop(key, until) => {
                        self.child(key).close();
                        if let Some(cell) = &state.cells[key.child] {
                            self.child(key).stop(cell, until);
                        }
                    }
                    Effect::Kill(key) => {
                        self.child(key).close();
                        if let Some(cell) = &state.cells[key.child] {
                            cell.kill();
                        }
                    }
                    Effect::Tell(key, change) => {
                        if let (Change::Started { .. }, Some(cell)) =
                            (&change, &state.cells[key.child])
                        {
                            self.child(key).open(key.incarnation, cell);
                        }
                        self.hub.tell(self.child(key).node(), key.incarnation, change);
                    }
                    Effect::Booted => self.booted(),
                    Effect::Halt(cause) => ending = Some(cause),
                }
            }
        }
        self.publish(state);
        arm(myself, state);
        match ending {
            None => Ok(()),
            Some(cause) => self.end(myself, cause),
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
            Err(error) => Err(Exit::StartFailed(error_message(&error))),
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
                    // Before anyone can know: the root may give up at any time from now on.
                    let view = View::Up { since: Instant::now() };
                    let status = Status { view, incarnation: 1, ..Status::default() };
                    self.plan.node.status.store(Arc::new(status));
                    // Whoever started the tree may have lost interest.
                    booted.send(()).ok();
                }
            }
            Parent::Supervisor(report) => {
                report.supervisor.send_message(Command::Started(report.key)).ok();
            }
        }
    }

    fn end(
        &self,
        myself: &ActorRef<Command>,
        cause: Option<Arc<Cause>>,
    ) -> Result<(), ActorProcessingErr> {
        if let Parent::Nobody(_) = self.parent {
            let mut status = Status::clone(&self.plan.node.status.load());
            status.view = View::Down;
            status.last_exit = cause.clone().map(Exit::GaveUp);
            self.plan.node.status.store(Arc::new(status));
            self.hub.ended.send_replace(Some(Ended { cause: cause.clone() }));
            self.hub.touch();
        }
        if let Some(cause) = cause {
            return Err(Fall(Exit::GaveUp(cause)).into());
        }
        myself.stop(None);
        Ok(())
    }

    /// Shows what the machine now says of each child.
    fn publish(&self, state: &State) {
        for (index, child) in self.plan.children.iter().enumerate() {
            let before = child.node().status.load().last_exit.clone();
            let view = match state.machine.view(index) {
                // It comes back with this supervisor. If that does not come back, the one above
                // knows, and says so below.
                View::Down if self.is_below() && !state.machine.has_ended(index) => View::Idle,
                view => view,
            };
            if let (View::Down, Some(plan)) = (&view, child.plan()) {
                plan.all_down();
            }
            child.node().status.store(Arc::new(Status {
                view,
                incarnation: state.machine.incarnation(index),
                restarts: state.machine.restarts(index),
                last_exit: state.machine.last_exit(index).or(before.as_ref()).cloned(),
                removed: state.machine.is_removed(index),
            }));
        }
        self.plan.node.is_ending.store(state.machine.is_ending(), Ordering::Relaxed);
        let falls_left = state.machine.falls_left(Instant::now());
        self.plan.node.falls_left.store(falls_left, Ordering::Relaxed);
        self.hub.touch();
    }

    /// An incarnation has ended; reports it once nothing of it is left.
    #[expect(clippy::disallowed_methods, reason = "owned by this supervisor, cut off with it")]
    fn leave(
        &self,
        myself: &ActorRef<Command>,
        state: &mut State,
        cell: &ActorCell,
        exit: Exit,
        left: Option<BoxedState>,
    ) -> Option<Input> {
        // Only children that this incarnation spawned are linked to it.
        let key = state.keys.remove(&cell.get_id())?;
        let child = Arc::clone(&self.plan.children[key.child]);
        child.close();
        child.node().depth.store(Arc::default());
        child.node().busy_since_ms.store(0, Ordering::Relaxed);
        state.cells[key.child] = None;
        let myself = myself.clone();
        while state.leavers.try_join_next().is_some() {}
        state.leavers.spawn(async move {
            // What a killed actor owned comes this way. Its drop is the actor's own code: it must
            // neither hold up nor fell the supervisor.
            std::panic::catch_unwind(AssertUnwindSafe(|| drop(left))).ok();
            drop(child.node().occupy().await);
            myself.send_message(Command::Gone(key, exit)).ok();
        });
        Some(Input::Fell(key))
    }
}

/// Sets the timer to the machine's next limit.
#[expect(clippy::disallowed_methods, reason = "cut off when the supervisor drops its timer")]
fn arm(myself: &ActorRef<Command>, state: &mut State) {
    let deadlines = [state.machine.next_deadline(), state.machine.next_forgiven()];
    let Some(at) = deadlines.into_iter().flatten().min() else {
        state.timer = None;
        return;
    };
    if state.timer.as_ref().is_some_and(|timer| timer.at == at && !timer.task.is_finished()) {
        return;
    }
    let myself = myself.clone();
    let task = tokio::spawn(async move {
        tokio::time::sleep_until(at).await;
        myself.send_message(Command::Tick).ok();
    });
    state.timer = Some(Timer { at, task: task.abort_handle() });
}

/// What ractor's way of saying it means.
fn exit_of_failure(error: ActorProcessingErr) -> Exit {
    match error.downcast::<Fall>() {
        Ok(fall) => fall.0,
        // Everything of ours is a `Fall`: this is ractor speaking.
        Err(other) => Exit::Panicked(error_message(other.as_ref())),
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
        let mut machine = Machine::new(self.plan.flags, policies, fastrand::u64(..));
        for (index, child) in self.plan.children.iter().enumerate() {
            let known = child.node().status.load();
            machine.recall(index, known.incarnation, known.restarts, known.removed);
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
            Command::Started(key) => Input::Started(key),
            Command::Finish(key) => Input::Finish(key),
            Command::Gone(key, exit) => Input::Exited(key, exit),
            Command::Tick => {
                // It has done its work, even if its task is not quite over.
                state.timer = None;
                Input::Tick
            }
            Command::Restart(child) => Input::Restart(child),
            Command::Remove(child) => Input::Remove(child),
            Command::Shutdown(until) => Input::Shutdown(until),
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
            // An actor is up when its `init` is done, which it reports itself.
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => None,
        };
        match input {
            Some(input) => self.feed(&myself, state, input).await,
            None => Ok(()),
        }
    }
}

impl Drop for Driver {
    /// A root that is dropped without having ended was lost to a fault of ours, or to the end of
    /// its runtime: nobody may wait for it for ever.
    fn drop(&mut self) {
        if let Parent::Nobody(_) = self.parent {
            self.hub.ended.send_if_modified(|ended| {
                let lost = ended.is_none();
                if lost {
                    *ended = Some(Ended { cause: Some(Arc::new(Cause::SupervisorDied)) });
                }
                lost
            });
        }
    }
}
