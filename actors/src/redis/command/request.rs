use std::future::Future;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Arg, Cmd, Pipeline, RedisResult, Value, cmd};

use super::plan::reply_len_bytes;
use crate::redis::status::{Meaning, has_ended, is_queued};

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

    /// What the reply says about the server and the connection.
    fn meaning(&self, reply: &Self::Reply) -> Meaning;
}

/// The reply to a [`Request`].
pub(crate) trait Reply: Send {
    fn values(&self) -> impl Iterator<Item = &Value>;

    fn len_bytes(&self) -> usize {
        self.values().map(reply_len_bytes).sum()
    }
}

/// A pipeline that is no transaction.
pub(crate) struct Batch<'a>(pub(crate) &'a Pipeline);

/// A transaction that is sent as one. All replies are read, because only together they tell whether it has ended.
pub(crate) struct Atomic<'a> {
    commands: &'a Pipeline,
    /// The same between `MULTI` and `EXEC`.
    sent: Pipeline,
}

impl<'a> Atomic<'a> {
    pub(crate) fn new(commands: &'a Pipeline) -> Self {
        let mut sent = Pipeline::with_capacity(commands.len() + 2);
        sent.add_command(cmd("MULTI"));
        for command in commands.cmd_iter() {
            sent.add_command(command.clone());
        }
        sent.add_command(cmd("EXEC"));
        Self { commands, sent }
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
        !is_script(self)
    }

    fn meaning(&self, reply: &Value) -> Meaning {
        meaning_of_one(self, reply)
    }
}

impl Request for Batch<'_> {
    type Reply = Vec<Value>;

    fn commands(&self) -> impl Iterator<Item = &Cmd> + Send {
        self.0.cmd_iter()
    }

    fn send(
        &self,
        wire: &mut MultiplexedConnection,
    ) -> impl Future<Output = RedisResult<Vec<Value>>> + Send {
        wire.send_packed_commands(self.0, 0, self.0.len())
    }

    fn may_come_early(&self) -> bool {
        false
    }

    fn meaning(&self, replies: &Vec<Value>) -> Meaning {
        meaning_of_each(self.0, replies)
    }
}

impl Request for Atomic<'_> {
    type Reply = Vec<Value>;

    fn commands(&self) -> impl Iterator<Item = &Cmd> + Send {
        self.commands.cmd_iter()
    }

    fn send(
        &self,
        wire: &mut MultiplexedConnection,
    ) -> impl Future<Output = RedisResult<Vec<Value>>> + Send {
        wire.send_packed_commands(&self.sent, 0, self.sent.len())
    }

    fn may_come_early(&self) -> bool {
        false
    }

    fn meaning(&self, replies: &Vec<Value>) -> Meaning {
        let meaning = match replies.as_slice() {
            [.., Value::Array(executed)] => meaning_of_each(self.commands, executed),
            // Without `MULTI` the commands were executed, so a script among them speaks for itself here, too.
            [begin, each @ .., end] => {
                Meaning::of([begin, end].into_iter()).and(meaning_of_each(self.commands, each))
            }
            _ => Meaning::default(),
        };
        Meaning { is_queued: false, is_unfinished: !has_ended(replies), ..meaning }
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

fn meaning_of_one(command: &Cmd, reply: &Value) -> Meaning {
    match reply {
        Value::ServerError(_) if is_script(command) => Meaning::of_script(reply),
        Value::ServerError(_) => Meaning::of(reply.values()),
        Value::SimpleString(_) => {
            Meaning { is_queued: is_queued(reply) && !is_script(command), ..Meaning::default() }
        }
        _ => Meaning::default(),
    }
}

fn meaning_of_each(commands: &Pipeline, replies: &[Value]) -> Meaning {
    let each = commands.cmd_iter().zip(replies);
    let meanings = each.map(|(command, reply)| meaning_of_one(command, reply));
    meanings.fold(Meaning::default(), Meaning::and)
}

/// A script may answer anything, also what only the server says otherwise.
pub(crate) fn is_script(command: &Cmd) -> bool {
    let name = command.args_iter().next();
    matches!(name, Some(Arg::Simple(name)) if SCRIPTS.iter().any(|one| name.eq_ignore_ascii_case(one)))
}

const SCRIPTS: [&[u8]; 6] = [b"EVAL", b"EVALSHA", b"EVALSHA_RO", b"EVAL_RO", b"FCALL", b"FCALL_RO"];
