use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ::redis::io::tcp::socket2::{SockRef, TcpKeepalive};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;

use super::lookup::{is_looked_up, lookup};
use super::preferred::PreferredAddress;
use super::tls::{encrypt, file_being_read};
use crate::redis::address::Address;
use crate::redis::config::Tls;
use crate::redis::status::Cause;

/// The bytes of a connection, in both directions.
pub(crate) type Stream = Box<dyn Duplex>;

pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Connects, with TLS if the address says so. A host name is looked up each time.
// redis R25
pub(crate) async fn open(
    address: &Address,
    tls: &Tls,
    preferred: &PreferredAddress,
) -> Result<(Stream, Option<SocketAddr>), Cause> {
    match address {
        Address::Tcp { host, port, is_tls, .. } => {
            let (stream, peer) = open_tcp(host, *port, preferred).await?;
            let stream: Stream = if *is_tls {
                Box::new(encrypt(stream, host, tls).await?)
            } else {
                Box::new(stream)
            };
            Ok((stream, Some(peer)))
        }
        Address::Unix { path, is_private, .. } => {
            let stream = open_unix(path, *is_private).await;
            Ok((Box::new(stream.map_err(|error| Cause::of_io(&error))?), None))
        }
        Address::Embedded => Err(Cause::Refused),
    }
}

/// Once a cleaner has removed the directory of a private socket from /tmp, anybody can make another there.
async fn open_unix(path: &Path, is_private: bool) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path).await?;
    if is_private {
        let (ours, _) = UnixStream::pair()?;
        if stream.peer_cred()?.uid() != ours.peer_cred()?.uid() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
    }
    Ok(stream)
}

/// What [`open`] was waiting for when its time was up.
pub(crate) fn overdue(address: &Address, tls: &Tls) -> Cause {
    match address {
        Address::Tcp { host, .. } if is_looked_up(host) => Cause::Dns,
        Address::Tcp { is_tls: true, .. } => file_being_read(tls).unwrap_or(Cause::TlsTimeout),
        Address::Tcp { .. } | Address::Unix { .. } | Address::Embedded => Cause::Timeout,
    }
}

/// Tries the addresses of a name, the preferred one first, and takes the first that answers. The next one is tried after
/// [`HEAD_START`] or at the failure of one before it, and no more than two at a time (RFC 8305, 5).
async fn open_tcp(
    host: &str,
    port: u16,
    preferred: &PreferredAddress,
) -> Result<(TcpStream, SocketAddr), Cause> {
    let mut found = lookup(host, port).await;
    preferred.sort(&mut found);
    let mut next = found.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = Cause::Dns;
    loop {
        if attempts.len() < AT_ONCE
            && let Some(address) = next.next()
        {
            attempts.push(async move { open_one(address).await.map(|stream| (stream, address)) });
        }
        let has_next = attempts.len() < AT_ONCE && next.len() > 0;
        tokio::select! {
            biased;
            opened = attempts.next() => match opened {
                Some(Ok(opened)) => return Ok(opened),
                Some(Err(error)) => failure = Cause::of_io(&error),
                None => return Err(failure),
            },
            () = sleep(HEAD_START), if has_next => {}
        }
    }
}

// redis R17
async fn open_one(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(stream)
}

/// How many addresses of a name are tried at once.
const AT_ONCE: usize = 2;
/// How long an attempt has to itself.
const HEAD_START: Duration = Duration::from_millis(250);
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
        let refused = open_unix(&theirs, true).await.unwrap_err();
        assert_eq!(Cause::of_io(&refused), Cause::Denied);
        open_unix(&theirs, false).await.unwrap();
    }

    // redis R17
    #[tokio::test]
    async fn what_is_written_to_a_socket_of_ours_is_sent_at_once() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stream, _) = open_tcp("localhost", port, &PreferredAddress::default()).await.unwrap();
        assert!(stream.nodelay().unwrap());
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
    }
}
