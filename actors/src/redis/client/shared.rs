use std::sync::Arc;
use std::time::Duration;

use ::redis::{RedisError, RedisResult};
use tokio::time::{Instant, timeout_at};

use crate::deadline;
use crate::redis::command::{Plan, Reply, Request};
use crate::redis::connect::{Exchanged, Lifecycle, Limit, exchange, ping};
use crate::redis::lanes::{Lane, Lanes};
use crate::redis::socket::{CloseReason, Load, Wire};
use crate::redis::status::{Cause, Error, Health, Meaning};

/// A lane as one caller uses it. The caller keeps one lane while it serves, so that its commands are executed in the
/// order in which they were sent.
#[derive(Debug)]
pub(super) struct SharedConnection {
    lane: Arc<Lane>,
    /// What `lane` is for.
    load: Load,
    /// What the caller has asked for.
    wanted: Load,
    /// A write was sent, and neither it nor a later command has had a reply: it may still be executed.
    is_in_doubt: bool,
}

impl SharedConnection {
    pub(super) fn new(lane: Arc<Lane>, load: Load) -> Self {
        Self { lane, load, wanted: load, is_in_doubt: false }
    }

    /// What the caller has asked for.
    pub(super) fn wanted(&self) -> Load {
        self.wanted
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
        let len_bytes = request.len_bytes();
        let load = if len_bytes > LARGE { Load::Bulk } else { self.wanted };
        if load != self.load {
            self.change_to(load, lanes);
        }
        let wire = match self.lane.wire() {
            Some(wire) => wire,
            None => Box::pin(self.move_on(lanes)).await?,
        };
        // The clock starts after the wait for a lane.
        let begun = Instant::now();
        let until = deadline::at_most(lanes.connector.config().command_timeout);
        if until <= begun {
            return Err(Error::Deadline { waited: Duration::ZERO }.into());
        }
        let was_in_doubt = self.is_in_doubt;
        // Stays set if this future is dropped before the reply.
        self.is_in_doubt |= plan.writes;
        match exchange(&wire, request, Limit::until(until)).await {
            Exchanged::Replied(reply, meaning) => {
                self.answered(lanes.health, meaning);
                if meaning.is_queued {
                    return Err(plan.lost(Cause::Protocol).into());
                }
                if self.load == Load::Ordinary && len_bytes.max(reply.len_bytes()) > LARGE {
                    lanes.set.saw_large_value(lanes.connector.endpoint());
                }
                Ok((reply, meaning))
            }
            Exchanged::Unreadable(why) => {
                self.answered(lanes.health, Meaning::default());
                Err(Error::Unreadable { why }.into())
            }
            Exchanged::NotSent(error) => {
                self.is_in_doubt = was_in_doubt;
                Err(error.into())
            }
            Exchanged::Lost(cause) => Err(self.lost(plan, cause)),
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
        let wire = self.lane.last_wire().ok_or(unknown(Cause::InDoubt))?;
        match timeout_at(deadline::at_most(limit), ping(&wire, limit)).await {
            Ok(Ok(())) => {}
            Ok(Err(cause)) if cause.will_pass() => {}
            Ok(Err(_)) | Err(_) => return Err(unknown(Cause::InDoubt)),
        }
        self.is_in_doubt = false;
        Ok(())
    }

    /// Changes to a lane for `load`, if one serves and no earlier command may still be executed.
    fn change_to(&mut self, load: Load, lanes: Lanes<'_>) {
        if !self.is_in_doubt
            && let Some(lane) = lanes.set.serving(load)
        {
            (self.lane, self.load) = (lane, load);
        }
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
/// A larger value takes longer to transfer than to answer, so it delays the small ones behind it.
const LARGE: usize = 64 * 1024;
