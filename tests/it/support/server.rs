//! A redis-server of each test's own, on a port and a socket.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;

use mainstay::testing::{Port, Redis};

#[expect(dead_code, reason = "the tests of mainstay-actors use the rest of it")]
#[path = "../../../actors/tests/support/mod.rs"]
mod shared;

pub(crate) use shared::{Keeper, endpoint};

/// Sends a process a signal; `-0` only asks whether there is one.
#[cfg(feature = "embedded")]
pub(crate) fn signal(signal: &str, pid: u64) -> bool {
    let mut kill = std::process::Command::new("kill");
    kill.args([signal, &pid.to_string()]).output().unwrap().status.success()
}

/// A running server. It ends with the test, whatever becomes of it.
#[derive(Debug)]
pub(crate) struct Server(Redis);

impl Server {
    /// Started, and listening.
    pub(crate) async fn start() -> Self {
        Self::start_on(Port::reserve()).await
    }

    pub(crate) async fn start_on(port: Port) -> Self {
        Self::start_configured(port, &[]).await
    }

    pub(crate) async fn start_configured(port: Port, arguments: &[&str]) -> Self {
        let mut redis = Redis::builder().port(port).arguments(arguments);
        if let Some(program) = std::env::var_os("MAINSTAY_TEST_SERVER") {
            redis = redis.program(program);
        }
        Self(redis.start().await)
    }

    /// Without an open port, except by `arguments`; always on its socket.
    pub(crate) async fn start_with(port: Port, arguments: &[&str]) -> Self {
        Self::start_configured(port, &[&["--port", "0"], arguments].concat()).await
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
        let number = port.address().port().to_string();
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
        format!("rediss://{}", self.address())
    }

    pub(crate) fn unix_url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.socket().with_file_name(name)
    }

    pub(crate) fn kill(&mut self) {
        self.stop();
    }

    pub(crate) async fn restart(&mut self) {
        self.start_again().await;
    }

    /// The connections whose name says that they are leases.
    pub(crate) async fn leases(&self) -> usize {
        self.client_names().await.iter().filter(|name| name.contains(":lease:")).count()
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
    type Target = Redis;

    fn deref(&self) -> &Redis {
        &self.0
    }
}

/// What a line of `CLIENT LIST` says about `name`.
pub(crate) fn field<'l>(line: &'l str, name: &str) -> &'l str {
    let fields = line.split_whitespace().filter_map(|word| word.split_once('='));
    fields.filter(|(known, _)| *known == name).map(|(_, value)| value).next().unwrap_or_default()
}
