//! The description of a supervisor: its children and its policy.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::actor::Actor;
use super::child::{Child, Plan};
use super::leaf::Leaf;
use super::nested::Nested;
use crate::address::{Handle, Route, Seat};
use crate::clock::is_reached;
use crate::incarnation::Server;
use crate::policy::{Backoff, Intensity, Strategy, SupervisorPolicy};
use crate::published::{Kind, Node};

/// Settings for the children of a supervisor that do not set their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// How long a child waits before a restart. Default: [`Backoff::default`].
    pub backoff: Backoff,
    /// How many messages a mailbox holds. Default 1 024.
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

/// The description of a supervisor: its children in start order, and what it does when one falls.
pub struct Supervisor {
    pub(crate) id: Arc<str>,
    pub(crate) policy: SupervisorPolicy,
    significant: bool,
    defaults: Defaults,
    pub(crate) children: Vec<Arc<dyn Child>>,
    pub(crate) routes: Vec<Route>,
    kept: Vec<Box<dyn Any + Send>>,
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor")
            .field("id", &self.id)
            .field("policy", &self.policy)
            .field("children", &self.children.len())
            .finish_non_exhaustive()
    }
}

impl Supervisor {
    /// A supervisor called `id` with no children yet. Strategy: one for one. Intensity: 5 restarts in 30 s.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self {
            id: id.into(),
            policy: SupervisorPolicy::default(),
            significant: false,
            defaults: Defaults::default(),
            children: Vec::new(),
            routes: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// Which siblings are restarted together. Default [`Strategy::OneForOne`].
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.policy.strategy = strategy;
        self
    }

    /// How many restarts it allows before it gives up. Default 5 in 30 s.
    #[must_use]
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.policy.intensity = intensity;
        self
    }

    /// Sets the defaults of the children that are added after this call.
    #[must_use]
    pub fn defaults(self, defaults: Defaults) -> Self {
        Self { defaults, ..self }
    }

    /// Makes the supervisor above give up too when this one gives up, instead of restarting it. Default no.
    #[must_use]
    pub fn significant(self) -> Self {
        Self { significant: true, ..self }
    }

    /// Adds an actor. The returned address accepts messages when the actor is up.
    pub fn actor<S: Server>(&mut self, actor: Actor<S>) -> Handle<S::Message> {
        // A mailbox of capacity 0 would refuse every message.
        let capacity = actor.capacity.unwrap_or(self.defaults.capacity).max(1);
        let tasks = actor.tasks.unwrap_or(capacity).max(1);
        let seat = Arc::new(Seat::new(actor.id, capacity, tasks));
        let handle = Handle::new(Arc::clone(&seat));
        self.routes.extend(actor.routes.into_iter().map(|make| make(&handle)));
        self.children.push(Arc::new(Leaf {
            seat,
            factory: actor.factory,
            stall_after: actor.stall_after.filter(|limit| is_reached(*limit)),
            restart: actor.restart,
            significant: actor.significant,
            shutdown: actor.shutdown,
            backoff: actor.backoff.unwrap_or(self.defaults.backoff),
            start_timeout: actor.start_timeout.unwrap_or(self.defaults.start_timeout),
        }));
        handle
    }

    /// Adds a supervisor with everything below it. It is always restarted, unless it is
    /// [significant](Self::significant).
    pub fn supervisor(&mut self, mut supervisor: Supervisor) {
        self.routes.append(&mut supervisor.routes);
        self.kept.append(&mut supervisor.kept);
        let (significant, backoff) = (supervisor.significant, self.defaults.backoff);
        self.children.push(Arc::new(Nested { plan: supervisor.into_plan(), significant, backoff }));
    }

    /// Keeps a value until the tree has ended, however it ends: with a shutdown, because it gives up, or with its
    /// runtime. What the factories of actors hold lasts longer, as long as a [`System`](crate::System).
    pub fn keep(&mut self, value: impl Any + Send) {
        self.kept.push(Box::new(value));
    }

    pub(crate) fn into_plan(self) -> Arc<Plan> {
        let kind = Kind::Supervisor { strategy: self.policy.strategy };
        Arc::new(Plan {
            node: Arc::new(Node::new(self.id, kind)),
            policy: self.policy,
            children: self.children,
            live: ArcSwapOption::empty(),
            kept: Mutex::new(self.kept),
        })
    }
}
