use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::unix::net::UnixDatagram;

use crate::blocking::Calls;
use crate::redis::status::Cause;

/// By name. A resolver may take half a minute to give up (`resolv.conf(5)`: timeout, attempts).
static LOOKUPS: Calls<String, Result<Vec<SocketAddr>, Cause>> = Calls::new();

/// The addresses of a host, at least one, in the resolver's order. Whoever asks while the name is being looked up shares
/// what is found.
pub(super) async fn lookup(host: &str, port: u16) -> Result<Vec<SocketAddr>, Cause> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let name = host.to_owned();
    let found = LOOKUPS.answer(name.clone(), move || lookup_now(&name)).await;
    let mut found = found.map_err(|no_thread| Cause::of_system(&no_thread))??;
    for address in &mut found {
        address.set_port(port);
    }
    Ok(found)
}

/// Whether the name is being looked up.
pub(super) fn is_looked_up(host: &str) -> bool {
    LOOKUPS.is_under_way(&host.to_owned())
}

fn lookup_now(name: &str) -> Result<Vec<SocketAddr>, Cause> {
    let found: Vec<_> = (name, 0).to_socket_addrs().map(Iterator::collect).unwrap_or_default();
    if !found.is_empty() {
        return Ok(found);
    }
    // A resolver that could open no file and no socket does not say so (getaddrinfo(3)).
    let shortage = UnixDatagram::unbound().err().map(|error| Cause::of_system(&error));
    Err(shortage.unwrap_or(Cause::Dns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_port_is_each_callers_own() {
        for port in [1, 2] {
            let found = lookup("localhost", port).await.unwrap();
            assert!(found.iter().all(|found| found.ip().is_loopback() && found.port() == port));
            assert!(!found.is_empty());
        }
        assert_eq!(lookup("::1", 3).await.unwrap(), ["[::1]:3".parse().unwrap()]);
    }
}
