use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::redis::address::Address;
use crate::redis::config::Config;
use crate::redis::connect::{Connector, Deliver, Incoming, Pace, Probe, PubSub};
use crate::redis::lanes::{Lane, LaneSet, Lanes, SilentLane};
use crate::redis::leases::{CurrentGeneration, Generation, Lease, Leases, Reason};
use crate::redis::socket::CloseReason;
use crate::redis::status::{Cause, Error, Health};

/// Everything that rooms share about one Redis: its address, health, lanes and leases, and the current generation.
///
/// It outlives every actor that works on it.
pub struct Endpoint {
    connector: Arc<Connector>,
    health: Health,
    leases: Leases,
    lanes: LaneSet,
    current: CurrentGeneration,
}

/// The connections of an endpoint at a moment. The first four numbers describe leases: commands that can share a
/// connection need none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// The most leases that can be out at once.
    pub max_size: usize,
    /// The connections that are open for leases, leased or idle.
    pub size: usize,
    /// The leases that can be taken now, before any other is given back.
    pub available: usize,
    /// The callers that wait for a lease.
    pub waiting: usize,
    /// The open lanes, including those that were replaced and only finish what is under way.
    pub lanes: usize,
    /// The open connections for probes and subscriptions.
    pub control: usize,
    /// The current generation; 0 before the first.
    pub generation: u64,
    /// How many generations were replaced.
    pub rebuilds: u64,
    /// How many commands or replies of more than 64 KiB went over a lane for ordinary values.
    pub large_values: u64,
}

impl Endpoint {
    /// An endpoint at the address of `config.url`. Does no IO.
    ///
    /// # Errors
    /// [`Error::Config`] with every fault; [`Error::NotBuilt`] for `embedded`, which has no address before its server
    /// does, see [`Endpoint::at`].
    pub fn new(name: &str, config: Config, pace: Arc<Pace>) -> Result<Self, Error> {
        let faults = config.validate();
        if !faults.is_empty() {
            return Err(Error::Config(faults));
        }
        let address = Address::parse(&config.url)?;
        Self::at(name, config, address, pace)
    }

    /// An endpoint at `address`, whatever `config.url` says. Does no IO.
    ///
    /// # Errors
    /// [`Error::Config`] with every fault except those of the URL; [`Error::NotBuilt`] for [`Address::Embedded`], which
    /// is not an address yet.
    pub fn at(
        name: &str,
        config: Config,
        address: Address,
        pace: Arc<Pace>,
    ) -> Result<Self, Error> {
        let faults: Vec<_> =
            config.validate().into_iter().filter(|fault| fault.key != "url").collect();
        if !faults.is_empty() {
            return Err(Error::Config(faults));
        }
        if matches!(address, Address::Embedded) {
            return Err(Error::NotBuilt);
        }
        let config = Arc::new(config);
        Ok(Self {
            // A verdict is out of date when three probes in a row have not renewed it; the last may take
            // `probe_timeout`.
            health: Health::new(
                config.probe_interval.saturating_mul(3).saturating_add(config.probe_timeout),
            ),
            leases: Leases::new(config.max_connections),
            lanes: LaneSet::new(config.lane_count()),
            connector: Arc::new(Connector::new(name, address, config, pace)),
            current: CurrentGeneration::default(),
        })
    }

    /// Its name in `/ready`, in the log and in `CLIENT LIST`: `redis` for the default endpoint, `redis.limits` for the
    /// one of the section `[redis.endpoints.limits]`.
    pub fn name(&self) -> &str {
        self.connector.endpoint()
    }

    /// Its configuration.
    pub fn config(&self) -> &Config {
        self.connector.config()
    }

    /// Its address.
    pub fn address(&self) -> &Address {
        self.connector.address()
    }

    /// Its published health.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The generation in use.
    pub fn generation(&self) -> Option<Arc<Generation>> {
        self.current.load()
    }

    /// The number of the generation in use; 0 before the first. Answers from memory.
    pub(crate) fn generation_number(&self) -> u64 {
        self.current.number()
    }

    /// Why connecting fails at present, if it does: from the first failed attempt until a new connection has answered.
    /// Older connections may work all the while. Answers from memory.
    pub fn connect_failure(&self) -> Option<Cause> {
        self.connector.backoff().cause()
    }

    /// Builds the next generation without putting it into use. For [`Reason::ReadOnly`] its connections try the address of
    /// before last. Does no IO.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn build_generation(&self, reason: Reason) -> Generation {
        if reason == Reason::ReadOnly {
            // The host's name may have the address of the primary as well.
            self.connector.preferred().avoid();
        }
        self.current.build(reason, &self.connector)
    }

    /// Puts `generation` into use, and closes and returns the old one, so that the caller can drain and then cut it.
    /// Answers from memory.
    pub fn publish(&self, generation: Generation) -> Option<Arc<Generation>> {
        self.current.publish(generation)
    }

    /// Takes the generation and the lanes out of use: no caller gets a connection any more. Answers from memory.
    pub fn close(&self) -> Option<Arc<Generation>> {
        let old = self.current.close();
        self.lanes.retire_all();
        old
    }

    /// Connects for the health monitor. Goes to Redis. Cancel safe.
    ///
    /// While attempts fail it keeps the server's pace of ten a second. For 2 s after a failed login it answers from
    /// memory with that failure.
    ///
    /// # Errors
    /// The cause, at most `connect_timeout` after its turn, which comes within 100 ms for each attempt before it at the same server; up to
    /// `connect_timeout` later while the budget for such connections is used up.
    pub async fn probe_connection(&self) -> Result<Probe, Cause> {
        Probe::connect(&self.connector).await
    }

    /// Connects for subscriptions, at the pace of [`Endpoint::probe_connection`]. Messages go to `deliver`; on RESP2
    /// only while [`Incoming::follow`] runs. Goes to Redis. Cancel safe.
    pub(crate) async fn pubsub_connection(
        &self,
        deliver: Deliver,
    ) -> Result<(PubSub, Incoming), Cause> {
        PubSub::connect(&self.connector, deliver).await
    }

    /// The number of lanes, each kept by its own [`keep_lane`](Self::keep_lane). Answers from memory.
    pub fn lane_slots(&self) -> usize {
        self.lanes.count()
    }

    /// Watches the lane in `slot`, a number below [`lane_slots`](Self::lane_slots), until it has been replaced, and
    /// returns why; `None` if the slot was empty. A lane that failed is taken out of use at once, any other when its
    /// successor is ready. Goes to Redis. Cancel safe: the lane stays in use, unwatched.
    pub async fn keep_lane(&self, slot: usize) -> Option<CloseReason> {
        self.lanes().keep(slot).await
    }

    /// The connections at this moment. Answers from memory.
    pub fn status(&self) -> PoolStatus {
        let budget = self.connector.budget();
        PoolStatus {
            max_size: usize::try_from(self.config().max_connections).unwrap_or(usize::MAX),
            size: budget.leases.open(),
            available: self.leases.available(),
            waiting: self.leases.waiting(),
            lanes: budget.lanes.open(),
            control: budget.control.open(),
            generation: self.current.number(),
            rebuilds: self.current.rebuilds(),
            large_values: self.lanes.large_values(),
        }
    }

    /// Waits until a new generation is due, and returns why: since the last wait the server has answered READONLY, or a
    /// connection has led to another address of the host's name. Cancel safe.
    pub async fn outdated(&self) -> Reason {
        tokio::select! {
            () = self.health.read_only() => Reason::ReadOnly,
            () = self.connector.preferred().changed() => Reason::Moved,
        }
    }

    /// Whether an ordinary lane serves and was answered within the last two seconds. Answers from memory.
    pub(crate) fn is_answered_on_a_lane(&self) -> bool {
        self.lanes.any(Lane::is_answered)
    }

    /// The ordinary lanes on which nothing arrives within `probe_timeout` after a `PING`. Goes to Redis. Cancel safe.
    pub(crate) async fn silent_lanes(&self) -> Vec<SilentLane> {
        self.lanes.silent(self.config().probe_timeout).await
    }

    /// Whether an ordinary lane serves. Answers from memory.
    pub(crate) fn has_lane(&self) -> bool {
        self.lanes.any(Lane::is_serving)
    }

    /// Whether callers have a connection: an ordinary lane that serves, or a lease. A replaced lane serves no new
    /// caller, and an idle connection may be dead, so neither counts. Answers from memory.
    pub(crate) fn has_users(&self) -> bool {
        self.has_lane() || self.current.leased() > 0
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    pub(crate) fn lanes(&self) -> Lanes<'_> {
        let Self { connector, health, lanes, current, .. } = self;
        Lanes { set: lanes, current, connector, health }
    }

    pub(crate) async fn take_lease(&self) -> Result<Lease, Error> {
        self.leases.take(&self.current, &self.connector, &self.health).await
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("name", &self.name())
            .field("address", self.address())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
