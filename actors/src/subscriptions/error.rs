use super::bounds;
use crate::Outcome;
use crate::redis::{self, RETRY_AFTER};

/// Why there is no subscription. Nothing is left behind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Redis is away, did not confirm in time, or refused: the user may have no permission for the channel.
    #[error(transparent)]
    Redis(#[from] redis::Error),
    /// The service has as many as it may have already.
    #[error("all {most} {what} are in use; check what subscribes and does not end")]
    TooMany {
        /// Of what: `subscriptions`, or `channels and patterns`.
        what: &'static str,
        /// How many of them there can be.
        most: usize,
    },
    /// What should be subscribed to is nothing, or too much for one subscription.
    #[error("{given} cannot be subscribed to, wanted is {wanted}")]
    Topics {
        /// What was given, without names.
        given: String,
        /// What is accepted instead.
        wanted: String,
    },
    /// The service is ending, or nothing in it follows subscriptions.
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
