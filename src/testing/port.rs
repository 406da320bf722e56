use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// A port of loopback that no other test takes while this lives, whether or not anything listens.
///
/// [`Redis`](super::Redis) and [`Proxy`](super::Proxy) have theirs by themselves. This is for a Redis that is not there yet:
/// give its [`url`](Self::url) to the service, and the port to
/// [`RedisBuilder::port`](super::RedisBuilder::port) later.
// Its number lies below those that systems give to outgoing connections. Between tests, which may run in processes of their
// own, the UDP port of the same number is the lock.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: UdpSocket,
}

impl Port {
    /// Finds one.
    ///
    /// # Panics
    /// If there is none.
    pub fn reserve() -> Self {
        for _ in 0..1000 {
            let number = fastrand::u16(10_000..30_000);
            let address = (Ipv4Addr::LOCALHOST, number);
            if let Ok(lock) = UdpSocket::bind(address)
                && TcpListener::bind(address).is_ok()
            {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port between 10000 and 29999 of 127.0.0.1");
    }

    /// The port, on 127.0.0.1.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }

    /// `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }
}
