use std::sync::Arc;
use std::time::Duration;

use mainstay_supervision::{BoxError, Cx, Server};
use tokio::time::Instant;

use super::home::Lost;
use super::message::{Ended, Ending, Message};
use super::nest::Nest;
use super::state::{Recovery, STABLE_AFTER, Setback, State};

/// Keeps one private redis-server running on one socket.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) nest: Arc<Nest>,
}

impl Keeper {
    fn start(&self, cx: &Cx<Message>, state: &State) {
        let (nest, is_news) = (Arc::clone(&self.nest), !state.is_failing());
        cx.task("start", async move { nest.start(is_news).await }, Message::Started);
    }

    /// Waits until the server in the nest ends.
    fn watch(&self, cx: &Cx<Message>) {
        cx.publish("pid", self.nest.pid());
        let borrowed = self.nest.borrow();
        let wait = async move {
            match borrowed.wait().await {
                Some(ended) => Message::Ended(ended),
                // There is no server to wait for.
                None => Message::Start,
            }
        };
        cx.task("watch", wait, |message| message);
    }

    fn start_after(&self, cx: &Cx<Message>, state: &State, pause: Duration) {
        if pause.is_zero() {
            self.start(cx, state);
        } else {
            cx.after(pause, Message::Start);
        }
    }
}

impl Server for Keeper {
    type Message = Message;
    type State = State;

    async fn init(&self, cx: &Cx<Message>) -> Result<State, BoxError> {
        let state = State::default();
        if self.nest.pid().is_some() {
            self.watch(cx);
        } else {
            self.start(cx, &state);
        }
        Ok(state)
    }

    async fn handle(
        &self,
        cx: &Cx<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), BoxError> {
        let now = Instant::now();
        // One line when servers begin to fail and one when one runs well, never one for each attempt.
        match message {
            Message::Start => self.start(cx, state),
            Message::Started(Ok(())) => {
                if let Some(turn) = state.started() {
                    cx.after(STABLE_AFTER, Message::Settled { turn, pid: self.nest.pid() });
                }
                self.watch(cx);
            }
            Message::Started(Err(error)) => {
                let Setback { pause, is_news } = state.ended(None, now);
                let error: &dyn std::error::Error = &error;
                if is_news {
                    tracing::error!(error, "embedded redis did not start; trying again");
                } else {
                    tracing::debug!(error, ?pause, "embedded redis did not start; trying again");
                }
                cx.after(pause, Message::Start);
            }
            Message::Settled { turn, pid } => {
                if let Some(Recovery { failures, lasted }) = state.settled(turn, now) {
                    tracing::info!(pid, failures, ?lasted, "embedded redis runs again");
                }
            }
            Message::Ended(Ended { ending, lived }) => {
                let Setback { pause, is_news } = state.ended(Some(lived), now);
                tell(&ending, lived, pause, is_news);
                cx.publish("pid", None::<u32>);
                self.start_after(cx, state, pause);
            }
        }
        Ok(())
    }

    async fn terminate(&self, _cx: &Cx<Message>, _state: &mut State) {
        if self.nest.stop().await {
            tracing::info!("embedded redis stopped");
        }
    }
}

/// Says why a server ended, for everybody if it `is_news`. That data was lost always is.
fn tell(ending: &Ending, lived: Duration, pause: Duration, is_news: bool) {
    match ending {
        Ending::Exited(status) => {
            let status = match status {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            if is_news {
                tracing::warn!(status, ?lived, "embedded redis ended; starting another");
            } else {
                tracing::debug!(status, ?pause, "embedded redis ended; starting another");
            }
        }
        Ending::Lost(lost) => {
            let lost = match lost {
                Lost::Directory => "directory",
                Lost::Socket => "socket",
            };
            tracing::warn!(
                lost,
                ?lived,
                "somebody removed or replaced a path of the embedded redis, and what was stored is lost; starting \
                 another, empty: exclude mainstay-embedded-* from whatever cleans the temporary directory"
            );
        }
    }
}
