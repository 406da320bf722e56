use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::{Error, Result};

/// A TCP socket that listens already, of the standard library or of tokio.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Std(std::net::TcpListener),
    Tokio(TcpListener),
}

impl Listener {
    /// Of the runtime that this is called in.
    pub(super) fn into_tokio(self) -> Result<(TcpListener, SocketAddr)> {
        let listener = match self.0 {
            Kind::Tokio(listener) => Ok(listener),
            Kind::Std(listener) => {
                listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener))
            }
        };
        let listener = listener.map_err(Error::Listener)?;
        let address = listener.local_addr().map_err(Error::Listener)?;
        Ok((listener, address))
    }
}

impl From<std::net::TcpListener> for Listener {
    fn from(listener: std::net::TcpListener) -> Self {
        Self(Kind::Std(listener))
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self(Kind::Tokio(listener))
    }
}
