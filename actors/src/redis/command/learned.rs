use std::collections::HashMap;
use std::fmt;

use ::redis::{Cmd, RedisResult, Value, cmd};
use arc_swap::ArcSwap;

use super::name::Name;
use crate::redis::status::is_final;

/// The classes of commands that are not in our table, as the server described them.
///
/// They are valid for one server and one user: another may have other modules and permissions. Once there are
/// [`COMMANDS_MAX`] names, no more are asked about, and every other name counts as [`Class::Bound`].
#[derive(Default)]
pub(crate) struct LearnedCommands {
    classes: ArcSwap<HashMap<Box<[u8]>, Class>>,
}

/// The class of a command that is not in our table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// It may be sent on a shared connection.
    Ordinary { writes: bool },
    /// It may block or leave state behind.
    Bound,
}

/// Names to ask the server about.
#[derive(Default)]
pub(crate) struct Unlearned {
    names: Vec<Name>,
}

impl LearnedCommands {
    /// The class of a command, in whatever case its name is written. `None` if the server has not been asked.
    #[cfg(test)]
    pub(crate) fn known(&self, name: &[u8]) -> Option<Class> {
        Name::new(name).map_or(Some(Class::Bound), |name| self.class(&name))
    }

    pub(super) fn class(&self, name: &Name) -> Option<Class> {
        if !name.can_be_asked_about() {
            return Some(Class::Bound);
        }
        let classes = self.classes.load();
        let full = (classes.len() >= COMMANDS_MAX).then_some(Class::Bound);
        classes.get(name.as_bytes()).copied().or(full)
    }

    /// Learns from the reply to [`Unlearned::question`]. A refusal that will pass teaches nothing.
    pub(crate) fn learn(&self, names: &Unlearned, reply: &RedisResult<Value>) {
        let Some(answers) = answers(reply) else { return };
        let class_of = |index: usize, name| {
            answers.get(index).map_or(Class::Bound, |answer| Class::of(name, answer))
        };
        self.classes.rcu(|classes| {
            let mut classes = HashMap::clone(classes);
            for (index, name) in names.names.iter().enumerate() {
                if classes.len() < COMMANDS_MAX {
                    classes.insert(name.as_bytes().into(), class_of(index, name));
                }
            }
            classes
        });
    }
}

impl fmt::Debug for LearnedCommands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LearnedCommands").field("commands", &self.classes.load().len()).finish()
    }
}

impl Unlearned {
    pub(super) fn push(&mut self, name: Name) {
        if self.names.len() < NAMES_PER_QUESTION && !self.names.contains(&name) {
            self.names.push(name);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Asks about all of the names at once.
    pub(crate) fn question(&self) -> Cmd {
        let mut question = cmd("COMMAND");
        question.arg("INFO");
        for name in &self.names {
            question.arg(name.as_bytes());
        }
        question
    }
}

impl Class {
    /// Reads one element of `COMMAND INFO`: name, arity, flags, first key, last key, step, then since Redis 7
    /// categories, tips, key specifications and sub-commands of the same shape.
    fn of(asked: &Name, answer: &Value) -> Self {
        let Value::Array(parts) = answer else { return Self::Bound };
        // A renamed command answers with its original name, and the flags of SELECT do not tell that it leaves state
        // behind.
        match parts.first().and_then(text) {
            Some(name) if name.eq_ignore_ascii_case(asked.as_bytes()) => Self::of_parts(parts),
            _ => Self::Bound,
        }
    }

    fn of_parts(parts: &[Value]) -> Self {
        let Some(Value::Array(flags) | Value::Set(flags)) = parts.get(2) else {
            return Self::Bound;
        };
        let has = |wanted: &[&[u8]]| {
            flags.iter().any(|flag| text(flag).is_none_or(|flag| wanted.contains(&flag)))
        };
        if has(&[b"blocking", b"pubsub", b"noscript"]) {
            return Self::Bound;
        }
        let own = Self::Ordinary { writes: has(&[b"write"]) || !has(&[b"readonly"]) };
        match parts.get(9) {
            None | Some(Value::Nil) => own,
            Some(Value::Array(commands) | Value::Set(commands)) => {
                commands.iter().fold(own, |class, command| {
                    let Value::Array(parts) = command else { return Self::Bound };
                    class.and(Self::of_parts(parts))
                })
            }
            Some(_) => Self::Bound,
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Ordinary { writes: one }, Self::Ordinary { writes: other }) => {
                Self::Ordinary { writes: one || other }
            }
            _ => Self::Bound,
        }
    }
}

/// The server's answer about each name; `None` if it refused to answer now and may answer later.
fn answers(reply: &RedisResult<Value>) -> Option<&[Value]> {
    match reply {
        Ok(Value::Array(answers)) => Some(answers),
        Ok(Value::ServerError(_)) | Err(_) => is_final(reply).then_some(&[]),
        Ok(_) => Some(&[]),
    }
}

fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::SimpleString(text) => Some(text.as_bytes()),
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

pub(super) const COMMANDS_MAX: usize = 1024;
/// Bounds the question about a pipeline of unknown names at 1 KiB.
pub(super) const NAMES_PER_QUESTION: usize = 16;
