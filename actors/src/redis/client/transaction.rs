use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use ::redis::{FromRedisValue, Pipeline, RedisError, ToRedisArgs, ToSingleRedisArg, Value, cmd};
use tokio::time::sleep;

use super::session::Session;
use crate::redis::command::Plan;
use crate::redis::status::Error;

/// One attempt to change watched keys together. It reads at once, and queues writes that are executed only if no other
/// client changes a watched key meanwhile.
///
/// It derefs to [`Session`]: with `use redis::AsyncCommands` every command can be sent at once, which is meant for
/// reads. A write to a watched key that is sent at once makes the attempt fail, as one of another client would.
pub struct Transaction<'c> {
    session: &'c mut Session,
    queue: Pipeline,
    stage: Stage,
}

/// The stage of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The server watches no keys for us. Leaves to `Watching` when an attempt begins.
    Idle,
    /// The server watches the keys. Leaves to `Idle` when the queue was executed or the attempt given up, to
    /// `Conflict` when the server refused because a key has changed.
    Watching,
    /// Nothing was written. Leaves to `Watching` with the next attempt.
    Conflict,
    /// The reply to the queue never came. Stays so.
    Lost,
}

impl<'c> Transaction<'c> {
    pub(crate) fn new(session: &'c mut Session) -> Self {
        Self { session, queue: empty(), stage: Stage::Idle }
    }

    /// The writes that [`commit`](Self::commit) executes, all or nothing.
    pub fn queue(&mut self) -> &mut Pipeline {
        &mut self.queue
    }

    /// The value of `key` now; if `key` is watched, still the same when the queue is executed. Goes to Redis.
    ///
    /// # Errors
    /// [`Error`]. Cancel safe.
    pub async fn get<K: ToSingleRedisArg, RV: FromRedisValue>(
        &mut self,
        key: K,
    ) -> Result<RV, Error> {
        let value = self.session.ask(&Plan::READ, cmd("GET").arg(key)).await?.extract_error()?;
        Ok(::redis::from_redis_value(value).map_err(RedisError::from)?)
    }

    /// Executes what is queued, all or nothing, and returns the replies. Goes to Redis.
    ///
    /// # Errors
    /// [`Error::Conflict`] if a watched key has changed or the server no longer watches; return it, and the attempt is
    /// made again. [`Error::Server`] if a command does not suit the type of its key (`WRONGTYPE`): the others are
    /// executed all the same. [`Error::OutcomeUnknown`] if the reply never came. *Cancel safety*: when dropped, the
    /// writes may or may not be executed.
    pub async fn commit<RV: FromRedisValue>(&mut self) -> Result<RV, Error> {
        if self.stage != Stage::Watching {
            return Err(Error::Conflict { attempts: 1 });
        }
        let queue = std::mem::replace(&mut self.queue, empty());
        if queue.is_empty() {
            // The server would not say whether a key has changed, and nothing depends on it.
            return Ok(
                ::redis::from_redis_value(Value::Array(Vec::new())).map_err(RedisError::from)?
            );
        }
        let replies: Result<Value, RedisError> = queue.query_async(&mut *self.session).await;
        let replies = replies.map_err(Error::from);
        self.stage = match &replies {
            Ok(_) => Stage::Idle,
            // It may have been refused MULTI, and then it still watches.
            Err(Error::Server { .. } | Error::Partial { .. }) => Stage::Watching,
            Err(_) => Stage::Lost,
        };
        match replies? {
            // The library reads this as an empty reply.
            Value::Nil => {
                self.stage = Stage::Conflict;
                Err(Error::Conflict { attempts: 1 })
            }
            replies => Ok(::redis::from_redis_value(replies).map_err(RedisError::from)?),
        }
    }

    pub(crate) async fn begin<K: ToRedisArgs>(&mut self, keys: &K) -> Result<(), Error> {
        self.queue = empty();
        self.stage = Stage::Watching;
        self.session.ask(&ALONE, cmd("WATCH").arg(keys)).await?.extract_error()?;
        Ok(())
    }

    /// Whether a watched key has changed, so that another attempt is due.
    pub(crate) fn is_conflict(&self) -> bool {
        self.stage == Stage::Conflict
    }

    /// Ends the attempt. If this fails the connection is discarded.
    pub(crate) async fn end(&mut self) {
        if self.stage == Stage::Watching
            && let Ok(Value::Okay) = self.session.ask(&ALONE, &cmd("UNWATCH")).await
        {
            self.stage = Stage::Idle;
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if matches!(self.stage, Stage::Watching | Stage::Lost) {
            self.session.bind();
        }
    }
}

impl Deref for Transaction<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut Session {
        self.session
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("stage", &self.stage).finish_non_exhaustive()
    }
}

fn empty() -> Pipeline {
    let mut queue = Pipeline::new();
    queue.atomic();
    queue
}

/// Waits a random time after the attempt number `attempt`, so that callers that conflicted do not do so again.
pub(crate) async fn pause_after(attempt: u32) {
    let longest = PAUSE_MIN.saturating_mul(1 << attempt.min(10)).min(PAUSE_MAX);
    sleep(longest.mul_f64(fastrand::f64())).await;
}

/// For `WATCH` and `UNWATCH`: they need a dedicated connection, and what follows leaves no state behind on it.
const ALONE: Plan = Plan { pins: true, ..Plan::READ };
/// After so many conflicts the caller gets the error.
pub(crate) const ATTEMPTS: u32 = 32;
const PAUSE_MIN: Duration = Duration::from_micros(500);
const PAUSE_MAX: Duration = Duration::from_millis(50);
