use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_actors::supervision::{Notice, Nursery, Request, ShutdownReport, State, TreeSnapshot};
use mainstay_actors::tree::Dependency;
use mainstay_actors::{AskError, Tree};

use crate::draining::Drain;
use crate::logging::Running;
use crate::{Cache, Config, Draining, Recipient, Resources, Result};

/// The state that all handlers of a service share: access to Redis, to the actors, and to the
/// configuration.
///
/// It is the router's state, `State(state): State<AppState>`, or a part of the service's own by
/// `impl FromRef<MyState> for AppState`. Clones share everything and are cheap.
#[derive(Clone)]
pub struct AppState {
    inner: Arc<Inner>,
}

struct Inner {
    tree: Tree,
    resources: Resources,
    version: Option<String>,
    is_ending: AtomicBool,
    drain: Drain,
    running: Mutex<Option<Running>>,
}

impl AppState {
    pub(crate) fn new(tree: Tree, config: &Arc<Config>, version: Option<String>) -> Self {
        Self {
            inner: Arc::new(Inner {
                resources: Resources::new(tree.ways(), config),
                tree,
                version,
                is_ending: AtomicBool::new(false),
                drain: Drain::new(),
                running: Mutex::new(Some(Running::begin())),
            }),
        }
    }

    /// The cache at the default endpoint. It is available while Redis is away too. What it subscribes to
    /// ends when the service [drains](Draining). Answers from memory.
    ///
    /// # Errors
    /// [`Error::FeatureOff`](crate::Error::FeatureOff) in a service that was built without the
    /// feature `cache`.
    pub fn cache(&self) -> Result<Cache> {
        self.inner.resources.cache().map(Cache::until_drain)
    }

    /// The cache at the endpoint of the section `[redis.endpoints.<name>]`. It is available while that
    /// Redis is away too. Answers from memory.
    ///
    /// ```
    /// # #[cfg(feature = "cache")]
    /// # mod service {
    /// # use mainstay::prelude::*;
    /// async fn attempts(State(state): State<AppState>, Path(user): Path<String>) -> Result<String> {
    ///     let mut conn = state.cache_of("limits")?.get().await?;
    ///     let attempts: u64 = conn.incr(format!("attempts:{user}"), 1).await?;
    ///     Ok(attempts.to_string())
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Error::NoEndpoint`, which lists the names that exist, and the errors of [`cache`](Self::cache).
    pub fn cache_of(&self, name: &str) -> Result<Cache> {
        self.inner.resources.cache_of(name).map(Cache::until_drain)
    }

    /// The same as [`cache`](Self::cache).
    ///
    /// # Errors
    /// Those of `cache`.
    pub fn redis(&self) -> Result<Cache> {
        self.cache()
    }

    /// Sends `request` to the actor that takes it, and waits for the reply: until the deadline of the
    /// current HTTP request, else for `supervision.ask_timeout` (default 5 s). Asks the actor.
    ///
    /// # Errors
    /// [`AskError`]; its [`outcome`](AskError::outcome) says whether asking again is safe. *Cancel
    /// safety*: if the future is dropped, the actor may or may not have acted.
    pub async fn ask<R: Request>(&self, request: R) -> Result<R::Reply, AskError> {
        self.inner.tree.ask(request).await
    }

    /// Sends `notice` to the actor that takes it, and does not wait.
    ///
    /// # Errors
    /// [`AskError`]: the notice was not accepted.
    pub fn tell<N: Notice>(&self, notice: N) -> Result<(), AskError> {
        self.inner.tree.tell(notice)
    }

    /// The recipient of messages of type `M`. Answers from memory.
    ///
    /// # Errors
    /// [`AskError::NoTaker`] names the message.
    pub fn recipient<M: 'static>(&self) -> Result<Recipient<M>, AskError> {
        Ok(Recipient::new(self.inner.tree.recipient()?, self.config().supervision.ask_timeout))
    }

    /// The whole tree of actors as it is now. Answers from memory.
    pub fn tree(&self) -> TreeSnapshot {
        self.inner.tree.snapshot()
    }

    /// The configuration that the service runs with. Answers from memory.
    pub fn config(&self) -> &Config {
        self.inner.resources.config()
    }

    /// The nursery, which runs work that a request starts and that outlives the request: at most 1 024
    /// tasks at once. Those that still run when the service ends are aborted. Answers from memory.
    ///
    /// ```
    /// # use mainstay::prelude::*;
    /// async fn order(State(state): State<AppState>) -> Result<StatusCode> {
    ///     state.nursery().start("mail", async { /* sends the mail */ })?;
    ///     Ok(StatusCode::ACCEPTED)
    /// }
    /// ```
    pub fn nursery(&self) -> &Nursery {
        self.inner.tree.nursery()
    }

    /// A future that is ready once the service drains, for whatever goes on for as long as its client
    /// likes. Answers from memory.
    pub fn draining(&self) -> Draining {
        self.inner.drain.draining()
    }

    /// Begins the drain: the service is not ready from now on, [`Draining`] is ready, and subscriptions
    /// that handlers made come to their end. More than once is once. Answers from memory.
    ///
    /// [`Bound::serve`](crate::Bound::serve) does this by itself. An app that serves itself does it when
    /// it stops accepting, because what waits for the drain holds up the end of its connections.
    pub fn drain(&self) {
        self.leave_rotation();
        self.inner.drain.begin();
        self.inner.tree.drain();
    }

    /// Stops every actor in reverse start order, within `budget`, after it has begun the
    /// [drain](Self::drain). Then waits until the lines of its log are written, for at most half a second more.
    ///
    /// [`Bound::serve`](crate::Bound::serve) does this by itself.
    pub async fn shutdown(&self, budget: Duration) -> ShutdownReport {
        self.drain();
        let report = self.inner.tree.shutdown(budget).await;
        self.stop_running();
        report
    }

    /// Makes an actor panic in its next message, as a bug would.
    ///
    /// # Errors
    /// [`NoActor`](crate::actor::NoActor) if no actor of this id is running.
    #[cfg(feature = "chaos")]
    pub fn inject_panic(&self, id: &str) -> Result<(), crate::actor::NoActor> {
        self.inner.tree.system().inject_panic(id)
    }

    /// Makes the service not ready from now on.
    pub(crate) fn leave_rotation(&self) {
        self.inner.is_ending.store(true, Ordering::Relaxed);
    }

    /// Writes out the log: the process may end now.
    pub(crate) fn stop_running(&self) {
        let running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(running);
    }

    /// Whether the service is not shutting down and all of its supervisors run.
    pub(crate) fn is_running(&self) -> bool {
        if self.inner.is_ending.load(Ordering::Relaxed) {
            return false;
        }
        let root = self.tree();
        let mut supervisors = root.children.iter().filter(|child| child.strategy.is_some());
        root.state == State::Up && supervisors.all(|child| child.state == State::Up)
    }

    pub(crate) fn dependencies(&self) -> Vec<Dependency> {
        self.inner.tree.dependencies()
    }

    pub(crate) fn inner_tree(&self) -> &Tree {
        &self.inner.tree
    }

    pub(crate) fn version(&self) -> Option<&str> {
        self.inner.version.as_deref()
    }
}

impl fmt::Debug for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppState")
            .field("service", &self.config().service.name)
            .finish_non_exhaustive()
    }
}
