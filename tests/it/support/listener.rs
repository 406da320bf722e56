//! Listens where a server was, and knows who connected when.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
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
