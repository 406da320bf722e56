use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::redis::{Cmd, FromRedisValue, ToRedisArgs, cmd};
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

use super::conn::CacheConn;
use crate::deadline;
use crate::redis::command::{Plan, ScriptText};
use crate::redis::status::{Error, is_unknown_script, mentions_noscript};

/// A Lua script. It is sent by its SHA-1 digest. If the server does not know it, one caller sends the text while the
/// others wait.
///
/// Clones are the same script. Keep one for each text, for as long as the program runs.
#[derive(Clone)]
pub struct Script {
    inner: Arc<Inner>,
}

struct Inner {
    text: Arc<ScriptText>,
    /// How many calls sent the text.
    loads: AtomicU64,
    turn: Semaphore,
}

impl Script {
    /// A script with this text. Answers from memory; the text is not checked before it is first called.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        let text = Arc::new(ScriptText::new(text.into()));
        let inner = Inner { text, loads: AtomicU64::new(0), turn: Semaphore::new(1) };
        Self { inner: Arc::new(inner) }
    }

    /// The SHA-1 digest of its text, in 40 hexadecimal digits.
    pub fn digest(&self) -> &str {
        self.inner.text.digest()
    }

    /// A call with `key` as its first key.
    pub fn key(&self, key: impl ToRedisArgs) -> Call<'_> {
        self.call().key(key)
    }

    /// A call with `argument` as its first argument.
    pub fn arg(&self, argument: impl ToRedisArgs) -> Call<'_> {
        self.call().arg(argument)
    }

    /// Calls the script with no key and no argument. Goes to Redis.
    ///
    /// # Errors
    /// As [`Call::invoke`]. *Cancel safety*: when dropped, the script may or may not run.
    pub async fn invoke<RV: FromRedisValue>(&self, conn: &mut CacheConn) -> Result<RV, Error> {
        self.call().invoke(conn).await
    }

    fn call(&self) -> Call<'_> {
        Call { script: self, keys: Vec::new(), arguments: Vec::new() }
    }

    fn loads(&self) -> u64 {
        self.inner.loads.load(Ordering::Acquire)
    }
}

/// A call of a script, with its keys and arguments.
#[derive(Clone)]
pub struct Call<'s> {
    script: &'s Script,
    keys: Vec<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
}

impl Call<'_> {
    /// Adds a key.
    #[must_use]
    pub fn key(mut self, key: impl ToRedisArgs) -> Self {
        key.write_redis_args(&mut self.keys);
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl ToRedisArgs) -> Self {
        argument.write_redis_args(&mut self.arguments);
        self
    }

    /// Calls the script. Goes to Redis, and once more if the server has lost the script.
    ///
    /// # Errors
    /// [`Error`], such as [`Error::OutcomeUnknown`]: a script counts as a write. *Cancel safety*: when dropped, the
    /// script may or may not run.
    // redis R13
    pub async fn invoke<RV: FromRedisValue>(&self, conn: &mut CacheConn) -> Result<RV, Error> {
        let by_digest = self.command("EVALSHA", self.script.digest());
        for _ in 0..TURNS {
            let seen = self.script.loads();
            match conn.ask(&Plan::WRITE, &by_digest).await {
                Err(error) if is_unknown_script(&error) => {
                    if self.says_so_itself(conn).await {
                        return Err(own_noscript());
                    }
                }
                answered => return answered,
            }
            let limit = conn.command_timeout();
            let turn = self.script.inner.turn.acquire();
            let turn = timeout_at(deadline::at_most(limit), turn).await;
            let _turn = turn.map_err(|_| Error::Deadline { waited: limit })?;
            if self.script.loads() == seen {
                conn.scripts().remember(&self.script.inner.text);
                let answered = self.by_text(conn).await;
                self.script.inner.loads.fetch_add(1, Ordering::AcqRel);
                return answered;
            }
        }
        self.by_text(conn).await
    }

    async fn by_text<RV: FromRedisValue>(&self, conn: &mut CacheConn) -> Result<RV, Error> {
        let command = self.command("EVAL", self.script.inner.text.as_str());
        match conn.ask(&Plan::WRITE, &command).await {
            Err(error) if is_unknown_script(&error) => Err(own_noscript()),
            answered => answered,
        }
    }

    /// Whether the script ran and answered in the words of a server that does not know it. Then it must not run again.
    async fn says_so_itself(&self, conn: &mut CacheConn) -> bool {
        let text = std::iter::once(self.script.inner.text.as_str().as_bytes());
        let given = self.keys.iter().chain(&self.arguments).map(Vec::as_slice);
        if !text.chain(given).any(mentions_noscript) {
            return false;
        }
        let question = cmd("SCRIPT").arg("EXISTS").arg(self.script.digest()).take();
        // A server that does not tell has most likely said it itself.
        matches!(conn.ask::<Vec<bool>>(&Plan::READ, &question).await.as_deref(), Ok([true]))
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        cmd(name).arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.arguments).take()
    }
}

/// The error of a script that ran and answered so itself.
fn own_noscript() -> Error {
    Error::Partial { code: "NOSCRIPT".into() }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Script").field(&self.digest()).finish()
    }
}

impl fmt::Debug for Call<'_> {
    /// Shows no key and no argument.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("script", self.script).finish_non_exhaustive()
    }
}

/// How many times a caller waits for another one to load the script, before it sends the text itself.
const TURNS: usize = 3;
