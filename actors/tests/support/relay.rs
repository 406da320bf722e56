//! Stands between a tree and its server, and can fall silent.

use std::path::PathBuf;

use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

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
