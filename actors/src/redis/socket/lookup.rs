use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use crate::blocking::Calls;

/// By name. A resolver may take half a minute to give up (`resolv.conf(5)`: timeout, attempts).
static LOOKUPS: Calls<String, Vec<SocketAddr>> = Calls::new();

/// The addresses of a host, in the resolver's order; none if it knows none. Whoever asks while the name is being looked
/// up shares what is found.
pub(super) async fn lookup(host: &str, port: u16) -> Vec<SocketAddr> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return vec![SocketAddr::new(address, port)];
    }
    let name = host.to_owned();
    let found = LOOKUPS.answer(name.clone(), move || lookup_now(&name)).await;
    let mut found = found.unwrap_or_default();
    for address in &mut found {
        address.set_port(port);
    }
    found
}

/// Whether the name is being looked up.
pub(super) fn is_looked_up(host: &str) -> bool {
    LOOKUPS.is_under_way(&host.to_owned())
}

fn lookup_now(name: &str) -> Vec<SocketAddr> {
    (name, 0).to_socket_addrs().map(Iterator::collect).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_port_is_each_callers_own() {
        for port in [1, 2] {
            let found = lookup("localhost", port).await;
            assert!(found.iter().all(|found| found.ip().is_loopback() && found.port() == port));
            assert!(!found.is_empty());
        }
        assert_eq!(lookup("::1", 3).await, ["[::1]:3".parse().unwrap()]);
    }
}
