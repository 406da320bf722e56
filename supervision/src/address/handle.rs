//! The address of an actor that survives its restarts.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use ractor::{ActorRef, MessagingErr};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::level_filters::LevelFilter;
use tracing::{Span, span};

use crate::machine::{Change, View};
use crate::message::{Reply, short_name};
use crate::published::State;
use crate::published::{Hub, Kind, Node};

/// How a question or a message came to nothing. Each variant says whether asking again is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The actor is not running. The message was not accepted: asking again is safe.
    #[error("the actor is not running")]
    Unavailable {
        /// When asking again is worth a try; `None` while it is ending, and once it has
        /// ended for good.
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
#[derive(thiserror::Error)]
#[error("not accepted: {why}")]
pub struct Rejected<M> {
    /// The message.
    pub message: M,
    /// [`CallError::Unavailable`] or [`CallError::Overloaded`].
    #[source]
    pub why: CallError,
}

impl<M> fmt::Debug for Rejected<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected").field("why", &self.why).finish_non_exhaustive()
    }
}

/// What travels to an actor.
pub(crate) struct Envelope<M> {
    pub(crate) body: Body<M>,
    /// Skipped once this has passed: nobody waits for the answer any more.
    pub(crate) deadline: Option<Instant>,
    /// `None` where the sender was not traced. Boxed, because most messages travel without.
    pub(crate) trace: Option<Box<Trace>>,
}

/// Whose span a message is handled under.
pub(crate) struct Trace {
    /// What the span calls the message.
    pub(crate) message: &'static str,
    pub(crate) caller: Caller,
}

impl<M> Envelope<M> {
    /// What an actor, or its supervisor, sends to the actor itself.
    pub(crate) fn own(body: Body<M>) -> Self {
        Self { body, deadline: None, trace: None }
    }
}

pub(crate) enum Body<M> {
    /// From outside: takes a place in the mailbox.
    Message(M),
    /// From the actor to itself: takes no place, so it gets through when the mailbox is full.
    Own(M),
    /// The same, and lets the next tick through when it is handled or dropped.
    Tick(M, #[expect(dead_code, reason = "held for its drop")] Place),
    /// A task of the actor panicked.
    TaskPanicked(Box<TaskPanic>),
    #[cfg(feature = "chaos")]
    Panic,
}

pub(crate) struct TaskPanic {
    pub(crate) task: &'static str,
    pub(crate) message: Arc<str>,
}

pub(crate) enum Caller {
    /// An ask: the caller waits, so the handling is a child of its span.
    Asks(Span),
    /// A tell: the handling is a trace of its own that follows from the caller's span. Only the id
    /// is kept, so that a queued message does not hold the caller's span open.
    Tells(span::Id),
}

impl Trace {
    /// The sender's, if it is traced.
    fn capture(message: fn() -> &'static str, asks: bool) -> Option<Box<Self>> {
        if LevelFilter::current() < LevelFilter::INFO {
            return None;
        }
        let span = Span::current();
        // The actor library keeps a span open for each actor's whole life: not a caller.
        if span.metadata()?.target().starts_with(crate::LIBRARY_LOG_TARGET) {
            return None;
        }
        let caller = if asks { Caller::Asks(span) } else { Caller::Tells(span.id()?) };
        Some(Box::new(Self { message: message(), caller }))
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
    /// Messages that wait, or are being handled, in this incarnation's mailbox. Each incarnation
    /// counts anew, so nothing that is lost with one can be missing from the next.
    depth: Arc<AtomicUsize>,
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
    fn send(
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
        match self.slot.send(message, short_name::<M>, None) {
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
        let incarnation = self.accept(question(reply), short_name::<M>, Some(deadline))?;
        await_answer(answer, deadline, incarnation).await
    }

    /// Waits until the actor takes messages, and says which incarnation does. Answers from memory.
    ///
    /// # Errors
    /// [`CallError::Unavailable`] at once if it will not come back, or if its tree is not started;
    /// [`CallError::Deadline`].
    pub async fn ready(&self, deadline: Instant) -> Result<u64, CallError> {
        let will_not = CallError::Unavailable { retry_after: None };
        let mut changes = self.slot.hub.get().ok_or(will_not)?.changes();
        loop {
            changes.borrow_and_update();
            if let Some(live) = &*self.slot.live.load() {
                return Ok(live.incarnation);
            }
            if self.state() == State::Down {
                return Err(will_not);
            }
            let woken = tokio::time::timeout_at(deadline, changes.changed()).await;
            woken.map_err(|_elapsed| CallError::Deadline { accepted: false })?.ok();
        }
    }

    pub(crate) fn accept(
        &self,
        message: M,
        name: fn() -> &'static str,
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
        self.slot.node.depth()
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
