//! What a reply or an error of the redis crate means. Every error of a server is read here and nowhere else.

use std::sync::Arc;
use std::{error, io};

use ::redis::{ErrorKind, RedisError, RedisResult, ServerError, ServerErrorKind, Value};

use super::cause::Cause;
use super::code;
use super::error::Error;
use super::server_state::ServerState;
use crate::Outcome;

/// What a reply says about the server and the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Meaning {
    /// The cause of the first answer that says "not now" or "not you".
    pub(crate) objection: Option<Cause>,
    /// The state behind the first answer that refuses for a state of the server.
    pub(crate) state: Option<ServerState>,
    /// The server has queued a command instead of executing it: the connection is inside a transaction.
    pub(crate) is_queued: bool,
    /// A transaction that was sent as one may not have ended.
    pub(crate) is_unfinished: bool,
}

impl Meaning {
    /// What a server means that says of itself that it is a replica.
    pub(crate) const REPLICA: Self = Self {
        objection: Some(Cause::ReadOnly),
        state: None,
        is_queued: false,
        is_unfinished: false,
    };

    /// The meaning of a reply that consists of `values`.
    pub(crate) fn of<'a>(values: impl Iterator<Item = &'a Value>) -> Self {
        let errors = values.filter_map(|value| match value {
            Value::ServerError(error) => Some(code_of(error)),
            _ => None,
        });
        Self::of_codes(errors)
    }

    /// The meaning of an error that is a server's answer. The answer to a transaction that is refused as a whole is
    /// `EXECABORT`; the answer to one of its commands has the reason.
    pub(crate) fn of_error(error: &RedisError) -> Self {
        match error.clone().into_server_errors() {
            Some(errors) => Self::of_codes(errors.iter().map(|(_, error)| code_of(error))),
            None => Self::of_codes(error.code().into_iter()),
        }
    }

    pub(crate) fn and(self, next: Self) -> Self {
        Self {
            objection: self.objection.or(next.objection),
            state: self.state.or(next.state),
            is_queued: self.is_queued || next.is_queued,
            is_unfinished: self.is_unfinished || next.is_unfinished,
        }
    }

    fn of_codes<'a>(codes: impl Iterator<Item = &'a str>) -> Self {
        codes.fold(Self::default(), |meaning, code| Self {
            objection: meaning.objection.or_else(|| code::cause(code)),
            state: meaning.state.or_else(|| code::server_state(code)),
            ..meaning
        })
    }
}

/// Whether the error is a server's answer, so that the connection works.
pub(crate) fn is_answer(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

/// The cause of an error while connecting or waiting for a reply.
fn cause_of(error: &RedisError) -> Cause {
    if let Some(cause) = typed(error).and_then(Error::cause) {
        return cause;
    }
    if let Some(cause) = Meaning::of_error(error).objection {
        return cause;
    }
    match error.kind() {
        ErrorKind::AuthenticationFailed => Cause::Auth,
        ErrorKind::Io => io_error(error).map_or(Cause::Closed, Cause::of_io),
        _ => Cause::Protocol,
    }
}

/// Whether the server has no such command, or this user may not send it.
pub(crate) fn is_refusal(reply: &Value) -> bool {
    let Value::ServerError(error) = reply else { return false };
    code::is_denial(error.code())
        || error
            .details()
            .is_some_and(|details| details.to_ascii_lowercase().starts_with("unknown"))
}

/// Whether asking again would be in vain: the server has no such command, or this user may not send it.
pub(crate) fn is_final(reply: &RedisResult<Value>) -> bool {
    let code = match reply {
        Ok(Value::ServerError(error)) => error.code(),
        Err(error) if is_answer(error) => error.code().unwrap_or_default(),
        Ok(_) | Err(_) => return false,
    };
    code == "ERR" || code::is_denial(code)
}

/// Whether the server does not know the digest of a script.
pub(crate) fn is_unknown_script(error: &Error) -> bool {
    matches!(error, Error::Server { code } if &**code == "NOSCRIPT")
}

/// Whether a reply to `ROLE` is that of a replica.
pub(crate) fn is_replica(role: &[Value]) -> bool {
    matches!(role.first(), Some(Value::BulkString(name)) if name == b"slave")
}

/// Whether the server has queued the command.
pub(crate) fn is_queued(reply: &Value) -> bool {
    matches!(reply, Value::SimpleString(text) if text == "QUEUED")
}

/// Whether the connection is certainly outside of a transaction after these replies to `MULTI`, its commands and `EXEC`.
pub(crate) fn has_ended(replies: &[Value]) -> bool {
    let [begin, queued @ .., end] = replies else { return false };
    match (begin, end) {
        (Value::Okay, Value::Array(_) | Value::Nil) => true,
        (Value::Okay, Value::ServerError(error)) => error.code() == "EXECABORT",
        // It was never inside, unless that is why `MULTI` was refused.
        (Value::ServerError(_), Value::ServerError(_)) => !queued.iter().any(is_queued),
        _ => false,
    }
}

/// The reply to `EXEC`, of the replies to `MULTI`, its commands and `EXEC`: those of the commands, or nil. Where `MULTI`
/// was refused, the error of a script does not prove that it did nothing: `has_script`.
///
/// # Errors
/// Why nothing was executed, or what else became of it.
pub(crate) fn executed(mut replies: Vec<Value>, has_script: bool) -> Result<Value, Error> {
    let end = replies.pop().unwrap_or(Value::Nil);
    let mut replies = replies.iter();
    match (replies.next(), &end) {
        (Some(Value::Okay), Value::Array(_) | Value::Nil) => Ok(end),
        (Some(Value::Okay), Value::ServerError(end))
            if replies.clone().all(|reply| is_queued(reply) || server_error(reply).is_some()) =>
        {
            // The server discards a transaction of which it has refused a command.
            Err(of_server(replies.find_map(server_error).unwrap_or(end)))
        }
        (Some(Value::ServerError(begin)), Value::ServerError(_)) => {
            // Without `MULTI` the commands were executed or refused one by one.
            let is_same = |reply| server_error(reply).is_some_and(|e| e.code() == begin.code());
            if !has_script && replies.all(is_same) {
                return Err(of_server(begin));
            }
            Err(Error::Partial { code: code::presentable(code_of(begin)).into() })
        }
        _ => Err(Error::OutcomeUnknown { cause: Cause::Protocol }),
    }
}

/// Whether the server has discarded a transaction for an earlier refusal, which it does not repeat.
pub(crate) fn is_discarded_for_earlier(error: &ServerError) -> bool {
    error.code() == "EXECABORT" && code_of(error) == "EXECABORT"
}

/// The first refusal in a reply.
pub(crate) fn server_error(reply: &Value) -> Option<&ServerError> {
    match reply {
        Value::ServerError(error) => Some(error),
        _ => None,
    }
}

/// What a server's answer means to the caller.
pub(crate) fn of_server(error: &ServerError) -> Error {
    Error::from(RedisError::from(error.clone()))
}

/// The error for one refused command of an `EXEC` by hand, whose answer alone would wrongly mean that nothing was
/// executed.
pub(crate) fn partial(reply: &Value) -> Option<Error> {
    let error = server_error(reply)?;
    let refused = of_server(error);
    let code = || code::presentable(code_of(error)).into();
    says_that_nothing_was_done(&refused).then(|| Error::Partial { code: code() })
}

/// Commands go through traits of the redis crate, which know only its own error. Ours travels inside it, and the
/// conversion back takes it out.
impl From<Error> for RedisError {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Deadline { .. } => io::ErrorKind::TimedOut,
            Error::Unavailable { .. } | Error::NotBuilt => io::ErrorKind::NotConnected,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error).into()
    }
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        if let Some(typed) = typed(&error) {
            return typed.clone();
        }
        if let Some(refused) = refused(&error) {
            return refused;
        }
        match error.kind() {
            // The error does not come from us, so whether anything was sent is not known.
            ErrorKind::Io => Self::OutcomeUnknown { cause: cause_of(&error) },
            ErrorKind::AuthenticationFailed => Self::unavailable(Cause::Auth),
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::Value,
            _ => Self::Server { code: "ERR".into() },
        }
    }
}

/// What a server's answer means to the caller; `None` if the error is not one.
fn refused(error: &RedisError) -> Option<Error> {
    let errors = error.clone().into_server_errors();
    let first = errors.as_ref().and_then(|errors| errors.first());
    let code = code::presentable(first.map(|(_, first)| code_of(first)).or(error.code())?);
    let cause = code::cause(code);
    let refused = match cause {
        Some(cause) => Error::unavailable(cause),
        None => Error::Server { code: code.into() },
    };
    // A connection that is not logged in is refused everything.
    let is_logged_out = first.is_some_and(|(index, first)| *index == 0 && says_logged_out(first));
    let is_partial = says_that_nothing_was_done(&refused) && executes_one_by_one(error);
    if is_partial && !is_logged_out {
        return Some(Error::Partial { code: code.into() });
    }
    Some(refused)
}

/// In the server's own sentence. A script may begin with the same word.
fn says_logged_out(error: &ServerError) -> bool {
    error.code() == "NOAUTH" && error.details() == Some("Authentication required.")
}

fn says_that_nothing_was_done(error: &Error) -> bool {
    match error.outcome() {
        Outcome::Unavailable { .. } | Outcome::Overloaded { .. } | Outcome::Refused => true,
        Outcome::Deadline | Outcome::OutcomeUnknown | Outcome::Bug => false,
    }
}

/// Whether the error is about a pipeline whose commands were executed or refused one by one. How many there were is not
/// known.
fn executes_one_by_one(error: &RedisError) -> bool {
    match ServerError::try_from(error.clone()) {
        Ok(_) => false,
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::ExecAbort) => false,
        Err(error) => error.into_server_errors().is_some(),
    }
}

/// The first word of a server's error; for a refused `EXEC`, the first word of the reason.
pub(super) fn code_of(error: &ServerError) -> &str {
    let reason = error.details().and_then(|details| details.strip_prefix(DISCARDED));
    match reason.and_then(|reason| reason.split_whitespace().next()) {
        Some(code) if error.code() == "EXECABORT" => code.trim_start_matches('-'),
        _ => error.code(),
    }
}

fn typed(error: &RedisError) -> Option<&Error> {
    io_error(error)?.get_ref()?.downcast_ref()
}

/// The redis crate hands out its inner error in the `Arc` that it keeps it in.
fn io_error(error: &RedisError) -> Option<&io::Error> {
    let source = error::Error::source(error)?;
    let shared = source.downcast_ref::<Arc<dyn error::Error + Send + Sync>>()?;
    shared.downcast_ref()
}

/// The words of Redis before the reason why it discarded a transaction (`multi.c`).
const DISCARDED: &str = "Transaction discarded because of: ";
