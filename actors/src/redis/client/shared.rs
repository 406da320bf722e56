use std::sync::Arc;
use std::time::Duration;

use ::redis::{RedisError, RedisResult};
use tokio::time::{Instant, timeout_at};

use crate::deadline;
use crate::redis::command::{Plan, Reply, Request, len_bytes};
use crate::redis::connect::{Exchanged, Lifecycle, Limit, exchange, ping};
use crate::redis::lanes::{Lane, Lanes};
use crate::redis::socket::{CloseReason, Load, Wire};
use crate::redis::status::{Cause, Error, Health, Meaning, cause_of};

/// A lane as one caller uses it. The caller keeps one lane while it serves, so that its commands are executed in the
/// order in which they were sent.
#[derive(Debug)]
pub(super) struct SharedConnection {
    lane: Arc<Lane>,
    load: Load,
    /// A write was sent, and neither it nor a later command has had a reply: it may still be executed.
    is_in_doubt: bool,
}

impl SharedConnection {
    pub(super) fn new(lane: Arc<Lane>, load: Load) -> Self {
        Self { lane, load, is_in_doubt: false }
    }

    pub(super) fn load(&self) -> Load {
        self.load
    }

    pub(super) fn lifecycle(&self) -> &Arc<Lifecycle> {
        self.lane.lifecycle()
    }

    // redis R1, R2, R10
    pub(super) async fn ask<R: Request>(
        &mut self,
        lanes: Lanes<'_>,
        plan: &Plan,
        request: &R,
    ) -> RedisResult<(R::Reply, Meaning)> {
        if let Some(error) = lanes.health.opened() {
            return Err(error.into());
        }
        let mut wire = match self.lane.wire() {
            Some(wire) => wire,
            None => Box::pin(self.move_on(lanes)).await?,
        };
        // The clock starts after the wait for a lane.
        let begun = Instant::now();
        let until = deadline::at_most(lanes.connector.config().command_timeout);
        if until <= begun {
            return Err(Error::Deadline { waited: Duration::ZERO }.into());
        }
        if wire.in_flight() >= MOST_IN_FLIGHT {
            return Err(Error::Crowded { in_flight: MOST_IN_FLIGHT }.into());
        }
        let was_in_doubt = self.is_in_doubt;
        // Stays set if this future is dropped before the reply.
        self.is_in_doubt |= plan.writes;
        match exchange(&mut wire, request, Limit::until(until)).await {
            Exchanged::Replied(reply, meaning) => {
                self.answered(lanes.health, meaning);
                if meaning.is_queued {
                    return Err(plan.lost(Cause::Protocol).into());
                }
                if self.load == Load::Ordinary
                    && len_bytes(request.commands()).max(reply.len_bytes()) > LARGE
                {
                    lanes.set.saw_large_value(lanes.connector.endpoint());
                }
                Ok((reply, meaning))
            }
            Exchanged::NotSent(error) => {
                self.is_in_doubt = was_in_doubt;
                Err(error)
            }
            Exchanged::Lost(error) => Err(self.lost(plan, cause_of(&error))),
            Exchanged::TimedOut => Err(plan.timed_out(begun.elapsed()).into()),
            Exchanged::Cut => Err(self.lost(plan, Cause::Replaced)),
        }
    }

    /// Makes sure, with a `PING`, that nothing sent so far can still be executed: the server answers the requests of
    /// one connection in order.
    // redis R10
    pub(super) async fn settle(&mut self, limit: Duration) -> Result<(), Error> {
        if !self.is_in_doubt {
            return Ok(());
        }
        let unknown = |cause| Error::OutcomeUnknown { cause };
        let mut wire = self.lane.last_wire().ok_or(unknown(Cause::InDoubt))?;
        match timeout_at(deadline::at_most(limit), ping(&mut wire, limit)).await {
            Ok(Ok(())) => {}
            Ok(Err(cause)) if cause.will_pass() => {}
            Ok(Err(_)) | Err(_) => return Err(unknown(Cause::InDoubt)),
        }
        self.is_in_doubt = false;
        Ok(())
    }

    /// Moves to another lane, after this one has stopped serving.
    async fn move_on(&mut self, lanes: Lanes<'_>) -> Result<Wire, Error> {
        self.settle(lanes.connector.config().command_timeout).await?;
        for _ in 0..LANES_TRIED {
            self.lane = lanes.take(self.load).await?;
            if let Some(wire) = self.lane.wire() {
                return Ok(wire);
            }
        }
        Err(Error::unavailable(Cause::Closed))
    }

    fn answered(&mut self, health: &Health, meaning: Meaning) {
        self.is_in_doubt = false;
        self.lane.replied(meaning.objection);
        if !self.lifecycle().is_closed() {
            health.replied(meaning);
        }
        if meaning.objection == Some(Cause::Auth) {
            // The password may have been changed meanwhile; a new connection logs in with the present one.
            self.lane.close(CloseReason::Unauthenticated);
        }
        if meaning.is_queued || meaning.is_unfinished {
            self.lane.close(CloseReason::InTransaction);
        }
    }

    fn lost(&self, plan: &Plan, cause: Cause) -> RedisError {
        self.lane.close(CloseReason::Closed);
        plan.lost(cause).into()
    }
}

/// A lane may be lost between being found and being used.
const LANES_TRIED: usize = 3;
/// A server that keeps up has fewer requests than this to answer at a time.
const MOST_IN_FLIGHT: usize = 16_384;
/// A larger value takes longer to transfer than to answer, so it delays the small ones behind it.
const LARGE: usize = 64 * 1024;
