//! The ractor actor around each [`Server`].

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures_util::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::Instant;
use tracing::Instrument;

use crate::driver::{Command, Report};
use crate::exit::{BoxError, Exit, error_message, panic_message};
use crate::handle::{Body, Caller, Envelope, Slot};
use crate::server::{Cx, Server};

/// One incarnation.
///
/// The user's state lives here and not in ractor's `State`, which on a clean stop travels to the
/// supervisor's task and is dropped there: a slow or panicking drop would hit the supervisor. This
/// value is dropped in the actor's own task on every path.
pub(crate) struct Host<S: Server> {
    // Fields are dropped in this order: the state before the place it occupies.
    state: Mutex<Option<S::State>>,
    running: OnceLock<Running<S>>,
    factory: Arc<dyn Fn() -> S + Send + Sync>,
    slot: Arc<Slot<S::Message>>,
    report: Report,
}

struct Running<S: Server> {
    server: S,
    cx: Cx<S::Message>,
}

/// How an incarnation fell, on its way through ractor to the supervisor.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Fall(pub(crate) Exit);

impl Fall {
    fn panicked(payload: &(dyn std::any::Any + Send)) -> Self {
        Self(Exit::Panicked(panic_message(payload)))
    }

    fn failed(error: BoxError) -> Self {
        Self(Exit::Failed(Arc::from(error)))
    }
}

impl<S: Server> Host<S> {
    pub(crate) fn new(
        factory: Arc<dyn Fn() -> S + Send + Sync>,
        slot: Arc<Slot<S::Message>>,
        report: Report,
    ) -> Self {
        Self { state: Mutex::new(None), running: OnceLock::new(), factory, slot, report }
    }

    fn state(&self) -> MutexGuard<'_, Option<S::State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn start(&self, myself: ActorRef<Envelope<S::Message>>) -> Result<(), Fall> {
        let occupancy = self.slot.node.occupy().await;
        self.slot.node.busy_since_ms.store(0, Ordering::Relaxed);
        let cx = Cx::new(&self.report, occupancy, myself, Arc::clone(&self.slot));
        let start = async {
            let server = (self.factory)();
            let running = self.running.get_or_init(|| Running { server, cx });
            running.server.init(&running.cx).await
        };
        let state = match AssertUnwindSafe(start).catch_unwind().await {
            Ok(Ok(state)) => state,
            Ok(Err(error)) => return Err(Fall(Exit::StartFailed(error_message(error.as_ref())))),
            Err(panic) => return Err(Fall(Exit::StartFailed(panic_message(panic.as_ref())))),
        };
        *self.state() = Some(state);
        Ok(())
    }

    async fn handle_message(&self, message: S::Message) -> Result<(), Fall> {
        let running = self.running.get().expect("messages come after a start that succeeded");
        // Taken out for the time of the handling: whichever way it ends, the state is dropped in
        // this task, unless it is put back.
        let mut state = self.state().take().expect("ractor handles one message at a time");
        let handling = running.server.handle(&running.cx, message, &mut state);
        match AssertUnwindSafe(handling).catch_unwind().await {
            Ok(Ok(())) => {
                *self.state() = Some(state);
                Ok(())
            }
            Ok(Err(error)) => Err(Fall::failed(error)),
            Err(panic) => Err(Fall::panicked(panic.as_ref())),
        }
    }

    async fn say_goodbye(&self) -> Result<(), Fall> {
        let Some(running) = self.running.get() else { return Ok(()) };
        running.cx.end_tasks().await;
        let Some(mut state) = self.state().take() else { return Ok(()) };
        let goodbye = async {
            running.server.terminate(&running.cx, &mut state).await;
            drop(state);
        };
        let ended = AssertUnwindSafe(goodbye).catch_unwind().await;
        ended.map_err(|panic| Fall::panicked(panic.as_ref()))
    }

    fn span(&self, name: &'static str, caller: Caller) -> Option<tracing::Span> {
        let (parent, follows) = match caller {
            Caller::Untraced => return None,
            Caller::Asks(span) => (span.id(), None),
            Caller::Tells(id) => (None, Some(id)),
        };
        let span = tracing::info_span!(
            target: "mainstay::actor",
            parent: parent,
            "actor.handle",
            actor = &**self.slot.node.path(),
            incarnation = self.report.key.incarnation,
            message = name,
        );
        if let Some(id) = follows {
            span.follows_from(id);
        }
        Some(span)
    }
}

impl<S: Server> Actor for Host<S> {
    type Msg = Envelope<S::Message>;
    type State = ();
    type Arguments = ();

    /// Does nothing: it runs in the supervisor's task, and would hold up every sibling.
    async fn pre_start(
        &self,
        _myself: ActorRef<Self::Msg>,
        _arguments: (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn post_start(
        &self,
        myself: ActorRef<Self::Msg>,
        _state: &mut (),
    ) -> Result<(), ActorProcessingErr> {
        self.start(myself).await?;
        self.report.supervisor.send_message(Command::Started(self.report.key)).ok();
        Ok(())
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        envelope: Envelope<S::Message>,
        _state: &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let Envelope { body, name, deadline, caller, _place } = envelope;
        let now = Instant::now();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Ok(());
        }
        let node = &self.slot.node;
        let since = now.saturating_duration_since(self.report.hub.started).as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1);
        node.busy_since_ms.store(since, Ordering::Relaxed);
        let handled = match body {
            Body::Message(message) => match self.span(name, caller) {
                Some(span) => self.handle_message(message).instrument(span).await,
                None => self.handle_message(message).await,
            },
            Body::TaskPanicked { task, message } => {
                let message = format!("in its task {task:?}: {message}");
                Err(Fall(Exit::Panicked(Arc::from(message))))
            }
            #[cfg(feature = "chaos")]
            Body::Panic => {
                let chaos = async { panic!("on purpose: inject_panic") };
                let panic = AssertUnwindSafe(chaos).catch_unwind().await;
                panic.map_err(|panic| Fall::panicked(panic.as_ref()))
            }
        };
        node.busy_since_ms.store(0, Ordering::Relaxed);
        node.handled.fetch_add(1, Ordering::Relaxed);
        self.slot.relieved();
        Ok(handled?)
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<Self::Msg>,
        _state: &mut (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(self.say_goodbye().await?)
    }
}
