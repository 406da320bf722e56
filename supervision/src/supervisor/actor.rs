//! The description of an actor for its supervisor.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::address::{Accept, Handle, Route};
use crate::incarnation::Server;
use crate::policy::{Backoff, Restart, Shutdown};

/// The description of an actor: how to create it, when to restart it, and which messages it accepts.
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
    /// An actor called `id`, created by `factory` for each incarnation. The id must be unique in the whole
    /// tree.
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

    /// After which exits it is restarted. Default [`Restart::Permanent`].
    #[must_use]
    pub fn restart(self, restart: Restart) -> Self {
        Self { restart, ..self }
    }

    /// Makes the supervisor give up when this actor ends abnormally, instead of restarting it. Default no.
    #[must_use]
    pub fn significant(self) -> Self {
        Self { significant: true, ..self }
    }

    /// How long it waits before a restart. Default: that of its supervisor's [`Defaults`](crate::Defaults).
    #[must_use]
    pub fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff: Some(backoff), ..self }
    }

    /// How it is stopped. Default [`Shutdown::Stop`] with 5 s.
    #[must_use]
    pub fn shutdown(self, shutdown: Shutdown) -> Self {
        Self { shutdown, ..self }
    }

    /// How long `init` may take. Default: that of its supervisor's [`Defaults`](crate::Defaults) (5 s). Waiting
    /// until nothing of the previous incarnation is left does not count. A limit of centuries is none.
    #[must_use]
    pub fn start_timeout(self, limit: Duration) -> Self {
        Self { start_timeout: Some(limit), ..self }
    }

    /// How long the handler of one message may wait. If it waits longer, it is cut off and the actor falls.
    /// Default: no limit. A limit of a year or more is none.
    ///
    /// A limit so long that the supervisor's [`Intensity`](crate::Intensity) could never be exceeded is an
    /// error at start. With the defaults that is 5.38 s or more. Code that blocks its thread cannot be cut
    /// off.
    #[must_use]
    pub fn stall_after(self, limit: Duration) -> Self {
        Self { stall_after: Some(limit), ..self }
    }

    /// How many messages the mailbox holds before it refuses more; at least 1. Default: that of its
    /// supervisor's [`Defaults`](crate::Defaults) (1 024). The actor's own ticks and the results of its
    /// tasks do not count.
    #[must_use]
    pub fn capacity(self, messages: usize) -> Self {
        Self { capacity: Some(messages), ..self }
    }

    /// At how many running [tasks](crate::Cx::task) the actor refuses messages; at least 1. Default: its
    /// mailbox capacity.
    ///
    /// A task runs until its result is handled. The actor itself can always start one: the messages that
    /// are already in the mailbox may start more tasks than this.
    #[must_use]
    pub fn tasks(self, tasks: usize) -> Self {
        Self { tasks: Some(tasks), ..self }
    }

    /// Accepts one type of message from any sender. `variant` is the variant of the mailbox enum that wraps
    /// it: `Variant(R, Reply<_>)` for a [`Request`](crate::Request), `Variant(N)` for a
    /// [`Notice`](crate::Notice).
    ///
    /// Senders need only the type of the message ([`Recipient`](crate::Recipient)), so the mailbox enum stays
    /// private. It is an error at start if two actors of a tree accept the same type.
    #[must_use]
    pub fn accepts<Way>(mut self, variant: impl Accept<S::Message, Way>) -> Self {
        self.routes.push(Box::new(|handle| variant.route(handle.clone())));
        self
    }
}
