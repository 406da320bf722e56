//! What the handles of an actor share, and what outlives its incarnations.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use ractor::{ActorRef, MessagingErr};
use tokio::time::Instant;

use super::call_error::CallError;
#[cfg(feature = "chaos")]
use super::envelope::Control;
use super::envelope::{Body, Envelope};
use super::question::Question;
use crate::clock::later;
use crate::machine::{Change, State};
use crate::published::{Hub, Kind, Load, Node};

/// The shortest `retry_after`.
const SOON: Duration = Duration::from_millis(10);

/// What the handles of an actor share. It outlives the incarnations.
pub(crate) struct Seat<M> {
    pub(crate) node: Arc<Node>,
    capacity: usize,
    /// At so many tasks, messages are refused.
    tasks: usize,
    /// The incarnation that accepts messages now.
    pub(super) live: ArcSwapOption<Live<M>>,
    refusing: AtomicBool,
    pub(super) hub: OnceLock<Arc<Hub>>,
}

pub(super) struct Live<M> {
    pub(super) incarnation: u64,
    actor: ActorRef<Envelope<M>>,
    load: Arc<Load>,
}

impl<M: Send + 'static> Seat<M> {
    pub(crate) fn new(id: Arc<str>, capacity: usize, tasks: usize) -> Self {
        Self {
            node: Arc::new(Node::new(id, Kind::Actor { capacity })),
            capacity,
            tasks,
            live: ArcSwapOption::empty(),
            refusing: AtomicBool::new(false),
            hub: OnceLock::new(),
        }
    }

    pub(crate) fn connect(&self, hub: &Arc<Hub>) {
        self.hub.set(Arc::clone(hub)).ok();
    }

    pub(crate) fn open(&self, incarnation: u64, actor: ActorRef<Envelope<M>>) {
        // Without one, the incarnation has already ended.
        let Some(load) = self.node.load() else { return };
        self.refusing.store(false, Ordering::Release);
        self.live.store(Some(Arc::new(Live { incarnation, actor, load })));
    }

    pub(crate) fn close(&self) {
        if self.live.load().is_some() {
            self.live.store(None);
        }
    }

    #[cold]
    fn overloaded(&self, incarnation: u64, depth: usize) -> CallError {
        if !self.refusing.swap(true, Ordering::AcqRel)
            && let Some(hub) = self.hub.get()
        {
            hub.tell(&self.node, incarnation, Change::Overloaded { depth });
        }
        CallError::Overloaded { depth }
    }

    /// Makes the running incarnation panic in its next message. Returns `false` if none is running.
    #[cfg(feature = "chaos")]
    pub(crate) fn inject_panic(&self) -> bool {
        let envelope = Envelope::control(Control::Panic);
        let live = self.live.load();
        live.as_ref().is_some_and(|live| live.actor.send_message(envelope).is_ok())
    }

    /// Reports overload again from the next refusal on, if `load` has fallen to half of the limits.
    pub(crate) fn relieved(&self, load: &Load) {
        if self.refusing.load(Ordering::Relaxed)
            && load.messages() <= self.capacity / 2
            && load.tasks() <= self.tasks / 2
        {
            self.refusing.store(false, Ordering::Release);
        }
    }

    #[cold]
    fn unavailable(&self) -> CallError {
        let now = Instant::now();
        let at = comes_back_at(&self.node, later(now, SOON));
        CallError::Unavailable { retry_after: at.map(|at| at.saturating_duration_since(now)) }
    }

    /// Puts a message in the mailbox of the running incarnation.
    pub(super) fn send(
        &self,
        message: M,
        name: fn() -> &'static str,
        question: Option<Arc<Question>>,
    ) -> Result<u64, (M, CallError)> {
        let mut envelope = Envelope::message(message, name, question);
        let mut refused_by = 0;
        let why = loop {
            let live = self.live.load();
            let newer = live.as_ref().filter(|live| live.incarnation > refused_by);
            let Some(live) = newer else { break self.unavailable() };
            let tasks = live.load.tasks();
            if tasks >= self.tasks {
                break self.overloaded(live.incarnation, tasks);
            }
            if let Err(messages) = live.load.add_message(self.capacity) {
                break self.overloaded(live.incarnation, messages);
            }
            match live.actor.send_message(envelope) {
                Ok(()) => return Ok(live.incarnation),
                // It ended after `live` was read and did not accept the message. Try a newer incarnation.
                Err(MessagingErr::SendErr(returned)) => {
                    live.load.take_back_message();
                    refused_by = live.incarnation;
                    envelope = returned;
                }
                Err(MessagingErr::ChannelClosed | MessagingErr::InvalidActorType) => {
                    unreachable!("a typed send gives the message back")
                }
            }
        };
        match envelope.open() {
            Body::Message(message) => Err((message, why)),
            _ => unreachable!("the envelope was made above around a message"),
        }
    }
}

/// When a node that is not running may be running again: not before `soonest`, and not before everything
/// above it runs. `None` if it has ended or is ending, and is not known to come back.
fn comes_back_at(node: &Node, soonest: Instant) -> Option<Instant> {
    let summary = node.summary();
    let at = match summary.state {
        State::Idle | State::Starting | State::Up => None,
        State::Backoff => summary.starts_at,
        State::Stopping => Some(summary.starts_at?),
        State::Down => return None,
    };
    let soonest = at.map_or(soonest, |at| at.max(soonest));
    match node.parent() {
        Some(parent) => comes_back_at(parent, soonest),
        None if node.is_ending.load(Ordering::Relaxed) => None,
        None => Some(soonest),
    }
}
