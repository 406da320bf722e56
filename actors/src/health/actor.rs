use std::sync::Arc;
use std::time::Duration;

use mainstay_supervision::{BoxError, Cx, Server};
use tokio::time::Instant;

use super::message::{Connection, Message, Probed, Report};
use super::plights::{News, Plights};
use super::state::{Beat, Decision, State, Transition};
use crate::redis::{Cause, Endpoint, Mark, Verdict};

/// Watches over one endpoint.
#[derive(Debug)]
pub(crate) struct Monitor {
    pub(crate) endpoint: Arc<Endpoint>,
}

/// What changes from message to message: what is known, and what it is learned on.
#[derive(Debug)]
pub(crate) struct Watch {
    state: State,
    /// `None` while a probe is under way, or after one that failed.
    connection: Option<Connection>,
    /// When the last probe was sent.
    sent: Mark,
    plights: Plights,
}

impl Watch {
    fn report(&self, now: Instant) -> Report {
        let mut report = self.state.report(now);
        if let Some(message) = self.plights.amend(report.healthy, &report.message) {
            report.message = message;
        }
        report
    }
}

impl Monitor {
    fn probe(&self, cx: &Cx<Message>, watch: &mut Watch) {
        watch.sent = self.endpoint.health().mark();
        let (endpoint, connection) = (Arc::clone(&self.endpoint), watch.connection.take());
        cx.task("probe", probe(endpoint, connection), Message::Probed);
    }

    fn tick(&self, cx: &Cx<Message>, watch: &mut Watch) {
        let vetoed = self.endpoint.health().succeeded_since(watch.sent);
        match watch.state.tick(Instant::now(), vetoed) {
            Beat::Probe => self.probe(cx, watch),
            Beat::Renew(verdict) => self.publish(cx, verdict, watch),
            Beat::Wait => {}
        }
    }

    fn publish(&self, cx: &Cx<Message>, mut verdict: Verdict, watch: &mut Watch) {
        self.look_at_plights(watch);
        if let Some(message) = watch.plights.amend(verdict.healthy, &verdict.message) {
            verdict.message = message.into();
        }
        let report = Report::of(&verdict, Instant::now());
        cx.publish("healthy", report.healthy);
        cx.publish("breaker", if report.breaker_open { "open" } else { "closed" });
        cx.publish("message", &report.message);
        self.endpoint.health().publish(verdict);
    }

    /// One line when a plight begins and one when it ends, never one for each request.
    fn look_at_plights(&self, watch: &mut Watch) {
        let endpoint = self.endpoint.name();
        let refusals = |plight| self.endpoint.health().refusals(plight);
        for news in watch.plights.look(Instant::now(), refusals) {
            match news {
                News::Begins(plight) => tracing::warn!(endpoint, %plight, "redis refuses commands"),
                News::Ends { plight, refusals, lasted } => {
                    tracing::info!(endpoint, %plight, refusals, ?lasted, "redis has refused nothing for a minute");
                }
            }
        }
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
    type State = Watch;

    async fn init(&self, cx: &Cx<Message>) -> Result<Watch, BoxError> {
        let verdict = Verdict::clone(&self.endpoint.health().verdict());
        let config = self.endpoint.config();
        let state = State::resume(verdict, config.probe_timeout);
        cx.every(config.probe_interval, || Message::Tick);
        let plights = Plights::new(|plight| self.endpoint.health().refusals(plight));
        let sent = self.endpoint.health().mark();
        let mut watch = Watch { state, connection: None, sent, plights };
        self.tick(cx, &mut watch);
        Ok(watch)
    }

    async fn handle(
        &self,
        cx: &Cx<Message>,
        message: Message,
        watch: &mut Watch,
    ) -> Result<(), BoxError> {
        let now = Instant::now();
        match message {
            Message::GetHealth(_, reply) => reply.send(watch.report(now)),
            Message::ProbeNow(_, reply) => {
                if watch.state.ask(reply, now) {
                    self.probe(cx, watch);
                }
            }
            Message::Tick => self.tick(cx, watch),
            Message::Probed(Probed { connection, found }) => {
                watch.connection = connection;
                let vetoed = self.endpoint.health().succeeded_since(watch.sent);
                let Decision { verdict, again, transition, replies } =
                    watch.state.probed(now, found, vetoed);
                self.publish(cx, verdict, watch);
                for reply in replies {
                    reply.send(watch.report(now));
                }
                if let Some(transition) = transition {
                    self.log(transition);
                }
                if again {
                    self.probe(cx, watch);
                }
            }
        }
        Ok(())
    }
}

/// One `PING`, or two. A connection that stands is asked first, because its silence shows within the probe's timeout.
/// That it answers says nothing of new connections: where those fail, and at the age at which others are replaced too,
/// one is made and asked as well.
async fn probe(endpoint: Arc<Endpoint>, connection: Option<Connection>) -> Probed {
    let asked = match connection.filter(|connection| !connection.probe.is_dead()) {
        Some(connection) => asked_both(&endpoint, connection).await,
        None => connected(&endpoint).await,
    };
    Probed { connection: asked.0, found: asked.1 }
}

/// The connection, if it may be used again, and how long its answer took.
type Asked = (Option<Connection>, Result<Duration, Cause>);

async fn asked_both(endpoint: &Endpoint, connection: Connection) -> Asked {
    let (connection, found) = pinged(connection).await;
    let Some(connection) = connection else { return (None, found) };
    let open = endpoint.status();
    if open.size + open.lanes > 0 {
        // What follows may fail and still must not cut off those who have a connection: theirs is as good as this one.
        endpoint.health().succeeded();
    }
    if endpoint.trouble().is_some() {
        // The old one is kept until there is a new one: given up first, it would leave a place at a server that is
        // full, and nothing would be known of the others who want one.
        let (new, found) = connected(endpoint).await;
        return (new.or(Some(connection)), found);
    }
    if connection.born.elapsed() >= endpoint.config().recycle_timeout {
        drop(connection);
        return connected(endpoint).await;
    }
    (Some(connection), found)
}

async fn connected(endpoint: &Endpoint) -> Asked {
    match endpoint.probe_connection().await {
        Ok(probe) => pinged(Connection { probe, born: Instant::now() }).await,
        Err(cause) => (None, Err(cause)),
    }
}

async fn pinged(mut connection: Connection) -> Asked {
    match connection.probe.ping().await {
        Ok(latency) => (Some(connection), Ok(latency)),
        Err(cause) => (None, Err(cause)),
    }
}
