//! The ractor actor around each [`Server`].

use std::future::{poll_fn, ready};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either};
use ractor::{ActorProcessingErr, ActorRef};
use tokio::time::Instant;
use tracing::Span;

use super::context::Cx;
use super::link::{Command, Report};
use super::server::Server;
use crate::address::{Body, Caller, Envelope, Seat, Trace};
use crate::exit::{BoxError, Exit, Fall, error_message, panic_message};

/// One incarnation, before and beyond what it owns.
pub(crate) struct Host<S: Server> {
    factory: Arc<dyn Fn() -> S + Send + Sync>,
    seat: Arc<Seat<S::Message>>,
    stall_after: Option<Duration>,
    report: Report,
}

/// What one incarnation owns. Empty before `init` is done and after `terminate`.
pub(crate) type Owned<S> = Option<Box<Running<S>>>;

/// Fields are dropped in this order: the state first; in the end, with the `cx`, the tasks and the
/// place that all of it occupies.
pub(crate) struct Running<S: Server> {
    state: S::State,
    server: S,
    /// Messages in this incarnation's mailbox.
    depth: Arc<AtomicUsize>,
    cx: Cx<S::Message>,
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

    async fn start(&self, myself: ActorRef<Envelope<S::Message>>) -> Result<Running<S>, Fall> {
        let occupancy = self.seat.node.occupy().await;
        let depth = Arc::new(AtomicUsize::new(0));
        self.seat.node.depth.store(Arc::clone(&depth));
        self.seat.node.busy_since_ms.store(0, Ordering::Relaxed);
        let cx = Cx::new(&self.report, occupancy, myself, Arc::clone(&self.seat));
        let start = async {
            let server = (self.factory)();
            let state = server.init(&cx).await?;
            Ok((server, state))
        };
        let started: Result<Result<_, BoxError>, _> = AssertUnwindSafe(start).catch_unwind().await;
        match started {
            Ok(Ok((server, state))) => Ok(Running { state, server, depth, cx }),
            Ok(Err(error)) => Err(Fall(Exit::StartFailed(error_message(error.as_ref())))),
            Err(panic) => Err(Fall(Exit::StartFailed(panic_message(panic.as_ref())))),
        }
    }

    /// Handles one message. The future is moved about for each message: it is kept small.
    async fn handle_message(
        &self,
        running: &mut Running<S>,
        message: S::Message,
        span: Option<Box<Span>>,
        is_counted: bool,
    ) -> Result<(), ActorProcessingErr> {
        let ended = {
            let handling = running.server.handle(&running.cx, message, &mut running.state);
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
                self.dealt_with(running, is_counted);
                Ok(())
            }
            Some(Ok(Err(error))) => Err(Fall::failed(error).into()),
            Some(Err(panic)) => Err(Fall::panicked(panic.as_ref()).into()),
            None => Err(Fall(Exit::Stalled(self.stall_after.unwrap_or_default())).into()),
        }
    }

    /// A handling has to wait: how long it may. One that never waits costs no look at a clock.
    fn begin_waiting(&self) -> BoxFuture<'static, ()> {
        let since_ms = self.report.hub.elapsed_ms().saturating_add(1);
        self.seat.node.busy_since_ms.store(since_ms, Ordering::Relaxed);
        match self.stall_after {
            Some(limit) => tokio::time::sleep(limit).boxed(),
            None => std::future::pending().boxed(),
        }
    }

    /// A message has been dealt with.
    fn dealt_with(&self, running: &Running<S>, is_counted: bool) {
        let node = &self.seat.node;
        // No other writer: a read-modify-write would be paid for nothing.
        let handled = node.handled.load(Ordering::Relaxed);
        node.handled.store(handled + 1, Ordering::Relaxed);
        node.busy_since_ms.store(0, Ordering::Relaxed);
        if is_counted {
            let before = running.depth.fetch_sub(1, Ordering::Relaxed);
            self.seat.relieved(before - 1);
        }
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

    /// Does nothing: it runs in the supervisor's task, and would hold up every sibling.
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
        self.report.supervisor.send_message(Command::Started(self.report.key)).ok();
        Ok(())
    }

    fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        envelope: Envelope<S::Message>,
        owned: &mut Owned<S>,
    ) -> impl Future<Output = Result<(), ActorProcessingErr>> + Send {
        let Envelope { body, deadline, trace } = envelope;
        let running = owned.as_mut().expect("messages come after a start that succeeded");
        let is_counted = matches!(body, Body::Message(_));
        let done = match body {
            // Nobody waits for the answer any more.
            Body::Message(_) if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                self.dealt_with(running, is_counted);
                Ok(())
            }
            Body::Message(message) | Body::Own(message) | Body::Tick(message, _) => {
                let span = trace.map(|trace| Box::new(self.span(*trace)));
                return Either::Left(self.handle_message(running, message, span, is_counted));
            }
            Body::TaskPanicked(panic) => {
                let message = format!("in its task {:?}: {}", panic.task, panic.message);
                Err(Fall(Exit::Panicked(Arc::from(message))).into())
            }
            #[cfg(feature = "chaos")]
            Body::Panic => {
                let panic = std::panic::catch_unwind(|| panic!("on purpose: inject_panic"));
                panic.map_err(|panic| Fall::panicked(panic.as_ref()).into())
            }
        };
        Either::Right(ready(done))
    }

    /// Everything the incarnation owns is dropped here, in its own task: what is left in `owned`
    /// travels to the supervisor.
    async fn post_stop(
        &self,
        _myself: ActorRef<Self::Msg>,
        owned: &mut Owned<S>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(mut running) = owned.take() else { return Ok(()) };
        let goodbye = async {
            running.cx.end_tasks().await;
            running.server.terminate(&running.cx, &mut running.state).await;
        };
        let said = AssertUnwindSafe(goodbye).catch_unwind().await;
        // Apart, for a drop that panics while a panic unwinds ends the whole process.
        let dropped = std::panic::catch_unwind(AssertUnwindSafe(|| drop(running)));
        match said.and(dropped) {
            Ok(()) => Ok(()),
            Err(panic) => Err(Fall::panicked(panic.as_ref()).into()),
        }
    }
}
