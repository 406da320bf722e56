//! The tree: which actors there are, in which order they start, and what they share.
//!
//! ```text
//! mainstay                one_for_one; started in this order, stopped in reverse
//! ├── embedded-redis      only for url = "embedded": a private redis-server on a unix socket
//! ├── pool-manager        owns pool and lanes; publishes the current generation, replaces lanes in place
//! ├── health-monitor      probes on a connection of its own; publishes the verdict and the breaker
//! ├── ..                  the same for each further endpoint: pool-manager:limits, health-monitor:limits
//! ├── nursery             bounded home of work that a request starts and that outlives it
//! ├── subscriptions       the connection of `cache.subscribe`; subscribes again after an outage; one per endpoint
//! └── application         one_for_one: the service's own actors
//! ```
//!
//! Order is not dependency: what actors share lives in cells that the tree owns (an
//! [endpoint](crate::redis::Endpoint)), so nobody's restart needs a sibling's. This is the only
//! place where actors are started.

#[cfg(feature = "cache")]
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mainstay_supervision::{
    Actor, BoxError, Cause, Defaults, Intensity, NoTaker, Notice, Nursery, Recipient, Request,
    Server, ShutdownReport, StartError as SystemError, Supervisor, System, TreeSnapshot,
};

#[cfg(feature = "embedded")]
use crate::embedded::{self, Home, Keeper, Nest};
use crate::{AskError, deadline};
#[cfg(feature = "cache")]
use crate::{
    cache::{Cache, NoEndpoint},
    health, pool,
    redis::{self, Address, Endpoint, MOST_ENDPOINTS, Pace},
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
    /// Further endpoints by their names, at most [`MOST_ENDPOINTS`]; see [`redis::fault_of_name`]. Default none.
    #[cfg(feature = "cache")]
    pub endpoints: BTreeMap<String, redis::Config>,
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
pub type AddActor = Box<dyn FnOnce(&mut Supervisor, &Ways) -> Result<(), BoxError> + Send>;

/// How to add the actor that `make` makes, once there are a supervisor to add it to and ways that it may need.
pub fn add_actor<A: Server, E: Into<BoxError>>(
    make: impl FnOnce(&Ways) -> Result<Actor<A>, E> + Send + 'static,
) -> AddActor {
    Box::new(move |supervisor, ways| {
        supervisor.actor(make(ways).map_err(Into::into)?);
        Ok(())
    })
}

impl Setup {
    /// A tree for the service `name`, all else by default.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            #[cfg(feature = "cache")]
            redis: redis::Config::default(),
            #[cfg(feature = "cache")]
            endpoints: BTreeMap::new(),
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
    /// An endpoint beside the default one cannot be used.
    #[cfg(feature = "cache")]
    #[error("the redis endpoint {name} cannot be used")]
    Endpoint {
        /// Its name.
        name: String,
        /// Why not.
        source: Box<Self>,
    },
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
    /// One of the service's own actors could not be made.
    #[error("an actor of the service's own cannot be made")]
    Actor(#[source] BoxError),
    /// The actors do not fit together, or one did not come up.
    #[error(transparent)]
    Actors(#[from] SystemError),
}

/// What the service depends on, as of the last look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The name of the endpoint: `redis` for the default one, `redis.limits` for the one called `limits`.
    pub name: String,
    /// Whether it answered the last probe, and that not too long ago.
    pub healthy: bool,
    /// The same for a reader, with what to check.
    pub message: String,
    /// Whether the service is ready without it.
    pub optional: bool,
}

/// The ways to one Redis endpoint. Clones share everything.
#[cfg(feature = "cache")]
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Redis {
    /// The way to what it keeps.
    pub cache: Cache,
    /// The way to what others publish.
    pub subscriptions: Subscriptions,
}

/// The ways to every Redis endpoint. There are such before any actor is started. Clones share everything.
#[derive(Debug, Clone)]
pub struct Ways {
    #[cfg(feature = "cache")]
    redis: Redis,
    /// The endpoints beside the default one.
    #[cfg(feature = "cache")]
    endpoints: Arc<BTreeMap<String, Redis>>,
}

#[cfg(feature = "cache")]
impl Ways {
    /// Those to the default endpoint. Answers from memory.
    pub fn redis(&self) -> &Redis {
        &self.redis
    }

    /// Those to the endpoint called `name`, one of [`Setup::endpoints`]. Answers from memory.
    ///
    /// # Errors
    /// [`NoEndpoint`] with the names that there are.
    pub fn redis_of(&self, name: &str) -> Result<&Redis, NoEndpoint> {
        let known = || self.endpoints.keys().cloned().collect();
        let missing = || NoEndpoint { name: name.to_owned(), known: known() };
        self.endpoints.get(name).ok_or_else(missing)
    }

    fn every_redis(&self) -> impl Iterator<Item = &Redis> {
        std::iter::once(&self.redis).chain(self.endpoints.values())
    }
}

/// The running tree. Cheap to clone; the tree ends with the last clone.
#[derive(Debug, Clone)]
pub struct Tree {
    system: System,
    nursery: Nursery,
    ask_timeout: Duration,
    ways: Ways,
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
        let ways = add_redis(&mut root, &setup).await?;
        #[cfg(not(feature = "cache"))]
        let ways = Ways {};
        let nursery = Nursery::add_to(&mut root, "nursery", NURSERY_CAPACITY);
        #[cfg(feature = "cache")]
        add_subscriptions(&mut root, &ways);
        // Its giving up is the service's end: what the service itself is made of is broken.
        let mut application =
            Supervisor::new("application").intensity(intensity).defaults(actors).significant();
        for add in setup.application {
            add(&mut application, &ways).map_err(StartError::Actor)?;
        }
        root.supervisor(application);

        let system = System::start(root).await?;
        Ok(Self { system, nursery, ask_timeout, ways })
    }

    /// The ways to every Redis endpoint. Answers from memory.
    pub fn ways(&self) -> &Ways {
        &self.ways
    }

    /// The way to what the default endpoint keeps. Answers from memory.
    #[cfg(feature = "cache")]
    pub fn cache(&self) -> Cache {
        self.ways.redis.cache.clone()
    }

    /// The way to what others publish at the default endpoint. Answers from memory.
    #[cfg(feature = "cache")]
    pub fn subscriptions(&self) -> &Subscriptions {
        &self.ways.redis.subscriptions
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

    /// Everything the service depends on. Answers from memory: from the verdict of each endpoint's health monitor,
    /// which counts for three probe intervals and one probe timeout.
    pub fn dependencies(&self) -> Vec<Dependency> {
        #[cfg(feature = "cache")]
        {
            self.ways.every_redis().map(|redis| dependency(redis.cache.endpoint())).collect()
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
        self.ways.every_redis().for_each(|redis| redis.subscriptions.close());
        let report = self.system.shutdown(budget).await;
        // An actor that fell for good, or was cut off, has ended nothing.
        #[cfg(feature = "cache")]
        for redis in self.ways.every_redis() {
            redis.subscriptions.end();
            redis.cache.close();
        }
        report
    }
}

#[cfg(feature = "cache")]
async fn add_redis(root: &mut Supervisor, setup: &Setup) -> Result<Ways, StartError> {
    let given = setup.endpoints.len();
    if given > MOST_ENDPOINTS {
        let wanted = format!("at most {MOST_ENDPOINTS}");
        let fault = redis::Fault { key: "endpoints", given: given.to_string(), wanted };
        return Err(redis::Error::Config(vec![fault]).into());
    }
    let pace = Arc::new(Pace::new());
    let redis = add_endpoint(root, setup, None, &setup.redis, &pace).await?;
    let mut endpoints = BTreeMap::new();
    for (name, config) in &setup.endpoints {
        let wrong = |source: StartError| StartError::Endpoint {
            name: name.clone(),
            source: Box::new(source),
        };
        if let Some(fault) = redis::fault_of_name(name) {
            return Err(redis::Error::Config(vec![fault]).into());
        }
        let redis = add_endpoint(root, setup, Some(name), config, &pace).await.map_err(wrong)?;
        endpoints.insert(name.clone(), redis);
    }
    Ok(Ways { redis, endpoints: Arc::new(endpoints) })
}

/// What belongs to one endpoint, the default one where it has no `name`. Only the actors of that one take messages by
/// their type: a type has one taker.
#[cfg(feature = "cache")]
async fn add_endpoint(
    root: &mut Supervisor,
    setup: &Setup,
    name: Option<&str>,
    config: &redis::Config,
    pace: &Arc<Pace>,
) -> Result<Redis, StartError> {
    let id = |actor: &str| name.map_or_else(|| actor.to_owned(), |name| format!("{actor}:{name}"));
    let config = redis::Config { client_name: setup.name.clone(), ..config.clone() };
    let address = match Address::parse(&config.url).map_err(redis::Error::from)? {
        Address::Embedded => add_embedded(root, setup, id("embedded-redis")).await?,
        address => address,
    };
    let called = name.map_or_else(|| "redis".to_owned(), |name| format!("redis.{name}"));
    let endpoint = Arc::new(Endpoint::at(&called, config, address, Arc::clone(pace))?);

    let args = pool::Args::new(Arc::clone(&endpoint));
    let manager = Actor::new(id("pool-manager"), move || pool::Manager { args: args.clone() });
    root.actor(match name {
        None => manager.accepts(pool::Message::GetPoolStatus).accepts(pool::Message::RebuildPool),
        Some(_) => manager,
    });
    let watched = Arc::clone(&endpoint);
    let monitor = Actor::new(id("health-monitor"), move || health::Monitor {
        endpoint: Arc::clone(&watched),
    });
    root.actor(match name {
        None => monitor.accepts(health::Message::GetHealth).accepts(health::Message::ProbeNow),
        Some(_) => monitor,
    });
    let subscriptions = Subscriptions::new(Arc::clone(&endpoint));
    Ok(Redis { cache: Cache::new(endpoint), subscriptions })
}

#[cfg(feature = "cache")]
fn add_subscriptions(root: &mut Supervisor, ways: &Ways) {
    let default = ("subscriptions".to_owned(), &ways.redis);
    let named = ways.endpoints.iter().map(|(name, redis)| (format!("subscriptions:{name}"), redis));
    for (id, redis) in std::iter::once(default).chain(named) {
        let followed = redis.subscriptions.followed();
        root.actor(Actor::new(id, move || subscriptions::Keeper::new(&followed)));
    }
}

/// The first server is there before the tree is: nobody finds Redis away who only came early.
#[cfg(feature = "embedded")]
async fn add_embedded(
    root: &mut Supervisor,
    setup: &Setup,
    id: String,
) -> Result<Address, StartError> {
    let program = embedded::locate(&setup.search_path)?;
    let nest = Arc::new(Nest::new(Home::create(&setup.temp_dir)?, program));
    nest.start().await?;
    let path = nest.socket_path();
    root.actor(Actor::new(id, move || Keeper { nest: Arc::clone(&nest) }));
    Ok(Address::unix(path))
}

#[cfg(all(feature = "cache", not(feature = "embedded")))]
#[expect(clippy::unused_async, reason = "the other one waits for the server")]
async fn add_embedded(
    _root: &mut Supervisor,
    _setup: &Setup,
    _id: String,
) -> Result<Address, StartError> {
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
