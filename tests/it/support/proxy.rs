//! The network between a service and its server, with the weather that a test sets.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use super::server::Port;
use super::wait::eventually;

/// What becomes of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// It arrives.
    Fair,
    /// It arrives this much later, in each direction.
    Slow(Duration),
    /// It is lost. Connections stay, and new ones are accepted; what was silent once is silent for
    /// good, as behind a firewall that has forgotten it.
    Silent,
    /// Connections are reset, new ones as soon as they are accepted.
    Cut,
    /// Connections are reset and nothing listens.
    Gone,
}

/// Stands before one server, in this process.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: Port,
    weather: watch::Sender<Weather>,
    /// The weather that has reached the listener.
    reached: watch::Receiver<Weather>,
}

impl Proxy {
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let port = Port::reserve();
        let (weather, forecast) = watch::channel(Weather::Fair);
        // Any weather but the first one: the listener reports that when it listens.
        let (report, reached) = watch::channel(Weather::Gone);
        tokio::spawn(listen(port.address(), server, forecast, report));
        let proxy = Self { port, weather, reached };
        proxy.set(Weather::Fair).await;
        proxy
    }

    pub(crate) fn url(&self) -> String {
        self.port.url()
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls_url(&self) -> String {
        self.port.tls_url()
    }

    /// From now on this is the weather, also for connections that exist.
    pub(crate) async fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
        eventually("the weather has changed", async || {
            (*self.reached.borrow() == weather).then_some(())
        })
        .await;
    }
}

async fn listen(
    at: SocketAddr,
    server: SocketAddr,
    mut forecast: watch::Receiver<Weather>,
    report: watch::Sender<Weather>,
) {
    let mut listener = None;
    loop {
        let weather = *forecast.borrow_and_update();
        if weather == Weather::Gone {
            listener = None;
        } else if listener.is_none() {
            listener = Some(TcpListener::bind(at).await.expect("the port is ours"));
        }
        report.send_replace(weather);
        tokio::select! {
            changed = forecast.changed() => if changed.is_err() { return },
            accepted = accept(listener.as_ref()) => {
                tokio::spawn(carry(accepted, server, forecast.clone()));
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    match listener {
        Some(listener) => listener.accept().await.expect("a listener accepts").0,
        None => std::future::pending().await,
    }
}

/// One connection, from its acceptance to its end.
async fn carry(mut client: TcpStream, server: SocketAddr, mut forecast: watch::Receiver<Weather>) {
    let mut ends = forecast.clone();
    let ended = async move {
        // The test is over when the sender is gone.
        ends.wait_for(|weather| matches!(weather, Weather::Cut | Weather::Gone)).await.ok();
    };
    let carried = async {
        if *forecast.borrow_and_update() == Weather::Silent {
            return std::future::pending().await;
        }
        let Ok(mut server) = TcpStream::connect(server).await else { return };
        server.set_nodelay(true).unwrap();
        client.set_nodelay(true).ok(); // It may be closed already.
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            () = pump(from_client, to_server, forecast.clone()) => {}
            () = pump(from_server, to_client, forecast.clone()) => {}
        }
    };
    let was_cut = tokio::select! {
        biased;
        () = ended => true,
        () = carried => false,
    };
    if was_cut {
        client.set_zero_linger().ok(); // It may be closed already.
    }
}

/// Carries bytes one way until there are no more.
async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, forecast: watch::Receiver<Weather>) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut bytes).await;
        let weather = *forecast.borrow();
        match weather {
            Weather::Silent => return std::future::pending().await,
            Weather::Slow(delay) => sleep(delay).await,
            Weather::Fair | Weather::Cut | Weather::Gone => {}
        }
        match read {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
        let count = read.unwrap_or_default();
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
