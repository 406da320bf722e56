//! How sending to an actor can fail, and whether it is safe to send again.

use std::fmt;
use std::time::Duration;

/// How a question or a message came to nothing. Each variant says whether asking again is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The actor is not running. The message was not accepted: asking again is safe.
    #[error("the actor is not running")]
    Unavailable {
        /// When asking again is worth a try, never at once; `None` if it has ended for good, or is
        /// ending for good.
        retry_after: Option<Duration>,
    },
    /// The actor has as much to do as it may: its mailbox is full, or it runs as many tasks as it may.
    /// The message was not accepted: asking again is safe.
    #[error("the actor is overloaded ({depth} messages or tasks)")]
    Overloaded {
        /// The messages queued, or, where these are what is too many, the tasks running.
        depth: usize,
    },
    /// There was no reply in time. If the message was `accepted` the deed may have happened
    /// anyway, or may still happen: never ask again blindly.
    #[error("no reply within the deadline")]
    Deadline {
        /// Whether the actor may have begun to handle the message. `false` says that it never did and
        /// never will: the deadline had passed before the message was sent, or while it was queued.
        accepted: bool,
    },
    /// The message was accepted, and then the actor fell or dropped the question unanswered. The
    /// deed may have happened: never ask again blindly.
    #[error("the actor ended before it replied (incarnation {incarnation})")]
    Died {
        /// The incarnation that had accepted the message.
        incarnation: u64,
    },
}

/// A told message that was not accepted, given back.
#[derive(thiserror::Error)]
#[error("not accepted: {why}")]
pub struct Rejected<M> {
    /// The message.
    pub message: M,
    /// [`CallError::Unavailable`] or [`CallError::Overloaded`].
    #[source]
    pub why: CallError,
}

impl<M> fmt::Debug for Rejected<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected").field("why", &self.why).finish_non_exhaustive()
    }
}
