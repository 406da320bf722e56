//! A service's way to Redis: `CacheConn` is what a handler takes as an argument, [`Cache`] what gives one
//! anywhere else, and what subscribes. docs/redis.md says which command goes where.

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
    redis::{Call, Cause, Config, Error, Link, Script, Tls, Transaction, Ttl},
    subscriptions::{Error as SubscribeError, Event, Gap, Message, Subscription, Topics},
};
