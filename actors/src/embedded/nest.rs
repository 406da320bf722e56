use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use super::home::{Identity, Lost};
use super::message::{Ended, Ending};
use super::{Error, Home, Server};
use crate::blocking::Calls;

/// The place of the running server. It outlives the actor's restarts, so the server keeps its data.
#[derive(Debug)]
pub(crate) struct Nest {
    // Fields are dropped in this order: the server is told to end before its directory is removed.
    server: Mutex<Option<Settled>>,
    program: PathBuf,
    home: Home,
}

/// A server that was started. It listens, or may still begin to.
#[derive(Debug)]
struct Settled {
    server: Server,
    /// The socket that it listens on, once that is known.
    socket: Option<Identity>,
    since: Instant,
}

/// A server that is lent out for a wait. When the wait is dropped the server returns to its nest.
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

    /// The process id of the server, if there is one.
    pub(crate) fn pid(&self) -> Option<u32> {
        let settled = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        settled.as_ref().map(|settled| settled.server.pid())
    }

    /// Starts a server and waits until it listens. Its line in the log is for everybody if it `is_news`. *Cancel
    /// safety*: when dropped, no server is left running.
    pub(crate) async fn start(&self, is_news: bool) -> Result<(), Error> {
        self.home.restore()?;
        let mut server = Server::start(&self.home, &self.program).await?;
        self.listens(&mut server).await?;
        let (pid, socket) = (server.pid(), self.socket_path());
        if is_news {
            tracing::info!(pid, socket = %socket.display(), "embedded redis started");
        } else {
            tracing::debug!(pid, "embedded redis started");
        }
        let known = self.home.socket().await;
        self.put(Some(Settled { server, socket: known, since: Instant::now() }));
        Ok(())
    }

    /// Lends the server out, to wait until it ends or cannot be reached any more.
    pub(crate) fn borrow(self: &Arc<Self>) -> Borrowed {
        Borrowed { nest: Arc::clone(self), settled: self.take() }
    }

    /// Kills the server and waits until it has ended. Says whether there was one.
    pub(crate) async fn stop(&self) -> bool {
        let Some(Settled { server, .. }) = self.take() else { return false };
        // It has ended either way, and how does not matter any more.
        server.stop().await.ok();
        true
    }

    /// Waits until the socket accepts connections, or [`LISTEN_LIMIT`] has passed.
    ///
    /// # Errors
    /// The server ended first.
    async fn listens(&self, server: &mut Server) -> Result<(), Error> {
        let socket = self.socket_path();
        let connects = async {
            while UnixStream::connect(&socket).await.is_err() {
                sleep(LOOK_AGAIN).await;
            }
        };
        let ended = tokio::select! {
            ended = server.wait() => ended,
            // A server that does not listen in time may do so later: those that connect try again.
            _ = timeout(LISTEN_LIMIT, connects) => return Ok(()),
        };
        let source = match ended {
            Ok(status) => {
                let log = self.home.log_path();
                let said = LAST_LINES.answer(log.clone(), move || last_line(&log).ok()).await;
                let said = said.ok().flatten().unwrap_or_default();
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
    /// Waits until the server ends; `None` if there was none. Ends one whose socket has gone.
    pub(crate) async fn wait(mut self) -> Option<Ended> {
        let Settled { server, socket, since } = self.settled.as_mut()?;
        let ending = tokio::select! {
            status = server.wait() => Ending::Exited(status),
            lost = lost(&self.nest.home, socket) => Ending::Lost(lost),
        };
        let lived = since.elapsed();
        let settled = self.settled.take()?;
        if matches!(ending, Ending::Lost(_)) {
            // It has ended either way, and how does not matter any more.
            settled.server.stop().await.ok();
        }
        Some(Ended { ending, lived })
    }
}

/// Waits until the server can no longer be reached.
async fn lost(home: &Home, socket: &mut Option<Identity>) -> Lost {
    loop {
        sleep(LOOK_AFTER_EACH).await;
        if let Err(lost) = home.look_after(socket).await {
            return lost;
        }
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(settled) = self.settled.take() {
            self.nest.put(Some(settled));
        }
    }
}

/// By path. The directory may be on a mount that hangs.
static LAST_LINES: Calls<PathBuf, Option<String>> = Calls::new();

/// The last line of a log that is not blank.
fn last_line(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(end.saturating_sub(LAST_WORDS_BYTES)))?;
    let mut tail = Vec::new();
    file.take(LAST_WORDS_BYTES).read_to_end(&mut tail)?;
    let tail = String::from_utf8_lossy(&tail);
    let line = tail.lines().map(str::trim).rfind(|line| !line.is_empty());
    Ok(line.unwrap_or_default().to_owned())
}

/// A redis-server with no data listens within a few milliseconds of its start.
const LISTEN_LIMIT: Duration = Duration::from_secs(2);
/// A few system calls each, and nobody waits longer than this for a server whose socket was removed.
const LOOK_AFTER_EACH: Duration = Duration::from_millis(250);
const LOOK_AGAIN: Duration = Duration::from_millis(2);
const LAST_WORDS_BYTES: u64 = 1024;
