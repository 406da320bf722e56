//! Stands between a tree and its server, and can fall silent.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::sleep;

use super::Server;

/// Passes on everything, until it is told not to.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) url: String,
    /// Connections that were accepted before this changed pass on nothing more.
    silences: watch::Sender<()>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Relay {
    pub(crate) fn start(server: &Server) -> Self {
        let socket = server.path("relay.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (silences, watching) = watch::channel(());
        let accepting = tokio::spawn(accept(listener, server.socket(), watching));
        Self { url: format!("unix://{}", socket.display()), silences, accepting }
    }

    /// Accepts one connection at `socket` and answers nothing on it, for as long as that is kept; then passes on those that
    /// come after it.
    pub(crate) async fn start_deaf(server: &Server, socket: PathBuf) -> (Self, UnixStream) {
        let listener = UnixListener::bind(&socket).unwrap();
        let (deaf, _) = listener.accept().await.unwrap();
        let (silences, watching) = watch::channel(());
        let accepting = tokio::spawn(accept(listener, server.socket(), watching));
        (Self { url: format!("unix://{}", socket.display()), silences, accepting }, deaf)
    }

    /// What the server sends comes at no more than 64 KiB in 8 ms.
    pub(crate) fn start_slow(server: &Server) -> Self {
        let socket = server.path("slow.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let accepting = tokio::spawn(accept_slow(listener, server.socket()));
        let url = format!("unix://{}", socket.display());
        Self { url, silences: watch::channel(()).0, accepting }
    }

    /// Every connection that stands stays open, and neither side hears of the other any more.
    pub(crate) fn silence(&self) {
        self.silences.send(()).unwrap();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: UnixListener, upstream: PathBuf, watching: watch::Receiver<()>) {
    let mut clients = tokio::task::JoinSet::new();
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let (upstream, mut silenced) = (upstream.clone(), watching.clone());
        silenced.mark_unchanged();
        clients.spawn(async move {
            let Ok(mut server) = UnixStream::connect(upstream).await else { return };
            tokio::select! {
                biased;
                _ = silenced.changed() => std::future::pending().await,
                _ = copy_bidirectional(&mut client, &mut server) => {}
            }
        });
    }
}

async fn accept_slow(listener: UnixListener, upstream: PathBuf) {
    let mut clients = tokio::task::JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let upstream = upstream.clone();
        clients.spawn(async move {
            let Ok(server) = UnixStream::connect(upstream).await else { return };
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::select! {
                _ = copy(&mut from_client, &mut to_server) => {}
                _ = trickle(&mut from_server, &mut to_client) => {}
            }
        });
    }
}

async fn trickle(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) -> std::io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let len_bytes = from.read(&mut bytes).await?;
        if len_bytes == 0 {
            return Ok(());
        }
        to.write_all(&bytes[..len_bytes]).await?;
        if len_bytes == bytes.len() {
            sleep(Duration::from_millis(8)).await;
        }
    }
}
