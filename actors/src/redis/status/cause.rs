use std::io;

#[cfg(feature = "tls")]
use tokio_rustls::rustls;

/// The root cause of a failure. There is one for each thing that an operator would do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// Nothing listens there.
    #[error("connection refused; check that redis runs and that the url names its port or socket")]
    Refused,
    /// The host or its network cannot be reached.
    #[error("host or network unreachable; check the url and the route")]
    Unreachable,
    /// This process, or its machine, may open no further socket.
    #[error("no descriptor is left for a socket; check the limit on open files")]
    NoDescriptors,
    /// The host's name could not be resolved, or the resolver did not answer in time.
    #[error("host name not resolved; check the url and the resolver")]
    Dns,
    /// The encrypted session could not be established.
    #[error(
        "tls failed; check that the server's certificate is valid, names the host of the url (as subjectAltName), is no authority's own (CA:TRUE) and comes from an authority of tls.ca_file, and whether the server wants a certificate of ours (tls.cert_file)"
    )]
    Tls,
    /// What answers there does not speak TLS.
    #[error(
        "the other side does not speak tls; check that the port of the url is the server's port for tls, or say redis:// if it has none"
    )]
    NotTls,
    /// The TLS handshake did not end in time. A server that does not speak TLS may wait silently for more.
    #[error(
        "no answer to the tls handshake in time; check that the port of the url is the server's port for tls, the server's load and the network"
    )]
    TlsTimeout,
    /// The file with the authorities' certificates could not be read, or holds no certificates.
    #[error(
        "tls.ca_file holds no certificates; check its path, permissions and mount, wanted is a regular file of at most 1 MiB with certificates in PEM"
    )]
    CaFile,
    /// The file with our certificate could not be read, or holds no certificate.
    #[error(
        "tls.cert_file holds no certificate; check its path, permissions and mount, wanted is a regular file of at most 1 MiB with certificates in PEM"
    )]
    CertFile,
    /// The file with our private key could not be read, or holds no key for the certificate.
    #[error(
        "tls.key_file holds no private key that belongs to tls.cert_file; check its path, permissions and mount, wanted is a regular file of at most 1 MiB with a key in PEM that is not encrypted"
    )]
    KeyFile,
    /// The user or password was not accepted.
    #[error("authentication failed; check user and password, of the url or in password_file")]
    Auth,
    /// The server wants a password and there is none.
    #[error(
        "the server wants a password; give it in the url, redis://:password@host, or in password_file"
    )]
    NoPassword,
    /// The password file could not be read (in time), is not a regular file, is empty, or is too large.
    #[error(
        "password_file holds no password; check its path, permissions and mount, wanted is a regular file of 1 to 4096 bytes"
    )]
    PasswordFile,
    /// This process may not open the socket, or the server denies this host.
    #[error("permission denied; check the socket's permissions and the server's protected mode")]
    Denied,
    /// The database of the url could not be selected.
    #[error("database not selected; check its number in the url, and that the user may SELECT")]
    Database,
    /// The server has no room for another client.
    #[error("the server has too many clients; check its maxclients")]
    TooManyClients,
    /// The server is loading its data.
    #[error("the server is loading its data")]
    Loading,
    /// The server runs a slow script or a module's slow command, and answers nothing else meanwhile.
    #[error("the server is busy with a script; check SCRIPT KILL or the script")]
    Busy,
    /// The server is a replica, or follows one that is away.
    #[error("the server is read-only; check which node is the primary")]
    ReadOnly,
    /// The cluster or the primary behind this server is away.
    #[error("the primary or the cluster behind the server is down")]
    Down,
    /// The server is a node of a cluster, and other nodes hold the rest of the keys.
    #[error(
        "the server is a node of a cluster, and other nodes hold the rest of the keys; clusters are not supported yet, name a server that holds all keys"
    )]
    ClusterNode,
    /// No connection for commands has been made so far, though the server answers on another one.
    #[error(
        "the server answers, but there is no connection for commands; check its maxclients, the network, and the pool-manager in the tree"
    )]
    NoLane,
    /// This process did nothing for a while, so nothing can be said of the server.
    #[error(
        "this process was held up, so nothing is known of redis; check for handlers that block a thread, and the limit of the cpu"
    )]
    HeldUp,
    /// No answer came in time.
    #[error(
        "no answer in time; check the server's load and the network, and that the url names redis"
    )]
    Timeout,
    /// The connection was closed while it was in use.
    #[error("the connection was closed by the other side; where one is kept, take another one")]
    Closed,
    /// An earlier command on this connection had no reply, so the order of further commands is unknown.
    #[error(
        "an earlier command on this connection had no reply and may still run; drop the connection and take another one"
    )]
    InDoubt,
    /// The connection was closed before it was ready. Servers with too many clients do this, and servers that expect
    /// TLS or a client certificate.
    #[error(
        "the connection was closed during the handshake; check the server's maxclients, a proxy in between, and whether the server expects tls (rediss://) or a certificate of ours (tls.cert_file)"
    )]
    HandshakeClosed,
    /// The connection was closed from our side: its generation was replaced, or the service stops.
    #[error("the connection belongs to a closed generation")]
    Replaced,
    /// The reply does not follow the Redis protocol.
    #[error(
        "the reply is not the redis protocol; check that the url names a redis server, and whether it expects tls (rediss://)"
    )]
    Protocol,
    /// Connecting failed by a defect of Mainstay.
    #[error("connecting failed by a defect")]
    Defect,
}

impl Cause {
    /// The cause of a socket error.
    pub(crate) fn of_io(error: &io::Error) -> Self {
        #[cfg(feature = "tls")]
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
            return match error {
                rustls::Error::InvalidMessage(_) => Self::NotTls,
                _ => Self::Tls,
            };
        }
        if error.raw_os_error().is_some_and(|number| [ENFILE, EMFILE].contains(&number)) {
            return Self::NoDescriptors;
        }
        match error.kind() {
            // The socket file of a server that does not listen yet may not exist.
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

    /// Whether a server that answers so still works: it may serve soon, or serves other callers.
    pub(crate) fn will_pass(self) -> bool {
        matches!(self, Self::Loading | Self::Busy | Self::ReadOnly | Self::Down)
    }

    /// Whether a server that answers so is left to refuse commands by itself, as quickly as we could: some are not
    /// refused, and one of them may be the remedy (`SCRIPT KILL`, `REPLICAOF`).
    pub(crate) fn refuses_by_itself(self) -> bool {
        matches!(self, Self::Busy | Self::Down)
    }
}

/// As on Linux, macOS and the BSDs (errno(3)). The standard library has no kind for them.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
