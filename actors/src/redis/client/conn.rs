use std::ops::{Deref, DerefMut};

use ::redis::aio::ConnectionLike;
use ::redis::{
    Cmd, FromRedisValue, Pipeline, RedisError, RedisFuture, ToRedisArgs, ToSingleRedisArg, Value,
};

use futures_util::future::BoxFuture;

use super::session::Session;
use super::transaction::{ATTEMPTS, Transaction, pause_after};
use super::ttl::Ttl;
use crate::redis::command::Plan;
use crate::redis::status::Error;

/// A connection to Redis, for one holder at a time.
///
/// It uses a connection that all callers share until a command needs one to itself; then it leases a dedicated
/// connection, for the rest of its life. Commands are executed in the order in which they were sent here. After a write
/// without a reply, that order sometimes cannot be kept: then every further command fails with
/// [`Error::OutcomeUnknown`], until this is dropped and another one taken. A leased connection that is lost is not
/// replaced: every further command fails with [`Error::Unavailable`], even when Redis is back, until another one is
/// taken.
///
/// The everyday commands are methods with our own errors. For all others, use the redis crate: with
/// `use redis::AsyncCommands` its commands are methods too, and pipelines and scripts take `&mut *conn`.
///
/// Dropping it gives a leased connection back, or discards it if a command was abandoned under way.
#[derive(Debug)]
pub struct CacheConn {
    session: Session,
}

impl CacheConn {
    pub(crate) fn new(session: Session) -> Self {
        Self { session }
    }

    /// The value of `key`; for a key that does not exist, `None` if `RV` is an `Option`, else usually an error. Goes to
    /// Redis.
    ///
    /// # Errors
    /// [`Error`], such as [`Error::Value`] if the value is not an `RV`. Cancel safe.
    pub async fn get<K: ToSingleRedisArg, RV: FromRedisValue>(
        &mut self,
        key: K,
    ) -> Result<RV, Error> {
        self.ask(&Plan::READ, sized("GET", 2).arg(key)).await
    }

    /// Sets `key` to `value`, without a time to live. Goes to Redis.
    ///
    /// # Errors
    /// [`Error`]. *Cancel safety*: when dropped, the value may or may not be set.
    pub async fn set<K: ToSingleRedisArg, V: ToSingleRedisArg>(
        &mut self,
        key: K,
        value: V,
    ) -> Result<(), Error> {
        self.ask(&Plan::WRITE, sized("SET", 3).arg(key).arg(value)).await
    }

    /// Sets `key` to `value` with the time to live `ttl`: seconds, or a `Duration`. Goes to Redis.
    ///
    /// # Errors
    /// [`Error`], such as [`Error::Ttl`] for a time that is not in the future; then nothing is sent. *Cancel safety*:
    /// when dropped, the value may or may not be set.
    pub async fn set_ex<K, V>(&mut self, key: K, value: V, ttl: impl Ttl) -> Result<(), Error>
    where
        K: ToSingleRedisArg,
        V: ToSingleRedisArg,
    {
        let millis = ttl.millis()?;
        self.ask(&Plan::WRITE, sized("SET", 5).arg(key).arg(value).arg("PX").arg(millis)).await
    }

    /// Deletes one key or several, and returns how many existed. Goes to Redis.
    ///
    /// # Errors
    /// [`Error`]. *Cancel safety*: when dropped, the keys may or may not be deleted.
    pub async fn del<K: ToRedisArgs>(&mut self, key: K) -> Result<usize, Error> {
        self.ask(&Plan::WRITE, sized("DEL", 2).arg(key)).await
    }

    /// Whether `key` exists. Goes to Redis.
    ///
    /// # Errors
    /// [`Error`]. Cancel safe.
    pub async fn exists<K: ToSingleRedisArg>(&mut self, key: K) -> Result<bool, Error> {
        self.ask(&Plan::READ, sized("EXISTS", 2).arg(key)).await
    }

    /// Sets the time to live of `key` to `ttl`, and returns whether the key exists. Goes to Redis.
    ///
    /// # Errors
    /// [`Error`], such as [`Error::Ttl`] for a time that is not in the future; then nothing is sent. *Cancel safety*:
    /// when dropped, the time may or may not be set.
    pub async fn expire<K: ToSingleRedisArg>(
        &mut self,
        key: K,
        ttl: impl Ttl,
    ) -> Result<bool, Error> {
        let millis = ttl.millis()?;
        self.ask(&Plan::WRITE, sized("PEXPIRE", 3).arg(key).arg(millis)).await
    }

    /// Adds the integer `delta` to `key`, and returns the sum. Goes to Redis.
    ///
    /// # Errors
    /// [`Error`]. *Cancel safety*: when dropped, the number may or may not be added.
    pub async fn incr<K, D, RV>(&mut self, key: K, delta: D) -> Result<RV, Error>
    where
        K: ToSingleRedisArg,
        D: ToSingleRedisArg,
        RV: FromRedisValue,
    {
        self.ask(&Plan::WRITE, sized("INCRBY", 3).arg(key).arg(delta)).await
    }

    /// Takes a dedicated connection for all further commands, as the first command that needs one does: `WATCH`,
    /// `SELECT`, a command that blocks. Answers from memory if one is idle, else goes to Redis.
    ///
    /// # Errors
    /// [`Error::Exhausted`] if none became free in time; [`Error::OutcomeUnknown`] if an earlier command may still be
    /// executed. Cancel safe.
    pub async fn pin(&mut self) -> Result<(), Error> {
        self.session.pin().await.map(drop)
    }

    /// Moves to the lane for large values, where they do not delay small ones. Answers from memory.
    ///
    /// # Errors
    /// [`Error`]. Cancel safe.
    pub async fn bulk(mut self) -> Result<Self, Error> {
        self.session.move_to_bulk().await?;
        Ok(self)
    }

    /// Reads and writes `keys` atomically. `attempt` reads them, queues writes and commits those. If another client has
    /// changed one of `keys` meanwhile, nothing is written and `attempt` is called again, at most 32 times in all, with
    /// growing pauses. Takes a dedicated connection. Goes to Redis.
    ///
    /// ```
    /// # use mainstay_actors::redis::{CacheConn, Error};
    /// # async fn withdraw(conn: &mut CacheConn, key: &str, amount: i64) -> Result<i64, Error> {
    /// conn.transaction(&[key], |tx| {
    ///     Box::pin(async move {
    ///         let left = tx.get::<_, Option<i64>>(key).await?.unwrap_or(0);
    ///         if left < amount {
    ///             return Ok(left); // Without a commit nothing is written.
    ///         }
    ///         tx.queue().set(key, left - amount).ignore().get(key);
    ///         let (left,) = tx.commit::<(i64,)>().await?;
    ///         Ok(left)
    ///     })
    /// })
    /// .await
    /// # }
    /// ```
    ///
    /// # Errors
    /// Any error of `attempt`; [`Error::Conflict`] after the last attempt; [`Error::OutcomeUnknown`] if the reply to a
    /// commit never came. *Cancel safety*: when dropped, either all writes are executed or none.
    pub async fn transaction<'c, K, T, E, F>(&'c mut self, keys: K, mut attempt: F) -> Result<T, E>
    where
        K: ToRedisArgs,
        E: From<Error>,
        F: for<'t> FnMut(&'t mut Transaction<'c>) -> BoxFuture<'t, Result<T, E>>,
    {
        self.pin().await?;
        let mut transaction = Transaction::new(&mut self.session);
        for number in 0..ATTEMPTS {
            transaction.begin(&keys).await?;
            let result = attempt(&mut transaction).await;
            if !transaction.is_conflict() {
                transaction.end().await;
                return result;
            }
            pause_after(number).await;
        }
        Err(Error::Conflict { attempts: ATTEMPTS }.into())
    }

    pub(crate) async fn ask<RV: FromRedisValue>(
        &mut self,
        plan: &Plan,
        command: &Cmd,
    ) -> Result<RV, Error> {
        let value = self.session.ask_one(plan, command).await?.extract_error()?;
        Ok(::redis::from_redis_value(value).map_err(RedisError::from)?)
    }
}

impl Deref for CacheConn {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl DerefMut for CacheConn {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

impl ConnectionLike for CacheConn {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.session.req_packed_command(cmd)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.session.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.session.get_db()
    }
}

/// A command with room for so many arguments of ordinary size, its name among them.
fn sized(name: &str, arguments: usize) -> Cmd {
    let mut command = Cmd::with_capacity(arguments, LEN_BYTES);
    command.arg(name);
    command
}

const LEN_BYTES: usize = 64;
