use std::fmt;

use axum::Router;
use axum::extract::FromRef;
use futures_util::FutureExt;
use mainstay_actors::supervision::{Actor, Server};
use mainstay_actors::tree::add_actor;

use super::listener::Listener;
use super::run::{Plan, Service};
use crate::{AppState, Config, Resources, Result};

/// Describes a service: its routes, its state, what they are wrapped in, its actors. The order of
/// the calls makes no difference, except that `with_middleware` called later wraps what was called
/// earlier.
///
/// `S` is the state of its routes, [`AppState`] unless [`with_state`](Self::with_state) gives
/// another.
pub struct ServiceBuilder<S = AppState> {
    plan: Plan,
    routes: Router<S>,
    make_state: Box<dyn FnOnce(AppState) -> S + Send>,
    middleware: Vec<Wrap>,
    /// Routes whose state is known, from before a call of `with_state`.
    settled: Vec<Settle>,
}

type Wrap = Box<dyn FnOnce(Router) -> Router + Send>;
type Settle = Box<dyn FnOnce(AppState) -> Router + Send>;

impl ServiceBuilder {
    /// A service without routes, configured by files and environment.
    pub fn new() -> Self {
        Self {
            plan: Plan::default(),
            routes: Router::new(),
            make_state: Box::new(|app| app),
            middleware: Vec::new(),
            settled: Vec::new(),
        }
    }
}

impl Default for ServiceBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Clone + Send + Sync + 'static> ServiceBuilder<S> {
    /// What the service is called: by `/health` and `/ready`, in the log, in `CLIENT LIST`, and in
    /// the paths of its configuration. Default `ACTON_SERVICE_NAME`, else the program's file name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.plan.name = Some(name.into());
        self
    }

    /// The service's own version, for `/health` and the log: `env!("CARGO_PKG_VERSION")`. Default
    /// none.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.plan.version = Some(version.into());
        self
    }

    /// Takes this configuration as it is; no file and no variable is read.
    #[must_use]
    pub fn with_config(mut self, config: Config) -> Self {
        self.plan.config = Some(config);
        self
    }

    /// Changes the configuration: above every file and variable, and above
    /// [`with_config`](Self::with_config). A later change comes after an earlier one.
    ///
    /// ```
    /// # use mainstay::prelude::*;
    /// let service = ServiceBuilder::new().configure(|config| config.service.port = 3000);
    /// ```
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut Config) + Send + 'static) -> Self {
        self.plan.changes.push(Box::new(change));
        self
    }

    /// Gives the routes a state of the service's own, made when the service starts. Routes that
    /// were added earlier keep the state they were written for.
    #[must_use]
    pub fn with_state<T>(
        self,
        make: impl FnOnce(AppState) -> T + Send + 'static,
    ) -> ServiceBuilder<T>
    where
        T: Clone + Send + Sync + 'static,
        AppState: FromRef<T>,
    {
        let Self { plan, routes, make_state, middleware, mut settled } = self;
        settled.push(Box::new(move |app| routes.with_state(make_state(app))));
        ServiceBuilder {
            plan,
            routes: Router::new(),
            make_state: Box::new(make),
            middleware,
            settled,
        }
    }

    /// Adds routes: those of [`VersionedApiBuilder`](crate::VersionedApiBuilder), or any other
    /// router. `/health` and `/ready` stay the service's own.
    ///
    /// # Panics
    /// If two routes have the same path and method, or two routers a fallback.
    #[must_use]
    pub fn with_routes(mut self, routes: impl Into<Router<S>>) -> Self {
        self.routes = self.routes.merge(routes.into());
        self
    }

    /// Wraps all routes, whether they are added before or after this call: `|router|
    /// router.layer(..)`. What is given later is outside of what is given earlier; `/health` and
    /// `/ready` are outside of all.
    #[must_use]
    pub fn with_middleware(mut self, wrap: impl FnOnce(Router) -> Router + Send + 'static) -> Self {
        self.middleware.push(Box::new(wrap));
        self
    }

    /// Adds an actor of the service's own, supervised under `application`.
    #[must_use]
    pub fn with_actor<A: Server>(self, actor: Actor<A>) -> Self {
        self.with_actor_using(|_| Ok(actor))
    }

    /// Adds an actor that needs Redis or the configuration: `make` is called once, before any actor
    /// is started.
    ///
    /// ```
    /// # #[cfg(feature = "cache")]
    /// # mod service {
    /// # use mainstay::actor::{Actor, BoxError, Cx, Server};
    /// # use mainstay::prelude::*;
    /// struct Reads {
    ///     cache: mainstay::Cache,
    /// }
    /// # impl Server for Reads {
    /// #     type Message = ();
    /// #     type State = ();
    /// #     async fn init(&self, _: &Cx<()>) -> Result<(), BoxError> { Ok(()) }
    /// #     async fn handle(&self, _: &Cx<()>, (): (), (): &mut ()) -> Result<(), BoxError> { Ok(()) }
    /// # }
    ///
    /// # fn service() -> ServiceBuilder {
    /// ServiceBuilder::new().with_actor_using(|resources| {
    ///     let cache = resources.cache()?;
    ///     Ok(Actor::new("reads", move || Reads { cache: cache.clone() }))
    /// })
    /// # }
    /// # }
    /// ```
    ///
    /// An error of `make` comes out of [`Service::bind`].
    #[must_use]
    pub fn with_actor_using<A: Server>(
        mut self,
        make: impl FnOnce(&Resources) -> Result<Actor<A>> + Send + 'static,
    ) -> Self {
        self.plan
            .actors
            .push(Box::new(|config| add_actor(move |ways| make(&Resources::new(ways, &config)))));
        self
    }

    /// Listens on a socket that is already bound: by a test, or by the program that started the process.
    /// The configured address is not used.
    #[must_use]
    pub fn with_listener(mut self, listener: impl Into<Listener>) -> Self {
        self.plan.listener = Some(listener.into());
        self
    }

    /// Ends the service in good order when `ended` completes, instead of at SIGTERM or SIGINT.
    #[must_use]
    pub fn with_shutdown(mut self, ended: impl Future<Output = ()> + Send + 'static) -> Self {
        self.plan.shutdown = Some(ended.boxed());
        self
    }

    /// The service as described. Does nothing yet, and cannot fail: whatever is wrong comes out of
    /// [`Service::serve`] or [`Service::bind`].
    pub fn build(self) -> Service {
        let Self { plan, routes, make_state, middleware, settled } = self;
        let assemble = move |app: AppState| {
            let routes = routes.with_state(make_state(app.clone()));
            let routes = settled
                .into_iter()
                .fold(routes, |routes, settle| routes.merge(settle(app.clone())));
            middleware.into_iter().fold(routes, |routes, wrap| wrap(routes))
        };
        Service::new(plan, Box::new(assemble))
    }
}

impl<S> fmt::Debug for ServiceBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceBuilder").field("name", &self.plan.name).finish_non_exhaustive()
    }
}
