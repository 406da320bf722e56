use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{ErrorKind, RedisError, RedisResult};
use tokio::time::{Instant, sleep_until};

use crate::deadline;
use crate::redis::command::{Block, Plan, Reply, Request};
use crate::redis::connect::Lifecycle;
use crate::redis::endpoint::Endpoint;
use crate::redis::leases::{Lease, PooledConnection};
use crate::redis::status::{Cause, Error, Meaning, cause_of};

/// A connection that one caller has to itself.
pub(crate) struct DedicatedConnection {
    lease: Lease,
    /// A command left state behind that outlives it.
    is_bound: bool,
    pub(crate) has_written: bool,
    /// A command that sets the connection's state was sent and its reply never came, so that nobody knows in which
    /// state, of which database for one, whatever follows would be carried out.
    is_lost: bool,
}

/// What became of something that was sent.
enum Sent<T> {
    Answered(T),
    Failed(RedisError),
    TimedOut,
    Cut,
}

impl DedicatedConnection {
    pub(crate) fn new(lease: Lease) -> Self {
        Self { lease, is_bound: false, has_written: false, is_lost: false }
    }

    pub(crate) async fn ask<R: Request>(
        &mut self,
        endpoint: &Endpoint,
        plan: &Plan,
        request: &R,
    ) -> RedisResult<R::Reply> {
        let begun = Instant::now();
        let until = self.admit(endpoint, plan, begun)?;
        let cut = cut(self.pooled(), plan);
        let sent = within(cut, until, self.lease.pooled_mut().connection.wire.send(request)).await;
        self.settle(endpoint, plan, begun, sent)
    }

    /// Lets nobody else have the connection after this one.
    pub(crate) fn bind(&mut self) {
        self.is_bound = true;
        self.lease.pooled_mut().is_doubtful = true;
    }

    pub(crate) fn lifecycle(&self) -> &Arc<Lifecycle> {
        &self.pooled().generation
    }

    fn pooled(&self) -> &PooledConnection {
        self.lease.pooled()
    }

    /// Lets a plan through, or says why not; then nothing has been sent. From here to `settle` the connection is in
    /// doubt, so that a caller who drops the future leaves no stale reply to the next one.
    // redis R1, R9
    fn admit(
        &mut self,
        endpoint: &Endpoint,
        plan: &Plan,
        begun: Instant,
    ) -> Result<Option<Instant>, Error> {
        if let Some(error) = endpoint.health().opened() {
            return Err(error);
        }
        if self.is_lost {
            return Err(Error::unavailable(Cause::InDoubt));
        }
        if self.pooled().connection.is_closed() {
            return Err(Error::unavailable(Cause::Closed));
        }
        if self.pooled().generation.is_cut() {
            return Err(Error::unavailable(Cause::Replaced));
        }
        let limit = endpoint.config().command_timeout;
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
        self.is_lost = plan.binds;
        self.lease.pooled_mut().is_doubtful = true;
        Ok(until)
    }

    /// Reads what came of it: the connection is trusted again only if its reply is here.
    fn settle<T: Reply>(
        &mut self,
        endpoint: &Endpoint,
        plan: &Plan,
        begun: Instant,
        sent: Sent<T>,
    ) -> RedisResult<T> {
        match sent {
            Sent::Answered(reply) => {
                self.answered(endpoint, reply.meaning());
                Ok(reply)
            }
            Sent::Failed(error) => match error.kind() {
                // A transaction that the server refused is a reply like any other.
                ErrorKind::Server(_) | ErrorKind::Extension => {
                    self.answered(endpoint, Meaning::of_error(&error).unwrap_or_default());
                    Err(error)
                }
                // The library declined to send it.
                ErrorKind::Client => {
                    self.is_lost = false;
                    self.lease.pooled_mut().is_doubtful = self.is_bound;
                    Err(error)
                }
                _ => {
                    let cause = cause_of(&error);
                    if std::mem::take(&mut self.lease.pooled_mut().is_new) {
                        endpoint.lost_unanswered(cause);
                    }
                    Err(plan.lost(cause).into())
                }
            },
            Sent::TimedOut => Err(plan.timed_out(begun.elapsed()).into()),
            Sent::Cut => Err(plan.lost(Cause::Replaced).into()),
        }
    }

    fn answered(&mut self, endpoint: &Endpoint, meaning: Meaning) {
        self.is_lost = false;
        endpoint.health().replied(meaning);
        let pooled = self.lease.pooled_mut();
        pooled.replied();
        if std::mem::take(&mut pooled.is_new) {
            match meaning.objection {
                Some(Cause::Auth) => endpoint.lost_unanswered(Cause::Auth),
                _ => endpoint.answered(),
            }
        }
        // A READONLY does not end this connection: the new generation replaces it with all others. Discarding each one by
        // itself would make a connection for each write while the server stays read-only.
        if meaning.objection == Some(Cause::Auth) {
            // The password may have been changed meanwhile; a new connection logs in with the one of now.
            self.is_bound = true;
        }
        self.lease.pooled_mut().is_doubtful = self.is_bound;
    }
}

impl fmt::Debug for DedicatedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lease.fmt(f)
    }
}

/// Waits for a reply for as long as it may take. A command that blocks is cut when its generation is; any other
/// ends soon by itself.
async fn within<T>(
    pool_cut: impl Future<Output = ()>,
    until: Option<Instant>,
    reply: impl Future<Output = RedisResult<T>>,
) -> Sent<T> {
    let timeout = async {
        match until {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        reply = reply => match reply {
            Ok(reply) => Sent::Answered(reply),
            Err(error) => Sent::Failed(error),
        },
        () = timeout => Sent::TimedOut,
        () = pool_cut => Sent::Cut,
    }
}

/// Ends when the generation is cut, if the plan blocks.
fn cut(pooled: &PooledConnection, plan: &Plan) -> impl Future<Output = ()> + Send + 'static {
    let generation = (plan.blocks != Block::NONE).then(|| Arc::clone(&pooled.generation));
    async move {
        match generation {
            Some(generation) => generation.was_cut().await,
            None => std::future::pending().await,
        }
    }
}

/// How late a server may be to notice that a blocked client's time is over: it looks `hz` times a second
/// (redis.conf; default 10, at least 1).
const LATE: Duration = Duration::from_secs(1);
