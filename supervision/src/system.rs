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
use crate::policy::Intensity;
use crate::published::{Ended, Event, Hub, Node, ShutdownReport, TreeSnapshot};
use crate::supervisor::{Driver, Plan, Supervisor};

/// How long an ask waits where nobody says otherwise.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a tree that was merely dropped may take to end.
const DROP_BUDGET: Duration = Duration::from_secs(5);

/// A running tree of actors. Cheap to clone; when the last clone is dropped the tree ends.
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
    /// Whether somebody has asked for the end of all of it.
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
    /// Two places in the tree have one name.
    #[error("two actors are called {id:?}: give one of them another id")]
    DuplicateId {
        /// The name.
        id: Arc<str>,
    },
    /// Two actors take one type of message, so its type does not say where it goes.
    #[error("{first:?} and {second:?} both accept {message}: only one may")]
    TwoTakers {
        /// The message.
        message: &'static str,
        /// The actor that was added first.
        first: Arc<str>,
        /// The actor that was added second.
        second: Arc<str>,
    },
    /// The delays of an actor, and what it may take to stall, are so long that its supervisor could never
    /// give up on it.
    #[error(
        "{id:?} waits so long between its restarts that {max} of them never fall within {within:?}: \
         shorten its backoff (or its `stall_after`), or widen the window of its supervisor"
    )]
    UnreachableIntensity {
        /// The actor.
        id: Arc<str>,
        /// The restarts that its supervisor tolerates.
        max: u32,
        /// Within this time.
        within: Duration,
    },
    /// An actor did not come up; those before it were ended again.
    #[error(transparent)]
    Failed(Arc<Cause>),
}

/// Asks for the whole tree, as [`System::tree`] shows it. No actor is involved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetTree;

impl Request for GetTree {
    type Reply = TreeSnapshot;
}

/// No actor of the tree takes this type of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no actor accepts {message}: add `.accepts(..)` for it to the actor that should")]
pub struct NoTaker {
    /// The message.
    pub message: &'static str,
}

/// No place in the tree has this id, or nothing can be done to it now: it is not running, or the
/// supervisor above it is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no actor {id:?} that this could be done to")]
pub struct NoActor {
    /// The id that was asked for.
    pub id: String,
}

impl System {
    /// Starts a tree: every actor in the order in which it was added, each when the one before it
    /// is up.
    ///
    /// # Errors
    /// [`StartError`]. What had been started was ended again, in reverse order.
    ///
    /// *Cancel safety:* dropping the future ends what was started.
    pub async fn start(mut root: Supervisor) -> Result<Self, StartError> {
        let mut routes = take_routes(&mut root)?;
        let hub = Arc::new(Hub::new());
        let plan = root.into_plan();
        answer_get_tree(&mut routes, &plan, &hub);
        assemble(&plan, &hub, &mut HashSet::from([Arc::clone(&plan.node.id)]))?;

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

    /// How long an ask of a recipient from this `System`, or from a clone made after this, waits
    /// where nobody says otherwise. Default 5 s.
    #[must_use]
    pub fn with_ask_timeout(self, ask_timeout: Duration) -> Self {
        Self { ask_timeout, ..self }
    }

    /// Whoever takes messages of type `M`. Answers from memory.
    ///
    /// # Errors
    /// [`NoTaker`] names the message.
    pub fn recipient<M: 'static>(&self) -> Result<Recipient<M>, NoTaker> {
        let route = self.inner.routes.get(&TypeId::of::<M>());
        let route = route.ok_or_else(|| NoTaker { message: short_name::<M>() })?;
        Ok(Recipient::of(route, self.ask_timeout))
    }

    /// The whole tree as it is now. Answers from memory: no supervisor is asked, so this works
    /// however busy or broken they are.
    pub fn tree(&self) -> TreeSnapshot {
        snapshot(&self.inner.plan, &self.inner.hub, Instant::now())
    }

    /// Wakes whoever waits on it whenever [`tree`](Self::tree) has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.hub.changes()
    }

    /// What happens from now on. A reader that falls far behind misses events, and is told so.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.hub.events()
    }

    /// Waits until the tree gives up, and says why. Never returns for a tree that was shut down.
    pub async fn failed(&self) -> Arc<Cause> {
        let ended = self.ended().await;
        match ended.cause {
            Some(cause) => cause,
            None => std::future::pending().await,
        }
    }

    /// Ends every actor in reverse start order, each as its [`Shutdown`](crate::Shutdown) says, all
    /// of it within `budget`. One waits for the other until 100 ms are left. Then everyone who was not
    /// yet asked to end is asked, all at once, and 50 ms later whoever is left is cut off. A `budget`
    /// below 200 ms shortens these moments; none is shorter than 10 ms.
    ///
    /// Everyone who calls this gets the same report, also after the end.
    pub async fn shutdown(&self, budget: Duration) -> ShutdownReport {
        self.inner.is_ending.store(true, Ordering::Release);
        let deadlines = Deadlines::within(Instant::now(), budget);
        // Refused only by a tree that has ended.
        self.inner.root.send_message(Command::Shutdown(deadlines)).ok();
        self.ended().await.report
    }

    /// Restarts an actor (or a supervisor with all below it) in good order. Not counted as a fall.
    ///
    /// # Errors
    /// [`NoActor`] if no child has this id, if it was removed, or if a supervisor above it is not
    /// running.
    pub fn restart(&self, id: &str) -> Result<(), NoActor> {
        self.command(id, |node| !node.is_removed(), Command::Restart)
    }

    /// Ends an actor (or a supervisor with all below it) for good.
    ///
    /// # Errors
    /// [`NoActor`] if no child has this id, if it was removed before, or if a supervisor above it is
    /// not running.
    pub fn remove(&self, id: &str) -> Result<(), NoActor> {
        self.command(id, Node::remove, Command::Remove)
    }

    /// Makes an actor panic in its next message, as a bug would.
    ///
    /// # Errors
    /// [`NoActor`] if there is no running actor of this id.
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

/// Gives everyone below `plan` its path and what the tree shares, and checks what must hold.
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
        if !intensity.is_reachable(&policy.backoff, policy.stall_after.unwrap_or_default()) {
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

/// The supervisor of the child called `id`, and which of its children that is.
fn find<'a>(plan: &'a Plan, id: &str) -> Option<(&'a Plan, usize)> {
    plan.children.iter().enumerate().find_map(|(index, child)| {
        if *child.node().id == *id {
            return Some((plan, index));
        }
        child.plan().and_then(|plan| find(plan, id))
    })
}
