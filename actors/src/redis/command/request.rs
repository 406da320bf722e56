use ::redis::{Arg, Cmd, Pipeline, Value};

use super::plan::{len_bytes, reply_len_bytes};
use crate::redis::socket::{Expected, Form, Pack, Replies};
use crate::redis::status::{Meaning, has_ended, is_queued};

/// A command or a pipeline, sent as one.
pub(crate) trait Request: Pack {
    type Reply: Reply;

    fn commands(&self) -> impl Iterator<Item = &Cmd> + Send;

    /// Whether LOADING as the answer proves that nothing was executed. It does not for a script, which may answer so
    /// itself, nor for a pipeline, of which some commands may have been executed.
    fn may_come_early(&self) -> bool;

    /// What the reply says about the server and the connection.
    fn meaning(&self, reply: &Self::Reply) -> Meaning;
}

/// The reply to a [`Request`].
pub(crate) trait Reply: Send {
    fn from_replies(replies: Replies) -> Self;

    fn values(&self) -> impl Iterator<Item = &Value>;

    fn len_bytes(&self) -> usize {
        self.values().map(reply_len_bytes).sum()
    }
}

/// A pipeline that is no transaction.
pub(crate) struct Batch<'a>(pub(crate) &'a Pipeline);

/// A transaction that is sent as one. All replies are read, because only together they tell whether it has ended.
pub(crate) struct Atomic<'a>(pub(crate) &'a Pipeline);

impl Pack for Cmd {
    fn pack(&self, buffer: &mut Vec<u8>) {
        self.write_packed_command(buffer);
    }

    fn len_bytes(&self) -> usize {
        len_bytes([self])
    }

    fn expected(&self) -> Expected {
        Expected::ONE
    }
}

impl Pack for Batch<'_> {
    fn pack(&self, buffer: &mut Vec<u8>) {
        for command in self.0.cmd_iter() {
            command.write_packed_command(buffer);
        }
    }

    fn len_bytes(&self) -> usize {
        len_bytes(self.0.cmd_iter())
    }

    fn expected(&self) -> Expected {
        Expected { replies: self.0.len(), form: Form::Each }
    }
}

impl Pack for Atomic<'_> {
    fn pack(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(MULTI);
        Batch(self.0).pack(buffer);
        buffer.extend_from_slice(EXEC);
    }

    fn len_bytes(&self) -> usize {
        Batch(self.0).len_bytes()
    }

    fn expected(&self) -> Expected {
        Expected { replies: self.0.len() + 2, form: Form::Transaction }
    }
}

impl Request for Cmd {
    type Reply = Value;

    fn commands(&self) -> impl Iterator<Item = &Cmd> + Send {
        std::iter::once(self)
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
        self.0.cmd_iter()
    }

    fn may_come_early(&self) -> bool {
        false
    }

    fn meaning(&self, replies: &Vec<Value>) -> Meaning {
        let meaning = match replies.as_slice() {
            [.., Value::Array(executed)] => meaning_of_each(self.0, executed),
            // Without `MULTI` the commands were executed, so a script among them speaks for itself here, too.
            [begin, each @ .., end] => {
                Meaning::of([begin, end].into_iter()).and(meaning_of_each(self.0, each))
            }
            _ => Meaning::default(),
        };
        Meaning { is_queued: false, is_unfinished: !has_ended(replies), ..meaning }
    }
}

impl Reply for Value {
    fn from_replies(replies: Replies) -> Self {
        replies.into_one()
    }

    fn values(&self) -> impl Iterator<Item = &Value> {
        std::iter::once(self)
    }
}

impl Reply for Vec<Value> {
    fn from_replies(replies: Replies) -> Self {
        replies.into_each()
    }

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

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";
const SCRIPTS: [&[u8]; 6] = [b"EVAL", b"EVALSHA", b"EVALSHA_RO", b"EVAL_RO", b"FCALL", b"FCALL_RO"];
