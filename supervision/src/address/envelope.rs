//! What travels to an actor.

use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing::{Span, span};

use super::question::Question;
use super::slot::Slot;
use crate::log::LIBRARY_LOG_TARGET;
use crate::published::Task;
use crate::quiet::drop_quietly;

/// What travels to an actor.
pub(crate) struct Envelope<M> {
    /// `None` once it was opened.
    body: Option<Body<M>>,
    /// `None` for what is not asked.
    pub(crate) question: Option<Arc<Question>>,
    /// `None` where the sender was not traced. Boxed, because most messages travel without.
    pub(crate) trace: Option<Box<Trace>>,
}

impl<M> Envelope<M> {
    /// What an actor, or its supervisor, sends to the actor itself.
    pub(crate) fn own(body: Body<M>) -> Self {
        Self { body: Some(body), question: None, trace: None }
    }

    /// A message from outside.
    pub(super) fn message(
        message: M,
        name: fn() -> &'static str,
        question: Option<Arc<Question>>,
    ) -> Self {
        let trace = Trace::capture(name, question.is_some());
        Self { body: Some(Body::Message(message)), question, trace }
    }

    pub(crate) fn open(&mut self) -> Body<M> {
        self.body.take().expect("an envelope is opened once")
    }
}

impl<M> Drop for Envelope<M> {
    /// A message that is lost with its mailbox may panic when it is dropped, and so may the one behind
    /// it: two panics at once would end the process.
    fn drop(&mut self) {
        if let Some(body) = self.body.take() {
            drop_quietly(body);
        }
    }
}

/// Whose span a message is handled under.
pub(crate) struct Trace {
    /// What the span calls the message.
    pub(crate) message: &'static str,
    pub(crate) caller: Caller,
}

pub(crate) enum Body<M> {
    /// From outside: takes a place in the mailbox.
    Message(M),
    /// From the actor to itself: takes no place, so it gets through when the mailbox is full.
    Own(M),
    /// The result of one of its tasks, which counts as running until this was handled.
    Result(M, Task),
    /// From a timer; lets the next tick through when it is handled or dropped.
    Tick(M, #[expect(dead_code, reason = "held for its drop")] Slot),
    /// A task of the actor panicked.
    TaskPanicked(Box<TaskPanic>),
    /// Its supervisor asks it to end when it has nothing left to do.
    Drain,
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
        if span.metadata()?.target().starts_with(LIBRARY_LOG_TARGET) {
            return None;
        }
        let caller = if asks { Caller::Asks(span) } else { Caller::Tells(span.id()?) };
        Some(Box::new(Self { message: message(), caller }))
    }
}
