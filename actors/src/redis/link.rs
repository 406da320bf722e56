use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::ConnectionLike;
use ::redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use tokio::time::{Instant, sleep_until};

use super::cause::Cause;
use super::command::{Block, Capability, Plan};
use super::connection::Node;
use super::endpoint::Endpoint;
use super::error::Error;
use super::lease::Lease;
use crate::deadline;

/// The way every command takes: it keeps the deadline, asks the breaker, and knows what a lost reply means.
///
/// It is what [`CacheConn`](super::CacheConn) derefs to, so that commands, pipelines and scripts of the redis crate
/// run through it. It cannot be cloned, and no connection can be taken out of it: a connection that is in doubt when
/// the link is dropped goes to nobody else.
pub struct Link {
    lease: Lease,
    endpoint: Arc<Endpoint>,
    /// A command left state behind that outlives it.
    is_bound: bool,
}

/// What became of something that was sent.
enum Sent<T> {
    Answered(T),
    Failed(RedisError),
    TimedOut,
    Cut,
}

impl Link {
    pub(super) fn new(lease: Lease, endpoint: Arc<Endpoint>) -> Self {
        Self { lease, endpoint, is_bound: false }
    }

    fn node(&self) -> &Node {
        self.lease.node()
    }

    /// Lets a plan through, or says why not; then nothing has been sent. From here to `settle` the connection is in
    /// doubt, so that a caller who drops the future leaves no stale reply to the next one.
    // redis R1, R9
    fn admit(&mut self, plan: &Plan, begun: Instant) -> Result<Option<Instant>, Error> {
        if let Some(error) = self.endpoint.health().opened() {
            return Err(error);
        }
        if self.node().line.is_dead() {
            return Err(Error::unavailable(Cause::Closed));
        }
        if self.node().generation.is_cut() {
            return Err(Error::unavailable(Cause::Replaced));
        }
        let limit = self.endpoint.config().command_timeout;
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
        self.lease.node_mut().is_doubtful = true;
        Ok(until)
    }

    /// Reads what came of it: the connection is trusted again only if its reply is here.
    fn settle<T: Reply>(&mut self, plan: &Plan, begun: Instant, sent: Sent<T>) -> RedisResult<T> {
        let lost = |cause| {
            if plan.writes { Error::OutcomeUnknown { cause } } else { Error::unavailable(cause) }
        };
        match sent {
            Sent::Answered(reply) => {
                let objection = reply.codes().find_map(Cause::of_code);
                self.answered(objection);
                Ok(reply)
            }
            Sent::Failed(error) => match error.kind() {
                // A transaction that the server refused is a reply like any other.
                ErrorKind::Server(_) | ErrorKind::Extension => {
                    self.answered(error.code().and_then(Cause::of_code));
                    Err(error)
                }
                // The library declined to send it.
                ErrorKind::Client => {
                    self.lease.node_mut().is_doubtful = self.is_bound;
                    Err(error)
                }
                _ => {
                    let cause = Cause::of(&error);
                    if std::mem::take(&mut self.lease.node_mut().is_new) {
                        self.endpoint.lost_unanswered(cause);
                    }
                    Err(lost(cause).into())
                }
            },
            Sent::TimedOut if plan.writes => {
                Err(Error::OutcomeUnknown { cause: Cause::Timeout }.into())
            }
            Sent::TimedOut => Err(Error::Deadline { waited: begun.elapsed() }.into()),
            Sent::Cut => Err(lost(Cause::Replaced).into()),
        }
    }

    fn answered(&mut self, objection: Option<Cause>) {
        let node = self.lease.node_mut();
        node.replied();
        if std::mem::take(&mut node.is_new) {
            match objection {
                Some(Cause::Auth) => self.endpoint.lost_unanswered(Cause::Auth),
                _ => self.endpoint.answered(),
            }
        }
        match objection {
            None => self.endpoint.health().succeeded(),
            // The new generation replaces this connection with all others; to discard each one by itself would make
            // a connection for each write while the server stays read-only.
            Some(Cause::ReadOnly) => self.endpoint.saw_read_only(),
            // The next connection may be let in where this one is not, with a password that was changed meanwhile.
            Some(Cause::Auth) => self.is_bound = true,
            Some(_) => {}
        }
        self.lease.node_mut().is_doubtful = self.is_bound;
    }
}

/// Waits for a reply for as long as it may take. A command that blocks is cut when its generation is; any other
/// ends soon by itself.
async fn within<T>(
    node_cut: impl Future<Output = ()>,
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
        () = node_cut => Sent::Cut,
    }
}

/// Ends when the generation is cut, if the plan blocks.
fn cut(node: &Node, plan: &Plan) -> impl Future<Output = ()> + Send + 'static {
    let generation = (plan.blocks != Block::NONE).then(|| Arc::clone(&node.generation));
    async move {
        match generation {
            Some(generation) => generation.was_cut().await,
            None => std::future::pending().await,
        }
    }
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let begun = Instant::now();
            let plan = Plan::of([cmd], &Capability::default())?.cautious();
            let until = self.admit(&plan, begun)?;
            let cut = cut(self.node(), &plan);
            let sent =
                within(cut, until, self.lease.node_mut().line.mux.send_packed_command(cmd)).await;
            self.settle(&plan, begun, sent)
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let begun = Instant::now();
            let plan = Plan::of(pipeline.cmd_iter(), &Capability::default())?.cautious();
            let until = self.admit(&plan, begun)?;
            let cut = cut(self.node(), &plan);
            let reply =
                self.lease.node_mut().line.mux.send_packed_commands(pipeline, offset, count);
            let sent = within(cut, until, reply).await;
            self.settle(&plan, begun, sent)
        })
    }

    fn get_db(&self) -> i64 {
        self.endpoint.address().database()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("endpoint", &self.endpoint.name())
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// A reply, looked through for the errors it holds.
trait Reply {
    fn codes(&self) -> impl Iterator<Item = &str>;
}

impl Reply for Value {
    fn codes(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self).filter_map(code)
    }
}

impl Reply for Vec<Value> {
    fn codes(&self) -> impl Iterator<Item = &str> {
        // A transaction's replies come as one array.
        self.iter()
            .flat_map(|value| match value {
                Value::Array(values) => values.iter(),
                other => std::slice::from_ref(other).iter(),
            })
            .filter_map(code)
    }
}

fn code(value: &Value) -> Option<&str> {
    match value {
        Value::ServerError(error) => Some(error.code()),
        _ => None,
    }
}

/// How late a server may be to notice that a blocked client's time is over: it looks `hz` times a second
/// (redis.conf; default 10, at least 1).
const LATE: Duration = Duration::from_secs(1);
