use std::sync::Arc;
use std::time::Duration;

use mainstay_supervision::{BoxError, Cx, Server};

use super::message::{Ended, Message};
use super::nest::Nest;
use super::state::State;

/// Keeps one private redis-server running on one socket.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) nest: Arc<Nest>,
}

impl Keeper {
    fn start(&self, cx: &Cx<Message>) {
        let nest = Arc::clone(&self.nest);
        cx.task("start", async move { nest.start().await }, Message::Started);
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

    fn start_after(&self, cx: &Cx<Message>, pause: Duration) {
        if pause.is_zero() {
            self.start(cx);
        } else {
            cx.after(pause, Message::Start);
        }
    }
}

impl Server for Keeper {
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
        if self.nest.stop().await {
            tracing::info!("embedded redis stopped");
        }
    }
}
