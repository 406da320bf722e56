//! A running tree.

use std::any::TypeId;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ractor::{Actor as _, ActorRef};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::Instant;

use crate::address::{Recipient, Route};
use crate::exit::Cause;
use crate::incarnation::Command;
use crate::machine::Deadlines;
use crate::message::{Reply, Request, short_name};
use crate::policy::{Intensity, Restart};
use crate::published::{Ended, Event, Hub, Node, ShutdownReport, TreeSnapshot};
use crate::supervisor::{Driver, Plan, Supervisor};

/// The default of `with_ask_timeout`.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// The budget of the shutdown of a tree that was dropped.
const DROP_BUDGET: Duration = Duration::from_secs(5);

/// A running tree of actors. Cheap to clone.
///
/// When the last clone is dropped, the tree ends as by [`shutdown`](Self::shutdown) with a budget of 5 s.
#[derive(Clone)]
pub struct System {
    inner: Arc<Inner>,
    ask_timeout: Duration,
}

struct Inner {
    hub: Arc<Hub>,
    plan: Arc<Plan>,
    root: ActorRef<Command>,
    routes: HashMap<TypeId, Route>,
    /// Whether a shutdown has begun.
    is_ending: AtomicBool,
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("System").field("root", self.inner.plan.node.path()).finish_non_exhaustive()
    }
}

/// Why a tree did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Two actors or supervisors of the tree have the same id.
    #[error("two actors are called {id:?}: give one of them another id")]
    DuplicateId {
        /// The id.
        id: Arc<str>,
    },
    /// Two actors accept the same type of message.
    #[error("{first:?} and {second:?} both accept {message}: only one may")]
    TwoTakers {
        /// The name of the message's type.
        message: &'static str,
        /// The actor that was added first.
        first: Arc<str>,
        /// The actor that was added second.
        second: Arc<str>,
    },
    /// The backoff of an actor, together with its [`stall_after`](crate::Actor::stall_after), is so long that
    /// its supervisor would never give up on it.
    #[error(
        "{id:?} waits so long between its restarts that its supervisor, which tolerates {max} within \
         {within:?}, would never give up on it: shorten its backoff or its `stall_after`, or widen \
         the window of the supervisor"
    )]
    UnreachableIntensity {
        /// The id of the actor.
        id: Arc<str>,
        /// The restarts that its supervisor allows.
        max: u32,
        /// The window of its supervisor.
        within: Duration,
    },
    /// An actor failed to start. Those that were already up have been stopped.
    #[error(transparent)]
    Failed(Arc<Cause>),
}

/// Asks for the whole tree, as [`System::tree`] returns it. Answers from memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetTree;

impl Request for GetTree {
    type Reply = TreeSnapshot;
}

/// No actor of the tree accepts this type of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no actor accepts {message}: add `.accepts(..)` for it to the actor that should")]
pub struct NoTaker {
    /// The name of the message's type.
    pub message: &'static str,
}

/// No actor or supervisor has this id, or the operation is not possible now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no actor {id:?} that this could be done to")]
pub struct NoActor {
    /// The id that was given.
    pub id: String,
}

impl System {
    /// Starts a tree: all actors in the order in which they were added, each after the one before it is up.
    ///
    /// # Errors
    /// [`StartError`]. The actors that were already up have been stopped, in reverse order.
    ///
    /// *Cancel safety:* if the future is dropped, the actors that were started are stopped.
    pub async fn start(mut root: Supervisor) -> Result<Self, StartError> {
        let routes = take_routes(&mut root);
        let hub = Arc::new(Hub::new());
        let plan = root.into_plan();
        let assembled = assemble(&plan, &hub, &mut HashSet::from([Arc::clone(&plan.node.id)]));
        let mut routes = match assembled.and(routes) {
            Ok(routes) => routes,
            Err(refused) => {
                plan.all_down();
                return Err(refused);
            }
        };
        answer_get_tree(&mut routes, &plan, &hub);

        let (booted, boot) = oneshot::channel();
        let driver = Driver::root(Arc::clone(&plan), Arc::clone(&hub), booted);
        // A root has no supervisor, and its `pre_start` does nothing that could fail.
        let (root, _task) = Driver::spawn(None, driver, ())
            .await
            .map_err(|_| StartError::Failed(Arc::new(Cause::SupervisorDied)))?;
        let inner = Inner { hub, plan, root, routes, is_ending: AtomicBool::new(false) };
        let system = Self { inner: Arc::new(inner), ask_timeout: ASK_TIMEOUT };
        match boot.await {
            Ok(()) => Ok(system),
            Err(_never_booted) => Err(StartError::Failed(system.failed().await)),
        }
    }

    /// Sets how long [`Recipient::ask`] waits, for recipients of this `System` and of its later clones.
    /// Default 5 s.
    #[must_use]
    pub fn with_ask_timeout(self, ask_timeout: Duration) -> Self {
        Self { ask_timeout, ..self }
    }

    /// The address of the actor that accepts messages of type `M`. Answers from memory.
    ///
    /// # Errors
    /// [`NoTaker`] names the message.
    pub fn recipient<M: 'static>(&self) -> Result<Recipient<M>, NoTaker> {
        let route = self.inner.routes.get(&TypeId::of::<M>());
        let route = route.ok_or_else(|| NoTaker { message: short_name::<M>() })?;
        Ok(Recipient::of(route, self.ask_timeout))
    }

    /// The whole tree as it is now. Answers from memory, so it works however busy or broken the actors and
    /// supervisors are.
    pub fn tree(&self) -> TreeSnapshot {
        snapshot(&self.inner.plan, &self.inner.hub, Instant::now())
    }

    /// A receiver that is notified whenever [`tree`](Self::tree) changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.hub.changes()
    }

    /// A stream of the events from now on. A reader that lags more than 1 024 events behind misses some, and
    /// gets an error that says so.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.hub.events()
    }

    /// Waits until the tree has given up and ended, and returns the cause: [`Cause::SupervisorDied`] if its
    /// runtime ended first. Never returns if the tree is shut down.
    pub async fn failed(&self) -> Arc<Cause> {
        let ended = self.ended().await;
        match ended.cause {
            Some(cause) => cause,
            None => std::future::pending().await,
        }
    }

    /// Stops all actors in reverse start order, each as its [`Shutdown`](crate::Shutdown) says, within
    /// `budget`. Returns a report of those that did not stop in time.
    ///
    /// Until 100 ms of the budget are left, each actor is stopped after the one before it has ended. Then
    /// all others are asked to stop at once. 50 ms later every actor that is left is cut off, at any depth
    /// of the tree. At the end of the budget this returns, even if an actor still blocks a thread. With a
    /// budget below 200 ms both of these steps are a quarter of it, but never shorter than 10 ms.
    ///
    /// All callers get the same report, even after the end. If several shut the tree down, the earliest
    /// end counts.
    ///
    /// *Cancel safety:* if the future is dropped, the shutdown continues.
    pub async fn shutdown(&self, budget: Duration) -> ShutdownReport {
        self.inner.is_ending.store(true, Ordering::Release);
        let deadlines = Deadlines::within(Instant::now(), budget);
        // It fails only if the tree has ended.
        self.inner.root.send_message(Command::Shutdown(deadlines)).ok();
        self.ended().await.report
    }

    /// Restarts an actor, or a supervisor with everything below it. It is stopped as its
    /// [`Shutdown`](crate::Shutdown) says. This does not count as a fall.
    ///
    /// An actor that waits for its backoff starts at once, and one that had ended by itself starts again.
    /// Does not wait for the restart.
    ///
    /// # Errors
    /// [`NoActor`] if no child has this id, if it was removed, or if a supervisor above it is ending or not
    /// running.
    pub fn restart(&self, id: &str) -> Result<(), NoActor> {
        self.command(id, |node| !node.is_removed(), Command::Restart)
    }

    /// Stops an actor for good, or a supervisor with everything below it. Does not wait for its end.
    ///
    /// # Errors
    /// [`NoActor`] if no child has this id, if it was already removed, or if a supervisor above it is ending
    /// or not running.
    pub fn remove(&self, id: &str) -> Result<(), NoActor> {
        self.command(id, Node::remove, Command::Remove)
    }

    /// Makes an actor panic in its next message, as a bug would.
    ///
    /// # Errors
    /// [`NoActor`] if no actor with this id is running.
    #[cfg(feature = "chaos")]
    pub fn inject_panic(&self, id: &str) -> Result<(), NoActor> {
        let found = find(&self.inner.plan, id);
        let found = found.filter(|(plan, child)| plan.children[*child].inject_panic());
        found.map(|_| ()).ok_or_else(|| NoActor { id: id.to_owned() })
    }

    fn command(
        &self,
        id: &str,
        can_be_done_to: impl FnOnce(&Node) -> bool,
        command: fn(usize) -> Command,
    ) -> Result<(), NoActor> {
        let nobody = || NoActor { id: id.to_owned() };
        let (plan, child) = find(&self.inner.plan, id).ok_or_else(nobody)?;
        let supervisor = plan.live.load_full().ok_or_else(nobody)?;
        let is_ending = self.inner.is_ending.load(Ordering::Acquire) || plan.node.is_going();
        if is_ending || !can_be_done_to(plan.children[child].node()) {
            return Err(nobody());
        }
        supervisor.send_message(command(child)).map_err(|_| nobody())
    }

    async fn ended(&self) -> Ended {
        let mut ended = self.inner.hub.ended.subscribe();
        let ended = ended.wait_for(Option::is_some).await.expect("the hub outlives this borrow");
        ended.clone().expect("waited for")
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.root
            .send_message(Command::Shutdown(Deadlines::within(Instant::now(), DROP_BUDGET)))
            .ok();
    }
}

fn take_routes(root: &mut Supervisor) -> Result<HashMap<TypeId, Route>, StartError> {
    let mut routes: HashMap<TypeId, Route> = HashMap::new();
    for route in root.routes.drain(..) {
        if let Some(first) = routes.get(&route.message) {
            let (message, first) = (route.name, Arc::clone(&first.taker));
            return Err(StartError::TwoTakers { message, first, second: route.taker });
        }
        routes.insert(route.message, route);
    }
    Ok(routes)
}

fn answer_get_tree(routes: &mut HashMap<TypeId, Route>, plan: &Arc<Plan>, hub: &Arc<Hub>) {
    let (top, plan, hub) = (Arc::clone(&plan.node.id), Arc::clone(plan), Arc::clone(hub));
    let answer = move |GetTree, reply: Reply<TreeSnapshot>, _question: &_| {
        reply.send(snapshot(&plan, &hub, Instant::now()));
        Ok(1)
    };
    routes.entry(TypeId::of::<GetTree>()).or_insert_with(|| Route::asked::<GetTree>(top, answer));
}

/// Connects everything below `plan` to the tree, and checks ids and intensities.
fn assemble(plan: &Plan, hub: &Arc<Hub>, ids: &mut HashSet<Arc<str>>) -> Result<(), StartError> {
    for child in &plan.children {
        let node = child.node();
        let id = &node.id;
        if !ids.insert(Arc::clone(id)) {
            return Err(StartError::DuplicateId { id: Arc::clone(id) });
        }
        node.set_parent(&plan.node);
        child.connect(hub);
        let intensity = plan.policy.intensity;
        let Intensity { max, within } = intensity;
        let policy = child.policy();
        let is_restarted = policy.restart != Restart::Temporary && !policy.significant;
        let until_fall = policy.stall_after.unwrap_or_default();
        if is_restarted && !intensity.is_reachable(&policy.backoff, until_fall) {
            return Err(StartError::UnreachableIntensity { id: Arc::clone(id), max, within });
        }
        if let Some(plan) = child.plan() {
            assemble(plan, hub, ids)?;
        }
    }
    Ok(())
}

fn snapshot(plan: &Plan, hub: &Hub, now: Instant) -> TreeSnapshot {
    let children = plan.children.iter().map(|child| match child.plan() {
        Some(plan) => snapshot(plan, hub, now),
        None => TreeSnapshot::of(child.node(), hub, now, Vec::new()),
    });
    TreeSnapshot::of(&plan.node, hub, now, children.collect())
}

/// The supervisor of the child called `id`, and the index of that child.
fn find<'a>(plan: &'a Plan, id: &str) -> Option<(&'a Plan, usize)> {
    plan.children.iter().enumerate().find_map(|(index, child)| {
        if *child.node().id == *id {
            return Some((plan, index));
        }
        child.plan().and_then(|plan| find(plan, id))
    })
}
