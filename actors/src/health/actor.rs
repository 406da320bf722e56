use std::sync::Arc;

use mainstay_supervision::{BoxError, Cx, Server};
use tokio::time::{Instant, timeout};

use super::message::{Message, Probed, Report};
use super::state::{Decision, State, Transition};
use crate::redis::{Cause, Endpoint, Probe, Verdict};

/// Watches over one endpoint.
#[derive(Debug)]
pub(crate) struct Monitor {
    pub(crate) endpoint: Arc<Endpoint>,
}

impl Monitor {
    fn probe(&self, cx: &Cx<Message>, state: &mut State) {
        state.probing = true;
        let (endpoint, connection) = (Arc::clone(&self.endpoint), state.connection.take());
        cx.task("probe", probe(endpoint, connection), Message::Probed);
    }

    fn publish(&self, cx: &Cx<Message>, verdict: Verdict) {
        let report = Report::of(&verdict, Instant::now());
        cx.publish("healthy", report.healthy);
        cx.publish("breaker", if report.breaker_open { "open" } else { "closed" });
        cx.publish("message", &report.message);
        self.endpoint.health().publish(verdict);
    }

    /// One line for each transition, never one for each probe or request.
    fn log(&self, transition: Transition) {
        let (endpoint, address) = (self.endpoint.name(), self.endpoint.address());
        match transition {
            Transition::Reached => tracing::info!(endpoint, %address, "redis answers"),
            Transition::Lost(cause) => {
                tracing::warn!(endpoint, %address, %cause, "redis does not answer");
            }
            Transition::Regained { after } => {
                tracing::info!(endpoint, %address, outage = ?after, "redis answers again");
            }
        }
    }
}

impl Server for Monitor {
    type Message = Message;
    type State = State;

    async fn init(&self, cx: &Cx<Message>) -> Result<State, BoxError> {
        let verdict = Verdict::clone(&self.endpoint.health().verdict());
        let mut state = State::resume(verdict);
        cx.every(self.endpoint.config().probe_interval, || Message::Tick);
        self.probe(cx, &mut state);
        Ok(state)
    }

    async fn handle(
        &self,
        cx: &Cx<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), BoxError> {
        let now = Instant::now();
        match message {
            Message::GetHealth(_, reply) => reply.send(state.report(now)),
            Message::ProbeNow(_, reply) => {
                if state.ask(reply) {
                    self.probe(cx, state);
                }
            }
            Message::Tick if state.probing => {
                if let Some(verdict) = state.still_probing(now) {
                    self.endpoint.health().publish(verdict);
                }
            }
            Message::Tick => self.probe(cx, state),
            Message::Probed(Probed { connection, found, sent }) => {
                state.connection = connection;
                let vetoed = self.endpoint.health().succeeded_since(sent);
                let Decision { verdict, again, transition, replies } =
                    state.probed(now, found, vetoed);
                self.publish(cx, verdict);
                for reply in replies {
                    reply.send(state.report(now));
                }
                if let Some(transition) = transition {
                    self.log(transition);
                }
                if again {
                    self.probe(cx, state);
                }
            }
        }
        Ok(())
    }
}

/// One `PING`, on `connection` if that still stands, else on a new one. Bounded by the probe's and
/// the connect timeout.
async fn probe(endpoint: Arc<Endpoint>, connection: Option<Probe>) -> Probed {
    let sent = Instant::now();
    let ping = async {
        let mut connection = match connection.filter(|connection| !connection.is_dead()) {
            Some(connection) => connection,
            None => endpoint.probe_connection().await?,
        };
        let latency = connection.ping().await?;
        Ok((connection, latency))
    };
    let limit = endpoint.config().connect_timeout + endpoint.config().probe_timeout;
    let pinged = timeout(limit, ping).await.unwrap_or(Err(Cause::Timeout));
    match pinged {
        Ok((connection, latency)) => {
            Probed { connection: Some(connection), found: Ok(latency), sent }
        }
        Err(cause) => Probed { connection: None, found: Err(cause), sent },
    }
}
