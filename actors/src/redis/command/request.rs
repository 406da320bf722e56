use std::future::Future;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Arg, Cmd, Pipeline, RedisResult, Value};

use super::plan::reply_len_bytes;
use crate::redis::status::Meaning;

/// A command or a pipeline, sent as one.
pub(crate) trait Request: Sync {
    type Reply: Reply;

    fn commands(&self) -> impl Iterator<Item = &Cmd> + Send;

    fn send(
        &self,
        wire: &mut MultiplexedConnection,
    ) -> impl Future<Output = RedisResult<Self::Reply>> + Send;

    /// Whether LOADING as the answer proves that nothing was executed. It does not for a script, which may answer so
    /// itself, nor for a pipeline, of which some commands may have been executed.
    fn may_come_early(&self) -> bool;
}

/// The reply to a [`Request`].
pub(crate) trait Reply: Send {
    fn values(&self) -> impl Iterator<Item = &Value>;

    fn len_bytes(&self) -> usize {
        self.values().map(reply_len_bytes).sum()
    }

    /// What the reply says about the server.
    fn meaning(&self) -> Meaning {
        Meaning::of(self.values())
    }
}

/// A pipeline, and which of its replies the caller wants.
pub(crate) struct Batch<'a> {
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) offset: usize,
    pub(crate) count: usize,
}

impl<'a> Batch<'a> {
    /// A pipeline that is no transaction, with all its replies.
    pub(crate) fn whole(pipeline: &'a Pipeline) -> Self {
        Self { pipeline, offset: 0, count: pipeline.len() }
    }
}

impl Request for Cmd {
    type Reply = Value;

    fn commands(&self) -> impl Iterator<Item = &Cmd> + Send {
        std::iter::once(self)
    }

    fn send(
        &self,
        wire: &mut MultiplexedConnection,
    ) -> impl Future<Output = RedisResult<Value>> + Send {
        wire.send_packed_command(self)
    }

    fn may_come_early(&self) -> bool {
        let name = self.args_iter().next();
        !matches!(name, Some(Arg::Simple(name)) if SCRIPTS.iter().any(|one| name.eq_ignore_ascii_case(one)))
    }
}

impl Request for Batch<'_> {
    type Reply = Vec<Value>;

    fn commands(&self) -> impl Iterator<Item = &Cmd> + Send {
        self.pipeline.cmd_iter()
    }

    fn send(
        &self,
        wire: &mut MultiplexedConnection,
    ) -> impl Future<Output = RedisResult<Vec<Value>>> + Send {
        wire.send_packed_commands(self.pipeline, self.offset, self.count)
    }

    fn may_come_early(&self) -> bool {
        false
    }
}

impl Reply for Value {
    fn values(&self) -> impl Iterator<Item = &Value> {
        std::iter::once(self)
    }
}

impl Reply for Vec<Value> {
    fn values(&self) -> impl Iterator<Item = &Value> {
        // A transaction's replies come as one array.
        self.iter().flat_map(|value| match value {
            Value::Array(values) => values.iter(),
            other => std::slice::from_ref(other).iter(),
        })
    }
}

const SCRIPTS: [&[u8]; 6] = [b"EVAL", b"EVALSHA", b"EVALSHA_RO", b"EVAL_RO", b"FCALL", b"FCALL_RO"];
