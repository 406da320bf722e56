//! Who replaces which lane, and when. Decisions only: the moment comes in, what is to be done goes out.

use std::time::Duration;

use tokio::time::Instant;

use crate::redis::socket::CloseReason;
use crate::redis::status::{Cause, Error};

/// What a lane has heard from its server since it was last looked at, the more telling above the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Heard {
    Silence,
    /// A reply that says "not now".
    Objection,
    Answer,
}

/// When a lane was last answered.
#[derive(Debug, Default)]
pub(super) struct Heartbeat {
    answered: Option<Instant>,
}

/// What follows from a look at a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    Rest,
    /// Nothing was heard: a `PING` is due.
    Ping,
}

/// What follows from the answer to a `PING`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pinged {
    /// It counts as a reply, perhaps with an objection.
    Replied(Option<Cause>),
    Close(CloseReason),
}

/// The way from one lane of a slot to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Succession {
    /// There is no lane. Its first one is being made.
    Vacant,
    /// The lane serves. Leaves to `Leaving` when it has reached its age or its generation is closed, to `Lost` when no
    /// reply is expected on it any more.
    Serving,
    /// The lane serves until its successor is there. Leaves to `Lost` when it fails before that.
    Leaving(CloseReason),
    /// The lane was given up. Its successor is being made.
    Lost(CloseReason),
}

/// What is to be done with a lane that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OldLane {
    /// It stays in use, and its successor is made at once.
    Keep,
    /// It is taken out of use, and its successor waits for its turn: many may be lost at once.
    GiveUp,
}

/// One caller's wait for a lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    begun: Instant,
    deadline: Instant,
}

impl Heard {
    pub(super) fn of(objection: Option<Cause>) -> Self {
        if objection.is_none() { Self::Answer } else { Self::Objection }
    }
}

impl Heartbeat {
    pub(super) fn beat(&mut self, heard: Heard, now: Instant) -> Beat {
        match heard {
            Heard::Silence => return Beat::Ping,
            Heard::Objection => {}
            Heard::Answer => self.answered = Some(now),
        }
        Beat::Rest
    }

    /// Whether an answer was found in the last two seconds.
    pub(super) fn was_answered_lately(&self, now: Instant) -> bool {
        self.answered.is_some_and(|answered| now.saturating_duration_since(answered) < LATELY)
    }
}

impl Pinged {
    pub(super) fn of(found: Result<(), Cause>) -> Self {
        match found {
            Err(Cause::Timeout) => Self::Close(CloseReason::Silent),
            Err(Cause::Closed | Cause::Protocol) => Self::Close(CloseReason::Closed),
            Err(Cause::Auth) => Self::Close(CloseReason::Unauthenticated),
            Err(objection) => Self::Replied(Some(objection)),
            Ok(()) => Self::Replied(None),
        }
    }
}

impl Succession {
    pub(super) fn begin(has_lane: bool) -> Self {
        if has_lane { Self::Serving } else { Self::Vacant }
    }

    /// The lane ends, or fails while it waits for its successor.
    pub(super) fn ends(&mut self, reason: CloseReason) -> OldLane {
        let is_lost = reason.is_sudden() || matches!(self, Self::Leaving(_));
        if is_lost {
            *self = Self::Lost(reason);
            return OldLane::GiveUp;
        }
        *self = Self::Leaving(reason);
        OldLane::Keep
    }

    /// Why the lane was replaced; `None` where there was none.
    pub(super) fn reason(self) -> Option<CloseReason> {
        match self {
            Self::Vacant | Self::Serving => None,
            Self::Leaving(reason) | Self::Lost(reason) => Some(reason),
        }
    }
}

impl Wait {
    pub(super) fn new(begun: Instant, deadline: Instant) -> Self {
        Self { begun, deadline }
    }

    /// When to look again for a lane, where none serves; `request` is the deadline of the caller's request.
    ///
    /// # Errors
    /// Why the caller waits no longer.
    pub(super) fn look(
        &self,
        now: Instant,
        connect_failure: Option<Cause>,
        request: Option<Instant>,
    ) -> Result<Instant, Error> {
        let patience = self.begun + PATIENCE;
        if let Some(cause) = connect_failure.filter(|_| now >= patience) {
            return Err(Error::unavailable(cause));
        }
        if request.is_some_and(|deadline| now >= deadline) {
            return Err(Error::Deadline { waited: now.saturating_duration_since(self.begun) });
        }
        if now >= self.deadline {
            return Err(Error::unavailable(Cause::Timeout));
        }
        Ok(if now < patience { patience.min(self.deadline) } else { self.deadline })
    }
}

/// Whether a lane is closed after so many commands in a row that had no reply.
pub(super) fn is_too_many(timeouts: u32) -> bool {
    timeouts >= TIMEOUTS_TO_REPLACE
}

/// How long a caller without a lane waits while connecting fails: long enough for a second attempt.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);
/// Two of these without a reply are the longest silence: an idle lane is asked once a second.
pub(super) const BEAT: Duration = Duration::from_millis(500);
/// Twice the longest silence of a lane that is answered.
const LATELY: Duration = Duration::from_secs(2);
const TIMEOUTS_TO_REPLACE: u32 = 3;
