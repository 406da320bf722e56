//! The address of an actor, which survives its restarts.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::call_error::{CallError, Rejected};
use super::question::{Question, await_answer};
use super::seat::Seat;
use crate::machine::State;
use crate::message::{Reply, short_name};

/// The address of an actor. It leads to whichever incarnation is running. Cheap to clone.
pub struct Handle<M> {
    seat: Arc<Seat<M>>,
}

impl<M> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self { seat: Arc::clone(&self.seat) }
    }
}

impl<M> fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("path", self.seat.node.path()).finish_non_exhaustive()
    }
}

impl<M: Send + 'static> Handle<M> {
    pub(crate) fn new(seat: Arc<Seat<M>>) -> Self {
        Self { seat }
    }

    /// Puts a message in the mailbox, and does not wait for it to be handled. An accepted message is lost if
    /// the actor ends before its turn.
    ///
    /// # Errors
    /// [`Rejected`] gives the message back if the actor is not running, its mailbox is full, or it runs as
    /// many tasks as it may.
    pub fn tell(&self, message: M) -> Result<(), Rejected<M>> {
        match self.seat.send(message, short_name::<M>, None) {
            Ok(_) => Ok(()),
            Err((message, why)) => Err(Rejected { message, why }),
        }
    }

    /// Sends a message with a port for the reply, and waits for the reply until `deadline`. Asks the actor.
    ///
    /// # Errors
    /// [`CallError`] says whether the message may have taken effect.
    ///
    /// *Cancel safety:* if the future is dropped before the actor begins to handle the message, the message
    /// is skipped. Otherwise the handling continues.
    pub async fn ask<R: Send + 'static>(
        &self,
        deadline: Instant,
        question: impl FnOnce(Reply<R>) -> M,
    ) -> Result<R, CallError> {
        let (reply, answer) = Reply::channel();
        let asked = Question::new(deadline);
        let incarnation =
            self.accept(question(reply), short_name::<M>, Some(Arc::clone(&asked)))?;
        await_answer(answer, asked, incarnation).await
    }

    /// Waits until the actor accepts messages, and returns the number of its incarnation. Answers from
    /// memory.
    ///
    /// # Errors
    /// [`CallError::Unavailable`], at once, if the actor has ended for good or its tree was never started;
    /// [`CallError::Deadline`] if it does not accept messages by `deadline`.
    pub async fn ready(&self, deadline: Instant) -> Result<u64, CallError> {
        let will_not = CallError::Unavailable { retry_after: None };
        let mut changes = self.seat.hub.get().ok_or(will_not)?.changes();
        loop {
            changes.borrow_and_update();
            if let Some(live) = &*self.seat.live.load() {
                return Ok(live.incarnation);
            }
            if self.state() == State::Down {
                return Err(will_not);
            }
            let woken = tokio::time::timeout_at(deadline, changes.changed()).await;
            woken.map_err(|_elapsed| CallError::Deadline { accepted: false })?.ok();
        }
    }

    pub(super) fn accept(
        &self,
        message: M,
        name: fn() -> &'static str,
        question: Option<Arc<Question>>,
    ) -> Result<u64, CallError> {
        self.seat.send(message, name, question).map_err(|(_, why)| why)
    }

    pub(crate) fn id(&self) -> Arc<str> {
        Arc::clone(&self.seat.node.id)
    }

    /// What the actor is doing. Answers from memory.
    pub fn state(&self) -> State {
        self.seat.node.state()
    }

    /// How many messages are queued or being handled. Answers from memory.
    pub fn depth(&self) -> usize {
        self.seat.node.messages()
    }

    /// The actor's path in the tree.
    pub fn path(&self) -> &str {
        self.seat.node.path()
    }
}
