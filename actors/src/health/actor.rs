use std::sync::Arc;
use std::time::Duration;

use mainstay_supervision::{BoxError, Cx, Server};
use tokio::time::Instant;

use super::message::{Connection, Message, Miss, Probed, Report};
use super::server_states::{News, ServerStates};
use super::state::{Beat, Decision, Signs, State, Transition};
use crate::redis::{Cause, Endpoint, Mark, SilentLane, Verdict};

/// Watches one endpoint.
#[derive(Debug)]
pub(crate) struct Monitor {
    pub(crate) endpoint: Arc<Endpoint>,
}

/// The mutable state of the monitor: what it knows, and the connection that it probes on.
#[derive(Debug)]
pub(crate) struct Watch {
    state: State,
    /// `None` while a probe is under way, or after one that failed.
    connection: Option<Connection>,
    /// The moment at which the last probe was sent.
    sent: Mark,
    /// The generation that the server states were met in.
    generation: u64,
    server_states: ServerStates,
}

impl Watch {
    fn report(&self, now: Instant) -> Report {
        Report::of(&self.server_states.amended(self.state.verdict().clone()), now)
    }
}

impl Monitor {
    fn probe(&self, cx: &Cx<Message>, watch: &mut Watch) {
        watch.sent = self.endpoint.health().mark();
        let (endpoint, connection) = (Arc::clone(&self.endpoint), watch.connection.take());
        cx.task("probe", probe(endpoint, connection), Message::Probed);
    }

    fn tick(&self, cx: &Cx<Message>, watch: &mut Watch) {
        let signs = self.signs(watch);
        if let Some(verdict) = watch.state.reconsidered(signs) {
            self.publish(cx, verdict, watch);
        }
        match watch.state.tick(Instant::now(), signs) {
            Beat::Probe => self.probe(cx, watch),
            Beat::Renew(verdict, transition) => {
                self.publish(cx, verdict, watch);
                self.log(transition);
            }
            Beat::Wait => {}
        }
    }

    fn signs(&self, watch: &Watch) -> Signs {
        Signs {
            since_probe: self.endpoint.health().succeeded_since(watch.sent),
            on_a_lane: self.endpoint.is_answered_on_a_lane(),
            has_lane: self.endpoint.has_lane(),
        }
    }

    fn publish(&self, cx: &Cx<Message>, verdict: Verdict, watch: &mut Watch) {
        self.look_at_server_states(watch);
        let verdict = watch.server_states.amended(verdict);
        let report = Report::of(&verdict, Instant::now());
        cx.publish("healthy", report.healthy);
        cx.publish("breaker", if report.breaker_open { "open" } else { "closed" });
        cx.publish("message", &report.message);
        self.endpoint.health().publish(verdict);
    }

    /// Logs one line when a server state begins and one when it ends, never one for each request.
    fn look_at_server_states(&self, watch: &mut Watch) {
        let endpoint = self.endpoint.name();
        let generation = self.endpoint.generation_number();
        if std::mem::replace(&mut watch.generation, generation) != generation {
            watch.server_states.meet_another_server();
        }
        let refusals = |state| self.endpoint.health().refusals(state);
        for news in watch.server_states.look(Instant::now(), refusals) {
            match news {
                News::Begins(state) => {
                    tracing::warn!(endpoint, condition = %state, "redis refuses commands");
                }
                News::Ends { state, refusals, lasted } => {
                    tracing::info!(endpoint, condition = %state, refusals, ?lasted, "redis has refused nothing for a minute");
                }
            }
        }
    }

    /// Logs one line for each transition, never one for each probe or request.
    fn log(&self, transition: Option<Transition>) {
        let (endpoint, address) = (self.endpoint.name(), self.endpoint.address());
        let Some(transition) = transition else { return };
        match transition {
            Transition::Reached => tracing::info!(endpoint, %address, "redis answers"),
            Transition::Lost(cause @ (Cause::ClusterNode | Cause::NoLane)) => {
                tracing::warn!(endpoint, %address, %cause, "redis answers, but cannot be used");
            }
            Transition::Lost(cause) => {
                tracing::warn!(endpoint, %address, %cause, "redis does not answer");
            }
            Transition::Regained { after } => {
                tracing::info!(endpoint, %address, outage = ?after, "redis answers again");
            }
            Transition::Limited(cause) => {
                tracing::warn!(endpoint, %address, %cause, "new connections to redis fail; existing ones still work");
            }
            Transition::Unlimited => {
                tracing::info!(endpoint, %address, "new connections to redis are made again");
            }
            Transition::HeldUp => {
                tracing::warn!(endpoint, cause = %Cause::HeldUp, "probes of redis are inconclusive");
            }
            Transition::Timely => {
                tracing::info!(endpoint, "probes of redis have been in time for a minute");
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
        let state = State::resume(verdict, config.probe_interval, config.probe_timeout);
        cx.every(config.probe_interval, || Message::Tick);
        let server_states = ServerStates::new(|state| self.endpoint.health().refusals(state));
        let sent = self.endpoint.health().mark();
        let generation = self.endpoint.generation_number();
        let mut watch = Watch { state, connection: None, sent, generation, server_states };
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
            Message::Probed(Probed { generation, .. })
                if generation != self.endpoint.generation_number() =>
            {
                // It says nothing of the server that the present generation is connected to.
                self.probe(cx, watch);
            }
            Message::Probed(Probed { connection, found, .. }) => {
                watch.connection = connection;
                let signs = self.signs(watch);
                let Decision { verdict, again, transition, replies } =
                    watch.state.probed(now, found, signs);
                self.publish(cx, verdict, watch);
                for reply in replies {
                    reply.send(watch.report(now));
                }
                self.log(transition);
                if again {
                    self.probe(cx, watch);
                }
            }
        }
        Ok(())
    }
}

/// After this long the monitor makes a new connection, so that it notices when none can be made, or when the host's name
/// leads elsewhere, although nobody else needs one.
const OLDEST: Duration = Duration::from_secs(30);

/// Sends one `PING`, or two. The present connection is probed first, because its silence shows within the probe's
/// timeout. Its answer says nothing of new connections: while connecting fails, and when it has reached its age, a new
/// one is made and probed as well. One of an older generation is replaced, since it may lead to another server.
async fn probe(endpoint: Arc<Endpoint>, connection: Option<Connection>) -> Probed {
    let generation = endpoint.generation_number();
    let may_serve = |connection: &Connection| {
        connection.generation == generation && !connection.probe.is_dead()
    };
    let (connection, found) = match connection.filter(may_serve) {
        Some(connection) => asked_both(&endpoint, connection).await,
        None => connected(&endpoint).await,
    };
    let (connection, found) = match (connection, found) {
        // Before the outage counts as over: the network may have lost connections that stand.
        (Some(connection), Ok(_)) if !endpoint.health().verdict().healthy => {
            without_silent_lanes(&endpoint, connection, found).await
        }
        asked => asked,
    };
    Probed { generation, connection, found }
}

/// Closes the lanes that the network has lost. The server may just be slow, so it has to answer once more, on the
/// probe's connection, while they stay silent.
async fn without_silent_lanes(
    endpoint: &Endpoint,
    connection: Connection,
    found: Result<Duration, Miss>,
) -> Asked {
    // It has answered: the time that this takes must not count as the probe's silence.
    if connection.generation == endpoint.generation_number() {
        endpoint.health().succeeded();
    }
    let silent = endpoint.silent_lanes().await;
    if silent.is_empty() {
        return (Some(connection), found);
    }
    let (connection, found) = asked(connection).await;
    if found.is_ok() {
        silent.iter().for_each(SilentLane::close_if_silent);
    }
    (connection, found)
}

/// The connection, if it may be used again, and how long the answer took or why none came.
type Asked = (Option<Connection>, Result<Duration, Miss>);

async fn asked_both(endpoint: &Endpoint, connection: Connection) -> Asked {
    let (connection, found) = asked(connection).await;
    let Some(connection) = connection else { return (None, found) };
    if found.is_err() {
        return (Some(connection), found);
    }
    if endpoint.has_users() && connection.generation == endpoint.generation_number() {
        // A failure below must not open the breaker for callers that have a connection: theirs works as this one does.
        endpoint.health().succeeded();
    }
    let is_old = connection.created.elapsed() >= endpoint.config().recycle_timeout.min(OLDEST);
    if endpoint.connect_failure().is_none() && !is_old {
        return (Some(connection), found);
    }
    // The old connection is kept until there is a new one. Closing it first would give its turn to us at a server that has
    // too many clients: the probe would succeed where callers fail.
    let (new, found) = connected(endpoint).await;
    (new.or(Some(connection)), found)
}

async fn connected(endpoint: &Endpoint) -> Asked {
    let generation = endpoint.generation_number();
    match endpoint.probe_connection().await {
        Ok(probe) => asked(Connection { probe, generation, created: Instant::now() }).await,
        Err(Cause::HeldUp) => (None, Err(Miss::HeldUp)),
        Err(cause) => (None, Err(Miss::Unconnected(cause))),
    }
}

async fn asked(mut connection: Connection) -> Asked {
    let latency = connection.probe.ping().await;
    let answered = match latency {
        Ok(_) => connection.probe.has_foreign_slots().await,
        Err(cause) => Err(cause),
    };
    match (answered, latency) {
        (Ok(false), Ok(latency)) => (Some(connection), Ok(latency)),
        (Ok(_), _) => (Some(connection), Err(Miss::WrongServer(Cause::ClusterNode))),
        (Err(Cause::HeldUp), _) => (None, Err(Miss::HeldUp)),
        (Err(Cause::Closed), _) => (None, Err(Miss::Unconnected(Cause::Closed))),
        (Err(cause), _) => (None, Err(Miss::Unanswered(cause))),
    }
}
