//! The tree: its actors, the order in which they start, and what they share.
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
//! Order is not dependency: what actors share lives in values that the tree owns (an
//! [endpoint](crate::redis::Endpoint)), so no actor's restart needs that of a sibling. Actors are started here and
//! nowhere else.

#[cfg(feature = "cache")]
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mainstay_supervision::{
    Actor, BoxError, Cause, Defaults, Intensity, NoTaker, Notice, Nursery, Recipient, Request,
    Server, ShutdownReport, Supervisor, System, TreeSnapshot,
};

#[cfg(feature = "embedded")]
use crate::embedded::{self, Home, Keeper, Nest};
pub use crate::start_error::StartError;
use crate::{AskError, deadline};
#[cfg(feature = "cache")]
use crate::{
    cache::{Cache, NoEndpoint},
    health, pool,
    redis::{self, Address, Endpoint, MOST_ENDPOINTS, Pace},
    subscriptions::{self, Subscriptions},
};

/// How many tasks the nursery runs at once.
const NURSERY_CAPACITY: usize = 1024;

/// What a tree is built from: [`Setup::new`], with the fields that differ set afterwards.
#[non_exhaustive]
pub struct Setup {
    /// The service's name: part of what its connections are called in `CLIENT LIST`.
    pub name: String,
    /// The default Redis endpoint. Default [`redis::Config::default`].
    #[cfg(feature = "cache")]
    pub redis: redis::Config,
    /// Further endpoints by their names, at most [`MOST_ENDPOINTS`]; see [`redis::fault_of_name`]. Default none.
    #[cfg(feature = "cache")]
    pub endpoints: BTreeMap<String, redis::Config>,
    /// The directories to look in for a redis-server for `url = "embedded"`, as in `PATH`.
    pub search_path: std::ffi::OsString,
    /// The directory below which a redis-server for `url = "embedded"` has its socket.
    pub temp_dir: PathBuf,
    /// The limits of the supervisors and of asks.
    pub limits: Limits,
}

/// Adds one of the service's own actors to its supervisor.
pub type AddActor = Box<dyn FnOnce(&mut Supervisor, &Ways) -> Result<(), BoxError> + Send>;

/// Adds the actor that `make` returns. `make` is called when the tree starts, with the ways to Redis that it may need.
pub fn add_actor<A: Server, E: Into<BoxError>>(
    make: impl FnOnce(&Ways) -> Result<Actor<A>, E> + Send + 'static,
) -> AddActor {
    Box::new(move |supervisor, ways| {
        supervisor.actor(make(ways).map_err(Into::into)?);
        Ok(())
    })
}

impl Setup {
    /// A setup for the service `name`, with defaults for everything else.
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
        }
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The limits of the supervisors and of asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// When a supervisor gives up. Default 5 restarts in 30 s.
    pub intensity: Intensity,
    /// The defaults of every actor: backoff 100 ms to 10 s, mailbox 1 024, start timeout 5 s.
    pub actors: Defaults,
    /// How long an ask waits outside of a request, where no deadline is in force. Default 5 s.
    pub ask_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let ask_timeout = Duration::from_secs(5);
        Self { intensity: Intensity::default(), actors: Defaults::default(), ask_timeout }
    }
}

/// Something that the service depends on, as of its last probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The name of the endpoint: `redis` for the default one, `redis.limits` for the one called `limits`.
    pub name: String,
    /// Whether it answered the last probe, not too long ago.
    pub healthy: bool,
    /// Its health in words, with what to check.
    pub message: String,
    /// Whether the service is ready without it.
    pub optional: bool,
}

/// The handles to one Redis endpoint. Clones share everything.
#[cfg(feature = "cache")]
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Redis {
    /// The handle for commands.
    pub cache: Cache,
    /// The handle for subscriptions.
    pub subscriptions: Subscriptions,
}

/// The handles to every Redis endpoint. They exist before any actor is started. Clones share everything.
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
    /// The handles to the default endpoint. Answers from memory.
    pub fn redis(&self) -> &Redis {
        &self.redis
    }

    /// The handles to the endpoint called `name`, one of [`Setup::endpoints`]. Answers from memory.
    ///
    /// # Errors
    /// [`NoEndpoint`] with the names that exist.
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
    /// Starts every actor. Does not wait for Redis: the tree starts while Redis is away.
    ///
    /// # Errors
    /// [`StartError`] says what to do. Nothing is left running.
    pub async fn start(setup: Setup) -> Result<Self, StartError> {
        Self::start_with(setup, Vec::new()).await
    }

    /// As [`start`](Self::start), and starts the service's own actors, which `own` adds.
    ///
    /// # Errors
    /// [`StartError`] says what to do. Nothing is left running.
    pub async fn start_with(setup: Setup, own: Vec<AddActor>) -> Result<Self, StartError> {
        let Limits { intensity, actors, ask_timeout } = setup.limits;
        let mut root = Supervisor::new("mainstay").intensity(intensity).defaults(actors);

        #[cfg(feature = "cache")]
        let ways = add_redis(&mut root, &setup).await?;
        #[cfg(not(feature = "cache"))]
        let ways = Ways {};
        let nursery = Nursery::add_to(&mut root, "nursery", NURSERY_CAPACITY);
        #[cfg(feature = "cache")]
        add_subscriptions(&mut root, &ways);
        // Significant: if the service's own actors keep failing, the service ends.
        let mut application =
            Supervisor::new("application").intensity(intensity).defaults(actors).significant();
        for add in own {
            add(&mut application, &ways).map_err(StartError::Actor)?;
        }
        root.supervisor(application);

        let system = System::start(root).await?;
        Ok(Self { system, nursery, ask_timeout, ways })
    }

    /// The handles to every Redis endpoint. Answers from memory.
    pub fn ways(&self) -> &Ways {
        &self.ways
    }

    /// The handle for commands of the default endpoint. Answers from memory.
    #[cfg(feature = "cache")]
    pub fn cache(&self) -> Cache {
        self.ways.redis.cache.clone()
    }

    /// The handle for subscriptions of the default endpoint. Answers from memory.
    #[cfg(feature = "cache")]
    pub fn subscriptions(&self) -> &Subscriptions {
        &self.ways.redis.subscriptions
    }

    /// The address of the actor that takes messages of type `M`. Answers from memory.
    ///
    /// # Errors
    /// [`NoTaker`] names the message.
    pub fn recipient<M: 'static>(&self) -> Result<Recipient<M>, NoTaker> {
        self.system.recipient()
    }

    /// Asks the actor that takes `R` and waits for the reply until the request's deadline, or outside of a request for
    /// [`Limits::ask_timeout`]. Asks the actor.
    ///
    /// # Errors
    /// [`AskError`]; its [`outcome`](AskError::outcome) says whether asking again is safe.
    pub async fn ask<R: Request>(&self, request: R) -> Result<R::Reply, AskError> {
        let deadline = deadline::or_after(self.ask_timeout);
        Ok(self.system.recipient::<R>()?.ask_by(deadline, request).await?)
    }

    /// Sends `notice` to the actor that takes `N`, without waiting for it to be handled. Answers from memory.
    ///
    /// # Errors
    /// [`AskError`] if it was not accepted.
    pub fn tell<N: Notice>(&self, notice: N) -> Result<(), AskError> {
        Ok(self.system.recipient::<N>()?.tell(notice)?)
    }

    /// Everything that the service depends on. Answers from memory: from the verdict of each endpoint's health monitor,
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

    /// The supervision system, for waiting on its events and changes. Answers from memory.
    pub fn system(&self) -> &System {
        &self.system
    }

    /// The nursery, for work that a request starts and that outlives it. Answers from memory.
    pub fn nursery(&self) -> &Nursery {
        &self.nursery
    }

    /// Waits until the tree gives up, and returns the cause. Never returns for a tree that was shut down. Answers from
    /// memory. Cancel safe.
    pub async fn failed(&self) -> Arc<Cause> {
        self.system.failed().await
    }

    /// Ends the subscriptions of requests, because their requests come to their end. Answers from memory.
    pub fn drain(&self) {
        #[cfg(feature = "cache")]
        self.ways.every_redis().for_each(|redis| redis.subscriptions.drain());
    }

    /// Stops every actor, in the reverse of the start order, within `budget`.
    pub async fn shutdown(&self, budget: Duration) -> ShutdownReport {
        #[cfg(feature = "cache")]
        self.ways.every_redis().for_each(|redis| redis.subscriptions.close());
        let report = self.system.shutdown(budget).await;
        // An actor that had failed for good, or was cut off, has closed nothing.
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
        let wrong = |source| StartError::Endpoint { name: name.clone(), source: Box::new(source) };
        if let Some(fault) = redis::fault_of_name(name) {
            return Err(redis::Error::Config(vec![fault]).into());
        }
        let redis = add_endpoint(root, setup, Some(name), config, &pace).await.map_err(wrong)?;
        endpoints.insert(name.clone(), redis);
    }
    Ok(Ways { redis, endpoints: Arc::new(endpoints) })
}

/// Adds the actors of one endpoint: the default one if `name` is `None`. Only the default endpoint's actors take
/// messages by their type, because a type has one taker.
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
        let followed = redis.subscriptions.clone();
        root.actor(Actor::new(id, move || subscriptions::Keeper::new(&followed)));
        root.keep(redis.subscriptions.followed());
    }
}

/// Starts the first server before the tree starts, so that no early caller finds Redis away.
#[cfg(feature = "embedded")]
async fn add_embedded(
    root: &mut Supervisor,
    setup: &Setup,
    id: String,
) -> Result<Address, StartError> {
    let program = embedded::locate(&setup.search_path)?;
    let nest = Arc::new(Nest::new(Home::create(&setup.temp_dir)?, program));
    nest.start(true).await?;
    let path = nest.socket_path();
    root.actor(Actor::new(id, move || Keeper { nest: Arc::clone(&nest) }));
    Ok(Address::private(path))
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
    Dependency {
        name: endpoint.name().to_owned(),
        healthy: endpoint.health().is_healthy(),
        message: endpoint.health().message(),
        optional: endpoint.config().optional,
    }
}
