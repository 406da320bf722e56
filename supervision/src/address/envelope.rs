//! What travels to an actor.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::level_filters::LevelFilter;
use tracing::{Span, span};

use super::slot::Slot;
use crate::log::LIBRARY_LOG_TARGET;

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
    Tick(M, #[expect(dead_code, reason = "held for its drop")] Slot),
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
    pub(super) fn capture(message: fn() -> &'static str, asks: bool) -> Option<Box<Self>> {
        if LevelFilter::current() < LevelFilter::INFO {
            return None;
        }
        let span = Span::current();
        // The actor library keeps a span open for each actor's whole life: not a caller.
        if span.metadata()?.target().starts_with(LIBRARY_LOG_TARGET) {
            return None;
        }
        let caller = if asks { Caller::Asks(span) } else { Caller::Tells(span.id()?) };
        Some(Box::new(Self { message: message(), caller }))
    }
}
