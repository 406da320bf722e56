//! What a reply, or an error of the redis crate, means. Every answer of a server is read here and nowhere else.

use std::sync::Arc;
use std::{error, io};

use ::redis::{ErrorKind, RedisError, RedisResult, ServerError, ServerErrorKind, Value};

use super::cause::Cause;
use super::code;
use super::error::Error;
use super::server_state::ServerState;
use crate::Outcome;

/// What a reply says of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Meaning {
    /// The first answer that says "not now" or "not you".
    pub(crate) objection: Option<Cause>,
    /// The first answer that comes of the server's state.
    pub(crate) state: Option<ServerState>,
}

impl Meaning {
    /// The meaning of a reply that consists of `values`.
    pub(crate) fn of<'a>(values: impl Iterator<Item = &'a Value>) -> Self {
        let errors = values.filter_map(|value| match value {
            Value::ServerError(error) => Some(code_of(error)),
            _ => None,
        });
        Self::of_codes(errors)
    }

    /// The meaning of an error that is a server's answer. A transaction that is refused as a whole is answered
    /// `EXECABORT`, and the reason stands in the answer to one of its commands.
    pub(crate) fn of_error(error: &RedisError) -> Self {
        match error.clone().into_server_errors() {
            Some(errors) => Self::of_codes(errors.iter().map(|(_, error)| code_of(error))),
            None => Self::of_codes(error.code().into_iter()),
        }
    }

    fn of_codes<'a>(codes: impl Iterator<Item = &'a str>) -> Self {
        codes.fold(Self::default(), |meaning, code| Self {
            objection: meaning.objection.or_else(|| code::cause(code)),
            state: meaning.state.or_else(|| code::server_state(code)),
        })
    }
}

/// Whether the server answered with it, so that the connection is fine.
pub(crate) fn is_answer(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

/// Whether the redis crate declined to send the request.
pub(crate) fn is_unsent(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Client
}

/// The cause of an error met while connecting or waiting for a reply.
pub(crate) fn cause_of(error: &RedisError) -> Cause {
    if let Some(cause) = typed(error).and_then(Error::cause) {
        return cause;
    }
    if let Some(cause) = Meaning::of_error(error).objection {
        return cause;
    }
    match error.kind() {
        ErrorKind::AuthenticationFailed => Cause::Auth,
        ErrorKind::Io => io_error(error).map_or(Cause::Closed, Cause::of_io),
        // The library words these two and gives them no kind of their own.
        ErrorKind::Server(ServerErrorKind::ResponseError)
            if error.to_string().starts_with("Redis server refused to switch database") =>
        {
            Cause::Database
        }
        ErrorKind::Server(ServerErrorKind::ResponseError)
            if error.detail().is_some_and(|detail| detail.starts_with("max number of clients")) =>
        {
            Cause::TooManyClients
        }
        _ => Cause::Protocol,
    }
}

/// The same for a connection that is not ready yet.
pub(crate) fn cause_of_handshake(error: &RedisError) -> Cause {
    match cause_of(error) {
        Cause::Closed => Cause::HandshakeClosed,
        Cause::Auth => error.code().and_then(code::cause_of_login).unwrap_or(Cause::Auth),
        cause => cause,
    }
}

/// Why the login failed, if `reply` says that it did.
pub(crate) fn cause_of_login(reply: &Value) -> Option<Cause> {
    match reply {
        Value::ServerError(error) => code::cause_of_login(error.code()),
        _ => None,
    }
}

/// Whether the server does not speak RESP3. Servers before 6.0 do not know HELLO; some that imitate Redis know it and
/// not version 3.
pub(crate) fn knows_no_resp3(error: &RedisError) -> bool {
    error.kind() == ErrorKind::RESP3NotSupported
        || error.code() == Some("NOPROTO")
        || error.detail().is_some_and(|detail| detail.starts_with("unknown command"))
}

/// Whether the server has no such command, or this user may not send it.
pub(crate) fn is_refusal(reply: &Value) -> bool {
    let Value::ServerError(error) = reply else { return false };
    code::is_denial(error.code())
        || error
            .details()
            .is_some_and(|details| details.to_ascii_lowercase().starts_with("unknown"))
}

/// Whether asking the same again would be in vain: the server has no such command, or this user may not ask.
pub(crate) fn is_final(reply: &RedisResult<Value>) -> bool {
    let code = match reply {
        Ok(Value::ServerError(error)) => error.code(),
        Err(error) if is_answer(error) => error.code().unwrap_or_default(),
        Ok(_) | Err(_) => return false,
    };
    code == "ERR" || code::is_denial(code)
}

/// Whether the server does not know a script's digest.
pub(crate) fn is_unknown_script(error: &Error) -> bool {
    matches!(error, Error::Server { code } if &**code == "NOSCRIPT")
}

/// Whether the server refused `MULTI`, so that it executed what followed one by one, and still watches what it
/// watched.
pub(crate) fn refused_multi(error: &RedisError) -> bool {
    let errors = error.clone().into_server_errors();
    errors.is_some_and(|errors| errors.iter().any(|(index, _)| *index == MULTI))
}

/// The error for one command of an `EXEC` by hand, where the answer alone would wrongly mean that nothing was done.
pub(crate) fn partial(reply: &Value) -> Option<Error> {
    let Value::ServerError(error) = reply else { return None };
    let refused = Error::from(RedisError::from(error.clone()));
    let code = || code::presentable(code_of(error)).into();
    says_that_nothing_was_done(&refused).then(|| Error::Partial { code: code() })
}

/// Commands go through traits of the redis crate, which know only its own error: ours travels inside it, and the
/// conversion back finds it again.
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
            // It is not one of our errors, so nothing is known of what was sent.
            ErrorKind::Io => Self::OutcomeUnknown { cause: cause_of(&error) },
            ErrorKind::AuthenticationFailed => Self::unavailable(Cause::Auth),
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::Value,
            _ => Self::Server { code: "ERR".into() },
        }
    }
}

/// What the server's answer means to the caller, where the error is one.
fn refused(error: &RedisError) -> Option<Error> {
    let errors = error.clone().into_server_errors();
    let first = errors.as_ref().and_then(|errors| errors.first());
    let index = first.map_or(0, |(index, _)| *index);
    let code = code::presentable(first.map(|(_, first)| code_of(first)).or(error.code())?);
    let cause = code::cause(code);
    let refused = match cause {
        Some(cause) => Error::unavailable(cause),
        None => Error::Server { code: code.into() },
    };
    // A connection that is not logged in is refused everything.
    let is_logged_out = cause == Some(Cause::Auth) && (index == 0 || index == MULTI);
    // Without `MULTI` the other commands were executed, whatever the server says of why there was none.
    let is_partial = refused_multi(error)
        || (says_that_nothing_was_done(&refused) && executes_one_by_one(error));
    if is_partial && !is_logged_out {
        return Some(Error::Partial { code: code.into() });
    }
    Some(refused)
}

fn says_that_nothing_was_done(error: &Error) -> bool {
    match error.outcome() {
        Outcome::Unavailable { .. } | Outcome::Overloaded { .. } | Outcome::Refused => true,
        Outcome::Deadline | Outcome::OutcomeUnknown | Outcome::Bug => false,
    }
}

/// Whether a server's error is about one command of several that were executed or refused one by one. How many there
/// were is not known.
fn executes_one_by_one(error: &RedisError) -> bool {
    match ServerError::try_from(error.clone()) {
        Ok(_) => false,
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::ExecAbort) => false,
        Err(error) => error.into_server_errors().is_some(),
    }
}

/// The first word of a server's error. Where `EXEC` itself was refused, it is the reason for that.
fn code_of(error: &ServerError) -> &str {
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

/// The index that the redis crate gives to `MULTI` in a transaction: before the first command, which is 0 (1.8.1; where
/// overflow is checked it panics instead, and the connection is lost).
const MULTI: usize = 0_usize.wrapping_sub(1);
/// What Redis says of a transaction before it says why (`multi.c`).
const DISCARDED: &str = "Transaction discarded because of: ";
