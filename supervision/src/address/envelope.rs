//! Messages on their way to an actor.

use std::sync::Arc;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing::{Span, span};

use super::question::Question;
use super::slot::Slot;
use crate::log::LIBRARY_LOG_TARGET;
use crate::published::Task;
use crate::quiet::drop_quietly;

/// A message on its way to an actor.
pub(crate) struct Envelope<M> {
    /// `None` after it was opened.
    body: Option<Body<M>>,
    /// `None` unless the message is asked.
    pub(crate) question: Option<Arc<Question>>,
    /// `None` if the sender was not traced. Boxed, because most messages have none.
    pub(crate) trace: Option<Box<Trace>>,
}

impl<M> Envelope<M> {
    /// A message from the actor itself or from its supervisor.
    pub(crate) fn own(body: Body<M>) -> Self {
        Self { body: Some(body), question: None, trace: None }
    }

    pub(crate) fn control(control: Control) -> Self {
        Self::own(Body::Control(control))
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

    #[inline]
    pub(crate) fn open(&mut self) -> Body<M> {
        self.body.take().expect("an envelope is opened once")
    }
}

impl<M> Drop for Envelope<M> {
    /// Several messages that are dropped with their mailbox may each panic in their drop. Two panics at
    /// once would abort the process.
    fn drop(&mut self) {
        if let Some(body) = self.body.take() {
            drop_quietly(body);
        }
    }
}

/// The span of the sender, from which that of the handling is made.
pub(crate) struct Trace {
    /// The name of the message in the span.
    pub(crate) message: &'static str,
    pub(crate) caller: Caller,
}

pub(crate) enum Body<M> {
    /// From outside. It counts towards the mailbox's capacity.
    Message(M),
    /// From the actor to itself. It does not count, so a full mailbox does not refuse it.
    Own(M),
    /// The result of a task. The task counts as running until the result is handled.
    Result(M, Task),
    /// From a timer. The next tick is sent only after this one is handled or dropped.
    Tick(M, #[expect(dead_code, reason = "held for its drop")] Slot),
    /// Not for the actor's own code, but for what is around it.
    Control(Control),
}

/// What concerns the incarnation as a whole. Rare.
pub(crate) enum Control {
    /// A task of the actor panicked.
    TaskPanicked(Box<TaskPanic>),
    /// Its supervisor asks it to end when all of its work is done. It waits for tasks for so long.
    Drain(Duration),
    /// It has waited for its tasks long enough.
    Drained,
    #[cfg(feature = "chaos")]
    Panic,
}

pub(crate) struct TaskPanic {
    pub(crate) task: &'static str,
    pub(crate) message: Arc<str>,
}

pub(crate) enum Caller {
    /// An ask: the handling is a child of the caller's span.
    Asks(Span),
    /// A tell: the handling is a trace of its own that follows from the caller's span. Only the id of that
    /// span is kept, so that a queued message does not hold it open.
    Tells(span::Id),
}

impl Trace {
    /// The current span, if there is one.
    fn capture(message: fn() -> &'static str, asks: bool) -> Option<Box<Self>> {
        if LevelFilter::current() < LevelFilter::INFO {
            return None;
        }
        let span = Span::current();
        // The actor library keeps a span open for the whole life of each actor. That is not a caller.
        if span.metadata()?.target().starts_with(LIBRARY_LOG_TARGET) {
            return None;
        }
        let caller = if asks { Caller::Asks(span) } else { Caller::Tells(span.id()?) };
        Some(Box::new(Self { message: message(), caller }))
    }
}
