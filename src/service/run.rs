use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use futures_util::future::BoxFuture;
use mainstay_actors::Tree;
use mainstay_actors::supervision::{Cause, Defaults, Intensity, ShutdownReport};
use mainstay_actors::tree::{AddActor, Limits, Setup};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout_at};

use super::connections::Connections;
use super::listener::Listener;
use super::stop::Stop;
use crate::config::{Loaded, Process, Surroundings, supervision};
use crate::logging::{self, LAST_LINES};
use crate::web::Edge;
use crate::{AppState, Config, Error, Result};

/// A service that was described and not yet started. It needs no runtime.
pub struct Service {
    plan: Plan,
    assemble: Assemble,
}

type Assemble = Box<dyn FnOnce(AppState) -> Router + Send>;

type Change = Box<dyn FnOnce(&mut Config) + Send>;
type MakeActor = Box<dyn FnOnce(Arc<Config>) -> AddActor + Send>;

/// What a service is besides its routes.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) config: Option<Config>,
    pub(super) changes: Vec<Change>,
    pub(super) actors: Vec<MakeActor>,
    pub(super) listener: Option<Listener>,
    pub(super) shutdown: Option<BoxFuture<'static, ()>>,
}

/// A service that has its port and its actors, and does not answer yet. Requests wait from now on.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    edge: Edge,
    state: AppState,
    stop: Stop,
}

impl Service {
    pub(super) fn new(plan: Plan, assemble: Assemble) -> Self {
        Self { plan, assemble }
    }

    /// Starts the service and answers requests until SIGTERM or SIGINT; then ends in good order.
    ///
    /// # Errors
    /// As [`bind`](Self::bind) and [`Bound::serve`].
    pub async fn serve(self) -> Result<()> {
        self.bind().await?.serve().await
    }

    /// Reads the configuration, takes the port and starts the actors. Redis need not be there.
    ///
    /// # Errors
    /// The first thing that keeps the service from running, with what to do about it:
    /// [`Error::Config`] with all faults, [`Error::Listen`], [`Error::Start`].
    ///
    /// # Panics
    /// If two routes of the service conflict.
    pub async fn bind(self) -> Result<Bound> {
        let Self { mut plan, assemble } = self;
        let config = configure(&mut plan)?;
        let (listener, address) = match plan.listener.take() {
            Some(listener) => listener.into_tokio()?,
            None => listen(SocketAddr::new(config.service.bind, config.service.port)).await?,
        };
        let stop = Stop::new(plan.shutdown.take())?;
        let state = start(plan, config).await?;
        let edge = Edge::around(assemble(state.clone()), state.clone());
        Ok(Bound { listener, address, edge, state, stop })
    }

    /// Starts the actors and leaves the HTTP to the caller, who ends them with
    /// [`AppState::shutdown`]. The router is the whole service, with `/health` and `/ready`.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Start`].
    ///
    /// # Panics
    /// If two routes of the service conflict.
    pub async fn into_router(self) -> Result<(Router, AppState)> {
        let Self { mut plan, assemble } = self;
        let config = configure(&mut plan)?;
        let state = start(plan, config).await?;
        Ok((Edge::around(assemble(state.clone()), state.clone()).into_router(), state))
    }
}

impl AppState {
    /// Starts the actors of a service by `config`, for an axum app that has no
    /// [`ServiceBuilder`](crate::ServiceBuilder). Redis need not be there.
    ///
    /// What a `ServiceBuilder` would add is at hand one by one: [`health_routes`](Self::health_routes),
    /// and what each request passes first as [`GuardLayer`](crate::middleware::GuardLayer). The caller
    /// serves, and ends the actors with [`shutdown`](Self::shutdown). No log is set up, and the keys of `[service]` that
    /// are neither of these two's have no effect: `bind` and `port`, `body_limit`, `compression`, `cors`, and the times
    /// for ending.
    ///
    /// ```no_run
    /// use mainstay::middleware::GuardLayer;
    /// use mainstay::prelude::*;
    ///
    /// # async fn whole() -> Result<()> {
    /// let state = AppState::start(mainstay::Config::load()?).await?;
    /// let app = Router::new()
    ///     .route("/greetings/{name}", get(greeting))
    ///     .layer(GuardLayer::new(&state))
    ///     .merge(state.health_routes())
    ///     .with_state(state.clone());
    ///
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    /// let draining = state.clone();
    /// let ended = async move {
    ///     tokio::signal::ctrl_c().await.unwrap_or_default();
    ///     draining.drain(); // what waits for it ends, and its connections with it
    /// };
    /// mainstay::axum::serve(listener, app).with_graceful_shutdown(ended).await?;
    /// state.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(())
    /// # }
    /// # async fn greeting() {}
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] with all faults, or [`Error::Start`].
    pub async fn start(config: Config) -> Result<Self> {
        config.validate()?;
        start(Plan::default(), config).await
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let failed = |source| Error::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn configure(plan: &mut Plan) -> Result<Config> {
    let (name, changes) = (plan.name.take(), std::mem::take(&mut plan.changes));
    let change = |config: &mut Config| changes.into_iter().for_each(|change| change(config));
    let loaded = match plan.config.take() {
        Some(mut config) => {
            config.service.name = name.unwrap_or(config.service.name);
            change(&mut config);
            config.validate()?;
            Loaded::in_code(config)
        }
        None => Config::load_changed(&Process, name.as_deref(), change)?,
    };
    logging::install(&loaded.config.service.log_level);
    Ok(loaded.logged())
}

async fn start(plan: Plan, config: Config) -> Result<AppState> {
    let surroundings = Surroundings::of(&Process);
    let mut setup = Setup::new(&config.service.name);
    #[cfg(feature = "cache")]
    {
        setup.redis = config.redis.clone();
        setup.endpoints = config.endpoints.clone();
    }
    if let Some(path) = surroundings.path {
        setup.search_path = path;
    }
    setup.temp_dir = surroundings.temporary_directory;
    setup.limits = limits(&config.supervision);
    let config = Arc::new(config);
    let add = |make: MakeActor| make(Arc::clone(&config));
    let own = plan.actors.into_iter().map(add).collect();
    let tree = Tree::start_with(setup, own).await?;
    Ok(AppState::new(tree, &config, plan.version))
}

fn limits(config: &supervision::Config) -> Limits {
    let mut actors = Defaults {
        capacity: config.mailbox_capacity,
        start_timeout: config.start_timeout,
        ..Defaults::default()
    };
    actors.backoff.min = config.backoff_min;
    actors.backoff.max = config.backoff_max;
    actors.backoff.stable_after = config.stable_after;
    let intensity = Intensity { max: config.intensity, within: config.within };
    Limits { intensity, actors, ask_timeout: config.ask_timeout }
}

/// How much of the time for ending is kept for the actors, however long the last requests take: one
/// part in this many.
const PARTS_FOR_THE_TREE: u32 = 5;

/// How much of it is kept, at most, for the last lines of the log.
const PARTS_FOR_THE_LOG: u32 = 10;

impl Bound {
    /// Where the service listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What its handlers share.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Answers requests until SIGTERM or SIGINT, or until the actors cannot be kept running. Then:
    /// not ready, the drain delay, no new connections, the drain ([`Draining`](crate::Draining), the last
    /// requests), the actors, the last lines of the log; all within `service.shutdown_timeout`.
    ///
    /// *Cancel safety*: when dropped, connections are cut and the actors ended.
    ///
    /// # Errors
    /// [`Error::GaveUp`] with the cause when the actors could not be kept running,
    /// [`Error::Interrupted`] when a second signal came half a second later or more, and before the
    /// end.
    pub async fn serve(self) -> Result<()> {
        let Self { listener, address, edge, state, mut stop } = self;
        let name = &state.config().service.name;
        let version = state.version();
        tracing::info!(%name, version, %address, "serving");

        let mut connections = Connections::new(edge, &state.config().service);
        let gave_up = tokio::select! {
            never = connections.accept(&listener) => match never {},
            () = stop.asked() => None,
            cause = state.inner_tree().failed() => Some(cause),
        };
        tokio::select! {
            () = end(listener, connections, &state) => {}
            () = stop.asked_again() => {
                state.stop_running();
                return Err(Error::Interrupted);
            }
        }
        tracing::info!(%name, "stopped");
        gave_up.map_or(Ok(()), |cause: Arc<Cause>| Err(Error::GaveUp(cause)))
    }
}

async fn end(listener: TcpListener, mut connections: Connections, state: &AppState) {
    let config = &state.config().service;
    let budget = config.shutdown_timeout;
    let begun = Instant::now();
    let last_request = begun + budget - budget / PARTS_FOR_THE_TREE;
    // What was logged is written after the end of the actors.
    let end = begun + budget - LAST_LINES.min(budget / PARTS_FOR_THE_LOG);
    state.leave_rotation();

    let until = last_request.min(Instant::now() + config.drain_delay);
    if let Ok(never) = timeout_at(until, connections.accept(&listener)).await {
        match never {}
    }
    connections.accept_last(&listener).await;
    drop(listener);
    // Not sooner: during the delay a client that is told to go would come back here.
    state.drain();
    if timeout_at(last_request, connections.finish()).await.is_err() {
        tracing::warn!(
            connections = connections.open(),
            "cutting off connections that are still in use"
        );
        // A request that blocks its thread cannot be cut off.
        timeout_at(end, connections.cut()).await.ok();
    }

    let report: ShutdownReport =
        state.shutdown(end.saturating_duration_since(Instant::now())).await;
    if !report.is_clean() {
        let ShutdownReport { killed, leaked, .. } = report;
        tracing::warn!(?killed, ?leaked, "actors did not end in time");
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("name", &self.plan.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("address", &self.address).finish_non_exhaustive()
    }
}
