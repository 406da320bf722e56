use std::sync::Arc;
use std::time::Duration;

use ::redis::{ErrorKind, RedisError, RedisResult};
use tokio::time::{Instant, timeout_at};

use crate::deadline;
use crate::redis::command::{Plan, Reply, Request, len_bytes};
use crate::redis::connect::{Lifecycle, ping};
use crate::redis::endpoint::Endpoint;
use crate::redis::lanes::Lane;
use crate::redis::socket::{CloseReason, Load, Wire};
use crate::redis::status::{Cause, Error, Meaning, cause_of};

/// A caller's place on a lane. It keeps one lane for as long as that serves, so that its commands are carried out in
/// the order in which it sent them.
#[derive(Debug)]
pub(crate) struct SharedConnection {
    lane: Arc<Lane>,
    load: Load,
    /// A write was sent and nothing that was sent later has had a reply: it may still be carried out.
    in_doubt: bool,
}

impl SharedConnection {
    pub(crate) fn new(lane: Arc<Lane>, load: Load) -> Self {
        Self { lane, load, in_doubt: false }
    }

    pub(crate) fn load(&self) -> Load {
        self.load
    }

    pub(crate) fn lifecycle(&self) -> &Arc<Lifecycle> {
        self.lane.lifecycle()
    }

    // redis R1, R2, R10
    pub(crate) async fn ask<R: Request>(
        &mut self,
        endpoint: &Endpoint,
        plan: &Plan,
        request: &R,
    ) -> RedisResult<R::Reply> {
        if let Some(error) = endpoint.health().opened() {
            return Err(error.into());
        }
        let mut wire = match self.lane.wire() {
            Some(wire) => wire,
            None => Box::pin(self.move_on(endpoint)).await?,
        };
        // A lane that took long to be made must not be found slow by everyone who waited for it.
        let begun = Instant::now();
        let whole = begun + endpoint.config().command_timeout;
        let until = deadline::current().map_or(whole, |deadline| deadline.min(whole));
        if until <= begun {
            return Err(Error::Deadline { waited: Duration::ZERO }.into());
        }
        if wire.in_flight() >= MOST_IN_FLIGHT {
            return Err(Error::Crowded { in_flight: MOST_IN_FLIGHT }.into());
        }
        let was_in_doubt = self.in_doubt;
        // Stays so if this future is dropped under way.
        self.in_doubt |= plan.writes;
        match timeout_at(until, wire.send(request)).await {
            Ok(Ok(reply)) => {
                self.answered(endpoint, reply.meaning());
                if self.load == Load::Ordinary
                    && len_bytes(request.commands()).max(reply.len_bytes()) > LARGE
                {
                    endpoint.saw_large_value();
                }
                Ok(reply)
            }
            Ok(Err(error)) => Err(self.failed(endpoint, plan, was_in_doubt, error)),
            Err(_) => {
                if until == whole {
                    self.lane.timed_out();
                }
                Err(plan.timed_out(begun.elapsed()).into())
            }
        }
    }

    /// Makes sure that nothing sent so far can still be carried out: the server answers what comes over one
    /// connection in order.
    // redis R10
    pub(crate) async fn settle(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        if !self.in_doubt {
            return Ok(());
        }
        let unknown = |cause| Error::OutcomeUnknown { cause };
        let mut wire = self.lane.last_wire().ok_or(unknown(Cause::InDoubt))?;
        let until = deadline::at_most(endpoint.config().command_timeout);
        match timeout_at(until, ping(&mut wire, endpoint.config().command_timeout)).await {
            Ok(Ok(())) => {}
            Ok(Err(cause)) if cause.will_pass() => {}
            Ok(Err(_)) | Err(_) => return Err(unknown(Cause::InDoubt)),
        }
        self.in_doubt = false;
        Ok(())
    }

    /// Its lane serves no more: goes over to one that does.
    async fn move_on(&mut self, endpoint: &Endpoint) -> Result<Wire, Error> {
        self.settle(endpoint).await?;
        for _ in 0..LANES_TRIED {
            self.lane = endpoint.lane(self.load).await?;
            if let Some(wire) = self.lane.wire() {
                return Ok(wire);
            }
        }
        Err(Error::unavailable(Cause::Closed))
    }

    fn answered(&mut self, endpoint: &Endpoint, meaning: Meaning) {
        self.in_doubt = false;
        self.lane.replied(meaning.objection);
        endpoint.health().replied(meaning);
        if meaning.objection == Some(Cause::Auth) {
            // The password may have been changed meanwhile; a new connection logs in with the one of now.
            self.lane.close(CloseReason::Unauthenticated);
        }
    }

    fn failed(
        &mut self,
        endpoint: &Endpoint,
        plan: &Plan,
        was_in_doubt: bool,
        error: RedisError,
    ) -> RedisError {
        match error.kind() {
            // A transaction that the server refused is a reply like any other.
            ErrorKind::Server(_) | ErrorKind::Extension => {
                self.answered(endpoint, Meaning::of_error(&error).unwrap_or_default());
                error
            }
            // The library declined to send it.
            ErrorKind::Client => {
                self.in_doubt = was_in_doubt;
                error
            }
            _ => {
                self.lane.close(CloseReason::Closed);
                plan.lost(cause_of(&error)).into()
            }
        }
    }
}

/// A lane may be lost between being found and being used.
const LANES_TRIED: usize = 3;
/// A server that keeps up has fewer than these to answer at a time.
const MOST_IN_FLIGHT: usize = 16_384;
/// What takes longer to carry than to answer, so that small values should not have to wait behind it.
const LARGE: usize = 64 * 1024;
