//! What a server answers to the commands with which a connection begins.

use ::redis::{ServerError, Value};

use super::cause::Cause;
use super::classify::server_error;
use super::code;

/// What the answer to `HELLO 3` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hello {
    /// RESP3 is spoken from here on.
    Resp3,
    /// The server does not know HELLO, or not version 3. It may speak RESP2.
    Unknown,
    /// The server knows HELLO, and does not serve us now.
    Refused(Cause),
}

impl Hello {
    /// The meaning of `reply`. Servers before 6.0 do not know HELLO, servers that imitate Redis may not know version 3, and
    /// proxies refuse it in words of their own. So any error means that, unless it says "not now" or "not you".
    pub(crate) fn of(reply: &Value, has_login: bool) -> Self {
        let Some(error) = server_error(reply) else {
            return if matches!(reply, Value::Map(_)) { Self::Resp3 } else { Self::Unknown };
        };
        match error.code() {
            // Redis itself reads the login in HELLO before it says so.
            "NOAUTH" if !has_login => Self::Refused(Cause::NoPassword),
            "NOAUTH" => Self::Unknown,
            _ => refusal(error).map_or(Self::Unknown, Self::Refused),
        }
    }
}

/// Whether the login succeeded.
///
/// # Errors
/// Why it did not. Servers before 6.0 take a password alone, and count the words.
pub(crate) fn logged_in(reply: &Value, has_user: bool) -> Result<(), Cause> {
    let Some(error) = server_error(reply) else { return Ok(()) };
    if has_user && says(error, "wrong number of arguments") {
        return Err(Cause::NoUsers);
    }
    Err(refusal(error).unwrap_or(Cause::Auth))
}

/// Whether the database was selected.
///
/// # Errors
/// Why it was not.
pub(crate) fn selected(reply: &Value) -> Result<(), Cause> {
    let Some(error) = server_error(reply) else { return Ok(()) };
    Err(code::cause_of_login(error.code()).or(refusal(error)).unwrap_or(Cause::Database))
}

/// Why the server takes nothing from this connection, if `reply` says so. A refusal of one command does not.
pub(crate) fn unwelcome(reply: &Value) -> Option<Cause> {
    let error = server_error(reply)?;
    match code::cause_of_login(error.code()).or(refusal(error))? {
        cause @ (Cause::NoPassword | Cause::Auth | Cause::Denied | Cause::TooManyClients) => {
            Some(cause)
        }
        _ => None,
    }
}

fn refusal(error: &ServerError) -> Option<Cause> {
    if says(error, "max number of clients") {
        return Some(Cause::TooManyClients);
    }
    code::cause(error.code())
}

/// Whether the words behind the code begin so.
fn says(error: &ServerError, words: &str) -> bool {
    error.details().is_some_and(|details| details.to_ascii_lowercase().starts_with(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(line: &str) -> Value {
        ::redis::parse_redis_value(format!("{line}\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn hello_is_unknown_in_any_words_but_those_that_say_not_now_or_not_you() {
        for line in [
            "-ERR unknown command `HELLO`, with args beginning with: ",
            "-ERR unknown command 'HELLO'",
            "-unsupported command 'hello'",
            "-ERR command not allowed",
            "-ERR",
            "-NOPROTO unsupported protocol version",
            "-NOPERM this user has no permissions to run the 'hello' command",
            "-NOAUTH Authentication required.",
            "+OK",
            "*0",
        ] {
            assert_eq!(Hello::of(&reply(line), true), Hello::Unknown, "{line}");
        }
        for (line, cause) in [
            ("-ERR max number of clients reached", Cause::TooManyClients),
            ("-ERR max number of clients + cluster connections reached", Cause::TooManyClients),
            ("-LOADING Redis is loading the dataset in memory", Cause::Loading),
            ("-WRONGPASS invalid username-password pair or user is disabled.", Cause::Auth),
            ("-DENIED Redis is running in protected mode", Cause::Denied),
            ("-BUSY Redis is busy running a script.", Cause::Busy),
            ("-MASTERDOWN Link with MASTER is down", Cause::Down),
        ] {
            assert_eq!(Hello::of(&reply(line), true), Hello::Refused(cause), "{line}");
        }
        let noauth = Hello::of(&reply("-NOAUTH HELLO must be called with AUTH"), false);
        assert_eq!(noauth, Hello::Refused(Cause::NoPassword));
        assert_eq!(Hello::of(&reply("%1\r\n+proto\r\n:3"), false), Hello::Resp3);
    }

    #[test]
    fn a_login_fails_for_a_reason() {
        let arity = "-ERR wrong number of arguments for 'auth' command";
        for (line, has_user, cause) in [
            (arity, true, Cause::NoUsers),
            (arity, false, Cause::Auth),
            ("-ERR invalid password", false, Cause::Auth),
            ("-ERR Client sent AUTH, but no password is set", false, Cause::Auth),
            ("-WRONGPASS no", true, Cause::Auth),
            ("-LOADING no", true, Cause::Loading),
            ("-ERR max number of clients reached", true, Cause::TooManyClients),
        ] {
            assert_eq!(logged_in(&reply(line), has_user), Err(cause), "{line}");
        }
        assert_eq!(logged_in(&reply("+OK"), true), Ok(()));
    }

    #[test]
    fn a_refusal_of_one_command_refuses_no_connection() {
        for line in ["-NOPERM no", "-ERR unknown command", "-LOADING no", "+OK"] {
            assert_eq!(unwelcome(&reply(line)), None, "{line}");
        }
        assert_eq!(unwelcome(&reply("-NOAUTH no")), Some(Cause::NoPassword));
        assert_eq!(unwelcome(&reply("-DENIED no")), Some(Cause::Denied));
        assert_eq!(selected(&reply("-NOAUTH no")), Err(Cause::NoPassword));
        assert_eq!(selected(&reply("-ERR DB index is out of range")), Err(Cause::Database));
    }
}
