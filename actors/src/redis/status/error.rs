use std::time::Duration;

use super::cause::Cause;
use super::code;
use super::server_state::ServerState;
use super::unreadable::Unreadable;
use crate::Outcome;
use crate::redis::{address, config};

/// Why Redis did not do what was asked. One variant for each decision that a caller can make.
///
/// No variant shows a key, a value or a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Redis is away or cannot serve. Nothing was changed: the command was not sent, it only read, or the server
    /// refused it. If a script was refused midway, its earlier commands may have been executed.
    #[error("redis is unavailable")]
    Unavailable {
        /// Why Redis cannot serve.
        #[source]
        cause: Cause,
        /// How long to wait before the next try.
        retry_after: Duration,
    },
    /// Every lease stayed in use until the wait was over, or too many callers wait already (16 for each lease, at least
    /// 1 024), so this one was refused at once. Nothing was sent.
    #[error("{}", exhausted(*max_connections, *waited))]
    Exhausted {
        /// How many leases there are.
        max_connections: u32,
        /// How long this caller waited for one; zero if too many waited already.
        waited: Duration,
    },
    /// Too many commands wait for replies on a shared connection. Nothing was sent.
    #[error(
        "{in_flight} commands wait for replies on one connection already; check the server's load"
    )]
    Crowded {
        /// How many wait.
        in_flight: usize,
    },
    /// The time ran out. Nothing was changed: the command was not sent, or it only read.
    #[error("no reply within {} ms; check command_timeout, the request's deadline and the server's load", waited.as_millis())]
    Deadline {
        /// How long this caller waited.
        waited: Duration,
    },
    /// A command that may change data was sent and its reply never came. It may or may not have been executed, and must
    /// not be sent again blindly.
    #[error("a command was sent and its reply never came; it may or may not have run")]
    OutcomeUnknown {
        /// Why no reply came.
        #[source]
        cause: Cause,
    },
    /// The server answered with an error. The command was not executed; of a transaction that was refused as a whole,
    /// no command was. Other commands of a pipeline, and earlier ones of a script, may have been executed.
    #[error("redis refused the command with {code}")]
    Server {
        /// The first word of the server's answer, such as `WRONGTYPE`.
        code: Box<str>,
    },
    /// The server refused a command of a pipeline or of a script with an answer that says "not now" or "not you", and
    /// may have executed any of the others, before or after it. Do not send the whole again as it is. The same applies
    /// if the server refused only `MULTI`, so that the commands of an `atomic()` pipeline were executed one by one, and
    /// if a script itself answers with such a code.
    #[error(
        "redis refused a command of a pipeline or script with {code} and may have run the others"
    )]
    Partial {
        /// The first word of the server's answer, such as `OOM`.
        code: Box<str>,
    },
    /// The command was executed, and its reply has another type than was asked for.
    #[error("the reply has another type than was asked for")]
    Value,
    /// The server answered, so the command was executed, but the reply cannot be read. Other callers of the connection
    /// are not affected.
    #[error("redis answered, but the reply cannot be read")]
    Unreadable {
        /// Why not.
        #[source]
        why: Unreadable,
    },
    /// A command that would harm the connection it shares. It was not sent.
    #[error("{command} is not available here: {instead}")]
    Refused {
        /// The command's name.
        command: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// Others changed a watched key in every attempt at a transaction. Nothing was written.
    #[error(
        "a watched key was changed by others in {attempts} attempts in a row; check what else writes to it"
    )]
    Conflict {
        /// How many attempts were made.
        attempts: u32,
    },
    /// A time to live that is not in the future. Nothing was sent.
    #[error(
        "a time to live of {given} s is refused, wanted is a time of more than zero; check whether it has passed already"
    )]
    Ttl {
        /// What was given, in seconds.
        given: i128,
    },
    /// Nothing has been built yet, or the endpoint was closed. Nothing was sent.
    #[error("the redis pool is not built")]
    NotBuilt,
    /// The URL cannot be used.
    #[error(transparent)]
    Address(#[from] address::Fault),
    /// The configuration has values that are not accepted; these are all of them.
    #[error("the redis configuration cannot stand: {}", listed(.0))]
    Config(Vec<config::Fault>),
}

/// How long a caller should wait when nothing better is known.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Error {
    /// What this failure means to the caller. Answers from memory.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unavailable { retry_after, .. } => {
                Outcome::Unavailable { retry_after: *retry_after }
            }
            Self::NotBuilt => Outcome::Unavailable { retry_after: RETRY_AFTER },
            Self::Exhausted { .. } | Self::Crowded { .. } | Self::Conflict { .. } => {
                Outcome::Overloaded { retry_after: RETRY_AFTER }
            }
            Self::Deadline { .. } => Outcome::Deadline,
            Self::OutcomeUnknown { .. } | Self::Partial { .. } => Outcome::OutcomeUnknown,
            Self::Server { code } if code::is_denial(code) => Outcome::Refused,
            // Nothing was written, and the state may pass: no memory, no disk, too few replicas (redis.conf).
            Self::Server { code } => match code::server_state(code) {
                Some(ServerState::Full) => Outcome::Overloaded { retry_after: RETRY_AFTER },
                Some(ServerState::Unsaved | ServerState::FewReplicas) => {
                    Outcome::Unavailable { retry_after: RETRY_AFTER }
                }
                Some(ServerState::ReadOnly | ServerState::ClusterNode) | None => Outcome::Bug,
            },
            Self::Refused { .. } | Self::Ttl { .. } => Outcome::Refused,
            Self::Value | Self::Unreadable { .. } | Self::Address(_) | Self::Config(_) => {
                Outcome::Bug
            }
        }
    }

    /// The cause, if it is known. Answers from memory.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Unavailable { cause, .. } | Self::OutcomeUnknown { cause } => Some(*cause),
            _ => None,
        }
    }

    pub(crate) fn unavailable(cause: Cause) -> Self {
        Self::Unavailable { cause, retry_after: RETRY_AFTER }
    }
}

fn exhausted(max_connections: u32, waited: Duration) -> String {
    let state = if waited.is_zero() {
        format!("all {max_connections} leases are in use and too many callers wait for one already")
    } else {
        format!("all {max_connections} leases stayed in use for {} ms", waited.as_millis())
    };
    format!("{state}; check max_connections and what holds leases for long")
}

fn listed(faults: &[config::Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
