//! Sending by the type of the message.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::call_error::CallError;
use super::question::{Question, await_answer};
use super::route::{AskRoute, Route, TellRoute};
use crate::clock::from_now;
use crate::message::{Notice, Reply, Request};

/// The address of the actor that accepts messages of type `M`. Survives restarts; cheap to clone.
pub struct Recipient<M> {
    entry: Arc<dyn Any + Send + Sync>,
    taker: Arc<str>,
    ask_timeout: Duration,
    message: PhantomData<fn(M)>,
}

impl<M> Clone for Recipient<M> {
    fn clone(&self) -> Self {
        let (entry, taker) = (Arc::clone(&self.entry), Arc::clone(&self.taker));
        Self { entry, taker, ask_timeout: self.ask_timeout, message: PhantomData }
    }
}

impl<M> fmt::Debug for Recipient<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipient").field("taker", &self.taker).finish_non_exhaustive()
    }
}

impl<M> Recipient<M> {
    /// The recipient at the end of `route`. [`ask`](Recipient::ask) waits for `ask_timeout`.
    pub(crate) fn of(route: &Route, ask_timeout: Duration) -> Self {
        let (entry, taker) = (Arc::clone(&route.entry), Arc::clone(&route.taker));
        Self { entry, taker, ask_timeout, message: PhantomData }
    }
}

impl<R: Request> Recipient<R> {
    /// Sends `request` and waits for the reply, at most for the system's ask timeout (default 5 s). Asks the
    /// actor.
    ///
    /// # Errors
    /// [`CallError`] says whether the request may have taken effect.
    ///
    /// # Panics
    /// If `R` is also a [`Notice`] and its actor accepts it only as that.
    ///
    /// *Cancel safety:* as for [`Handle::ask`](crate::Handle::ask).
    pub async fn ask(&self, request: R) -> Result<R::Reply, CallError> {
        self.ask_by(from_now(self.ask_timeout), request).await
    }

    /// Sends `request` and waits for the reply until `deadline`. Asks the actor.
    ///
    /// # Errors
    /// [`CallError`] says whether the request may have taken effect.
    ///
    /// # Panics
    /// If `R` is also a [`Notice`] and its actor accepts it only as that.
    ///
    /// *Cancel safety:* as for [`Handle::ask`](crate::Handle::ask).
    pub async fn ask_by(&self, deadline: Instant, request: R) -> Result<R::Reply, CallError> {
        let route: &AskRoute<R> =
            self.entry.downcast_ref().expect("a request's type leads to a route for asking");
        let (reply, answer) = Reply::channel();
        let question = Question::new(deadline);
        let incarnation = (route.0)(request, reply, &question)?;
        await_answer(answer, question, incarnation).await
    }
}

impl<N: Notice> Recipient<N> {
    /// Puts `notice` in the mailbox, and does not wait for it to be handled.
    ///
    /// # Errors
    /// [`CallError::Unavailable`] or [`CallError::Overloaded`]: the notice was not accepted.
    ///
    /// # Panics
    /// If `N` is also a [`Request`] and its actor accepts it only as that.
    pub fn tell(&self, notice: N) -> Result<(), CallError> {
        let route: &TellRoute<N> =
            self.entry.downcast_ref().expect("a notice's type leads to a route for telling");
        (route.0)(notice)
    }
}
