use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::redis::RedisResult;
use tokio::time::Instant;

use crate::deadline;
use crate::redis::command::{Block, Plan, Reply, Request};
use crate::redis::connect::{Connector, Exchanged, Failure, Lifecycle, Limit, exchange};
use crate::redis::leases::{Lease, PooledConnection};
use crate::redis::status::{
    Cause, Error, Health, Meaning, is_discarded_for_earlier, is_queued, of_server, server_error,
};

/// A lease as one caller uses it: a connection that it has to itself.
pub(super) struct DedicatedConnection {
    lease: Lease,
    /// A command left state behind on the connection.
    is_bound: bool,
    has_written: bool,
    /// A command that sets the connection's state, such as its database, was sent and its reply never came. So the
    /// meaning of further commands is unknown.
    is_state_unknown: bool,
    /// The first refusal since the caller began a transaction by hand. The server does not repeat it at the end.
    first_refusal: Option<Error>,
}

impl DedicatedConnection {
    pub(super) fn new(lease: Lease) -> Self {
        Self {
            lease,
            is_bound: false,
            has_written: false,
            is_state_unknown: false,
            first_refusal: None,
        }
    }

    // redis R1, R9
    pub(super) async fn ask<R: Request>(
        &mut self,
        connector: &Connector,
        health: &Health,
        plan: &Plan,
        request: &R,
    ) -> RedisResult<(R::Reply, Meaning)> {
        let begun = Instant::now();
        let until = self.admit(health, connector.config().command_timeout, plan, begun)?;
        let is_bound = self.is_bound;
        let pooled = self.lease.pooled_mut();
        let cut = (plan.blocks != Block::NONE).then_some(&*pooled.generation);
        match exchange(&pooled.connection.wire, request, Limit { until, cut }).await {
            Exchanged::Replied(reply, meaning) => {
                self.answered(connector, health, meaning);
                if is_bound {
                    self.note_refusal(&reply)?;
                } else if meaning.is_queued {
                    return Err(plan.lost(Cause::Protocol).into());
                }
                Ok((reply, meaning))
            }
            Exchanged::Unreadable(why) => {
                self.answered(connector, health, Meaning::default());
                Err(Error::Unreadable { why }.into())
            }
            Exchanged::NotSent(error) => {
                self.is_state_unknown = false;
                self.lease.pooled_mut().is_doubtful = self.is_bound;
                Err(error.into())
            }
            Exchanged::Lost(cause) => {
                if std::mem::take(&mut self.lease.pooled_mut().is_new) {
                    connector.backoff().failed(cause, Failure::Unanswered);
                }
                Err(plan.lost(cause).into())
            }
            Exchanged::TimedOut => Err(plan.timed_out(begun.elapsed()).into()),
            Exchanged::Cut => Err(plan.lost(Cause::Replaced).into()),
        }
    }

    /// Discards the connection after this caller instead of handing it on.
    pub(super) fn bind(&mut self) {
        self.is_bound = true;
        self.lease.pooled_mut().is_doubtful = true;
    }

    /// Whether the caller may be inside a transaction that it began by hand.
    pub(super) fn may_be_in_transaction(&self) -> bool {
        self.is_bound
    }

    /// Remembers why a command of a transaction by hand was refused.
    ///
    /// # Errors
    /// That reason, where the server only says that there was one.
    fn note_refusal(&mut self, reply: &impl Reply) -> Result<(), Error> {
        match reply.values().find_map(server_error) {
            // In a pipeline the other replies count as well.
            Some(error) if is_discarded_for_earlier(error) && reply.values().nth(1).is_none() => {
                self.first_refusal.take().map_or(Ok(()), Err)
            }
            Some(error) => {
                self.first_refusal.get_or_insert_with(|| of_server(error));
                Ok(())
            }
            None => {
                // A script may be queued like any other command.
                if !reply.values().any(is_queued) {
                    self.first_refusal = None;
                }
                Ok(())
            }
        }
    }

    /// Whether a write was sent on this connection.
    pub(super) fn has_written(&self) -> bool {
        self.has_written
    }

    pub(super) fn lifecycle(&self) -> &Arc<Lifecycle> {
        &self.pooled().generation
    }

    fn pooled(&self) -> &PooledConnection {
        self.lease.pooled()
    }

    /// Checks whether a command may be sent, and returns the time until which its reply is waited for. On an error
    /// nothing has been sent. From here until the reply is read the connection is doubtful: if the caller drops the
    /// future, the connection is discarded, and no other caller meets the stale reply.
    fn admit(
        &mut self,
        health: &Health,
        limit: Duration,
        plan: &Plan,
        begun: Instant,
    ) -> Result<Option<Instant>, Error> {
        if let Some(error) = health.opened() {
            return Err(error);
        }
        if self.is_state_unknown {
            return Err(Error::unavailable(Cause::InDoubt));
        }
        if self.pooled().connection.is_closed() {
            return Err(Error::unavailable(Cause::Closed));
        }
        if self.pooled().generation.is_cut() {
            return Err(Error::unavailable(Cause::Replaced));
        }
        let until = match plan.blocks {
            Block::NONE => Some(deadline::at_most(limit)),
            Block::For(time) => {
                Some(deadline::at_most(limit.saturating_add(time).saturating_add(LATE)))
            }
            Block::Forever => deadline::current(),
        };
        if until.is_some_and(|until| until <= begun) {
            return Err(Error::Deadline { waited: Duration::ZERO });
        }
        self.is_bound |= plan.binds;
        self.has_written |= plan.writes;
        self.is_state_unknown = plan.binds;
        self.lease.pooled_mut().is_doubtful = true;
        Ok(until)
    }

    /// Trusts the connection again, since its reply has arrived.
    fn answered(&mut self, connector: &Connector, health: &Health, meaning: Meaning) {
        let is_logged_out = meaning.objection == Some(Cause::Auth);
        self.is_state_unknown = false;
        let pooled = self.lease.pooled_mut();
        // What an old generation's server says is no news of the new one's.
        if !pooled.generation.is_closed() {
            health.replied(meaning);
        }
        pooled.replied();
        if std::mem::take(&mut pooled.is_new) {
            if is_logged_out {
                connector.backoff().failed(Cause::Auth, Failure::Unanswered);
            } else {
                connector.backoff().answered();
            }
        }
        // A READONLY does not end this connection: the new generation replaces it with all others. Discarding each one
        // by itself would make a connection for each write while the server stays read-only. After a failed login it is
        // discarded: the password may have been changed meanwhile, and a new connection logs in with the one of now.
        self.is_bound |= is_logged_out || meaning.is_queued || meaning.is_unfinished;
        self.lease.pooled_mut().is_doubtful = self.is_bound;
    }
}

impl fmt::Debug for DedicatedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lease.fmt(f)
    }
}

/// How late a server may notice that the time of a blocked client is over: it looks `hz` times a second (redis.conf;
/// default 10, at least 1).
const LATE: Duration = Duration::from_secs(1);
