use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use serde::{Deserialize, Serialize};
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep, sleep_until};

use crate::deadline;
use crate::redis::address::Address;
use crate::redis::client::{CacheConn, Session};
use crate::redis::command::ScriptTexts;
use crate::redis::config::Config;
use crate::redis::connect::{
    Connector, Deliver, Failure, Incoming, MissingCapability, Pace, Probe, PubSub, jittered, ping,
};
use crate::redis::lanes::{Lane, LaneSet};
use crate::redis::leases::{Generation, Lease, Leases, Reason, Waiting, most_waiting};
use crate::redis::socket::{CloseReason, Load, Purpose};
use crate::redis::status::{Cause, Error, Health};

/// Everything that rooms share about one Redis: where it is, its current generation, its health, its lanes and leases.
///
/// It outlives every actor that works on it.
pub struct Endpoint {
    name: Box<str>,
    connector: Arc<Connector>,
    health: Health,
    leases: Leases,
    lanes: LaneSet,
    current: ArcSwapOption<Generation>,
    built: AtomicU64,
    rebuilds: AtomicU64,
    large_values: AtomicU64,
}

/// The connections of an endpoint at a moment. The first four numbers describe leases: commands that can share a
/// connection need none.
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
    /// The connections that callers share, those included that were replaced and end what is under way.
    pub lanes: usize,
    /// The connections of our own: probes and subscriptions.
    pub control: usize,
    /// The current generation; 0 before the first.
    pub generation: u64,
    /// How many generations were replaced.
    pub rebuilds: u64,
    /// How many commands or replies of more than 64 KiB went over a connection that is meant for small ones.
    pub large_values: u64,
}

impl Endpoint {
    /// An endpoint at the address of `config.url`. Does no IO.
    ///
    /// # Errors
    /// [`Error::Config`] with every fault; [`Error::NotBuilt`] for `embedded`, which is no address until its server
    /// has a home, see [`Endpoint::at`].
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
    /// [`Error::Config`] with every fault, those of the URL apart; [`Error::NotBuilt`] for [`Address::Embedded`],
    /// which is not an address yet.
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
            name: name.into(),
            // A verdict that three probes in a row have not renewed says nothing any more; the last may take its time.
            health: Health::new(
                config.probe_interval.saturating_mul(3).saturating_add(config.probe_timeout),
            ),
            leases: Leases::new(config.max_connections),
            lanes: LaneSet::new(config.lane_count()),
            connector: Arc::new(Connector::new(name, address, config, pace)),
            current: ArcSwapOption::empty(),
            built: AtomicU64::new(0),
            rebuilds: AtomicU64::new(0),
            large_values: AtomicU64::new(0),
        })
    }

    /// What it is called in `/ready`, in the log and in `CLIENT LIST`: `redis` for the default one, `redis.limits` for
    /// the one of the section `[redis.endpoints.limits]`.
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
    pub fn connect_failure(&self) -> Option<Cause> {
        self.connector.backoff().cause()
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

    /// Takes the generation and the lanes out of use; from now on nobody gets a connection. Answers from memory.
    pub fn close(&self) -> Option<Arc<Generation>> {
        let old = self.current.swap(None);
        self.lanes.retire_all();
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
    /// The cause, at most `connect_timeout` after its turn, which comes within 100 ms for each attempt before it, and
    /// as much later while every slot for such a connection is taken.
    pub async fn probe_connection(&self) -> Result<Probe, Cause> {
        let connection = self.connector.connect_probe().await?;
        Ok(Probe::new(connection, &self.connector))
    }

    /// Connects for subscriptions, at the pace of [`Endpoint::probe_connection`]. What is published goes to `deliver`,
    /// on RESP2 as long as the second half is followed. Goes to Redis. *Cancel safety*: may be dropped.
    pub(crate) async fn pubsub_connection(
        &self,
        deliver: Deliver,
    ) -> Result<(PubSub, Incoming), Cause> {
        PubSub::connect(&self.connector, deliver).await
    }

    /// A connection that is shared while it can be: most commands go out together with those of other callers, and the
    /// first one that needs a connection to itself leases one. Answers from memory while a lane serves; else waits for
    /// one, for as long as one attempt to connect may take.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with the cause at once while the endpoint is known to be away, and within 250 ms while
    /// connecting fails; [`Error::Deadline`], [`Error::NotBuilt`]. *Cancel safety*: may be dropped.
    pub async fn connection(self: &Arc<Self>) -> Result<CacheConn, Error> {
        let lane = self.lane(Load::Ordinary).await?;
        Ok(CacheConn::new(Session::on_lane(lane, Arc::clone(self))))
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
        let lease = self.take_lease().await?;
        Ok(CacheConn::new(Session::on_lease(lease, Arc::clone(self))))
    }

    /// How many lanes are to be kept, each by its own [`keep_lane`](Self::keep_lane). Answers from memory.
    pub fn lane_slots(&self) -> usize {
        self.lanes.count()
    }

    /// Watches over the lane at `slot`, below [`lane_slots`](Self::lane_slots), until it has been replaced, and says
    /// why it was; `None` where there was none. One that is lost is given up at once, any other when its successor is
    /// there. Goes to Redis. *Cancel safety*: may be dropped; the lane stays in use, unwatched.
    // redis R3, R4, R24
    pub async fn keep_lane(&self, slot: usize) -> Option<CloseReason> {
        let load = self.lanes.load_of(slot);
        let (new, reason) = match self.lanes.slot(slot).load_full() {
            Some(lane) => {
                let (new, reason) = self.succeed(slot, &lane, load).await;
                (new, Some(reason))
            }
            None => (self.connect_lane(load).await, None),
        };
        if let Some(old) = self.lanes.publish(slot, new) {
            old.retire(reason.unwrap_or(CloseReason::Replaced));
        }
        if self.generation().is_none() {
            self.lanes.retire_all();
        }
        reason
    }

    /// The leases at this moment. Answers from memory.
    pub fn status(&self) -> PoolStatus {
        PoolStatus {
            max_size: usize::try_from(self.config().max_connections).unwrap_or(usize::MAX),
            size: self.connector.budget().leases.open(),
            available: self.leases.available(),
            waiting: self.leases.waiting(),
            lanes: self.connector.budget().lanes.open(),
            control: self.connector.budget().control.open(),
            generation: self.current.load().as_ref().map_or(0, |generation| generation.number()),
            rebuilds: self.rebuilds.load(Ordering::Relaxed),
            large_values: self.large_values.load(Ordering::Relaxed),
        }
    }

    /// Ends when a server answered that it is read-only since this was last waited for: a new generation is due.
    /// *Cancel safety*: may be dropped.
    pub async fn read_only(&self) {
        self.health.read_only().await;
    }

    /// Whether an ordinary lane serves that has been answered within the last two seconds. Answers from memory.
    pub(crate) fn is_answered_on_a_lane(&self) -> bool {
        self.lanes.any(Lane::is_answered)
    }

    /// Whether anyone has a connection: an ordinary lane that serves, or a lease. One that was replaced
    /// serves nobody who comes, and one that is idle may be dead. Answers from memory.
    pub(crate) fn has_users(&self) -> bool {
        let is_leased = || self.current.load().as_ref().is_some_and(|now| now.leased() > 0);
        self.lanes.any(Lane::is_serving) || is_leased()
    }

    pub(crate) fn saw_large_value(&self) {
        if self.large_values.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                endpoint = self.name(),
                "more than 64 KiB went over a connection that many share: take CacheConn::bulk() for large values"
            );
        }
    }

    pub(crate) fn note_missing(&self, missing: MissingCapability) {
        self.connector.note_missing(missing);
    }

    pub(crate) fn scripts(&self) -> &ScriptTexts {
        self.connector.scripts()
    }

    pub(crate) async fn take_lease(&self) -> Result<Lease, Error> {
        self.leases.take(self).await
    }

    pub(crate) async fn lane(&self, load: Load) -> Result<Arc<Lane>, Error> {
        if let Some(error) = self.health.opened() {
            // A caller who only tries again would keep the thread to itself.
            consume_budget().await;
            return Err(error);
        }
        match self.lanes.serving(load) {
            Some(lane) => Ok(lane),
            None => Box::pin(self.wait_for_lane(load)).await,
        }
    }

    async fn wait_for_lane(&self, load: Load) -> Result<Arc<Lane>, Error> {
        let begun = Instant::now();
        let patience = begun + LANE_PATIENCE;
        let deadline = deadline::at_most(self.config().connect_timeout);
        let waiting = Waiting::count(&self.lanes.waiting);
        if waiting.number() > most_waiting(self.config().max_connections) {
            return Err(Error::unavailable(self.connect_failure().unwrap_or(Cause::Closed)));
        }
        loop {
            let published = self.lanes.published();
            if self.generation().is_none() {
                return Err(Error::NotBuilt);
            }
            if let Some(lane) = self.lanes.serving(load) {
                return Ok(lane);
            }
            let now = Instant::now();
            if let Some(cause) = self.connect_failure().filter(|_| now >= patience) {
                return Err(Error::unavailable(cause));
            }
            if deadline::current().is_some_and(|deadline| now >= deadline) {
                return Err(Error::Deadline { waited: begun.elapsed() });
            }
            if now >= deadline {
                return Err(Error::unavailable(Cause::Timeout));
            }
            let look_again = if now < patience { patience.min(deadline) } else { deadline };
            tokio::select! {
                biased;
                () = published => {}
                error = self.health.wait_opened() => return Err(error),
                () = sleep_until(look_again) => {}
            }
        }
    }

    /// Waits until `lane` is to be replaced. Returns its successor, and why there is one.
    async fn succeed(&self, slot: usize, lane: &Lane, load: Load) -> (Lane, CloseReason) {
        let limit = self.config().command_timeout;
        let give_up = |reason| {
            self.lanes.slot(slot).store(None);
            lane.retire(reason);
        };
        let reason = lane.watch(limit, &self.health).await;
        if reason.is_sudden() {
            give_up(reason);
            self.connector.wait_turn(load).await;
            return (self.connect_lane(load).await, reason);
        }
        // It is still in use for as long as there is no other, so it may still fail.
        let mut connecting = pin!(self.connect_lane(load));
        tokio::select! {
            biased;
            new = &mut connecting => (new, reason),
            reason = lane.fails(limit, &self.health) => {
                give_up(reason);
                (connecting.await, reason)
            }
        }
    }

    /// A lane whose server has answered. Never ends once the endpoint is closed.
    async fn connect_lane(&self, load: Load) -> Lane {
        let config = self.config();
        loop {
            let Some(generation) = self.generation() else { return std::future::pending().await };
            let lifecycle = generation.lifecycle();
            drop(generation);
            if lifecycle.is_closed() {
                // Whoever closed it will put another one into use.
                sleep(LANE_PATIENCE).await;
                continue;
            }
            let purpose = Purpose::Lane(load);
            let Ok(mut connection) =
                self.connector.connect_until(purpose, lifecycle.closed()).await
            else {
                continue;
            };
            let found = ping(&mut connection.wire, config.command_timeout).await;
            match found {
                Err(cause) if !cause.will_pass() => {
                    self.connector.backoff().failed(cause, Failure::Unanswered);
                }
                Ok(()) | Err(_) => {
                    self.connector.backoff().answered();
                    let lifetime = jittered(config.recycle_timeout, fastrand::f64());
                    return Lane::new(connection, lifecycle, lifetime, found.err());
                }
            }
        }
    }

    pub(crate) fn standing_connect_failure(&self) -> Option<Cause> {
        self.connector.backoff().standing()
    }

    /// Why a caller without a lease cannot expect one soon: leases are out that wait for a connection themselves.
    pub(crate) fn shortage(&self) -> Option<Cause> {
        let is_short = self.connector.budget().leases.open() < self.status().max_size;
        self.connector.backoff().standing().filter(|_| is_short)
    }

    pub(crate) fn answered(&self) {
        self.connector.backoff().answered();
    }

    pub(crate) fn lost_unanswered(&self, cause: Cause) {
        self.connector.backoff().failed(cause, Failure::Unanswered);
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

/// How long a caller without a lane waits while connecting fails: long enough for a second attempt.
const LANE_PATIENCE: Duration = Duration::from_millis(250);
