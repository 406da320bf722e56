use std::time::Duration;

use mainstay_supervision::{CallError, NoTaker};

use crate::Outcome;

/// Why a message to an actor failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// No actor of the tree takes messages of this type. Nothing happened.
    #[error(transparent)]
    NoTaker(#[from] NoTaker),
    /// The actor did not answer; [`CallError`] says whether it may have acted.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl AskError {
    /// What this failure means to the caller. Answers from memory.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::NoTaker(_) => Outcome::Bug,
            Self::Call(error) => outcome(*error),
        }
    }
}

/// How long to wait where it is not known when the actor is back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

fn outcome(error: CallError) -> Outcome {
    match error {
        CallError::Unavailable { retry_after } => {
            Outcome::Unavailable { retry_after: retry_after.unwrap_or(RETRY_AFTER) }
        }
        CallError::Overloaded { .. } => Outcome::Overloaded { retry_after: RETRY_AFTER },
        CallError::Deadline { accepted: false } => Outcome::Deadline,
        // It was accepted. A later variant, unknown to this crate, is no safer than that.
        _ => Outcome::OutcomeUnknown,
    }
}
