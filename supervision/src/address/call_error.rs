//! The errors of sending to an actor, and whether it is safe to send again.

use std::fmt;
use std::time::Duration;

/// Why an ask or a tell failed. Each variant says whether it is safe to send the message again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The actor is not running. It did not accept the message, so sending again is safe.
    #[error("the actor is not running")]
    Unavailable {
        /// How long to wait before sending again: at least 10 ms, and at least until the backoffs of the
        /// actor and of the supervisors above it are over.
        ///
        /// `None` if the actor has ended for good, or is ending and is not known to come back.
        retry_after: Option<Duration>,
    },
    /// The actor's mailbox is full, or it runs as many tasks as it may
    /// ([`Actor::tasks`](crate::Actor::tasks)). It did not accept the message, so sending again is safe.
    #[error("the actor is overloaded ({depth} messages or tasks)")]
    Overloaded {
        /// The number of messages, or of tasks if these are at their limit.
        depth: usize,
    },
    /// There was no reply by the deadline. Whether sending again is safe depends on `accepted`.
    #[error("no reply within the deadline")]
    Deadline {
        /// Whether the actor began to handle the message. If `true`, the message may have taken effect or
        /// may still do so. If `false`, it was never handled and never will be, because the deadline
        /// passed before it was sent or while it was queued: sending again is safe.
        accepted: bool,
    },
    /// The actor accepted the message, and then ended or dropped the [`Reply`](crate::Reply). The message
    /// may have taken effect: send again only what may happen twice.
    #[error("the actor ended before it replied (incarnation {incarnation})")]
    Died {
        /// The incarnation that accepted the message.
        incarnation: u64,
    },
}

/// A told message that was not accepted. It gives the message back.
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
