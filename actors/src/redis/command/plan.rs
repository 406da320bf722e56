use std::time::Duration;

use ::redis::{Arg, Cmd, Value};

use super::learned::{Class, LearnedCommands, Unlearned};
use super::name::Name;
use super::table::{self, Behaviour, READS_OF_CLIENT, REFUSED_OF_CLIENT, WRITES_OF_CLIENT};
use crate::redis::status::{Cause, Error};

/// What a command or a pipeline requires of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub(crate) struct Plan {
    /// Whether it may change data. An unknown command counts as one that does.
    pub(crate) writes: bool,
    /// Whether it needs a dedicated connection from now on: it blocks, uses or leaves state, or is unknown.
    pub(crate) pins: bool,
    /// Whether it leaves state behind, so that the connection must not be handed on to another caller.
    pub(crate) binds: bool,
    /// Whether it waits for writes that were sent earlier, outside of the same pipeline.
    pub(crate) waits_for_earlier: bool,
    /// How long the server may block before it answers.
    pub(crate) blocks: Block,
}

/// How long a command may block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    For(Duration),
    Forever,
}

/// What is known of a request without asking the server.
pub(crate) enum Reading {
    Known(Plan),
    /// Some names are not known. Ask the server about them and read the request again.
    Unlearned {
        cautious: Plan,
        names: Unlearned,
    },
}

impl Reading {
    /// The plan that is safe whatever the unknown commands do.
    pub(crate) fn cautious(self) -> Plan {
        match self {
            Self::Known(plan) | Self::Unlearned { cautious: plan, .. } => plan,
        }
    }
}

impl Plan {
    pub(crate) const READ: Self = Self {
        writes: false,
        pins: false,
        binds: false,
        waits_for_earlier: false,
        blocks: Block::NONE,
    };
    pub(crate) const WRITE: Self = Self { writes: true, ..Self::READ };
    pub(super) const PIN: Self = Self { pins: true, ..Self::WRITE };
    pub(super) const BIND: Self = Self { pins: true, binds: true, ..Self::READ };
    pub(super) const UNKNOWN: Self = Self { writes: true, ..Self::BIND };

    /// The error for a connection that broke before the reply came.
    pub(crate) fn lost(&self, cause: Cause) -> Error {
        if self.writes { Error::OutcomeUnknown { cause } } else { Error::unavailable(cause) }
    }

    /// The error for a reply that did not come in time.
    pub(crate) fn timed_out(&self, waited: Duration) -> Error {
        if self.writes {
            Error::OutcomeUnknown { cause: Cause::Timeout }
        } else {
            Error::Deadline { waited }
        }
    }

    /// Reads every command and combines their plans.
    ///
    /// # Errors
    /// [`Error::Refused`] for the first one that would harm the connection.
    pub(crate) fn of<'a>(
        commands: impl IntoIterator<Item = &'a Cmd>,
        learned: &LearnedCommands,
    ) -> Result<Reading, Error> {
        let mut plan = Self::READ;
        let mut names = Unlearned::default();
        for command in commands {
            let mut arguments = command.args_iter().map(|argument| match argument {
                Arg::Simple(bytes) => bytes,
                _ => b"",
            });
            // The redis crate sends nothing for it, so a pipeline would read the reply to another caller's command as
            // its own.
            let Some(name) = arguments.next() else { return Err(NAMELESS) };
            let next = match table::find(name) {
                Some((_, Behaviour::Reads)) => Self::READ,
                Some((_, Behaviour::Writes)) => Self::WRITE,
                Some((name, behaviour)) => Self::of_known(name, *behaviour, arguments)?,
                None => Self::of_strange(name, learned, &mut names),
            };
            plan = plan.and(next);
        }
        Ok(if names.is_empty() {
            Reading::Known(plan)
        } else {
            Reading::Unlearned { cautious: plan, names }
        })
    }

    fn of_strange(name: &[u8], learned: &LearnedCommands, names: &mut Unlearned) -> Self {
        let Some(name) = Name::new(name) else { return Self::UNKNOWN };
        learned.class(&name).map_or_else(
            || {
                names.push(name);
                Self::UNKNOWN
            },
            Self::from,
        )
    }

    fn of_known<'a>(
        command: &'static str,
        behaviour: Behaviour,
        mut arguments: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Self, Error> {
        Ok(match behaviour {
            Behaviour::Reads => Self::READ,
            Behaviour::Writes => Self::WRITE,
            Behaviour::Binds => Self::BIND,
            Behaviour::Executes | Behaviour::Miscounts => Self { writes: true, ..Self::BIND },
            Behaviour::BlocksByFirst => Self::WRITE.blocking(arguments.next(), SECONDS),
            Behaviour::BlocksByLast => Self::WRITE.blocking(arguments.last(), SECONDS),
            Behaviour::Waits => Self { waits_for_earlier: true, ..Self::READ }
                .blocking(arguments.last(), MILLISECONDS),
            Behaviour::StreamRead => Self::READ.blocking_if_asked(arguments),
            Behaviour::StreamReadOfGroup => Self::WRITE.blocking_if_asked(arguments),
            Behaviour::Client => return Self::of_client(arguments.next().unwrap_or_default()),
            Behaviour::Config => {
                if is_word(arguments.next(), "GET") {
                    Self::READ
                } else {
                    Self::WRITE
                }
            }
            Behaviour::Function => Self::of_code(arguments.next()),
            Behaviour::Script => {
                let part = arguments.next();
                if is_word(part, "DEBUG") {
                    return Err(refused(
                        "SCRIPT DEBUG",
                        "it makes a debugger of the connection: use redis-cli --ldb",
                    ));
                }
                Self::of_code(part)
            }
            Behaviour::Refused(instead) => return Err(refused(command, instead)),
        })
    }

    fn of_client(part: &[u8]) -> Result<Self, Error> {
        let is = |word: &&str| part.eq_ignore_ascii_case(word.as_bytes());
        for (command, instead) in REFUSED_OF_CLIENT {
            if command.strip_prefix("CLIENT ").as_ref().is_some_and(is) {
                return Err(refused(command, instead));
            }
        }
        Ok(if READS_OF_CLIENT.iter().any(is) {
            Self::READ
        } else if WRITES_OF_CLIENT.iter().any(is) {
            Self::WRITE
        } else {
            Self::UNKNOWN
        })
    }

    /// On a shared connection `KILL` could wait behind the very script that it is to end.
    fn of_code(part: Option<&[u8]>) -> Self {
        if is_word(part, "KILL") { Self::PIN } else { Self::WRITE }
    }

    fn and(self, next: Self) -> Self {
        Self {
            writes: self.writes || next.writes,
            pins: self.pins || next.pins,
            binds: self.binds || next.binds,
            waits_for_earlier: self.waits_for_earlier || (next.waits_for_earlier && !self.writes),
            blocks: self.blocks.and(next.blocks),
        }
    }

    /// A command with a time that cannot be read does not block: the server refuses it at once.
    fn blocking(self, time: Option<&[u8]>, unit: f64) -> Self {
        let time = time.and_then(|time| std::str::from_utf8(time).ok()?.parse::<f64>().ok());
        let blocks = match time.filter(|time| *time >= 0.0) {
            None => Block::NONE,
            Some(time) => match Duration::try_from_secs_f64(time * unit) {
                Ok(Duration::ZERO) | Err(_) => Block::Forever,
                Ok(time) => Block::For(time),
            },
        };
        Self { pins: true, blocks, ..self }
    }

    fn blocking_if_asked<'a>(self, mut arguments: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut plan = self;
        while let Some(option) = arguments.next() {
            if is_word(Some(option), "BLOCK") {
                // If there are two times, the server takes the second.
                plan = self.blocking(arguments.next(), MILLISECONDS);
            } else if is_word(Some(option), "GROUP") {
                // A group or a consumer may well be called "block".
                let _group_and_consumer = arguments.nth(1);
            } else if is_word(Some(option), "STREAMS") {
                // So may everything from here on, which is keys and ids.
                break;
            }
        }
        plan
    }
}

impl From<Class> for Plan {
    fn from(class: Class) -> Self {
        match class {
            Class::Ordinary { writes: false } => Self::READ,
            Class::Ordinary { writes: true } => Self::WRITE,
            Class::Bound => Self::UNKNOWN,
        }
    }
}

impl Block {
    pub(crate) const NONE: Self = Self::For(Duration::ZERO);

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::For(one), Self::For(other)) => Self::For(one.saturating_add(other)),
            _ => Self::Forever,
        }
    }
}

/// The size of all arguments together, which is nearly the size of the request.
pub(crate) fn len_bytes<'a>(commands: impl IntoIterator<Item = &'a Cmd>) -> usize {
    let argument = |argument| match argument {
        Arg::Simple(bytes) => <[u8]>::len(bytes),
        _ => 0,
    };
    commands.into_iter().flat_map(Cmd::args_iter).map(argument).sum()
}

/// The size of the texts in a reply, and in a list or map at its top level, but not deeper.
pub(crate) fn reply_len_bytes(reply: &Value) -> usize {
    match reply {
        Value::Array(values) | Value::Set(values) => values.iter().map(text_len_bytes).sum(),
        Value::Map(pairs) => {
            pairs.iter().map(|(key, value)| text_len_bytes(key) + text_len_bytes(value)).sum()
        }
        text => text_len_bytes(text),
    }
}

fn text_len_bytes(value: &Value) -> usize {
    match value {
        Value::BulkString(bytes) => bytes.len(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.len(),
        _ => 0,
    }
}

fn is_word(argument: Option<&[u8]>, word: &str) -> bool {
    argument.is_some_and(|argument| argument.eq_ignore_ascii_case(word.as_bytes()))
}

const fn refused(command: &'static str, instead: &'static str) -> Error {
    Error::Refused { command, instead }
}

const NAMELESS: Error = refused("a command without a name", "give it one");
const SECONDS: f64 = 1.0;
const MILLISECONDS: f64 = 0.001;
