use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use super::message::Ended;
use super::{Error, Home, Server};

/// Where the server lives: it outlives the actor's falls, and what is stored in it with it.
#[derive(Debug)]
pub(crate) struct Nest {
    // Fields are dropped in this order: the server is told to end before its directory goes.
    server: Mutex<Option<Settled>>,
    program: PathBuf,
    home: Home,
}

/// A server that listens, or may yet.
#[derive(Debug)]
struct Settled {
    server: Server,
    since: Instant,
}

/// A server that is back in its nest when whoever waits for its end is cut off.
#[derive(Debug)]
pub(crate) struct Borrowed {
    nest: Arc<Nest>,
    settled: Option<Settled>,
}

impl Nest {
    pub(crate) fn new(home: Home, program: PathBuf) -> Self {
        Self { server: Mutex::new(None), program, home }
    }

    pub(crate) fn socket_path(&self) -> PathBuf {
        self.home.socket_path()
    }

    /// The process id of the server that is here.
    pub(crate) fn pid(&self) -> Option<u32> {
        let settled = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        settled.as_ref().map(|settled| settled.server.pid())
    }

    /// Starts a server, and waits until it listens. *Cancel safety*: when dropped, no server is left.
    pub(crate) async fn start(&self) -> Result<(), Error> {
        // What a killed server leaves behind looks like one that listens.
        fs::remove_file(self.socket_path()).await.ok(); // Mostly there is none.
        let mut server = Server::start(&self.home, &self.program).await?;
        self.listens(&mut server).await?;
        let (pid, socket) = (server.pid(), self.socket_path());
        tracing::info!(pid, socket = %socket.display(), "embedded redis started");
        self.put(Some(Settled { server, since: Instant::now() }));
        Ok(())
    }

    /// Lends the server out, for waiting for its end.
    pub(crate) fn borrow(self: &Arc<Self>) -> Borrowed {
        Borrowed { nest: Arc::clone(self), settled: self.take() }
    }

    /// Kills the server and ends when it is gone. Says whether there was one.
    pub(crate) async fn stop(&self) -> bool {
        let Some(Settled { server, .. }) = self.take() else { return false };
        // Ended either way; how is of no interest any more.
        server.stop().await.ok();
        true
    }

    /// Ends well when the socket can be connected to, and badly when the server ends before.
    async fn listens(&self, server: &mut Server) -> Result<(), Error> {
        let socket = self.socket_path();
        let connects = async {
            while UnixStream::connect(&socket).await.is_err() {
                sleep(LOOK_AGAIN).await;
            }
        };
        let ended = tokio::select! {
            ended = server.wait() => ended,
            // One that does not listen in time is not lost: whoever connects goes on trying.
            _ = timeout(LISTEN_LIMIT, connects) => return Ok(()),
        };
        let source = match ended {
            Ok(status) => {
                let said = last_line(&self.home.log_path()).await.unwrap_or_default();
                io::Error::other(format!("it ended with {status}, its last words: {said:?}"))
            }
            Err(error) => error,
        };
        Err(Error::Start { program: self.program.clone(), source })
    }

    fn put(&self, settled: Option<Settled>) {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = settled;
    }

    fn take(&self) -> Option<Settled> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Borrowed {
    /// Ends when the server has; `None` where there was none.
    pub(crate) async fn wait(mut self) -> Option<Ended> {
        let settled = self.settled.as_mut()?;
        let status = settled.server.wait().await;
        let lived = settled.since.elapsed();
        self.settled = None;
        Some(Ended { status, lived })
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(settled) = self.settled.take() {
            self.nest.put(Some(settled));
        }
    }
}

/// The last line of a log that has anything in it.
async fn last_line(log: &Path) -> io::Result<String> {
    let mut file = File::open(log).await?;
    let end = file.metadata().await?.len();
    file.seek(SeekFrom::Start(end.saturating_sub(LAST_WORDS_BYTES))).await?;
    let mut tail = Vec::new();
    file.take(LAST_WORDS_BYTES).read_to_end(&mut tail).await?;
    let tail = String::from_utf8_lossy(&tail);
    let line = tail.lines().map(str::trim).rfind(|line| !line.is_empty());
    Ok(line.unwrap_or_default().to_owned())
}

/// A redis-server with no data listens within a few milliseconds of its start.
const LISTEN_LIMIT: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(2);
const LAST_WORDS_BYTES: u64 = 1024;
