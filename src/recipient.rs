use std::fmt;
use std::time::Duration;

use mainstay_actors::supervision::{Notice, Recipient as Inner, Request};
use mainstay_actors::{AskError, deadline};

/// The address of the actor that accepts messages of type `M`. Survives its restarts; cheap to clone.
///
/// In a handler it is an extractor: `async fn logout(revoke: Recipient<Revoke>) -> ..`. If no actor
/// accepts the type, the request is answered 500, and the log names the type.
pub struct Recipient<M> {
    inner: Inner<M>,
    ask_timeout: Duration,
}

impl<M> Recipient<M> {
    pub(crate) fn new(inner: Inner<M>, ask_timeout: Duration) -> Self {
        Self { inner, ask_timeout }
    }
}

impl<R: Request> Recipient<R> {
    /// Asks, and waits for the reply until the request's deadline, outside of
    /// a request for `supervision.ask_timeout` (default 5 s). Asks the actor.
    ///
    /// # Errors
    /// [`AskError`]; its [`outcome`](AskError::outcome) says whether asking again is safe.
    ///
    /// *Cancel safety*: if the future is dropped before the actor begins to handle the message, the message
    /// is skipped. Otherwise the handling continues.
    pub async fn ask(&self, request: R) -> Result<R::Reply, AskError> {
        Ok(self.inner.ask_by(deadline::or_after(self.ask_timeout), request).await?)
    }
}

impl<N: Notice> Recipient<N> {
    /// Sends `notice` to the actor, and does not wait.
    ///
    /// # Errors
    /// [`AskError`]: the notice was not accepted.
    pub fn tell(&self, notice: N) -> Result<(), AskError> {
        Ok(self.inner.tell(notice)?)
    }
}

impl<M> Clone for Recipient<M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), ask_timeout: self.ask_timeout }
    }
}

impl<M> fmt::Debug for Recipient<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
