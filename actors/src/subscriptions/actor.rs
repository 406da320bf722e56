use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use mainstay_supervision::{BoxError, Cx, Server};
use tokio::time::sleep;

use super::event::Message;
use super::handle::{Registry, Subscriptions};
use super::message::Mail;
use super::state::{State, Step, Verb};
use crate::redis::{self, Cause, Deliver, Endpoint, Failed, PubSub, pause};

/// The time from one look at the connection to the next.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A connection without subscriptions is kept for so many heartbeats, since another subscription may begin soon.
const IDLE_BEATS: u32 = 2;
/// One failed attempt may be an accident.
const STANDING: u32 = 2;

/// Keeps the one connection that all subscriptions of an endpoint share.
#[derive(Debug)]
pub(crate) struct Keeper {
    endpoint: Arc<Endpoint>,
    registry: Arc<Registry>,
}

/// The mutable state of the actor: its connection, and the attempts to make one.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    connection: Option<Connection>,
    is_connecting: bool,
    is_pinging: bool,
    /// Failed attempts and lost connections since the server last answered.
    failures: u32,
    /// Why connecting fails; the next attempt then waits for a pause.
    connect_failure: Option<Cause>,
    idle_beats: u32,
}

#[derive(Debug)]
struct Connection {
    pubsub: PubSub,
    epoch: u64,
    /// The generation in use when the connection was made. A later one may belong to another server.
    generation: Option<u64>,
}

impl Upkeep {
    fn connection(&self, epoch: u64) -> Option<&Connection> {
        self.connection.as_ref().filter(|connection| connection.epoch == epoch)
    }
}

impl Keeper {
    /// An actor that serves these subscriptions.
    pub(crate) fn new(subscriptions: &Subscriptions) -> Self {
        let Subscriptions { endpoint, registry, .. } = subscriptions;
        Self { endpoint: Arc::clone(endpoint), registry: Arc::clone(registry) }
    }

    /// Sends what the server has to be told, or connects if a subscription wants that.
    fn work(&self, cx: &Cx<Mail>, upkeep: &mut Upkeep) {
        match &upkeep.connection {
            Some(connection) => self.tell(cx, connection),
            None if self.registry.with(|state| state.is_wanted()) => self.connect(cx, upkeep),
            None => {}
        }
    }

    fn tell(&self, cx: &Cx<Mail>, connection: &Connection) {
        let steps = self.registry.with(State::plan);
        if steps.is_empty() {
            return;
        }
        let (pubsub, epoch) = (connection.pubsub.clone(), connection.epoch);
        let told = async move { join_all(steps.into_iter().map(|step| told(&pubsub, step))).await };
        cx.task("tell", told, move |answers| Mail::Answered { epoch, answers });
    }

    fn connect(&self, cx: &Cx<Mail>, upkeep: &mut Upkeep) {
        if std::mem::replace(&mut upkeep.is_connecting, true) {
            return;
        }
        let epoch = self.registry.with(State::next_epoch);
        let registry = Arc::clone(&self.registry);
        let deliver: Deliver = Arc::new(move |message| {
            let message = Message::new(message);
            registry.with(|state| state.deliver(epoch, &message));
        });
        let pause = match upkeep.connect_failure {
            Some(cause) => pause(upkeep.failures, cause, fastrand::f64()),
            None => Duration::ZERO,
        };
        let endpoint = Arc::clone(&self.endpoint);
        let connect = async move {
            sleep(pause).await;
            // Read before connecting: a generation that is published meanwhile may belong to another server.
            let generation = endpoint.generation().map(|generation| generation.number());
            (generation, endpoint.pubsub_connection(deliver).await)
        };
        cx.task("connect", connect, move |(generation, made)| Mail::Connected {
            epoch,
            generation,
            made,
        });
    }

    /// Drops the connection and makes a new one, at once if the old one has worked.
    fn lose(&self, cx: &Cx<Mail>, upkeep: &mut Upkeep, cause: Cause) {
        tracing::debug!(endpoint = self.endpoint.name(), %cause, "subscriptions lost their connection");
        self.registry.with(State::lost);
        upkeep.connection = None;
        upkeep.is_pinging = false;
        upkeep.connect_failure = (upkeep.failures > 0).then_some(cause);
        upkeep.failures += 1;
        if self.registry.with(|state| state.is_wanted()) {
            self.connect(cx, upkeep);
        }
    }

    fn beat(&self, cx: &Cx<Mail>, upkeep: &mut Upkeep) {
        let Some(connection) = &mut upkeep.connection else { return };
        let generation = self.endpoint.generation().map(|generation| generation.number());
        connection.generation = connection.generation.or(generation);
        if generation.is_some() && generation != connection.generation {
            upkeep.failures = 0;
            return self.lose(cx, upkeep, Cause::Replaced);
        }
        let is_wanted = self.registry.with(|state| state.is_wanted());
        upkeep.idle_beats = if is_wanted { 0 } else { upkeep.idle_beats + 1 };
        if upkeep.idle_beats >= IDLE_BEATS {
            self.registry.with(State::lost);
            *upkeep = Upkeep::default();
            return;
        }
        if !std::mem::replace(&mut upkeep.is_pinging, true) {
            let (pubsub, epoch) = (connection.pubsub.clone(), connection.epoch);
            let ping = async move { pubsub.ping().await };
            cx.task("ping", ping, move |answer| Mail::Ponged { epoch, answer });
        }
        self.registry.with(State::retry_denied);
    }

    fn answered(&self, cx: &Cx<Mail>, upkeep: &mut Upkeep, answers: &[(Step, Result<(), Failed>)]) {
        let lost = answers.iter().find_map(|(_, answer)| match answer {
            Err(Failed::Lost(cause)) => Some(*cause),
            Ok(()) | Err(Failed::Refused(_)) => None,
        });
        if let Some(cause) = lost {
            return self.lose(cx, upkeep, cause);
        }
        upkeep.failures = 0;
        for (step, answer) in answers {
            match answer {
                Ok(()) | Err(Failed::Lost(_)) => self.registry.with(|state| state.done(step)),
                Err(Failed::Refused(error)) => {
                    for (_, name) in self.registry.with(|state| state.refused(step, error)) {
                        tracing::warn!(
                            endpoint = self.endpoint.name(), channel = ?name, %error,
                            "redis no longer permits a subscription; check the user's permissions"
                        );
                    }
                }
            }
        }
    }

    fn publish(&self, cx: &Cx<Mail>) {
        let facts = self.registry.with(|state| state.facts());
        cx.publish("connected", facts.connected);
        cx.publish("subscriptions", facts.subscriptions);
        cx.publish("channels", facts.channels);
        cx.publish("patterns", facts.patterns);
        cx.publish("gaps", facts.gaps);
        cx.publish("dropped", facts.dropped);
    }

    fn watch(&self, cx: &Cx<Mail>) {
        let registry = Arc::clone(&self.registry);
        cx.task("changed", async move { registry.changed().await }, |()| Mail::Changed);
    }
}

impl Server for Keeper {
    type Message = Mail;
    type State = Upkeep;

    async fn init(&self, cx: &Cx<Mail>) -> Result<Upkeep, BoxError> {
        // What an earlier incarnation had confirmed ended with its connection.
        self.registry.with(State::lost);
        let mut upkeep = Upkeep::default();
        cx.every(HEARTBEAT, || Mail::Tick);
        self.watch(cx);
        self.work(cx, &mut upkeep);
        self.publish(cx);
        Ok(upkeep)
    }

    async fn handle(&self, cx: &Cx<Mail>, mail: Mail, upkeep: &mut Upkeep) -> Result<(), BoxError> {
        match mail {
            Mail::Changed => {
                self.watch(cx);
                self.work(cx, upkeep);
            }
            Mail::Tick => {
                self.beat(cx, upkeep);
                self.work(cx, upkeep);
            }
            Mail::Connected { epoch, generation, made: Ok((pubsub, incoming)) } => {
                upkeep.is_connecting = false;
                upkeep.connection = Some(Connection { pubsub, epoch, generation });
                cx.task("follow", incoming.follow(), move |()| Mail::Closed { epoch });
                self.registry.with(State::connected);
                self.work(cx, upkeep);
            }
            Mail::Connected { epoch: _, generation: _, made: Err(cause) } => {
                upkeep.is_connecting = false;
                upkeep.failures += 1;
                upkeep.connect_failure = Some(cause);
                if upkeep.failures >= STANDING {
                    let error = redis::Error::unavailable(cause);
                    self.registry.with(|state| state.fail_waiting(&error));
                }
                if self.registry.with(|state| state.is_wanted()) {
                    self.connect(cx, upkeep);
                }
            }
            Mail::Closed { epoch } if upkeep.connection(epoch).is_some() => {
                self.lose(cx, upkeep, Cause::Closed);
            }
            Mail::Answered { epoch, answers } if upkeep.connection(epoch).is_some() => {
                self.answered(cx, upkeep, &answers);
                self.work(cx, upkeep);
            }
            Mail::Ponged { epoch, answer } if upkeep.connection(epoch).is_some() => {
                upkeep.is_pinging = false;
                match answer {
                    Err(Failed::Lost(cause)) => self.lose(cx, upkeep, cause),
                    Ok(()) | Err(Failed::Refused(_)) => upkeep.failures = 0,
                }
            }
            // From a connection that was replaced.
            Mail::Closed { .. } | Mail::Answered { .. } | Mail::Ponged { .. } => {}
        }
        self.publish(cx);
        Ok(())
    }

    async fn terminate(&self, _cx: &Cx<Mail>, _upkeep: &mut Upkeep) {
        // Ends the subscriptions only if the service ends, since the actor may be about to restart.
        self.registry.with(State::end);
    }
}

async fn told(pubsub: &PubSub, step: Step) -> (Step, Result<(), Failed>) {
    let answer = match step.verb {
        Verb::Subscribe => pubsub.subscribe(step.kind, &step.names).await,
        Verb::Unsubscribe => pubsub.unsubscribe(step.kind, &step.names).await,
    };
    (step, answer)
}
