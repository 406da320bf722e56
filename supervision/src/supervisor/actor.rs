//! How an actor is described to its supervisor.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::address::{Accept, Handle, Route};
use crate::incarnation::Server;
use crate::policy::{Backoff, Restart, Shutdown};

/// An actor to be supervised: how it is made, when it is restarted, and what it accepts.
pub struct Actor<S: Server> {
    pub(crate) id: Arc<str>,
    pub(crate) factory: Arc<dyn Fn() -> S + Send + Sync>,
    pub(crate) restart: Restart,
    pub(crate) significant: bool,
    pub(crate) shutdown: Shutdown,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) start_timeout: Option<Duration>,
    pub(crate) stall_after: Option<Duration>,
    pub(crate) capacity: Option<usize>,
    pub(crate) tasks: Option<usize>,
    pub(crate) routes: Vec<RouteMaker<S::Message>>,
}

type RouteMaker<M> = Box<dyn FnOnce(&Handle<M>) -> Route + Send>;

impl<S: Server> fmt::Debug for Actor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actor").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<S: Server> Actor<S> {
    /// An actor called `id`, made anew by `factory` for each incarnation. The id is unique in its
    /// whole tree.
    pub fn new(id: impl Into<Arc<str>>, factory: impl Fn() -> S + Send + Sync + 'static) -> Self {
        Self {
            id: id.into(),
            factory: Arc::new(factory),
            restart: Restart::default(),
            significant: false,
            shutdown: Shutdown::default(),
            backoff: None,
            start_timeout: None,
            stall_after: None,
            capacity: None,
            tasks: None,
            routes: Vec::new(),
        }
    }

    /// Which exits it is restarted after. Default [`Restart::Permanent`].
    #[must_use]
    pub fn restart(self, restart: Restart) -> Self {
        Self { restart, ..self }
    }

    /// Makes its abnormal exit end the supervisor, instead of restarting it. Default no.
    #[must_use]
    pub fn significant(self) -> Self {
        Self { significant: true, ..self }
    }

    /// How long it waits before a restart. Default: its supervisor's.
    #[must_use]
    pub fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff: Some(backoff), ..self }
    }

    /// How it is asked to end. Default [`Shutdown::Stop`] with 5 s.
    #[must_use]
    pub fn shutdown(self, shutdown: Shutdown) -> Self {
        Self { shutdown, ..self }
    }

    /// How long its `init` may take. Default: its supervisor's.
    #[must_use]
    pub fn start_timeout(self, limit: Duration) -> Self {
        Self { start_timeout: Some(limit), ..self }
    }

    /// How long the handling of one message may wait for something. One that takes longer is cut
    /// off, and the actor falls. Default: without limit. A limit so long that the supervisor could never
    /// give up on the actor is refused at start. Code that blocks its thread cannot be cut
    /// off.
    #[must_use]
    pub fn stall_after(self, limit: Duration) -> Self {
        Self { stall_after: Some(limit), ..self }
    }

    /// How many messages may wait before more are refused. Default: its supervisor's. The actor's
    /// own ticks and results take no place.
    #[must_use]
    pub fn capacity(self, messages: usize) -> Self {
        Self { capacity: Some(messages), ..self }
    }

    /// How many [tasks](crate::Cx::task) may run before more messages are refused. Default: as many as
    /// messages may wait. The actor itself can always start one, so what its mailbox holds by then comes
    /// on top.
    #[must_use]
    pub fn tasks(self, tasks: usize) -> Self {
        Self { tasks: Some(tasks), ..self }
    }

    /// Takes a type of message from anyone, by the mailbox's variant for it: `Variant(R, Reply<_>)`
    /// for a [`Request`], `Variant(N)` for a [`Notice`].
    ///
    /// The type of the message alone leads to this actor ([`Recipient`]), so the mailbox's own type
    /// stays private. Two actors of one tree that take the same type are an error at start.
    #[must_use]
    pub fn accepts<Way>(mut self, variant: impl Accept<S::Message, Way>) -> Self {
        self.routes.push(Box::new(|handle| variant.route(handle.clone())));
        self
    }
}
