//! How a supervisor is described: who its children are, and what falls with what.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ractor::{Actor as _, ActorCell, ActorRef, SpawnErr};
use tokio::time::Instant;

use crate::address::{Handle, Slot};
use crate::incarnation::Host;
use crate::incarnation::Server;
use crate::machine::View;
use crate::policy::{ChildPolicy, Flags, Restart, Shutdown, Strategy};
use crate::published::{Hub, Kind, Node, Status};
use crate::supervisor::{Actor, Route};
use crate::supervisor::{Command, Driver, Report};
use crate::system::from_now;
use crate::{Backoff, Intensity};

/// What a supervisor's children have in common, where they do not say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// How long a child waits before a restart.
    pub backoff: Backoff,
    /// How many messages may wait. Default 1 024.
    pub capacity: usize,
    /// How long `init` may take. Default 5 s.
    pub start_timeout: Duration,
}

impl Default for Defaults {
    fn default() -> Self {
        let start_timeout = Duration::from_secs(5);
        Self { backoff: Backoff::default(), capacity: 1024, start_timeout }
    }
}

/// A supervisor to be: its children in start order, and what it does when one falls.
pub struct Supervisor {
    pub(crate) id: Arc<str>,
    pub(crate) flags: Flags,
    significant: bool,
    defaults: Defaults,
    pub(crate) children: Vec<Arc<dyn Child>>,
    pub(crate) routes: Vec<Route>,
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor")
            .field("id", &self.id)
            .field("flags", &self.flags)
            .field("children", &self.children.len())
            .finish_non_exhaustive()
    }
}

impl Supervisor {
    /// A supervisor called `id`, with no children yet: one for one, 5 restarts in 30 s.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self {
            id: id.into(),
            flags: Flags::default(),
            significant: false,
            defaults: Defaults::default(),
            children: Vec::new(),
            routes: Vec::new(),
        }
    }

    /// Which siblings fall together. Default [`Strategy::OneForOne`].
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.flags.strategy = strategy;
        self
    }

    /// When it gives up. Default 5 restarts in 30 s.
    #[must_use]
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.flags.intensity = intensity;
        self
    }

    /// What the children added from now on have in common.
    #[must_use]
    pub fn defaults(self, defaults: Defaults) -> Self {
        Self { defaults, ..self }
    }

    /// Makes this supervisor's giving up end the one above it too, instead of a restart. Default
    /// no.
    #[must_use]
    pub fn significant(self) -> Self {
        Self { significant: true, ..self }
    }

    /// Adds an actor. Its address works from now on, and answers once the tree is started.
    pub fn actor<S: Server>(&mut self, actor: Actor<S>) -> Handle<S::Message> {
        // A mailbox without a place would refuse everything, for ever.
        let capacity = actor.capacity.unwrap_or(self.defaults.capacity).max(1);
        let slot = Arc::new(Slot::new(actor.id, capacity));
        let handle = Handle::new(Arc::clone(&slot));
        self.routes.extend(actor.routes.into_iter().map(|make| make(&handle)));
        self.children.push(Arc::new(ActorPlan {
            slot,
            factory: actor.factory,
            stall_after: actor.stall_after,
            restart: actor.restart,
            significant: actor.significant,
            shutdown: actor.shutdown,
            backoff: actor.backoff.unwrap_or(self.defaults.backoff),
            start_timeout: actor.start_timeout.unwrap_or(self.defaults.start_timeout),
        }));
        handle
    }

    /// Adds a supervisor with everything below it.
    pub fn supervisor(&mut self, mut supervisor: Supervisor) {
        self.routes.append(&mut supervisor.routes);
        let backoff = self.defaults.backoff;
        self.children.push(supervisor.into_plan(backoff));
    }

    pub(crate) fn into_plan(self, backoff: Backoff) -> Arc<Plan> {
        let kind = Kind::Supervisor { strategy: self.flags.strategy };
        Arc::new(Plan {
            node: Arc::new(Node::new(self.id, kind)),
            flags: self.flags,
            significant: self.significant,
            backoff,
            children: self.children,
            live: ArcSwapOption::empty(),
        })
    }
}

/// A child of a supervisor, for all of its incarnations.
pub(crate) trait Child: Send + Sync {
    fn node(&self) -> &Arc<Node>;
    fn policy(&self) -> ChildPolicy;
    /// The supervisor that this child is, if it is one.
    fn plan(&self) -> Option<&Plan>;
    /// Gives the child what its tree shares.
    fn connect(&self, hub: &Arc<Hub>);
    fn spawn(
        self: Arc<Self>,
        report: Report,
        supervisor: ActorCell,
    ) -> BoxFuture<'static, Result<ActorCell, SpawnErr>>;
    /// Lets messages in.
    fn open(&self, incarnation: u64, cell: &ActorCell);
    /// Lets no more messages in.
    fn close(&self);
    /// Asks an incarnation to end.
    fn stop(&self, cell: &ActorCell, until: Option<Instant>);
    #[cfg(feature = "chaos")]
    fn inject_panic(&self) -> bool;
}

struct ActorPlan<S: Server> {
    slot: Arc<Slot<S::Message>>,
    factory: Arc<dyn Fn() -> S + Send + Sync>,
    stall_after: Option<Duration>,
    restart: Restart,
    significant: bool,
    shutdown: Shutdown,
    backoff: Backoff,
    start_timeout: Duration,
}

impl<S: Server> Child for ActorPlan<S> {
    fn node(&self) -> &Arc<Node> {
        &self.slot.node
    }

    fn policy(&self) -> ChildPolicy {
        ChildPolicy {
            path: Arc::clone(self.slot.node.path()),
            restart: self.restart,
            significant: self.significant,
            backoff: self.backoff,
            shutdown: self.shutdown,
            start_timeout: Some(self.start_timeout),
        }
    }

    fn plan(&self) -> Option<&Plan> {
        None
    }

    fn connect(&self, hub: &Arc<Hub>) {
        self.slot.connect(hub);
    }

    fn spawn(
        self: Arc<Self>,
        report: Report,
        supervisor: ActorCell,
    ) -> BoxFuture<'static, Result<ActorCell, SpawnErr>> {
        let host =
            Host::new(Arc::clone(&self.factory), Arc::clone(&self.slot), self.stall_after, report);
        async move {
            // Unnamed: ractor's names are global to the process, and a tree is not.
            let (actor, _task) = Host::spawn_linked(None, host, (), supervisor).await?;
            Ok(actor.get_cell())
        }
        .boxed()
    }

    fn open(&self, incarnation: u64, cell: &ActorCell) {
        self.slot.open(incarnation, cell.clone().into());
    }

    fn close(&self) {
        self.slot.close();
    }

    fn stop(&self, cell: &ActorCell, _until: Option<Instant>) {
        match self.shutdown {
            Shutdown::Drain(_) => {
                // Refused only by an actor that is already ending.
                cell.drain().ok();
            }
            Shutdown::Stop(_) | Shutdown::Unlimited | Shutdown::Kill => cell.stop(None),
        }
    }

    #[cfg(feature = "chaos")]
    fn inject_panic(&self) -> bool {
        self.slot.inject_panic()
    }
}

/// A supervisor, for all of its incarnations.
pub(crate) struct Plan {
    pub(crate) node: Arc<Node>,
    pub(crate) flags: Flags,
    significant: bool,
    backoff: Backoff,
    pub(crate) children: Vec<Arc<dyn Child>>,
    /// The incarnation that takes commands now.
    pub(crate) live: ArcSwapOption<ActorRef<Command>>,
}

impl Plan {
    /// Shows that nobody below comes back.
    pub(crate) fn all_down(&self) {
        for child in &self.children {
            child.node().status.rcu(|status| Status { view: View::Down, ..Status::clone(status) });
            if let Some(plan) = child.plan() {
                plan.all_down();
            }
        }
    }
}

/// The same as a child of another supervisor.
impl Child for Plan {
    fn node(&self) -> &Arc<Node> {
        &self.node
    }

    fn policy(&self) -> ChildPolicy {
        ChildPolicy {
            path: Arc::clone(self.node.path()),
            restart: Restart::Permanent,
            significant: self.significant,
            backoff: self.backoff,
            shutdown: Shutdown::Unlimited,
            start_timeout: None,
        }
    }

    fn plan(&self) -> Option<&Plan> {
        Some(self)
    }

    fn connect(&self, _hub: &Arc<Hub>) {}

    fn spawn(
        self: Arc<Self>,
        report: Report,
        supervisor: ActorCell,
    ) -> BoxFuture<'static, Result<ActorCell, SpawnErr>> {
        let driver = Driver::below(self, report);
        async move {
            let (actor, _task) = Driver::spawn_linked(None, driver, (), supervisor).await?;
            Ok(actor.get_cell())
        }
        .boxed()
    }

    fn open(&self, _incarnation: u64, _cell: &ActorCell) {}

    fn close(&self) {}

    fn stop(&self, cell: &ActorCell, until: Option<Instant>) {
        let until = until.unwrap_or_else(|| from_now(Duration::MAX));
        let driver: ActorRef<Command> = cell.clone().into();
        // Refused only by a supervisor that has ended.
        driver.send_message(Command::Shutdown(until)).ok();
    }

    #[cfg(feature = "chaos")]
    fn inject_panic(&self) -> bool {
        false
    }
}
