//! Where messages for one actor arrive, whichever incarnation is running.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use ractor::{ActorRef, MessagingErr};
use tokio::time::Instant;

use super::call_error::CallError;
use super::envelope::{Body, Envelope, Trace};
use crate::machine::{Change, View};
use crate::published::{Hub, Kind, Node};

/// Everything about an actor that outlives its incarnations.
pub(crate) struct Seat<M> {
    pub(crate) node: Arc<Node>,
    capacity: usize,
    /// The incarnation that takes messages now.
    pub(super) live: ArcSwapOption<Live<M>>,
    refusing: AtomicBool,
    pub(super) hub: OnceLock<Arc<Hub>>,
}

pub(super) struct Live<M> {
    pub(super) incarnation: u64,
    actor: ActorRef<Envelope<M>>,
    /// Messages that wait, or are being handled, in this incarnation's mailbox. Each incarnation
    /// counts anew, so nothing that is lost with one can be missing from the next.
    depth: Arc<AtomicUsize>,
}

impl<M: Send + 'static> Seat<M> {
    pub(crate) fn new(id: Arc<str>, capacity: usize) -> Self {
        Self {
            node: Arc::new(Node::new(id, Kind::Actor { capacity })),
            capacity,
            live: ArcSwapOption::empty(),
            refusing: AtomicBool::new(false),
            hub: OnceLock::new(),
        }
    }

    pub(crate) fn connect(&self, hub: &Arc<Hub>) {
        self.hub.set(Arc::clone(hub)).ok();
    }

    pub(crate) fn open(&self, incarnation: u64, actor: ActorRef<Envelope<M>>) {
        let depth = self.node.depth.load_full();
        self.refusing.store(false, Ordering::Release);
        self.live.store(Some(Arc::new(Live { incarnation, actor, depth })));
    }

    pub(crate) fn close(&self) {
        self.live.store(None);
    }

    fn overloaded(&self, incarnation: u64, depth: usize) -> CallError {
        if !self.refusing.swap(true, Ordering::AcqRel)
            && let Some(hub) = self.hub.get()
        {
            hub.tell(&self.node, incarnation, Change::Overloaded { depth });
        }
        CallError::Overloaded { depth }
    }

    /// Makes the running incarnation panic in its next message. `false` if there is none.
    #[cfg(feature = "chaos")]
    pub(crate) fn inject_panic(&self) -> bool {
        let envelope = Envelope::own(Body::Panic);
        let live = self.live.load();
        live.as_ref().is_some_and(|live| live.actor.send_message(envelope).is_ok())
    }

    /// Notes how many messages are left, when one has been handled.
    pub(crate) fn relieved(&self, depth: usize) {
        if self.refusing.load(Ordering::Relaxed) && depth <= self.capacity / 2 {
            self.refusing.store(false, Ordering::Release);
        }
    }

    fn unavailable(&self) -> CallError {
        let retry_after = match self.node.status.load().view {
            View::Backoff { until } => Some(until.saturating_duration_since(Instant::now())),
            View::Idle | View::Starting | View::Up { .. } => Some(Duration::ZERO),
            View::Stopping | View::Down => None,
        };
        CallError::Unavailable { retry_after }
    }

    /// Puts a message in the mailbox of whichever incarnation is running.
    pub(super) fn send(
        &self,
        message: M,
        name: fn() -> &'static str,
        deadline: Option<Instant>,
    ) -> Result<u64, (M, CallError)> {
        let trace = Trace::capture(name, deadline.is_some());
        let mut envelope = Envelope { body: Body::Message(message), deadline, trace };
        let mut refused_by = 0;
        let why = loop {
            let live = self.live.load();
            let newer = live.as_ref().filter(|live| live.incarnation > refused_by);
            let Some(live) = newer else { break self.unavailable() };
            let depth = live.depth.fetch_add(1, Ordering::Relaxed);
            if depth >= self.capacity {
                live.depth.fetch_sub(1, Ordering::Relaxed);
                break self.overloaded(live.incarnation, depth);
            }
            match live.actor.send_message(envelope) {
                Ok(()) => return Ok(live.incarnation),
                // It ended since the load. Not accepted, so a newer incarnation may have it.
                Err(MessagingErr::SendErr(returned)) => {
                    refused_by = live.incarnation;
                    envelope = returned;
                }
                Err(MessagingErr::ChannelClosed | MessagingErr::InvalidActorType) => {
                    unreachable!("a typed send gives the message back")
                }
            }
        };
        match envelope.body {
            Body::Message(message) => Err((message, why)),
            _ => unreachable!("the envelope was built above around a message"),
        }
    }
}
