use std::{fmt, io};

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
    #[error(
        "host or network unreachable; check the url, the route, and that this machine has an address of the same kind (IPv4 or IPv6)"
    )]
    Unreachable,
    /// This machine does not let the connection out.
    #[error(
        "this machine does not permit the connection; check its firewall and what this process is allowed to do"
    )]
    Blocked,
    /// There is something else at the socket's path, or no path can be so long.
    #[error(
        "the socket's path leads to no socket; check the path in the url: all but its end are directories, its end is a stream socket, and it is no longer than the system permits (107 bytes on Linux)"
    )]
    SocketPath,
    /// This process, or its machine, may open no further socket or file.
    #[error("no descriptor is left for a socket or a file; check the limit on open files")]
    NoDescriptors,
    /// Every local port that could be used for a connection to that address is in use.
    #[error(
        "no local port is left for a connection there; check how many connections this machine makes, and net.ipv4.ip_local_port_range"
    )]
    NoPorts,
    /// The system failed in a way that has no cause of its own here. The number is its own (errno).
    #[error(
        "the system does not connect: {}; check its limits and its log", io::Error::from_raw_os_error(*.0)
    )]
    System(i32),
    /// The host's name could not be resolved.
    #[error("host name not resolved; check the url and the resolver")]
    Dns,
    /// The resolver did not answer in time.
    #[error(
        "no answer of the resolver in time; check the resolver of this machine (resolv.conf) and the network to it"
    )]
    DnsTimeout,
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
    /// The server is older than users (Redis 6), and there is one in the url. Nobody else is logged in as instead.
    #[error(
        "the server knows no users, since it is older than Redis 6; give the password alone in the url, redis://:password@host"
    )]
    NoUsers,
    /// A file that is read for each connection cannot be read. The number is the system's own (errno).
    #[error(
        "{file} cannot be read: {}; check its path, permissions and mount", io::Error::from_raw_os_error(*.errno)
    )]
    FileUnreadable {
        /// Which file.
        file: ConfigFile,
        /// Why the system does not read it.
        errno: i32,
    },
    /// A file that is read for each connection was not read in time.
    #[error("{0} could not be read in time; check its mount")]
    FileTimeout(ConfigFile),
    /// The file with the authorities' certificates holds no certificates, is not a regular file, or is too large.
    #[error(
        "tls.ca_file holds no certificates; check its content, wanted is a regular file of at most 1 MiB with certificates in PEM"
    )]
    CaFile,
    /// The file with our certificate holds no certificate, is not a regular file, or is too large.
    #[error(
        "tls.cert_file holds no certificate; check its content, wanted is a regular file of at most 1 MiB with certificates in PEM"
    )]
    CertFile,
    /// The file with our private key holds no key for the certificate, is not a regular file, or is too large.
    #[error(
        "tls.key_file holds no private key that belongs to tls.cert_file; check its content, wanted is a regular file of at most 1 MiB with a key in PEM that is not encrypted"
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
    /// The password file is not a regular file, is empty, is too large, or is not UTF-8.
    #[error(
        "password_file holds no password; check its content, wanted is a regular file of 1 to 4096 bytes of text"
    )]
    PasswordFile,
    /// This process may not open the socket, or the server denies this host.
    #[error(
        "permission denied; check the permissions of the socket and of the directories it is in, or the server's protected mode"
    )]
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

/// A file of the configuration that is read for each connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigFile {
    /// `password_file`.
    Password,
    /// `tls.ca_file`.
    Ca,
    /// `tls.cert_file`.
    Cert,
    /// `tls.key_file`.
    Key,
}

impl fmt::Display for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password => "password_file",
            Self::Ca => "tls.ca_file",
            Self::Cert => "tls.cert_file",
            Self::Key => "tls.key_file",
        })
    }
}

impl ConfigFile {
    /// The cause where the file does not hold what it should.
    pub(crate) fn unsuitable(self) -> Cause {
        match self {
            Self::Password => Cause::PasswordFile,
            Self::Ca => Cause::CaFile,
            Self::Cert => Cause::CertFile,
            Self::Key => Cause::KeyFile,
        }
    }

    /// The cause where the system does not read the file.
    pub(crate) fn unreadable(self, errno: i32) -> Cause {
        match Cause::of_shortage(errno) {
            Some(shortage) => shortage,
            None => Cause::FileUnreadable { file: self, errno },
        }
    }
}

impl Cause {
    /// Why the system does not connect to an address.
    pub(crate) fn of_tcp(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::Timeout,
            // EPERM and EACCES: a rule of the firewall or of the routing table, or a sandbox.
            io::ErrorKind::PermissionDenied => Self::Blocked,
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown => Self::Unreachable,
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => Self::NoPorts,
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
                Self::HandshakeClosed
            }
            _ if error.raw_os_error() == Some(EAFNOSUPPORT) => Self::Unreachable,
            _ => Self::of_system(error),
        }
    }

    /// Why the system does not connect to a socket at a path.
    pub(crate) fn of_unix(error: &io::Error) -> Self {
        match error.kind() {
            // The socket file of a server that does not listen yet may not exist.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::Refused,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::NotADirectory => Self::SocketPath,
            // Without a number the standard library has refused the path: too long, or a zero byte in it.
            io::ErrorKind::InvalidInput if error.raw_os_error().is_none() => Self::SocketPath,
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
                Self::HandshakeClosed
            }
            _ if error.raw_os_error().is_some_and(|errno| NO_PATH.contains(&errno)) => {
                Self::SocketPath
            }
            _ => Self::of_system(error),
        }
    }

    /// The cause of an error of a connection that was made.
    pub(crate) fn of_io(error: &io::Error) -> Self {
        #[cfg(feature = "tls")]
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
            return match error {
                rustls::Error::InvalidMessage(_) => Self::NotTls,
                _ => Self::Tls,
            };
        }
        match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::Timeout,
            io::ErrorKind::PermissionDenied => Self::Blocked,
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown => Self::Unreachable,
            io::ErrorKind::InvalidData => Self::Protocol,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
            | io::ErrorKind::UnexpectedEof => Self::Closed,
            _ if error.raw_os_error().is_none() => Self::Closed,
            _ => Self::of_system(error),
        }
    }

    /// The cause of a failure of this machine that has little to do with what it was asked.
    pub(crate) fn of_system(error: &io::Error) -> Self {
        // Every system has the number for "invalid argument".
        let errno = error.raw_os_error().unwrap_or(EINVAL);
        Self::of_shortage(errno).unwrap_or(Self::System(errno))
    }

    fn of_shortage(errno: i32) -> Option<Self> {
        [ENFILE, EMFILE].contains(&errno).then_some(Self::NoDescriptors)
    }

    /// The more telling of two reasons why one attempt failed at different addresses: the one that got further. Of two
    /// that got as far, this one.
    pub(crate) fn or_more_telling(self, other: Self) -> Self {
        if other.reach() > self.reach() { other } else { self }
    }

    fn reach(self) -> u8 {
        match self {
            Self::Dns | Self::DnsTimeout | Self::HeldUp => 0,
            Self::Timeout | Self::TlsTimeout => 1,
            Self::Refused | Self::Unreachable => 2,
            // Of this machine, which no other address mends.
            Self::Blocked
            | Self::SocketPath
            | Self::NoDescriptors
            | Self::NoPorts
            | Self::System(_)
            | Self::FileUnreadable { .. }
            | Self::FileTimeout(_)
            | Self::PasswordFile
            | Self::CaFile
            | Self::CertFile
            | Self::KeyFile => 3,
            Self::HandshakeClosed | Self::Closed | Self::InDoubt | Self::Replaced => 4,
            Self::Tls | Self::NotTls => 5,
            Self::Auth
            | Self::NoPassword
            | Self::NoUsers
            | Self::Denied
            | Self::Database
            | Self::TooManyClients
            | Self::Loading
            | Self::Busy
            | Self::ReadOnly
            | Self::Down
            | Self::ClusterNode
            | Self::NoLane
            | Self::Protocol
            | Self::Defect => 6,
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
const EINVAL: i32 = 22;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const EAFNOSUPPORT: i32 = if IS_LINUX { 97 } else { 47 };
/// ELOOP, ENAMETOOLONG, ENOTSOCK and EPROTOTYPE: links in a circle, a name that is too long, no socket, one for datagrams.
const NO_PATH: [i32; 4] = if IS_LINUX { [40, 36, 88, 91] } else { [62, 63, 38, 41] };
const IS_LINUX: bool = cfg!(any(target_os = "linux", target_os = "android"));
