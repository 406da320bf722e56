//! The ractor actor around each [`Server`].

use std::future::ready;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Either;
use ractor::{ActorProcessingErr, ActorRef};
use tokio::sync::OwnedSemaphorePermit;
use tracing::Span;

use super::context::Cx;
use super::handling::{Handling, Progress};
use super::link::{Command, Report};
use super::server::Server;
use crate::address::{Body, Caller, Control, Envelope, Seat, Trace};
use crate::exit::{BoxError, Exit, Fall};
use crate::published::Load;
use crate::quiet::Quiet;

/// The ractor actor around one incarnation.
pub(crate) struct Host<S: Server> {
    factory: Arc<dyn Fn() -> S + Send + Sync>,
    seat: Arc<Seat<S::Message>>,
    stall_after: Option<Duration>,
    report: Report,
}

/// What one incarnation owns. `None` before `init` has succeeded, and after `terminate`.
pub(crate) type Owned<S> = Option<Box<Running<S>>>;

/// Fields are dropped in this order: first the state; last, with `cx`, the tasks and the occupancy.
pub(crate) struct Running<S: Server> {
    state: Quiet<S::State>,
    server: Quiet<S>,
    progress: Progress,
    cx: Cx<S::Message>,
}

impl<S: Server> Running<S> {
    /// Ends the tasks, calls `terminate`, and drops state and server. The error is the first panic.
    async fn terminate(mut self) -> Result<(), Fall> {
        self.cx.end_tasks().await;
        let goodbye = async { self.server.terminate(&self.cx, &mut self.state).await };
        let goodbye = AssertUnwindSafe(Quiet::new(goodbye.boxed())).catch_unwind();
        let said = goodbye.await.map_err(Fall::panicked);
        let Self { state, server, cx: _cx, .. } = self;
        // Separately, so that the second is dropped even if the first panics.
        said.and(dropped(state.into_inner())).and(dropped(server.into_inner()))
    }
}

impl<S: Server> Host<S> {
    pub(crate) fn new(
        factory: Arc<dyn Fn() -> S + Send + Sync>,
        seat: Arc<Seat<S::Message>>,
        stall_after: Option<Duration>,
        report: Report,
    ) -> Self {
        Self { factory, seat, stall_after, report }
    }

    /// Waits until nothing of an earlier incarnation is left.
    async fn occupy(&self) -> Arc<OwnedSemaphorePermit> {
        if let Some(occupancy) = self.seat.node.try_occupy() {
            return occupancy;
        }
        self.report.say(Command::Waits);
        let occupancy = self.seat.node.occupy().await;
        self.report.say(Command::Begins);
        occupancy
    }

    async fn start(&self, myself: ActorRef<Envelope<S::Message>>) -> Result<Running<S>, Fall> {
        let occupancy = self.occupy().await;
        let load = Arc::new(Load::default());
        self.seat.node.set_load(Some(Arc::clone(&load)));
        let cx = Cx::new(&self.report, occupancy, myself, Arc::clone(&self.seat), load);
        let start = async {
            let server = Quiet::new((self.factory)());
            let state = Quiet::new(server.init(&cx).await?);
            Ok((server, state))
        };
        // If `init` is cut off, its future is dropped, and that may panic.
        let start = Quiet::new(start.boxed());
        let started: Result<Result<_, BoxError>, _> = AssertUnwindSafe(start).catch_unwind().await;
        match started {
            Ok(Ok((server, state))) => {
                Ok(Running { state, server, progress: Progress::default(), cx })
            }
            Ok(Err(error)) => Err(Fall::start_failed(error)),
            Err(panic) => Err(Fall::start_panicked(panic)),
        }
    }

    #[cold]
    fn span(&self, trace: Trace) -> Span {
        let (parent, follows) = match trace.caller {
            Caller::Asks(span) => (span.id(), None),
            Caller::Tells(id) => (None, Some(id)),
        };
        let span = tracing::info_span!(
            target: "mainstay::actor",
            parent: parent,
            "actor.handle",
            actor = &**self.seat.node.path(),
            incarnation = self.report.key.incarnation,
            message = trace.message,
        );
        if let Some(id) = follows {
            span.follows_from(id);
        }
        span
    }
}

impl<S: Server> ractor::Actor for Host<S> {
    type Msg = Envelope<S::Message>;
    type State = Owned<S>;
    type Arguments = ();

    /// Does nothing. It runs in the supervisor's task, where any work would delay every sibling.
    async fn pre_start(
        &self,
        _myself: ActorRef<Self::Msg>,
        _arguments: (),
    ) -> Result<Owned<S>, ActorProcessingErr> {
        Ok(None)
    }

    async fn post_start(
        &self,
        myself: ActorRef<Self::Msg>,
        owned: &mut Owned<S>,
    ) -> Result<(), ActorProcessingErr> {
        *owned = Some(Box::new(self.start(myself).await?));
        self.report.say(Command::Started);
        Ok(())
    }

    fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        mut envelope: Envelope<S::Message>,
        owned: &mut Owned<S>,
    ) -> impl Future<Output = Result<(), ActorProcessingErr>> + Send {
        let running = owned.as_mut().expect("messages come after a start that succeeded");
        let (body, trace) = (envelope.open(), envelope.trace.take());
        let is_withdrawn = envelope.question.as_ref().is_some_and(|question| !question.take());
        let Running { state, server, progress, cx } = &mut **running;
        let (message, is_counted) = match body {
            // Its caller no longer waits: skip it.
            Body::Message(message) if is_withdrawn => {
                let dropped = dropped(message);
                progress.end_message(cx, true);
                return Either::Right(ready(dropped.map_err(Into::into)));
            }
            Body::Message(message) => (message, true),
            Body::Own(message) | Body::Tick(message, _) => (message, false),
            Body::Result(message, task) => {
                progress.hold(task);
                (message, false)
            }
            Body::Control(control) => {
                return Either::Right(ready(obey(control, progress, cx).map_err(Into::into)));
            }
        };
        let span = trace.map(|trace| Box::new(self.span(*trace)));
        let cx = &*cx;
        match panic::catch_unwind(AssertUnwindSafe(|| server.handle(cx, message, state))) {
            Ok(work) => Either::Left(Handling {
                work: Some(work),
                limit: None,
                stall_after: self.stall_after,
                cx,
                progress,
                is_counted,
                span,
            }),
            Err(panic) => Either::Right(ready(Err(Fall::panicked(panic).into()))),
        }
    }

    /// Drops everything that the incarnation owns, in the actor's own task. What is left in `owned` is
    /// sent to the supervisor.
    async fn post_stop(
        &self,
        _myself: ActorRef<Self::Msg>,
        owned: &mut Owned<S>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(running) = owned.take() else { return Ok(()) };
        Ok(running.terminate().await?)
    }
}

/// Out of the way of the messages, which are many.
#[cold]
fn obey<M: Send + 'static>(
    control: Control,
    progress: &mut Progress,
    cx: &Cx<M>,
) -> Result<(), Fall> {
    match control {
        Control::TaskPanicked(panic) => {
            let message = format!("in its task {:?}: {}", panic.task, panic.message);
            return Err(Fall(Exit::Panicked(Arc::from(message))));
        }
        Control::Drain(patience) => {
            progress.drain(cx);
            cx.drained_after(patience);
        }
        Control::Drained => cx.end_now(),
        #[cfg(feature = "chaos")]
        Control::Panic => {
            panic::catch_unwind(|| panic!("on purpose: inject_panic")).map_err(Fall::panicked)?;
        }
    }
    Ok(())
}

/// Drops a value of the actor's own code. If the drop panics, the actor falls.
fn dropped<T>(value: T) -> Result<(), Fall> {
    panic::catch_unwind(AssertUnwindSafe(|| drop(value))).map_err(Fall::panicked)
}
