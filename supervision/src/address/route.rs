//! The way from a type of message to the actor that accepts it.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;

use super::call_error::CallError;
use super::handle::Handle;
use super::question::Question;
use crate::message::{Notice, Reply, Request, short_name};

/// The way from a type of message to the one actor that accepts it.
#[doc(hidden)]
pub struct Route {
    pub(crate) message: TypeId,
    pub(crate) name: &'static str,
    pub(crate) taker: Arc<str>,
    /// An `AskRoute<R>` or a `TellRoute<N>`.
    pub(super) entry: Arc<dyn Any + Send + Sync>,
}

type Ask<R> =
    dyn Fn(R, Reply<<R as Request>::Reply>, &Arc<Question>) -> Result<u64, CallError> + Send + Sync;
type Tell<N> = dyn Fn(N) -> Result<(), CallError> + Send + Sync;

pub(super) struct AskRoute<R: Request>(pub(super) Box<Ask<R>>);
pub(super) struct TellRoute<N: Notice>(pub(super) Box<Tell<N>>);

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
        ask: impl Fn(R, Reply<R::Reply>, &Arc<Question>) -> Result<u64, CallError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let entry = Arc::new(AskRoute::<R>(Box::new(ask)));
        Self { message: TypeId::of::<R>(), name: short_name::<R>(), taker, entry }
    }
}

/// A variant of a mailbox enum that wraps one type of message. Implemented for constructors of variants.
pub trait Accept<M, Way>: Send + 'static {
    #[doc(hidden)]
    fn route(self, handle: Handle<M>) -> Route;
}

/// Marks a variant that wraps a [`Request`].
#[derive(Debug)]
pub struct Asked<R>(std::marker::PhantomData<R>);
/// Marks a variant that wraps a [`Notice`].
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
        let ask = move |request, reply, question: &Arc<Question>| {
            handle.accept(self(request, reply), short_name::<R>, Some(Arc::clone(question)))
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
