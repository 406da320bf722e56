//! The address of an actor that survives its restarts.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use ractor::{ActorRef, MessagingErr};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::machine::{Change, View};
use crate::message::{Reply, short_name};
use crate::node::{Hub, Kind, Node};
use crate::snapshot::State;

/// How a question or a message came to nothing. Each variant says whether asking again is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The actor is not running. The message was not accepted: asking again is safe.
    #[error("the actor is not running")]
    Unavailable {
        /// When asking again is worth a try; `None` if it will not come back.
        retry_after: Option<Duration>,
    },
    /// The actor's mailbox is full. The message was not accepted: asking again is safe.
    #[error("the actor's mailbox is full ({depth} messages)")]
    Overloaded {
        /// The messages queued.
        depth: usize,
    },
    /// There was no reply in time. If the message was `accepted` the deed may have happened
    /// anyway, or may still happen: never ask again blindly.
    #[error("no reply within the deadline")]
    Deadline {
        /// Whether the message had reached the mailbox.
        accepted: bool,
    },
    /// The message was accepted, and then the actor fell or dropped the question unanswered. The
    /// deed may have happened: never ask again blindly.
    #[error("the actor ended before it replied (incarnation {incarnation})")]
    Died {
        /// The incarnation that had accepted the message.
        incarnation: u64,
    },
}

/// A told message that was not accepted, given back.
#[derive(Debug, thiserror::Error)]
#[error("not accepted: {why}")]
pub struct Rejected<M> {
    /// The message.
    pub message: M,
    /// [`CallError::Unavailable`] or [`CallError::Overloaded`].
    #[source]
    pub why: CallError,
}

/// What travels to an actor.
pub(crate) struct Envelope<M> {
    pub(crate) body: Body<M>,
    pub(crate) name: &'static str,
    /// Skipped once this has passed: nobody waits for the answer any more.
    pub(crate) deadline: Option<Instant>,
    pub(crate) caller: Caller,
    /// Frees its place in the mailbox when handled, or when the mailbox is dropped.
    pub(crate) _place: Option<Place>,
}

pub(crate) enum Body<M> {
    Message(M),
    TaskPanicked {
        task: &'static str,
        message: Arc<str>,
    },
    #[cfg(feature = "chaos")]
    Panic,
}

/// Whose span a message is handled under.
pub(crate) enum Caller {
    /// Nobody's: the sender was not traced.
    Untraced,
    /// An ask: the caller waits, so the handling is a child of its span.
    Asks(tracing::Span),
    /// A tell: the handling is a trace of its own that follows from the caller's span. Only the id
    /// is kept, so that a queued message does not hold the caller's span open.
    Tells(tracing::span::Id),
}

impl Caller {
    fn capture(asks: bool) -> Self {
        let span = tracing::Span::current();
        // The actor library keeps a span open for each actor's whole life: not a caller.
        let library = |meta: &tracing::Metadata<'_>| meta.target().starts_with("ractor");
        if span.is_none() || span.metadata().is_some_and(library) {
            return Self::Untraced;
        }
        if asks {
            return Self::Asks(span);
        }
        span.id().map_or(Self::Untraced, Self::Tells)
    }
}

/// A place in a bounded queue, given back when dropped.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Place {
    /// Takes a place if fewer than `capacity` are taken.
    pub(crate) fn take(taken: &Arc<AtomicUsize>, capacity: usize) -> Result<Self, usize> {
        let before = taken.fetch_add(1, Ordering::AcqRel);
        let place = Self(Arc::clone(taken));
        if before < capacity { Ok(place) } else { Err(before) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Everything about an actor that outlives its incarnations.
pub(crate) struct Slot<M> {
    pub(crate) node: Arc<Node>,
    capacity: usize,
    /// The incarnation that takes messages now.
    live: ArcSwapOption<Live<M>>,
    refusing: AtomicBool,
    hub: OnceLock<Arc<Hub>>,
}

struct Live<M> {
    incarnation: u64,
    actor: ActorRef<Envelope<M>>,
}

impl<M: Send + 'static> Slot<M> {
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
        self.live.store(Some(Arc::new(Live { incarnation, actor })));
    }

    pub(crate) fn close(&self) {
        self.live.store(None);
    }

    fn admit(&self) -> Result<Place, CallError> {
        Place::take(&self.node.depth, self.capacity).map_err(|depth| {
            if !self.refusing.swap(true, Ordering::AcqRel)
                && let Some(hub) = self.hub.get()
            {
                let incarnation = self.node.status.load().incarnation;
                hub.tell(&self.node, incarnation, Change::Overloaded { depth });
            }
            CallError::Overloaded { depth }
        })
    }

    /// Makes the running incarnation panic in its next message. `false` if there is none.
    #[cfg(feature = "chaos")]
    pub(crate) fn inject_panic(&self) -> bool {
        let (name, caller) = ("InjectPanic", Caller::Untraced);
        let envelope = Envelope { body: Body::Panic, name, deadline: None, caller, _place: None };
        let live = self.live.load();
        live.as_ref().is_some_and(|live| live.actor.send_message(envelope).is_ok())
    }

    /// Notes that a message was taken out of the mailbox.
    pub(crate) fn relieved(&self) {
        if self.refusing.load(Ordering::Relaxed)
            && self.node.depth.load(Ordering::Relaxed) <= self.capacity / 2
        {
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
    fn send(
        &self,
        message: M,
        name: &'static str,
        deadline: Option<Instant>,
    ) -> Result<u64, (M, CallError)> {
        let place = match self.admit() {
            Ok(place) => place,
            Err(error) => return Err((message, error)),
        };
        let caller = Caller::capture(deadline.is_some());
        let mut envelope =
            Envelope { body: Body::Message(message), name, deadline, caller, _place: Some(place) };
        let mut refused_by = 0;
        loop {
            let live = self.live.load();
            let newer = live.as_ref().filter(|live| live.incarnation > refused_by);
            let Some(live) = newer else {
                let Body::Message(message) = envelope.body else {
                    unreachable!("the envelope was built above around a message")
                };
                return Err((message, self.unavailable()));
            };
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
        }
    }
}

/// The address of an actor: of whichever incarnation is running. Cheap to clone.
pub struct Handle<M> {
    slot: Arc<Slot<M>>,
}

impl<M> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self { slot: Arc::clone(&self.slot) }
    }
}

impl<M> fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("path", self.slot.node.path()).finish_non_exhaustive()
    }
}

impl<M: Send + 'static> Handle<M> {
    pub(crate) fn new(slot: Arc<Slot<M>>) -> Self {
        Self { slot }
    }

    /// Puts a message in the mailbox and waits for nothing.
    ///
    /// # Errors
    /// [`Rejected`] gives the message back if the actor is not running or its mailbox is full. An
    /// accepted message is lost if the actor falls before it is handled.
    pub fn tell(&self, message: M) -> Result<(), Rejected<M>> {
        match self.slot.send(message, short_name::<M>(), None) {
            Ok(_) => Ok(()),
            Err((message, why)) => Err(Rejected { message, why }),
        }
    }

    /// Asks a question, and waits for the reply until `deadline`. Asks the actor.
    ///
    /// # Errors
    /// [`CallError`]; it says whether the message had been accepted.
    ///
    /// *Cancel safety:* dropping the future stops the waiting, not the handling.
    pub async fn ask<R: Send + 'static>(
        &self,
        deadline: Instant,
        question: impl FnOnce(Reply<R>) -> M,
    ) -> Result<R, CallError> {
        let (reply, answer) = Reply::channel();
        let incarnation = self.accept(question(reply), short_name::<M>(), Some(deadline))?;
        await_answer(answer, deadline, incarnation).await
    }

    pub(crate) fn accept(
        &self,
        message: M,
        name: &'static str,
        deadline: Option<Instant>,
    ) -> Result<u64, CallError> {
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(CallError::Deadline { accepted: false });
        }
        self.slot.send(message, name, deadline).map_err(|(_, why)| why)
    }

    pub(crate) fn id(&self) -> Arc<str> {
        Arc::clone(&self.slot.node.id)
    }

    /// What the actor is doing. Answers from memory.
    pub fn state(&self) -> State {
        self.slot.node.status.load().view.state()
    }

    /// How many messages wait or are being handled. Answers from memory.
    pub fn depth(&self) -> usize {
        self.slot.node.depth.load(Ordering::Relaxed)
    }

    /// Where in the tree the actor is.
    pub fn path(&self) -> &str {
        self.slot.node.path()
    }
}

pub(crate) async fn await_answer<R>(
    answer: oneshot::Receiver<R>,
    deadline: Instant,
    incarnation: u64,
) -> Result<R, CallError> {
    match tokio::time::timeout_at(deadline, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_dropped)) => Err(CallError::Died { incarnation }),
        Err(_elapsed) => Err(CallError::Deadline { accepted: true }),
    }
}
