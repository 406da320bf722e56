use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::address::Address;
use super::cause::Cause;
use super::config::Config;
use super::conn::CacheConn;
use super::connect::{Connector, Failure};
use super::error::Error;
use super::gate::ConnectGate;
use super::generation::{Generation, Reason};
use super::lease::Leases;
use super::link::Link;
use super::probe::Probe;
use super::pubsub::{Deliver, Incoming, PubSub};
use super::verdict::Health;

/// Everything that rooms share about one Redis: where it is, its current generation, its health, its leases.
///
/// It outlives every actor that works on it.
pub struct Endpoint {
    name: Box<str>,
    connector: Arc<Connector>,
    health: Health,
    leases: Leases,
    current: ArcSwapOption<Generation>,
    built: AtomicU64,
    rebuilds: AtomicU64,
    read_only: Notify,
}

/// The leases of an endpoint at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// The most leases that can be out at once.
    pub max_size: usize,
    /// The connections that are open for leases, leased or idle.
    pub size: usize,
    /// The leases that can be had now, before any other comes back.
    pub available: usize,
    /// The callers that wait for a lease.
    pub waiting: usize,
    /// The current generation; 0 before the first.
    pub generation: u64,
    /// How many generations were replaced.
    pub rebuilds: u64,
}

impl Endpoint {
    /// An endpoint at the address of `config.url`. Does no IO.
    ///
    /// # Errors
    /// [`Error::Config`] with every fault; [`Error::NotBuilt`] for `embedded`, which is no address until its server
    /// has a home, see [`Endpoint::at`].
    pub fn new(name: &str, config: Config, gate: Arc<ConnectGate>) -> Result<Self, Error> {
        let faults = config.validate();
        if !faults.is_empty() {
            return Err(Error::Config(faults));
        }
        let address = Address::parse(&config.url)?;
        Self::at(name, config, address, gate)
    }

    /// An endpoint at `address`, whatever `config.url` says. Does no IO.
    ///
    /// # Errors
    /// [`Error::Config`] with every fault, those of the URL apart; [`Error::NotBuilt`] for [`Address::Embedded`],
    /// which is not an address yet.
    pub fn at(
        name: &str,
        config: Config,
        address: Address,
        gate: Arc<ConnectGate>,
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
            name: name.into(),
            // A verdict that three probes in a row have not renewed says nothing any more; the last may take its time.
            health: Health::new(
                config.probe_interval.saturating_mul(3).saturating_add(config.probe_timeout),
            ),
            leases: Leases::new(config.max_connections),
            connector: Arc::new(Connector::new(name, address, config, gate)),
            current: ArcSwapOption::empty(),
            built: AtomicU64::new(0),
            rebuilds: AtomicU64::new(0),
            read_only: Notify::new(),
        })
    }

    /// The name by which the configuration calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it was configured with.
    pub fn config(&self) -> &Config {
        self.connector.config()
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        self.connector.address()
    }

    /// Its published health.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The generation in use.
    pub fn generation(&self) -> Option<Arc<Generation>> {
        self.current.load_full()
    }

    /// Why connecting fails at present, where it does: from the first failed attempt until a new connection has
    /// answered. Connections made before may work all the while. Answers from memory.
    pub fn trouble(&self) -> Option<Cause> {
        self.connector.trouble()
    }

    /// The next generation, not yet in use. Does no IO, and needs a runtime around it.
    pub fn build_generation(&self, reason: Reason) -> Generation {
        let number = self.built.fetch_add(1, Ordering::Relaxed) + 1;
        Generation::build(number, reason, Arc::clone(&self.connector))
    }

    /// Puts `generation` into use, closes the one before it and returns that one, so that its leases can be waited
    /// for and cut. Answers from memory.
    pub fn publish(&self, generation: Generation) -> Option<Arc<Generation>> {
        let old = self.current.swap(Some(Arc::new(generation)));
        if let Some(old) = &old {
            self.rebuilds.fetch_add(1, Ordering::Relaxed);
            old.close();
        }
        old
    }

    /// Takes the generation out of use and closes it; from now on nobody gets a lease. Answers from memory.
    pub fn close(&self) -> Option<Arc<Generation>> {
        let old = self.current.swap(None);
        if let Some(old) = &old {
            old.close();
        }
        old
    }

    /// Connects for whoever watches over this endpoint. Goes to Redis. *Cancel safety*: may be dropped.
    ///
    /// While attempts fail, this one keeps their common pace of ten a second, and for 2 s after a login that failed
    /// it answers from memory with that failure.
    ///
    /// # Errors
    /// The cause, at most `connect_timeout` after its turn, which comes within 100 ms for each attempt before it.
    pub async fn probe_connection(&self) -> Result<Probe, Cause> {
        let line = self.connector.connect_probe().await?;
        Ok(Probe::new(line, &self.connector))
    }

    /// Connects for subscriptions, at the pace of [`Endpoint::probe_connection`]. What is published goes to `deliver`,
    /// on RESP2 as long as the second half is followed. Goes to Redis. *Cancel safety*: may be dropped.
    pub(crate) async fn pubsub_connection(
        &self,
        deliver: Deliver,
    ) -> Result<(PubSub, Incoming), Cause> {
        PubSub::connect(&self.connector, deliver).await
    }

    /// Leases a connection, in the order of asking, within `connection_timeout` and the deadline in force. Answers
    /// from memory if a connection is idle, else goes to Redis.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with the cause as soon as the endpoint is known to be away, and about
    /// `connect_timeout` later where only new connections cannot be made and none is idle; [`Error::Exhausted`] when
    /// no lease came back in time, and at once when 16 callers for each lease (at least 1 024) wait already;
    /// [`Error::Deadline`], [`Error::NotBuilt`]. *Cancel safety*: may be dropped.
    pub async fn lease(self: &Arc<Self>) -> Result<CacheConn, Error> {
        let lease = self.leases.take(self).await?;
        Ok(CacheConn::new(Link::new(lease, Arc::clone(self))))
    }

    /// The leases at this moment. Answers from memory.
    pub fn status(&self) -> PoolStatus {
        PoolStatus {
            max_size: usize::try_from(self.config().max_connections).unwrap_or(usize::MAX),
            size: self.connector.open(),
            available: self.leases.available(),
            waiting: self.leases.waiting(),
            generation: self.current.load().as_ref().map_or(0, |generation| generation.number()),
            rebuilds: self.rebuilds.load(Ordering::Relaxed),
        }
    }

    /// Ends when a server answered that it is read-only since this was last waited for: a new generation is due.
    /// *Cancel safety*: may be dropped.
    pub async fn read_only(&self) {
        self.read_only.notified().await;
    }

    pub(super) fn standing_trouble(&self) -> Option<Cause> {
        self.connector.standing_trouble()
    }

    /// Why a caller without a lease cannot expect one soon: leases are out that wait for a connection themselves.
    pub(super) fn shortage(&self) -> Option<Cause> {
        let is_short = self.connector.open() < self.status().max_size;
        self.connector.standing_trouble().filter(|_| is_short)
    }

    pub(super) fn answered(&self) {
        self.connector.answered();
    }

    pub(super) fn lost_unanswered(&self, cause: Cause) {
        self.connector.failed(cause, Failure::Unanswered);
    }

    pub(super) fn saw_read_only(&self) {
        self.read_only.notify_one();
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("name", &self.name)
            .field("address", self.address())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
