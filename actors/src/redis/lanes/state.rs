//! Decides when a lane is pinged, closed and replaced, and how long callers wait for one. No clock and no IO: the time
//! comes in, a decision goes out.

use std::time::Duration;

use tokio::time::Instant;

use crate::redis::socket::CloseReason;
use crate::redis::status::{Cause, Error};

/// What a lane has heard from its server since the last look. Later variants take precedence over earlier ones.
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

/// How long a lane has been silent while something waits for a reply.
#[derive(Debug)]
pub(super) struct Silence {
    heard: u64,
    lasted: Duration,
}

/// What to do after a look at a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    Rest,
    /// Nothing was heard, so a `PING` is due.
    Ping,
}

/// What to do after a `PING`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pinged {
    /// Count it as a reply, perhaps with an objection.
    Replied(Option<Cause>),
    Close(CloseReason),
}

/// How far a slot is on the way from one lane to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Succession {
    /// There is no lane yet. The first one is being made.
    Vacant,
    /// The lane serves. Leaves to `Leaving` when it has reached its age, its generation is closed or it has stalled, to
    /// `Lost` when no reply is expected on it any more.
    Serving,
    /// The lane serves until its successor is there. Leaves to `Lost` when it fails before that, and back to `Serving`
    /// when it had stalled and is heard again.
    Leaving(CloseReason),
    /// The lane was taken out of use. Its successor is being made.
    Lost(CloseReason),
}

/// What to do with the old lane while its successor is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OldLane {
    /// Keep it in use, and make its successor at once.
    Keep,
    /// Take it out of use. Its successor waits for its turn, since many lanes may be lost at once.
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

    /// Whether an answer was heard in the last two seconds.
    pub(super) fn was_answered_lately(&self, now: Instant) -> bool {
        self.answered.is_some_and(|answered| now.saturating_duration_since(answered) < LATELY)
    }
}

impl Silence {
    /// Begins on a lane on which so many bytes have arrived.
    pub(super) fn new(heard: u64) -> Self {
        Self { heard, lasted: Duration::ZERO }
    }

    /// Whether the lane has stalled, `since_last` after the last look. A process that was held up between two looks
    /// could not hear anything, so a late look counts as one in time.
    pub(super) fn is_stall(
        &mut self,
        heard: u64,
        since_last: Duration,
        command_timeout: Duration,
    ) -> bool {
        if heard == self.heard {
            self.lasted += since_last.min(STALL_LOOK);
        } else {
            *self = Self::new(heard);
        }
        self.lasted >= command_timeout.saturating_add(STALL)
    }
}

impl Pinged {
    pub(super) fn of(found: Result<(), Cause>) -> Self {
        match found {
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

    /// Decides what to do with a lane that is to be replaced, or that fails while its successor is made.
    pub(super) fn ends(&mut self, reason: CloseReason) -> OldLane {
        if reason.is_sudden() {
            *self = Self::Lost(reason);
            return OldLane::GiveUp;
        }
        *self = Self::Leaving(reason);
        OldLane::Keep
    }

    /// Notes that a stalled lane is heard again before its successor is there.
    pub(super) fn recovers(&mut self) {
        *self = Self::Serving;
    }

    /// Why the lane was replaced; `None` if there was none.
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

    /// The time of the next look for a lane, while none serves; `request` is the deadline of the caller's request.
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

/// How long a caller without a lane waits while connecting fails: long enough for a second attempt.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);
/// The time between two looks at a lane. An idle lane is silent for at most two of them: it is pinged once a second.
pub(super) const BEAT: Duration = Duration::from_millis(500);
/// Twice the longest silence of a lane that is answered.
const LATELY: Duration = Duration::from_secs(2);
/// How much longer than `command_timeout` a lane may be silent.
const STALL: Duration = Duration::from_secs(1);
/// The time between two looks at a lane that is silent.
pub(super) const STALL_LOOK: Duration = Duration::from_millis(100);
