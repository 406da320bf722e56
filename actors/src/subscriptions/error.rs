use super::bounds;
use crate::Outcome;
use crate::redis::{self, RETRY_AFTER};

/// Why a subscription failed. Nothing stays subscribed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Redis is away, did not confirm in time, or refused: the user may have no permission for the channel.
    #[error(transparent)]
    Redis(#[from] redis::Error),
    /// The service already has the most that it may have.
    #[error("all {most} {what} are in use; check what subscribes and does not end")]
    TooMany {
        /// What there are too many of: `subscriptions`, or `channels and patterns`.
        what: &'static str,
        /// The most that there can be.
        most: usize,
    },
    /// The list of names is empty or too long, or a name is too long.
    #[error("{given} cannot be subscribed to, wanted is {wanted}")]
    Topics {
        /// What was given, without names.
        given: String,
        /// What is accepted instead.
        wanted: String,
    },
    /// The service drains and this is a request's, or the service is shutting down, or its subscriptions actor is not running.
    #[error("nothing follows subscriptions any more")]
    Closed,
}

impl Error {
    /// What this failure means to the caller. Answers from memory.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Redis(error) => error.outcome(),
            Self::TooMany { .. } => Outcome::Overloaded { retry_after: RETRY_AFTER },
            Self::Topics { .. } => Outcome::Refused,
            Self::Closed => Outcome::Unavailable { retry_after: RETRY_AFTER },
        }
    }

    pub(super) fn too_many_subscriptions() -> Self {
        Self::TooMany { what: "subscriptions", most: bounds::MOST_SUBSCRIPTIONS }
    }

    pub(super) fn too_many_topics() -> Self {
        Self::TooMany { what: "channels and patterns", most: bounds::MOST_TOPICS }
    }
}
