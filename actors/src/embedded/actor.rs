use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_supervision::{BoxError, Cx, Server as Actor};
use tokio::time::{Instant, sleep};

use super::message::{Ended, Message};
use super::state::State;
use super::{Error, Home, Server};

/// A redis-server with no data listens within a few milliseconds of its start.
const LISTEN_LIMIT: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Keeps one private redis-server running on one socket.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) nest: Arc<Nest>,
}

/// Where the server lives: it outlives the actor's falls, and what is stored in it with it.
#[derive(Debug)]
pub(crate) struct Nest {
    home: Home,
    program: PathBuf,
    server: Mutex<Option<(Server, Instant)>>,
}

impl Nest {
    pub(crate) fn new(home: Home, program: PathBuf) -> Self {
        Self { home, program, server: Mutex::new(None) }
    }

    pub(crate) fn socket_path(&self) -> PathBuf {
        self.home.socket_path()
    }

    /// Starts a server, and waits until it listens.
    pub(crate) async fn start(&self) -> Result<(), Error> {
        let server = Server::start(&self.home, &self.program).await?;
        let begun = Instant::now();
        // One that does not listen in time is not lost: whoever connects goes on trying.
        while !self.socket_path().exists() && begun.elapsed() < LISTEN_LIMIT {
            sleep(LOOK_AGAIN).await;
        }
        let (pid, socket) = (server.pid(), self.socket_path());
        tracing::info!(pid, socket = %socket.display(), "embedded redis started");
        self.put(Some((server, begun)));
        Ok(())
    }

    fn put(&self, server: Option<(Server, Instant)>) {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
    }

    fn take(&self) -> Option<(Server, Instant)> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn pid(&self) -> Option<u32> {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.as_ref().map(|(server, _since)| server.pid())
    }
}

/// A server that is back in its nest when whoever waits for its end is cut off.
struct Borrowed {
    nest: Arc<Nest>,
    server: Option<(Server, Instant)>,
}

impl Borrowed {
    async fn wait(mut self) -> Option<Ended> {
        let (server, since) = self.server.as_mut()?;
        let status = server.wait().await;
        let lived = since.elapsed();
        self.server = None;
        Some(Ended { status, lived })
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.nest.put(Some(server));
        }
    }
}

impl Keeper {
    fn start(&self, cx: &Cx<Message>) {
        let nest = Arc::clone(&self.nest);
        cx.task("start", async move { nest.start().await }, Message::Started);
    }

    /// Waits for the end of the server in the nest.
    fn watch(&self, cx: &Cx<Message>) {
        cx.publish("pid", self.nest.pid());
        let borrowed = Borrowed { server: self.nest.take(), nest: Arc::clone(&self.nest) };
        let wait = async move {
            match borrowed.wait().await {
                Some(ended) => Message::Ended(ended),
                // Nothing to wait for: begin at the beginning.
                None => Message::Start,
            }
        };
        cx.task("watch", wait, |message| message);
    }

    fn start_after(&self, cx: &Cx<Message>, pause: Duration) {
        if pause.is_zero() {
            self.start(cx);
        } else {
            cx.after(pause, Message::Start);
        }
    }
}

impl Actor for Keeper {
    type Message = Message;
    type State = State;

    async fn init(&self, cx: &Cx<Message>) -> Result<State, BoxError> {
        if self.nest.pid().is_some() {
            self.watch(cx);
        } else {
            self.start(cx);
        }
        Ok(State::default())
    }

    async fn handle(
        &self,
        cx: &Cx<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), BoxError> {
        match message {
            Message::Start => self.start(cx),
            Message::Started(Ok(())) => self.watch(cx),
            Message::Started(Err(error)) => {
                let pause = state.ended(None);
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, ?pause, "embedded redis did not start; trying again");
                cx.after(pause, Message::Start);
            }
            Message::Ended(Ended { status, lived }) => {
                let pause = state.ended(Some(lived));
                let status = match status {
                    Ok(status) => status.to_string(),
                    Err(error) => error.to_string(),
                };
                tracing::warn!(status, ?lived, ?pause, "embedded redis ended; starting another");
                cx.publish("pid", None::<u32>);
                self.start_after(cx, pause);
            }
        }
        Ok(())
    }

    async fn terminate(&self, _cx: &Cx<Message>, _state: &mut State) {
        if let Some((server, _since)) = self.nest.take() {
            // Ended either way; how is of no interest any more.
            server.stop().await.ok();
            tracing::info!("embedded redis stopped");
        }
    }
}
