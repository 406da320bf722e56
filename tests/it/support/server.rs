//! A redis-server of each test's own, on a port and a socket.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::{Deref, DerefMut};

#[expect(dead_code, reason = "the tests of mainstay-actors use the rest of it")]
#[path = "../../../actors/tests/support/mod.rs"]
mod shared;

pub(crate) use shared::{Keeper, endpoint};

/// A port of loopback that nobody else takes while this lives, whether or not anything listens.
///
/// Its number lies below those that systems give to outgoing connections. Between tests, which run
/// at the same time in processes of their own, the UDP port of the same number is the lock.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _lock: UdpSocket,
}

impl Port {
    pub(crate) fn reserve() -> Self {
        for _ in 0..1000 {
            let number = 10_000 + u16::try_from(uuid::Uuid::new_v4().as_u128() % 20_000).unwrap();
            let address = (Ipv4Addr::LOCALHOST, number);
            if let Ok(lock) = UdpSocket::bind(address)
                && TcpListener::bind(address).is_ok()
            {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port between 10000 and 29999");
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls_url(&self) -> String {
        format!("rediss://{}", self.address())
    }
}

/// Sends a process a signal; `-0` only asks whether there is one.
#[cfg(feature = "embedded")]
pub(crate) fn signal(signal: &str, pid: u64) -> bool {
    let mut kill = std::process::Command::new("kill");
    kill.args([signal, &pid.to_string()]).output().unwrap().status.success()
}

/// A running server. It ends with the test, whatever becomes of it.
#[derive(Debug)]
pub(crate) struct Server {
    inner: shared::Server,
    port: Port,
}

impl Server {
    /// Started, and answering.
    pub(crate) async fn start() -> Self {
        Self::start_on(Port::reserve()).await
    }

    pub(crate) async fn start_on(port: Port) -> Self {
        Self::start_configured(port, &[]).await
    }

    pub(crate) async fn start_configured(port: Port, arguments: &[&str]) -> Self {
        let number = port.number.to_string();
        Self::start_with(port, &[&["--port", &number], arguments].concat()).await
    }

    /// Without an open port, except by `arguments`; always on its socket.
    pub(crate) async fn start_with(port: Port, arguments: &[&str]) -> Self {
        let arguments = [&["--bind", "127.0.0.1"], arguments].concat();
        Self { inner: shared::Server::start(&arguments).await, port }
    }

    /// It speaks nothing but TLS on its port, by the certificate and the key in `cert.pem` and `key.pem` of `files`.
    /// It asks for a client's certificate where `client_authority` holds who may have signed that.
    #[cfg(feature = "tls")]
    pub(crate) async fn start_with_tls(
        files: &std::path::Path,
        client_authority: Option<&std::path::Path>,
    ) -> Self {
        let port = Port::reserve();
        let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
        let (cert, key) = (path(&files.join("cert.pem")), path(&files.join("key.pem")));
        let asks = if client_authority.is_some() { "yes" } else { "no" };
        let authority = client_authority.map_or_else(|| cert.clone(), path);
        let number = port.number.to_string();
        let arguments = [
            ["--tls-port", &number],
            ["--tls-cert-file", &cert],
            ["--tls-key-file", &key],
            ["--tls-ca-cert-file", &authority],
            ["--tls-auth-clients", asks],
        ];
        Self::start_with(port, arguments.as_flattened()).await
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls_url(&self) -> String {
        self.port.tls_url()
    }

    pub(crate) fn url(&self) -> String {
        self.port.url()
    }

    pub(crate) fn unix_url(&self) -> String {
        self.inner.url()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The names of those of its connections that have one, as a service's own have.
    pub(crate) async fn client_names(&self) -> Vec<String> {
        let list: String = self.ask(&["CLIENT", "LIST"]).await;
        let names = list.split_whitespace().filter_map(|word| word.strip_prefix("name="));
        names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    /// Where those of its connections come from whose name says that they are for this.
    pub(crate) async fn clients(&self, purpose: &str) -> Vec<SocketAddr> {
        let list: String = self.ask(&["CLIENT", "LIST"]).await;
        let wanted = format!(":{purpose}:");
        let lines = list.lines().filter(|line| field(line, "name").contains(&wanted));
        lines.map(|line| field(line, "addr").parse().unwrap()).collect()
    }
}

impl Deref for Server {
    type Target = shared::Server;

    fn deref(&self) -> &shared::Server {
        &self.inner
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut shared::Server {
        &mut self.inner
    }
}

/// What a line of `CLIENT LIST` says about `name`.
pub(crate) fn field<'l>(line: &'l str, name: &str) -> &'l str {
    let fields = line.split_whitespace().filter_map(|word| word.split_once('='));
    fields.filter(|(known, _)| *known == name).map(|(_, value)| value).next().unwrap_or_default()
}
