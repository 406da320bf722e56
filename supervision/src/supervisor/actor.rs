//! How an actor is described to its supervisor.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::address::{CallError, Handle};
use crate::incarnation::Server;
use crate::message::{Notice, Reply, Request, short_name};
use crate::policy::{Restart, Shutdown};
use crate::{Backoff, Recipient};

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
    /// off, and the actor falls. Default: without limit. Code that blocks its thread cannot be cut
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

    /// Takes a type of message from anyone, by the mailbox's variant for it: `Variant(R, Reply<_>)`
    /// for a [`Request`], `Variant(N)` for a [`Notice`].
    ///
    /// The type of the message alone leads to this actor ([`Recipient`]), so the mailbox's own type
    /// stays private. Two actors of one tree that take the same type are an error at start.
    #[must_use]
    pub fn accepts<Kind>(mut self, variant: impl Accept<S::Message, Kind>) -> Self {
        self.routes.push(Box::new(|handle| variant.route(handle.clone())));
        self
    }
}

/// The way from a type of message to the one actor that takes it.
#[doc(hidden)]
pub struct Route {
    pub(crate) message: TypeId,
    pub(crate) name: &'static str,
    pub(crate) taker: Arc<str>,
    /// An `AskRoute<R>` or a `TellRoute<N>`.
    entry: Arc<dyn Any + Send + Sync>,
}

type Ask<R> =
    dyn Fn(R, Reply<<R as Request>::Reply>, Instant) -> Result<u64, CallError> + Send + Sync;
type Tell<N> = dyn Fn(N) -> Result<(), CallError> + Send + Sync;

pub(crate) struct AskRoute<R: Request>(pub(crate) Box<Ask<R>>);
pub(crate) struct TellRoute<N: Notice>(pub(crate) Box<Tell<N>>);

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("message", &self.name)
            .field("taker", &self.taker)
            .finish_non_exhaustive()
    }
}

impl Route {
    pub(crate) fn asked<R: Request>(
        taker: Arc<str>,
        ask: impl Fn(R, Reply<R::Reply>, Instant) -> Result<u64, CallError> + Send + Sync + 'static,
    ) -> Self {
        let entry = Arc::new(AskRoute::<R>(Box::new(ask)));
        Self { message: TypeId::of::<R>(), name: short_name::<R>(), taker, entry }
    }

    pub(crate) fn recipient<M: 'static>(&self, ask_timeout: Duration) -> Recipient<M> {
        Recipient::new(Arc::clone(&self.entry), Arc::clone(&self.taker), ask_timeout)
    }
}

/// A mailbox variant that wraps one type of message. Implemented for the variants' constructors.
pub trait Accept<M, Kind>: Send + 'static {
    #[doc(hidden)]
    fn route(self, handle: Handle<M>) -> Route;
}

/// Tells the compiler that a variant takes a [`Request`].
#[derive(Debug)]
pub struct Asked<R>(std::marker::PhantomData<R>);
/// Tells the compiler that a variant takes a [`Notice`].
#[derive(Debug)]
pub struct Told<N>(std::marker::PhantomData<N>);

impl<M, R, F> Accept<M, Asked<R>> for F
where
    M: Send + 'static,
    R: Request,
    F: Fn(R, Reply<R::Reply>) -> M + Send + Sync + 'static,
{
    fn route(self, handle: Handle<M>) -> Route {
        let taker = handle.id();
        let ask = move |request, reply, deadline| {
            handle.accept(self(request, reply), short_name::<R>, Some(deadline))
        };
        Route::asked::<R>(taker, ask)
    }
}

impl<M, N, F> Accept<M, Told<N>> for F
where
    M: Send + 'static,
    N: Notice,
    F: Fn(N) -> M + Send + Sync + 'static,
{
    fn route(self, handle: Handle<M>) -> Route {
        let taker = handle.id();
        let tell =
            move |notice| handle.accept(self(notice), short_name::<N>, None).map(|_incarnation| ());
        let entry = Arc::new(TellRoute::<N>(Box::new(tell)));
        Route { message: TypeId::of::<N>(), name: short_name::<N>(), taker, entry }
    }
}
