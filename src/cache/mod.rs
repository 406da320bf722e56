//! Access to Redis: a handler takes a `CacheConn` as an argument; anywhere else a [`Cache`] gives one. A [`Cache`] also
//! subscribes. docs/redis.md says which commands share a connection.

#[cfg(not(feature = "cache"))]
mod absent;
#[cfg(feature = "cache")]
mod handle;

#[cfg(not(feature = "cache"))]
pub use absent::Cache;
#[cfg(feature = "cache")]
#[expect(clippy::module_name_repetitions, reason = "what every handler calls it")]
pub use handle::{Cache, CacheConn};
#[cfg(feature = "cache")]
pub use mainstay_actors::{
    cache::{NoEndpoint, PoolStats, PoolStatus},
    health::{GetHealth, ProbeNow, Report as HealthReport},
    pool::{GetPoolStatus, RebuildPool},
    redis::{Call, Cause, Config, ConfigFile, Error, Script, Session, Tls, Transaction, Ttl},
    subscriptions::{Error as SubscribeError, Event, Gap, Message, Subscription, Topics},
};
