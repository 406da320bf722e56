//! What the error of a script or function means. It may answer with any text, also after it has written, so its own words
//! cannot be told from the server's: no reply of it acts on the connection or the pool.

use ::redis::{ServerError, Value};

use super::classify::{Meaning, code_of, of_server, server_error};
use super::code;
use super::error::Error;

/// Whether a script hints at something that only the server can know, which is then asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hint {
    /// It may be read-only: `ROLE` tells.
    Role,
    /// The connection may not be logged in: any command tells.
    Login,
}

impl Hint {
    pub(crate) fn of(reply: &Value) -> Option<Self> {
        match reason(server_error(reply)?).0 {
            "READONLY" => Some(Self::Role),
            "NOAUTH" | "WRONGPASS" => Some(Self::Login),
            _ => None,
        }
    }
}

impl Meaning {
    /// The meaning of the reply to one script.
    pub(crate) fn of_script(reply: &Value) -> Self {
        let Some(error) = server_error(reply) else { return Self::default() };
        let (code, words) = reason(error);
        Self {
            objection: code::cause(code).filter(|_| is_before_the_script(code, words)),
            state: code::server_state(code).filter(|_| is_of_the_server(words)),
            ..Self::default()
        }
    }
}

/// What the error of a script means to the caller.
pub(crate) fn of_script(error: &ServerError) -> Error {
    let (code, words) = reason(error);
    let says_that_nothing_was_done = code::cause(code).is_some()
        || code::server_state(code).is_some()
        || code::is_denial(code)
        || code == NOSCRIPT;
    if says_that_nothing_was_done && !is_before_the_script(code, words) {
        return Error::Partial { code: code::presentable(code).into() };
    }
    of_server(error)
}

/// Whether `bytes` could make a script say that the server does not know it.
pub(crate) fn mentions_noscript(bytes: &[u8]) -> bool {
    bytes.windows(NOSCRIPT.len()).any(|word| word == NOSCRIPT.as_bytes())
}

/// Whether the server said this instead of running the script. Its own sentences say so.
fn is_before_the_script(code: &str, words: &str) -> bool {
    match code {
        "LOADING" => words.ends_with(" is loading the dataset in memory"),
        "BUSY" => words.contains(" is busy running a script. You can only call "),
        "NOPERM" => {
            let is_user = words.starts_with("this user has no permissions to ")
                || words.starts_with("User ") && words.contains(" has no permissions to ");
            is_user && !words.contains(", on @user_")
        }
        "NOAUTH" => words == "Authentication required.",
        // Redis adds what to do.
        NOSCRIPT => words.starts_with("No matching script."),
        _ => false,
    }
}

/// Whether the words are those of a server that refuses a write for its state.
fn is_of_the_server(words: &str) -> bool {
    const SENTENCES: [&str; 6] = [
        "command not allowed when used memory",
        "You can't write against a read only",
        "Redis is configured to save RDB snapshots",
        "Valkey is configured to save RDB snapshots",
        "Errors writing to the AOF file",
        "Not enough good replicas to write",
    ];
    SENTENCES.iter().any(|sentence| words.starts_with(sentence))
}

/// Code and words of the reason. Servers before 7 put them behind the place in the script:
/// `ERR Error running script (call to f_..): @user_script:1: @user_script: 1: -READONLY You can't write ..`.
fn reason(error: &ServerError) -> (&str, &str) {
    let words = error.details().unwrap_or_default();
    let inner = words
        .strip_prefix("Error running script ")
        .and_then(|words| words.split_once(" -"))
        .map(|(_, reason)| reason.split_once(' ').unwrap_or((reason, "")));
    match inner {
        Some((code, words)) if error.code() == "ERR" && code::presentable(code) == code => {
            (code, words)
        }
        _ => (code_of(error), words),
    }
}

const NOSCRIPT: &str = "NOSCRIPT";
