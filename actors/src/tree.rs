//! The tree: which actors there are, in which order they start, and what they share.
//!
//! ```text
//! mainstay                one_for_one; started in this order, stopped in reverse
//! ├── embedded-redis      only for url = "embedded": a private redis-server on a unix socket
//! ├── pool-manager        owns the pool; publishes the current generation
//! ├── health-monitor      probes on a connection of its own; publishes the verdict and the breaker
//! ├── nursery             bounded home of work that a request starts and that outlives it
//! ├── subscriptions       the connection of `cache.subscribe`; subscribes again after an outage
//! └── application         one_for_one: the service's own actors
//! ```
//!
//! Order is not dependency: what actors share lives in cells that the tree owns (an
//! [endpoint](crate::redis::Endpoint)), so nobody's restart needs a sibling's. This is the only
//! place where actors are started.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mainstay_supervision::{
    Actor, Cause, Defaults, Intensity, NoTaker, Notice, Nursery, Recipient, Request, Server,
    ShutdownReport, StartError as SystemError, Supervisor, System, TreeSnapshot,
};

#[cfg(feature = "embedded")]
use crate::embedded::{self, Home, Keeper, Nest};
use crate::{AskError, deadline};
#[cfg(feature = "cache")]
use crate::{
    cache::Cache,
    health, pool,
    redis::{self, Address, ConnectGate, Endpoint},
    subscriptions::{self, Subscriptions},
};

/// How many pieces of work the nursery runs at once.
const NURSERY_CAPACITY: usize = 1024;

/// What a tree is made from: [`Setup::new`], and what differs from it.
#[non_exhaustive]
pub struct Setup {
    /// The service's name: part of what its connections are called in `CLIENT LIST`.
    pub name: String,
    /// The default Redis endpoint. Default: as [`redis::Config`] is by default.
    #[cfg(feature = "cache")]
    pub redis: redis::Config,
    /// Where a redis-server for `url = "embedded"` is looked for, as in `PATH`.
    pub search_path: std::ffi::OsString,
    /// Where a redis-server for `url = "embedded"` has its socket.
    pub temp_dir: PathBuf,
    /// How the supervisors behave.
    pub limits: Limits,
    /// Adds the service's own actors.
    pub application: Vec<AddActor>,
}

/// Adds one of the service's own actors to its supervisor.
pub type AddActor = Box<dyn FnOnce(&mut Supervisor) + Send>;

/// How to add `actor`, once there is a supervisor to add it to.
pub fn add_actor<A: Server>(actor: Actor<A>) -> AddActor {
    Box::new(move |supervisor| {
        supervisor.actor(actor);
    })
}

impl Setup {
    /// A tree for the service `name`, all else by default.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            #[cfg(feature = "cache")]
            redis: redis::Config::default(),
            search_path: "/usr/local/bin:/usr/bin:/bin".into(),
            temp_dir: "/tmp".into(),
            limits: Limits::default(),
            application: Vec::new(),
        }
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How the supervisors behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// When a supervisor gives up. Default 5 restarts in 30 s.
    pub intensity: Intensity,
    /// What actors have in common: backoff 100 ms to 10 s, mailbox 1 024, start timeout 5 s.
    pub actors: Defaults,
    /// How long an ask waits where no request's deadline is in force. Default 5 s.
    pub ask_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let ask_timeout = Duration::from_secs(5);
        Self { intensity: Intensity::default(), actors: Defaults::default(), ask_timeout }
    }
}

/// Why the tree did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The Redis endpoint is not one that we can use.
    #[cfg(feature = "cache")]
    #[error(transparent)]
    Redis(#[from] redis::Error),
    /// There is no redis-server to embed, or no place for its socket.
    #[cfg(feature = "embedded")]
    #[error(transparent)]
    Embedded(#[from] crate::embedded::Error),
    /// The service was built without what `url = "embedded"` needs.
    #[cfg(all(feature = "cache", not(feature = "embedded")))]
    #[error(
        "url = \"embedded\" needs the feature `embedded`: build with it, or set the url of a \
         redis that runs"
    )]
    EmbeddedNotBuilt,
    /// The actors do not fit together, or one did not come up.
    #[error(transparent)]
    Actors(#[from] SystemError),
}

/// What the service depends on, as of the last look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The name of the endpoint: `redis` for the default one.
    pub name: String,
    /// Whether it answered the last probe, and that not too long ago.
    pub healthy: bool,
    /// The same for a reader, with what to check.
    pub message: String,
    /// Whether the service is ready without it.
    pub optional: bool,
}

/// The running tree. Cheap to clone; the tree ends with the last clone.
#[derive(Debug, Clone)]
pub struct Tree {
    system: System,
    nursery: Nursery,
    ask_timeout: Duration,
    #[cfg(feature = "cache")]
    endpoint: Arc<Endpoint>,
    #[cfg(feature = "cache")]
    subscriptions: Subscriptions,
}

impl Tree {
    /// Starts every actor. Does not wait for Redis: a tree whose Redis is away is up.
    ///
    /// # Errors
    /// [`StartError`] says what to do. Nothing is left running.
    pub async fn start(setup: Setup) -> Result<Self, StartError> {
        let Limits { intensity, actors, ask_timeout } = setup.limits;
        let mut root = Supervisor::new("mainstay").intensity(intensity).defaults(actors);

        #[cfg(feature = "cache")]
        let endpoint = add_redis(&mut root, &setup).await?;
        let nursery = Nursery::add_to(&mut root, "nursery", NURSERY_CAPACITY);
        #[cfg(feature = "cache")]
        let subscriptions = add_subscriptions(&mut root, &endpoint);
        // Its giving up is the service's end: what the service itself is made of is broken.
        let mut application =
            Supervisor::new("application").intensity(intensity).defaults(actors).significant();
        for add in setup.application {
            add(&mut application);
        }
        root.supervisor(application);

        let system = System::start(root).await?;
        Ok(Self {
            system,
            nursery,
            ask_timeout,
            #[cfg(feature = "cache")]
            endpoint,
            #[cfg(feature = "cache")]
            subscriptions,
        })
    }

    /// The way to Redis. Answers from memory.
    #[cfg(feature = "cache")]
    pub fn cache(&self) -> Cache {
        Cache::new(Arc::clone(&self.endpoint))
    }

    /// The way to what others publish. Answers from memory.
    #[cfg(feature = "cache")]
    pub fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    /// Whoever takes messages of type `M`. Answers from memory.
    ///
    /// # Errors
    /// [`NoTaker`] names the message.
    pub fn recipient<M: 'static>(&self) -> Result<Recipient<M>, NoTaker> {
        self.system.recipient()
    }

    /// Asks whoever takes `R`, and waits for the reply until the request's deadline, outside of
    /// a request for [`Limits::ask_timeout`]. Asks the actor.
    ///
    /// # Errors
    /// [`AskError`]; its [`outcome`](AskError::outcome) says whether asking again is safe.
    pub async fn ask<R: Request>(&self, request: R) -> Result<R::Reply, AskError> {
        let deadline = deadline::or_after(self.ask_timeout);
        Ok(self.system.recipient::<R>()?.ask_by(deadline, request).await?)
    }

    /// Tells whoever takes `N`, and waits for nothing. Answers from memory: whether it was accepted.
    ///
    /// # Errors
    /// [`AskError`]: it was not accepted.
    pub fn tell<N: Notice>(&self, notice: N) -> Result<(), AskError> {
        Ok(self.system.recipient::<N>()?.tell(notice)?)
    }

    /// Everything the service depends on. Answers from memory: from the health monitor's verdict,
    /// which counts for three probe intervals and one probe timeout.
    pub fn dependencies(&self) -> Vec<Dependency> {
        #[cfg(feature = "cache")]
        {
            vec![dependency(&self.endpoint)]
        }
        #[cfg(not(feature = "cache"))]
        Vec::new()
    }

    /// The whole tree as it is now. Answers from memory.
    pub fn snapshot(&self) -> TreeSnapshot {
        self.system.tree()
    }

    /// The system below, for waiting on its events and changes. Answers from memory.
    pub fn system(&self) -> &System {
        &self.system
    }

    /// Where work lives that a request starts and that outlives it. Answers from memory.
    pub fn nursery(&self) -> &Nursery {
        &self.nursery
    }

    /// Waits until the tree gives up, and says why. Never returns for a tree that was shut down. Answers from memory.
    /// *Cancel safety*: may be dropped.
    pub async fn failed(&self) -> Arc<Cause> {
        self.system.failed().await
    }

    /// Ends every actor in reverse start order within `budget`.
    pub async fn shutdown(&self, budget: Duration) -> ShutdownReport {
        #[cfg(feature = "cache")]
        self.subscriptions.close();
        let report = self.system.shutdown(budget).await;
        // An actor that had been given up, or was cut off, ends none.
        #[cfg(feature = "cache")]
        self.subscriptions.end();
        report
    }
}

#[cfg(feature = "cache")]
async fn add_redis(root: &mut Supervisor, setup: &Setup) -> Result<Arc<Endpoint>, StartError> {
    let config = redis::Config { client_name: setup.name.clone(), ..setup.redis.clone() };
    let address = match Address::parse(&config.url).map_err(redis::Error::from)? {
        Address::Embedded => add_embedded(root, setup).await?,
        address => address,
    };
    let gate = Arc::new(ConnectGate::new());
    let endpoint = Arc::new(Endpoint::at("redis", config, address, gate)?);

    let args = pool::Args::new(Arc::clone(&endpoint));
    root.actor(
        Actor::new("pool-manager", move || pool::Manager { args: args.clone() })
            .accepts(pool::Message::GetPoolStatus)
            .accepts(pool::Message::RebuildPool),
    );
    let watched = Arc::clone(&endpoint);
    root.actor(
        Actor::new("health-monitor", move || health::Monitor { endpoint: Arc::clone(&watched) })
            .accepts(health::Message::GetHealth)
            .accepts(health::Message::ProbeNow),
    );
    Ok(endpoint)
}

#[cfg(feature = "cache")]
fn add_subscriptions(root: &mut Supervisor, endpoint: &Arc<Endpoint>) -> Subscriptions {
    let subscriptions = Subscriptions::new(Arc::clone(endpoint));
    let followed = Followed(subscriptions.clone());
    root.actor(Actor::new("subscriptions", move || subscriptions::Keeper::new(&followed.0)));
    subscriptions
}

/// Whoever starts the actor holds this, so it goes when the actor cannot be started any more.
#[cfg(feature = "cache")]
struct Followed(Subscriptions);

#[cfg(feature = "cache")]
impl Drop for Followed {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The first server is there before the tree is: nobody finds Redis away who only came early.
#[cfg(feature = "embedded")]
async fn add_embedded(root: &mut Supervisor, setup: &Setup) -> Result<Address, StartError> {
    let program = embedded::locate(&setup.search_path)?;
    let nest = Arc::new(Nest::new(Home::create(&setup.temp_dir)?, program));
    nest.start().await?;
    let path = nest.socket_path();
    root.actor(Actor::new("embedded-redis", move || Keeper { nest: Arc::clone(&nest) }));
    Ok(Address::unix(path))
}

#[cfg(all(feature = "cache", not(feature = "embedded")))]
#[expect(clippy::unused_async, reason = "the other one waits for the server")]
async fn add_embedded(_root: &mut Supervisor, _setup: &Setup) -> Result<Address, StartError> {
    Err(StartError::EmbeddedNotBuilt)
}

#[cfg(feature = "cache")]
fn dependency(endpoint: &Endpoint) -> Dependency {
    let message = match endpoint.health().fresh() {
        Some(verdict) => verdict.message.to_string(),
        None => "the health monitor has not reported lately".to_owned(),
    };
    Dependency {
        name: endpoint.name().to_owned(),
        healthy: endpoint.health().is_healthy(),
        message,
        optional: endpoint.config().optional,
    }
}
