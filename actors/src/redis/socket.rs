use std::net::SocketAddr;
use std::time::Duration;

use ::redis::RedisFuture;
use ::redis::io::AsyncDNSResolver;
use ::redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};

use super::cause::Cause;
use super::error::Error;

// redis R17
pub(super) fn tcp_settings() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let settings = settings.set_user_timeout(USER_TIMEOUT);
    settings
}

/// Tells a name that cannot be resolved from a server that cannot be reached.
pub(super) struct Names;

impl AsyncDNSResolver for Names {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        host: &'b str,
        port: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((host, port))
                .await
                .map(Iterator::collect)
                .unwrap_or_default();
            if found.is_empty() {
                return Err(Error::unavailable(Cause::Dns).into());
            }
            Ok(Box::new(found.into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        })
    }
}

/// A silent peer is asked after 15 s and then each 5 s; what we sent and nobody acknowledged ends the connection
/// after 5 s (tcp(7)).
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const USER_TIMEOUT: Duration = Duration::from_secs(5);
