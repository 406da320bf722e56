use ::redis::{Client, ProtocolVersion, RedisError};

use super::address::Address;
use super::error::Error;
use super::socket::tcp_settings;
#[cfg(feature = "tls")]
use super::tls;
use super::tls::Tls;

/// What every connection to `address` is opened by; `password` wins over the URL's own. Made anew for each attempt to
/// connect, since it holds the certificates that it read.
pub(super) async fn client(
    address: &Address,
    #[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "it has no say then"))]
    tls: &Tls,
    password: Option<&str>,
    protocol: ProtocolVersion,
) -> Result<Client, RedisError> {
    let Some(info) = address.connection_info(password) else {
        return Err(Error::NotBuilt.into());
    };
    let settings = info.redis_settings().clone().set_protocol(protocol);
    let info = info.set_redis_settings(settings).set_tcp_settings(tcp_settings());
    #[cfg(feature = "tls")]
    if address.is_tls() {
        return tls::client(info, tls).await;
    }
    Client::open(info)
}
