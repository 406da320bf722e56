use std::io;

use ::redis::{ErrorKind, RedisError, ServerErrorKind};

use super::error::{Error, io_error, typed};

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
    /// The password file could not be read, is no file, is empty, or is too large.
    #[error(
        "password_file holds no password; check its path and permissions, wanted is a regular file of 1 to 4096 bytes"
    )]
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
    /// The server runs a script or a module's command that takes long, and answers nothing else meanwhile.
    #[error("the server is busy with a script; check SCRIPT KILL or the script")]
    Busy,
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
    /// The connection was closed before it was ready. A server that is full does this, and so does one that expects
    /// TLS.
    #[error(
        "the connection was closed during the handshake; check the server's maxclients, a proxy in between, and whether tls is expected"
    )]
    HandshakeClosed,
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

    /// The same for a connection that is not ready yet.
    pub(super) fn of_handshake(error: &RedisError) -> Self {
        match Self::of(error) {
            Self::Closed => Self::HandshakeClosed,
            cause => cause,
        }
    }

    /// The root behind a server's answer that says "not now" rather than "not this".
    pub(crate) fn of_code(code: &str) -> Option<Self> {
        match code {
            "LOADING" => Some(Self::Loading),
            "BUSY" => Some(Self::Busy),
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
