use std::fs::Metadata;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::redis::io::tcp::socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;

use super::lookup::{is_looked_up, lookup};
use super::preferred::PreferredAddress;
use super::race::Progress;
use super::tls::{Encryption, file_being_read};
use crate::redis::address::Address;
use crate::redis::config::Tls;
use crate::redis::status::Cause;

/// The bytes of a connection, in both directions.
pub(crate) type Stream = Box<dyn Duplex>;

pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// One address at which a server may be, and how it is reached there.
pub(crate) enum Route<'a> {
    Tcp { address: SocketAddr, encryption: Option<Arc<Encryption>> },
    Unix { path: &'a Path, is_private: bool },
}

/// The routes to `address`, the preferred one first. A host name is looked up, and the files for TLS are read, each time.
///
/// # Errors
/// Why there is none.
// redis R25
pub(crate) async fn routes<'a>(
    address: &'a Address,
    tls: &Tls,
    preferred: &PreferredAddress,
) -> Result<Vec<Route<'a>>, Cause> {
    match address {
        Address::Tcp { host, port, is_tls, .. } => {
            let encryption = match is_tls {
                true => Some(Arc::new(Encryption::to(host, tls).await?)),
                false => None,
            };
            let mut found = lookup(host, *port).await?;
            preferred.sort(&mut found);
            let route =
                |address| Route::Tcp { address, encryption: encryption.as_ref().map(Arc::clone) };
            Ok(found.into_iter().map(route).collect())
        }
        Address::Unix { path, is_private, .. } => {
            Ok(vec![Route::Unix { path, is_private: *is_private }])
        }
        Address::Embedded => Err(Cause::Refused),
    }
}

impl Route<'_> {
    /// The address that it leads to, if that is one of TCP.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp { address, .. } => Some(*address),
            Self::Unix { .. } => None,
        }
    }

    /// Connects, with TLS if the address says so.
    pub(crate) async fn open(&self, progress: &Progress) -> Result<Stream, Cause> {
        match self {
            Self::Tcp { address, encryption: None } => Ok(Box::new(open_tcp(*address).await?)),
            Self::Tcp { address, encryption: Some(encryption) } => {
                let stream = open_tcp(*address).await?;
                let _encrypting = progress.encrypting();
                Ok(Box::new(encryption.over(stream).await?))
            }
            Self::Unix { path, is_private } => Ok(Box::new(open_unix(path, *is_private).await?)),
        }
    }
}

/// Once a cleaner has removed the directory of a private socket from /tmp, anybody can make another there.
async fn open_unix(path: &Path, is_private: bool) -> Result<UnixStream, Cause> {
    let stream = loop {
        match UnixStream::connect(path).await {
            Ok(stream) => break stream,
            // The server's queue is full, and unlike TCP the system does not wait for room in it (unix(7)).
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(FULL_QUEUE).await,
            Err(error) => return Err(cause_at(path, &error)),
        }
    };
    if is_private {
        let owners = || Ok((stream.peer_cred()?.uid(), UnixStream::pair()?.0.peer_cred()?.uid()));
        let (theirs, ours) = owners().map_err(|error: io::Error| Cause::of_unix(&error))?;
        if theirs != ours {
            return Err(Cause::Denied);
        }
    }
    Ok(stream)
}

/// The system refuses a connection to a file or a directory in the same way as one to a socket that nobody listens on.
fn cause_at(path: &Path, error: &io::Error) -> Cause {
    let is_other = |metadata: Metadata| !metadata.file_type().is_socket();
    match Cause::of_unix(error) {
        Cause::Refused if path.metadata().is_ok_and(is_other) => Cause::SocketPath,
        cause => cause,
    }
}

/// What [`routes`] waits for, if it does: for the resolver, or for a file.
pub(crate) fn awaited(address: &Address, tls: &Tls) -> Option<Cause> {
    match address {
        Address::Tcp { host, .. } if is_looked_up(host) => Some(Cause::DnsTimeout),
        Address::Tcp { is_tls: true, .. } => file_being_read(tls),
        Address::Tcp { .. } | Address::Unix { .. } | Address::Embedded => None,
    }
}

// redis R17
async fn open_tcp(address: SocketAddr) -> Result<TcpStream, Cause> {
    let stream = TcpStream::connect(address).await.map_err(|error| cause_to(address, &error))?;
    // macOS refuses the options of a socket whose other side has closed it.
    set_options(&stream).map_err(|_| Cause::HandshakeClosed)?;
    Ok(stream)
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}

/// The system has one error for "no local port is free" and "no address of this kind is here". A datagram socket has
/// ports of its own, so it meets the second alone.
fn cause_to(address: SocketAddr, error: &io::Error) -> Cause {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let reach = || UdpSocket::bind((any, 0))?.connect(address);
    match Cause::of_tcp(error) {
        Cause::NoPorts => match reach() {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Cause::Unreachable,
            Ok(()) | Err(_) => Cause::NoPorts,
        },
        cause => cause,
    }
}

/// How long until a full queue is tried again.
const FULL_QUEUE: Duration = Duration::from_millis(10);
/// A silent peer is probed after 15 s and then each 5 s; data that is not acknowledged within 5 s ends the connection
/// (tcp(7)).
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const USER_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Stdio;

    use tokio::process::Command;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_private_socket_is_that_of_our_own_user() {
        let home = tempfile::tempdir().unwrap();
        std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let ours = home.path().join("ours");
        let _listener = std::os::unix::net::UnixListener::bind(&ours).unwrap();
        open_unix(&ours, true).await.unwrap();

        let theirs = home.path().join("theirs");
        let nobody = Command::new("setpriv")
            .args(["--reuid=65534", "--clear-groups", "redis-server", "--port", "0", "--dir"])
            .arg(home.path())
            .args(["--save", "", "--unixsocketperm", "777", "--unixsocket"])
            .arg(&theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let Ok(mut nobody) = nobody else { return }; // There is no such program.
        while UnixStream::connect(&theirs).await.is_err() {
            match timeout(Duration::from_millis(5), nobody.wait()).await {
                Ok(_) => return, // Only root can start a server of another user.
                Err(_) => assert!(nobody.id().is_some()),
            }
        }
        assert_eq!(open_unix(&theirs, true).await.unwrap_err(), Cause::Denied);
        open_unix(&theirs, false).await.unwrap();
    }

    // redis R17
    #[tokio::test]
    async fn what_is_written_to_a_socket_of_ours_is_sent_at_once() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = open_tcp(listener.local_addr().unwrap()).await.unwrap();
        assert!(stream.nodelay().unwrap());
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
    }
}
