//! The ractor actor around each [`Server`].

use std::future::{poll_fn, ready};
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either};
use ractor::{ActorProcessingErr, ActorRef};
use tokio::sync::OwnedSemaphorePermit;
use tracing::Span;

use super::context::Cx;
use super::link::{Command, Report};
use super::server::Server;
use crate::address::{Body, Caller, Envelope, Seat, Trace};
use crate::exit::{BoxError, Exit, Fall};
use crate::published::{Load, Task};
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
    /// Whether it ends when all of its work is done.
    draining: bool,
    /// The task whose result is being handled. It counts until that is done.
    task_in_hand: Option<Task>,
    cx: Cx<S::Message>,
}

impl<S: Server> Running<S> {
    fn stop_if_drained(&self) {
        if self.draining && self.cx.load().is_nothing() {
            self.cx.end_now();
        }
    }

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
        self.seat.node.load.store(Arc::clone(&load));
        self.seat.node.busy_since_ms.store(0, Ordering::Relaxed);
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
                Ok(Running { state, server, draining: false, task_in_hand: None, cx })
            }
            Ok(Err(error)) => Err(Fall::start_failed(error)),
            Err(panic) => Err(Fall::start_panicked(panic)),
        }
    }

    /// Handles one message. The future is moved for each message, so it is kept small.
    async fn handle_message(
        &self,
        running: &mut Running<S>,
        message: S::Message,
        span: Option<Box<Span>>,
        is_counted: bool,
    ) -> Result<(), ActorProcessingErr> {
        let ended = {
            let Running { server, cx, state, .. } = running;
            let called = AssertUnwindSafe(|| server.handle(cx, message, state));
            let handling = match panic::catch_unwind(called) {
                Ok(handling) => handling,
                Err(panic) => return Err(Fall::panicked(panic).into()),
            };
            let mut handling = pin!(AssertUnwindSafe(handling).catch_unwind());
            let mut limit = None;
            poll_fn(|context| {
                let _entered = span.as_deref().map(Span::enter);
                let polled = handling.as_mut().poll(context).map(Some);
                if polled.is_pending() {
                    let limit = limit.get_or_insert_with(|| self.begin_waiting());
                    return limit.poll_unpin(context).map(|()| None);
                }
                polled
            })
            .await
        };
        match ended {
            Some(Ok(Ok(()))) => {
                let node = &self.seat.node;
                // There is no other writer, so a cheaper load and store will do.
                let handled = node.handled.load(Ordering::Relaxed);
                node.handled.store(handled + 1, Ordering::Relaxed);
                node.busy_since_ms.store(0, Ordering::Relaxed);
                self.dealt_with(running, is_counted);
                Ok(())
            }
            Some(Ok(Err(error))) => Err(Fall::failed(error).into()),
            Some(Err(panic)) => Err(Fall::panicked(panic).into()),
            None => Err(Fall(Exit::Stalled(self.stall_after.unwrap_or_default())).into()),
        }
    }

    /// A handler has to wait: starts its limit. A handler that never waits reads no clock.
    fn begin_waiting(&self) -> BoxFuture<'static, ()> {
        let since_ms = self.report.hub.elapsed_ms().saturating_add(1);
        self.seat.node.busy_since_ms.store(since_ms, Ordering::Relaxed);
        match self.stall_after {
            Some(limit) => tokio::time::sleep(limit).boxed(),
            None => std::future::pending().boxed(),
        }
    }

    /// Updates the counts when a message has been handled or skipped.
    fn dealt_with(&self, running: &mut Running<S>, is_counted: bool) {
        if is_counted {
            running.cx.load().remove_message();
        } else {
            running.task_in_hand = None;
            running.cx.reap_tasks();
        }
        self.seat.relieved(running.cx.load());
        running.stop_if_drained();
    }

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
        let (message, is_counted) = match body {
            // Its caller no longer waits: skip it.
            Body::Message(message) if is_withdrawn => {
                let dropped = dropped(message);
                self.dealt_with(running, true);
                return Either::Right(ready(dropped.map_err(ActorProcessingErr::from)));
            }
            Body::Message(message) => (message, true),
            Body::Own(message) | Body::Tick(message, _) => (message, false),
            Body::Result(message, task) => {
                running.task_in_hand = Some(task);
                (message, false)
            }
            Body::Drain(patience) => {
                running.draining = true;
                running.stop_if_drained();
                running.cx.drained_after(patience);
                return Either::Right(ready(Ok(())));
            }
            Body::Drained => {
                running.cx.end_now();
                return Either::Right(ready(Ok(())));
            }
            Body::TaskPanicked(panic) => {
                let message = format!("in its task {:?}: {}", panic.task, panic.message);
                let fall = Fall(Exit::Panicked(Arc::from(message)));
                return Either::Right(ready(Err(fall.into())));
            }
            #[cfg(feature = "chaos")]
            Body::Panic => {
                let panic = panic::catch_unwind(|| panic!("on purpose: inject_panic"));
                return Either::Right(ready(panic.map_err(|panic| Fall::panicked(panic).into())));
            }
        };
        let span = trace.map(|trace| Box::new(self.span(*trace)));
        Either::Left(self.handle_message(running, message, span, is_counted))
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

/// Drops a value of the actor's own code. If the drop panics, the actor falls.
fn dropped<T>(value: T) -> Result<(), Fall> {
    panic::catch_unwind(AssertUnwindSafe(|| drop(value))).map_err(Fall::panicked)
}
