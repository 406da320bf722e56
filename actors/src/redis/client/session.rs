use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::ConnectionLike;
use ::redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value, cmd};
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep};

use super::dedicated::DedicatedConnection;
use super::shared::SharedConnection;
use crate::deadline;
use crate::redis::command::{Atomic, Batch, Plan, Reading, Request, ScriptTexts, is_script};
use crate::redis::connect::MissingCapability;
use crate::redis::endpoint::Endpoint;
use crate::redis::lanes::Lane;
use crate::redis::leases::Lease;
use crate::redis::socket::Load;
use crate::redis::status::{
    Cause, Error, Hint, Meaning, executed, is_refusal, is_replica, of_script, partial, server_error,
};

/// Sends every command of a caller: it chooses the connection, applies the deadline and the breaker, and tells what a
/// lost reply means.
///
/// [`CacheConn`](crate::redis::CacheConn) derefs to it, so that commands, pipelines and scripts of the redis crate run
/// through it. It cannot be cloned, and no connection can be taken out of it.
pub struct Session {
    endpoint: Arc<Endpoint>,
    mode: Mode,
}

/// The connection that carries the commands.
#[derive(Debug)]
enum Mode {
    /// A lane. Leaves to `Dedicated` with the first command that needs a connection to itself.
    Shared(SharedConnection),
    /// A lease, until the session ends.
    Dedicated(Box<DedicatedConnection>),
}

impl Session {
    pub(super) fn on_lane(lane: Arc<Lane>, endpoint: Arc<Endpoint>) -> Self {
        Self { endpoint, mode: Mode::Shared(SharedConnection::new(lane, Load::Ordinary)) }
    }

    pub(super) fn on_lease(lease: Lease, endpoint: Arc<Endpoint>) -> Self {
        Self { endpoint, mode: Mode::Dedicated(Box::new(DedicatedConnection::new(lease))) }
    }

    /// The texts of the scripts that new lanes load.
    pub(super) fn scripts(&self) -> &ScriptTexts {
        self.endpoint.connector().scripts()
    }

    pub(super) fn command_timeout(&self) -> Duration {
        self.endpoint.config().command_timeout
    }

    /// Sends a request whose plan is known.
    // redis R12
    pub(super) async fn ask<R: Request>(
        &mut self,
        plan: &Plan,
        request: &R,
    ) -> RedisResult<R::Reply> {
        let may_be_in_transaction = self.may_be_in_transaction();
        match self.ask_once(plan, request).await {
            // Inside a transaction the server has marked it as failed, and would queue the command the second time.
            Ok((reply, meaning)) if is_too_early(meaning, request) && !may_be_in_transaction => {
                Box::pin(self.ask_later(plan, request, reply)).await
            }
            Ok((reply, _)) => Ok(reply),
            Err(error) => {
                // A refusal does not wait, so a caller that only tries again would block its thread.
                consume_budget().await;
                Err(error)
            }
        }
    }

    /// Sends one command whose plan is known. If the server refuses a script, the error says whether it may have run.
    pub(super) async fn ask_one(&mut self, plan: &Plan, command: &Cmd) -> RedisResult<Value> {
        let reply = self.ask(plan, command).await?;
        match server_error(&reply) {
            Some(error) if is_script(command) => {
                let error = of_script(error);
                if let Some(hint) = Hint::of(&reply) {
                    Box::pin(self.follow(hint)).await;
                }
                match error {
                    Error::Partial { .. } => Err(error.into()),
                    // The redis crate knows what to do on NOSCRIPT, if it is told by the server's own answer.
                    _ => Ok(reply),
                }
            }
            _ => Ok(reply),
        }
    }

    async fn follow_scripts(&mut self, pipeline: &Pipeline, replies: &[Value]) {
        let mut scripts = pipeline.cmd_iter().zip(replies).filter(|(cmd, _)| is_script(cmd));
        if let Some(hint) = scripts.find_map(|(_, reply)| Hint::of(reply)) {
            Box::pin(self.follow(hint)).await;
        }
    }

    /// Asks the server itself about what a script hints at. The answer has the effects that any answer has.
    async fn follow(&mut self, hint: Hint) {
        if self.may_be_in_transaction() {
            return;
        }
        let question = match hint {
            Hint::Role => cmd("ROLE"),
            Hint::Login => cmd("PING"),
        };
        if let Ok((Value::Array(role), _)) = self.ask_once(&Plan::READ, &question).await
            && is_replica(&role)
        {
            self.endpoint.health().replied(Meaning::REPLICA);
        }
    }

    /// Takes a dedicated connection, unless the session has one.
    pub(super) async fn pin(&mut self) -> Result<&mut DedicatedConnection, Error> {
        if let Mode::Shared(shared) = &mut self.mode {
            shared.settle(self.endpoint.config().command_timeout).await?;
            let lease = self.endpoint.take_lease().await?;
            self.mode = Mode::Dedicated(Box::new(DedicatedConnection::new(lease)));
        }
        match &mut self.mode {
            Mode::Dedicated(dedicated) => Ok(dedicated),
            Mode::Shared(_) => unreachable!("it has just been given a dedicated one"),
        }
    }

    /// Moves to the lane for large values, unless the session has a dedicated connection.
    pub(super) async fn move_to_bulk(&mut self) -> Result<(), Error> {
        if let Mode::Shared(shared) = &mut self.mode
            && shared.wanted() != Load::Bulk
        {
            shared.settle(self.endpoint.config().command_timeout).await?;
            let lane = self.endpoint.lanes().take(Load::Bulk).await?;
            *shared = SharedConnection::new(lane, Load::Bulk);
        }
        Ok(())
    }

    /// Discards the dedicated connection after this caller instead of handing it on.
    pub(super) fn bind(&mut self) {
        if let Mode::Dedicated(dedicated) = &mut self.mode {
            dedicated.bind();
        }
    }

    /// What a request requires of its connection. Asks the server once about each command that is not in the table.
    async fn plan<R: Request>(&mut self, request: &R) -> Result<Plan, Error> {
        let lifecycle = match &self.mode {
            Mode::Shared(shared) => shared.lifecycle(),
            Mode::Dedicated(dedicated) => dedicated.lifecycle(),
        };
        match Plan::of(request.commands(), lifecycle.learned_commands())? {
            Reading::Known(plan) => Ok(plan),
            Reading::Unlearned { cautious, names } => {
                let lifecycle = Arc::clone(lifecycle);
                if self.may_be_in_transaction() {
                    // The server would queue the question.
                    return Ok(cautious);
                }
                let question = names.question();
                let answer = Box::pin(self.ask_once(&Plan::READ, &question)).await;
                let answer = answer.map(|(answer, _)| answer);
                lifecycle.learned_commands().learn(&names, &answer);
                if answer.as_ref().is_ok_and(is_refusal) {
                    self.endpoint.connector().note_missing(MissingCapability::CommandInfo);
                }
                Ok(Plan::of(request.commands(), lifecycle.learned_commands())?.cautious())
            }
        }
    }

    async fn ask_once<R: Request>(
        &mut self,
        plan: &Plan,
        request: &R,
    ) -> RedisResult<(R::Reply, Meaning)> {
        match &mut self.mode {
            Mode::Shared(shared) if !plan.pins => {
                shared.ask(self.endpoint.lanes(), plan, request).await
            }
            Mode::Shared(_) | Mode::Dedicated(_) => {
                Box::pin(self.ask_dedicated(plan, request)).await
            }
        }
    }

    async fn ask_dedicated<R: Request>(
        &mut self,
        plan: &Plan,
        request: &R,
    ) -> RedisResult<(R::Reply, Meaning)> {
        if plan.waits_for_earlier && !self.has_written_dedicated() {
            return Err(Error::Refused { command: "WAIT", instead: WAIT_INSTEAD }.into());
        }
        let endpoint = Arc::clone(&self.endpoint);
        let dedicated = self.pin().await?;
        dedicated.ask(endpoint.connector(), endpoint.health(), plan, request).await
    }

    fn may_be_in_transaction(&self) -> bool {
        matches!(&self.mode, Mode::Dedicated(dedicated) if dedicated.may_be_in_transaction())
    }

    fn has_written_dedicated(&self) -> bool {
        matches!(&self.mode, Mode::Dedicated(dedicated) if dedicated.has_written())
    }

    /// Sends the request again while the server loads its data, for at most `command_timeout`. Nothing has run so far.
    async fn ask_later<R: Request>(
        &mut self,
        plan: &Plan,
        request: &R,
        mut reply: R::Reply,
    ) -> RedisResult<R::Reply> {
        let until = deadline::at_most(self.command_timeout());
        while Instant::now() + LOADING_PAUSE < until {
            sleep(LOADING_PAUSE).await;
            let (next, meaning) = self.ask_once(plan, request).await?;
            reply = next;
            if !is_too_early(meaning, request) {
                break;
            }
        }
        Ok(reply)
    }
}

/// Whether the server did nothing because it still loads its data.
fn is_too_early<R: Request>(meaning: Meaning, request: &R) -> bool {
    meaning.objection == Some(Cause::Loading) && request.may_come_early()
}

impl ConnectionLike for Session {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            if cmd.is_no_response() {
                return Err(NO_RESPONSE.into());
            }
            let plan = self.plan(cmd).await?;
            let reply = self.ask_one(&plan, cmd).await?;
            match &reply {
                // The replies of an `EXEC` by hand.
                Value::Array(replies) if plan.binds => match replies.iter().find_map(partial) {
                    Some(error) => Err(error.into()),
                    None => Ok(reply),
                },
                _ => Ok(reply),
            }
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            if pipeline.is_empty() {
                return Err(EMPTY.into());
            }
            let replies = if pipeline.is_transaction() {
                (pipeline.len() + 1, 1)
            } else {
                (0, pipeline.len())
            };
            // With other numbers the connection would take replies that belong to other callers.
            if (offset, count) != replies {
                return Err(MISCOUNTED.into());
            }
            if pipeline.is_transaction() {
                let atomic = Atomic(pipeline);
                let plan = self.plan(&atomic).await?;
                let has_script = pipeline.cmd_iter().any(is_script);
                let executed = executed(self.ask(&plan, &atomic).await?, has_script)?;
                if let Value::Array(replies) = &executed {
                    self.follow_scripts(pipeline, replies).await;
                }
                Ok(vec![executed])
            } else {
                let batch = Batch(pipeline);
                let plan = self.plan(&batch).await?;
                let replies = self.ask(&plan, &batch).await?;
                self.follow_scripts(pipeline, &replies).await;
                Ok(replies)
            }
        })
    }

    fn get_db(&self) -> i64 {
        self.endpoint.address().database()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("endpoint", &self.endpoint.name())
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

const NO_RESPONSE: Error = Error::Refused {
    command: "set_no_response",
    instead: "wait for the reply and ignore it: it tells what became of the command",
};
const EMPTY: Error = Error::Refused {
    command: "a pipeline without commands",
    instead: "add a command, or send nothing",
};
const MISCOUNTED: Error = Error::Refused {
    command: "req_packed_commands",
    instead: "ask for every reply of the pipeline, as Pipeline::query_async does",
};
const WAIT_INSTEAD: &str =
    "it counts replicas for writes of its own connection: call pin(), write, and then WAIT";
const LOADING_PAUSE: Duration = Duration::from_millis(50);
