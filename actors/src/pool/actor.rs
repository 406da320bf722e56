use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use mainstay_supervision::{BoxError, Cx, Server};
use tokio::time::{Instant, timeout};

use super::message::Message;
use super::state::{Due, State};
use crate::redis::{CloseReason, Endpoint, Generation, Reason};

/// Owns the generations of one endpoint's pool.
#[derive(Debug)]
pub(crate) struct Manager {
    pub(crate) args: Args,
}

/// What the manager needs to start again after a restart.
#[derive(Clone)]
pub(crate) struct Args {
    pub(crate) endpoint: Arc<Endpoint>,
    /// The old generation that drains.
    pub(crate) draining: Arc<ArcSwapOption<Generation>>,
}

impl Args {
    pub(crate) fn new(endpoint: Arc<Endpoint>) -> Self {
        Self { endpoint, draining: Arc::default() }
    }
}

impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Args").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Manager {
    /// Puts a new generation into use. Every later lease comes from it.
    fn build(&self, cx: &Cx<Message>, state: &mut State, reason: Reason) {
        let endpoint = &self.args.endpoint;
        let old = endpoint.publish(endpoint.build_generation(reason));
        let status = endpoint.status();
        for reply in state.built(old.is_some()) {
            reply.send(status.generation);
        }
        if let Some(old) = old {
            tracing::info!(
                endpoint = endpoint.name(), generation = status.generation, %reason,
                "pool rebuilt"
            );
            cx.publish("last_rebuild_reason", reason.to_string());
            self.args.draining.store(Some(Arc::clone(&old)));
            self.drain(cx, old);
        }
        self.publish(cx);
    }

    fn publish(&self, cx: &Cx<Message>) {
        let status = self.args.endpoint.status();
        cx.publish("generation", status.generation);
        cx.publish("rebuilds", status.rebuilds);
    }

    fn drain(&self, cx: &Cx<Message>, old: Arc<Generation>) {
        let limit = self.args.endpoint.config().drain_timeout;
        let drain = async move {
            if timeout(limit, old.drained()).await.is_err() {
                // A lease that is still out fails every command from now on. Its permit counts for all generations, so
                // the new one does not wait for it.
                old.cut();
            }
        };
        cx.task("drain", drain, |()| Message::Drained);
    }

    fn keep_lane(&self, cx: &Cx<Message>, slot: usize) {
        let endpoint = Arc::clone(&self.args.endpoint);
        let keep = async move { endpoint.keep_lane(slot).await };
        cx.task("lane", keep, move |reason| Message::LaneMade { slot, reason });
    }

    /// Logs the first of several stalls, unless the server itself was silent: that is an outage, which has its own lines.
    fn log_stall(&self, state: &mut State) {
        let verdict = self.args.endpoint.health().verdict();
        if !verdict.healthy || verdict.since.elapsed() < JUST_BACK || !state.stalled(Instant::now())
        {
            return;
        }
        tracing::warn!(
            endpoint = self.args.endpoint.name(),
            "a lane stalled and was replaced; check whether writes are paused (CLIENT PAUSE, a failover), the server's slow log, and the network"
        );
    }

    fn watch_server(&self, cx: &Cx<Message>) {
        let endpoint = Arc::clone(&self.args.endpoint);
        cx.task("server", async move { endpoint.outdated().await }, Message::Outdated);
    }
}

/// The generation that is due now.
fn outdated(cx: &Cx<Message>, state: &mut State, reason: Reason) -> Option<Reason> {
    match state.outdated(reason, Instant::now()) {
        Due::Now(reason) => Some(reason),
        Due::In(pause) => {
            cx.after(pause, Message::PutOffEnds);
            None
        }
        Due::NotNow => None,
    }
}

impl Server for Manager {
    type Message = Message;
    type State = State;

    async fn init(&self, cx: &Cx<Message>) -> Result<State, BoxError> {
        let endpoint = &self.args.endpoint;
        let draining = self.args.draining.load_full();
        let mut state = State::resume(draining.is_some());
        if let Some(old) = draining {
            self.drain(cx, old);
        }
        if endpoint.generation().is_none() {
            tracing::info!(
                endpoint = endpoint.name(), address = %endpoint.address(),
                max_connections = endpoint.config().max_connections,
                lanes = endpoint.config().lane_count(), most_connections = endpoint.config().most_connections(),
                "pool started"
            );
            cx.publish("last_rebuild_reason", None::<String>);
            self.build(cx, &mut state, Reason::Start);
        }
        self.publish(cx);
        self.watch_server(cx);
        for slot in 0..endpoint.lane_slots() {
            self.keep_lane(cx, slot);
        }
        Ok(state)
    }

    async fn handle(
        &self,
        cx: &Cx<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), BoxError> {
        let due = match message {
            Message::GetPoolStatus(_, reply) => {
                reply.send(self.args.endpoint.status());
                None
            }
            Message::RebuildPool(_, reply) => state.ask(reply),
            Message::Outdated(reason) => {
                self.watch_server(cx);
                outdated(cx, state, reason)
            }
            Message::PutOffEnds => {
                state.put_off_ends();
                outdated(cx, state, Reason::Moved)
            }
            Message::LaneMade { slot, reason } => {
                if let Some(reason) = reason {
                    tracing::debug!(endpoint = self.args.endpoint.name(), slot, reason = %reason, "lane replaced");
                    cx.publish("lanes_replaced", state.lane_replaced());
                    cx.publish("last_lane_loss", reason.to_string());
                    if reason == CloseReason::Stalled {
                        self.log_stall(state);
                    }
                }
                self.keep_lane(cx, slot);
                None
            }
            Message::Drained => {
                self.args.draining.store(None);
                state.drained()
            }
        };
        if let Some(reason) = due {
            self.build(cx, state, reason);
        }
        Ok(())
    }

    async fn terminate(&self, _cx: &Cx<Message>, _state: &mut State) {
        let endpoint = &self.args.endpoint;
        if let Some(generation) = endpoint.close() {
            // The requests were given time to end before this, so a lease that is still out is cut at once.
            generation.cut();
            tracing::info!(endpoint = endpoint.name(), "pool stopped");
        }
    }
}

/// A lane that stalled in an outage may be replaced so long after its end.
const JUST_BACK: Duration = Duration::from_secs(5);
