//! How a supervisor is described: who its children are, and what falls with what.

use std::fmt;
use std::sync::Arc;
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
    pub(crate) policy: SupervisorPolicy,
    significant: bool,
    defaults: Defaults,
    pub(crate) children: Vec<Arc<dyn Child>>,
    pub(crate) routes: Vec<Route>,
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
    /// A supervisor called `id`, with no children yet: one for one, 5 restarts in 30 s.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self {
            id: id.into(),
            policy: SupervisorPolicy::default(),
            significant: false,
            defaults: Defaults::default(),
            children: Vec::new(),
            routes: Vec::new(),
        }
    }

    /// Which siblings fall together. Default [`Strategy::OneForOne`].
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.policy.strategy = strategy;
        self
    }

    /// When it gives up. Default 5 restarts in 30 s.
    #[must_use]
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.policy.intensity = intensity;
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

    /// Adds a supervisor with everything below it.
    pub fn supervisor(&mut self, mut supervisor: Supervisor) {
        self.routes.append(&mut supervisor.routes);
        let (significant, backoff) = (supervisor.significant, self.defaults.backoff);
        self.children.push(Arc::new(Nested { plan: supervisor.into_plan(), significant, backoff }));
    }

    pub(crate) fn into_plan(self) -> Arc<Plan> {
        let kind = Kind::Supervisor { strategy: self.policy.strategy };
        Arc::new(Plan {
            node: Arc::new(Node::new(self.id, kind)),
            policy: self.policy,
            children: self.children,
            live: ArcSwapOption::empty(),
        })
    }
}
