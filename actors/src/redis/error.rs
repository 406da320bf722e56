use std::sync::Arc;
use std::time::Duration;
use std::{error, io};

use ::redis::{ErrorKind, RedisError, ServerErrorKind};

use super::address;
use crate::Outcome;

/// Why Redis did not do what was asked. One variant for each decision that a caller can make.
///
/// No variant shows a key, a value or a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Redis is away or not fit to serve. Nothing was changed: the command was never sent, or it only read.
    #[error("redis is unavailable")]
    Unavailable {
        /// What stands in the way.
        #[source]
        cause: Cause,
        /// How long to wait before the next try.
        retry_after: Duration,
    },
    /// Every lease stayed in use until the wait was over. Nothing was sent.
    #[error(
        "all {max_connections} leases stayed in use for {} ms; check max_connections and what holds leases for long",
        waited.as_millis()
    )]
    Exhausted {
        /// How many leases there are.
        max_connections: u32,
        /// How long this caller waited for one.
        waited: Duration,
    },
    /// The time ran out. Nothing was changed: the command was never sent, or it only read.
    #[error("no reply within {} ms; check command_timeout, the request's deadline and the server's load", waited.as_millis())]
    Deadline {
        /// How long this caller waited.
        waited: Duration,
    },
    /// A command that may change data was sent and its reply never came. It may have been carried out or not, and
    /// must not be sent again blindly.
    #[error(
        "the reply to a command that was sent never came, whether it was carried out is unknown"
    )]
    OutcomeUnknown {
        /// What cut the reply off.
        #[source]
        cause: Cause,
    },
    /// The server answered with an error. The command was not carried out.
    #[error("redis refused the command with {code}")]
    Server {
        /// The first word of the server's answer, such as `WRONGTYPE`.
        code: Box<str>,
    },
    /// The command was carried out, and its reply has another type than was asked for.
    #[error("the reply has another type than was asked for")]
    Value,
    /// A command that would harm the connection it shares. It was not sent.
    #[error("{command} is not available here: {instead}")]
    Refused {
        /// The command's name.
        command: &'static str,
        /// What to do instead.
        instead: &'static str,
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
    /// The URL is no address that we can use.
    #[error(transparent)]
    Address(#[from] address::Fault),
}

/// The root of a failure, told apart as far as an operator would act differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// Nothing listens there.
    #[error("connection refused; check that redis runs and that the url names its port or socket")]
    Refused,
    /// The host or its network cannot be reached.
    #[error("host or network unreachable; check the url and the route")]
    Unreachable,
    /// The host's name could not be resolved.
    #[error("host name not resolved; check the url and the resolver")]
    Dns,
    /// The encrypted session could not be established.
    #[error("tls failed; check certificates and the url's scheme")]
    Tls,
    /// The user or password was not accepted.
    #[error("authentication failed; check user and password")]
    Auth,
    /// The password file could not be read.
    #[error("password_file cannot be read; check its path and permissions")]
    PasswordFile,
    /// This process may not open the socket, or the server denies this host.
    #[error("permission denied; check the socket's permissions and the server's protected mode")]
    Denied,
    /// The database of the url could not be selected.
    #[error("database not selected; check its number in the url")]
    Database,
    /// The server has no room for another client.
    #[error("the server has too many clients; check its maxclients")]
    TooManyClients,
    /// The server is loading its data.
    #[error("the server is loading its data")]
    Loading,
    /// The server is a replica, or follows one that is away.
    #[error("the server is read-only; check which node is the primary")]
    ReadOnly,
    /// The cluster or the primary behind this server is away.
    #[error("the primary or the cluster behind the server is down")]
    Down,
    /// No answer came in time.
    #[error("no answer in time; check the server's load and the network")]
    Timeout,
    /// The connection was closed under way.
    #[error("the connection was closed by the other side")]
    Closed,
    /// We closed the connection ourselves: its generation was replaced or the service stops.
    #[error("the connection belongs to a closed generation")]
    Replaced,
    /// What came back is no reply of Redis.
    #[error("the reply is not the redis protocol; check that the url names a redis server")]
    Protocol,
    /// A defect of ours while connecting.
    #[error("connecting failed by a defect")]
    Defect,
}

/// How long a caller should wait when we know nothing better.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Error {
    /// What this failure means to the caller. Answers from memory.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unavailable { retry_after, .. } => {
                Outcome::Unavailable { retry_after: *retry_after }
            }
            Self::NotBuilt => Outcome::Unavailable { retry_after: RETRY_AFTER },
            Self::Exhausted { .. } => Outcome::Overloaded { retry_after: RETRY_AFTER },
            Self::Deadline { .. } => Outcome::Deadline,
            Self::OutcomeUnknown { .. } => Outcome::OutcomeUnknown,
            Self::Server { code } if REFUSALS.contains(&&**code) => Outcome::Refused,
            Self::Refused { .. } | Self::Ttl { .. } => Outcome::Refused,
            Self::Server { .. } | Self::Value | Self::Address(_) => Outcome::Bug,
        }
    }

    /// What lies at the root, where that is known. Answers from memory.
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

/// Answers by which a healthy server declines a correct command: missing permission, or no room to write.
const REFUSALS: &[&str] = &["NOPERM", "OOM", "MISCONF", "BUSY", "NOREPLICAS"];

impl Cause {
    /// The root of an error met while connecting or waiting for a reply.
    pub(crate) fn of(error: &RedisError) -> Self {
        if let Some(Error::Unavailable { cause, .. } | Error::OutcomeUnknown { cause }) =
            typed(error)
        {
            return *cause;
        }
        if let Some(cause) = error.code().and_then(Self::of_code) {
            return cause;
        }
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::Auth,
            ErrorKind::Io => {
                io_error(error).map_or(Self::Closed, |error| Self::of_io(error.kind()))
            }
            ErrorKind::Client => Self::Tls,
            // The library words these two and gives them no kind of their own.
            ErrorKind::Server(ServerErrorKind::ResponseError)
                if error.to_string().starts_with("Redis server refused to switch database") =>
            {
                Self::Database
            }
            ErrorKind::Server(ServerErrorKind::ResponseError)
                if error
                    .detail()
                    .is_some_and(|detail| detail.starts_with("max number of clients")) =>
            {
                Self::TooManyClients
            }
            _ => Self::Protocol,
        }
    }

    /// The root behind a server's answer that says "not now" rather than "not this".
    pub(crate) fn of_code(code: &str) -> Option<Self> {
        match code {
            "LOADING" => Some(Self::Loading),
            "READONLY" => Some(Self::ReadOnly),
            "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "UNBLOCKED" => Some(Self::Down),
            "NOAUTH" | "WRONGPASS" => Some(Self::Auth),
            "DENIED" => Some(Self::Denied),
            _ => None,
        }
    }

    fn of_io(kind: io::ErrorKind) -> Self {
        match kind {
            // A socket file that is not there yet is a server that does not listen yet.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::Refused,
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::Timeout,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable => Self::Unreachable,
            _ => Self::Closed,
        }
    }
}

/// Commands go through traits of the redis crate, which know only its own error: ours travels inside and is found
/// again by the conversion back.
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
        let code = match error.clone().into_server_errors() {
            Some(errors) if !errors.is_empty() => {
                errors.first().map(|(_, error)| error.code().to_owned())
            }
            _ => error.code().map(str::to_owned),
        };
        if let Some(code) = code {
            return match Cause::of_code(&code) {
                Some(cause) => Self::unavailable(cause),
                None => Self::Server { code: presentable(&code).into() },
            };
        }
        match error.kind() {
            // Such an error is not one of ours, so nothing is known of what was sent.
            ErrorKind::Io => Self::OutcomeUnknown { cause: Cause::of(&error) },
            ErrorKind::AuthenticationFailed => Self::unavailable(Cause::Auth),
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::Value,
            _ => Self::Server { code: "ERR".into() },
        }
    }
}

/// A script may answer with any text; only what looks like a code is one.
fn presentable(code: &str) -> &str {
    let is_code = !code.is_empty()
        && code.len() <= 32
        && code
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    if is_code { code } else { "ERR" }
}

fn typed(error: &RedisError) -> Option<&Error> {
    io_error(error)?.get_ref()?.downcast_ref()
}

/// The redis crate hands out its inner error as the `Arc` it keeps it in.
fn io_error(error: &RedisError) -> Option<&io::Error> {
    let source = error::Error::source(error)?;
    let shared = source.downcast_ref::<Arc<dyn error::Error + Send + Sync>>()?;
    shared.downcast_ref()
}
