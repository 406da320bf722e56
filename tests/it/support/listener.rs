//! Listens where a server was, or before one, and knows who connected when.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// What becomes of those who connect to a [`Listener`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Welcome {
    /// They are reset.
    Reset,
    /// They are never answered.
    Silence,
}

/// Stands where a server was. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    accepted: Arc<Mutex<Vec<Instant>>>,
    /// Those who are met with silence.
    held: Arc<Mutex<Vec<TcpStream>>>,
    listening: JoinHandle<()>,
}

impl Listener {
    pub(crate) async fn at(address: SocketAddr, welcome: Welcome) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let (accepted, held) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Mutex<Vec<_>>>::default());
        let (counts, holds) = (Arc::clone(&accepted), Arc::clone(&held));
        let listening = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                counts.lock().unwrap().push(Instant::now());
                match welcome {
                    Welcome::Reset => client.set_zero_linger().unwrap(),
                    Welcome::Silence => holds.lock().unwrap().push(client),
                }
            }
        });
        Self { accepted, held, listening }
    }

    /// When each connection came.
    pub(crate) fn accepted(&self) -> Vec<Instant> {
        self.accepted.lock().unwrap().clone()
    }

    /// Makes way for another listener. Those who were met with silence get no other answer until this is dropped.
    pub(crate) async fn stop_listening(&mut self) {
        self.listening.abort();
        (&mut self.listening).await.unwrap_err();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.listening.abort();
        self.held.lock().unwrap().clear();
    }
}

/// Stands before a server like a firewall: it can forget the connections that exist, which then stay and are silent,
/// while new ones are carried.
#[derive(Debug)]
pub(crate) struct Firewall {
    address: SocketAddr,
    /// Connections made under a smaller number are forgotten.
    reign: watch::Sender<u64>,
    accepted: Arc<Mutex<Vec<Instant>>>,
    listening: JoinHandle<()>,
}

impl Firewall {
    /// Everything takes `delay` longer, each way.
    pub(crate) async fn before(server: SocketAddr, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (reign, told) = watch::channel(0);
        let accepted = Arc::<Mutex<Vec<_>>>::default();
        let counted = Arc::clone(&accepted);
        let listening = tokio::spawn(async move {
            let mut carried = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                counted.lock().unwrap().push(Instant::now());
                carried.spawn(carry(client, server, told.clone(), delay));
            }
        });
        Self { address, reign, accepted, listening }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn forget(&self) {
        self.reign.send_modify(|reign| *reign += 1);
    }

    /// When each connection came.
    pub(crate) fn accepted(&self) -> Vec<Instant> {
        self.accepted.lock().unwrap().clone()
    }
}

impl Drop for Firewall {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn carry(
    client: TcpStream,
    server: SocketAddr,
    mut reign: watch::Receiver<u64>,
    delay: Duration,
) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    client.set_nodelay(true).ok(); // It may be closed already.
    server.set_nodelay(true).ok();
    let born = *reign.borrow_and_update();
    let forgotten = async {
        reign.wait_for(|reign| *reign > born).await.ok(); // The test is over when the sender is gone.
        std::future::pending().await
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pump(from_client, to_server, delay) => {}
        () = pump(from_server, to_client, delay) => {}
        () = forgotten => {}
    }
}

/// Carries bytes one way until there are no more.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
