//! A service's way to Redis: `CacheConn` is what a handler takes as an argument, [`Cache`] what gives one
//! anywhere else, and what subscribes. docs/redis.md says which command goes where.

#[cfg(feature = "cache")]
mod handle;

#[cfg(feature = "cache")]
#[expect(clippy::module_name_repetitions, reason = "what every handler calls it")]
pub use handle::{Cache, CacheConn};
#[cfg(feature = "cache")]
pub use mainstay_actors::{
    cache::{NoEndpoint, PoolStats, PoolStatus},
    health::{GetHealth, ProbeNow, Report as HealthReport},
    pool::{GetPoolStatus, RebuildPool},
    redis::{Call, Cause, Config, Error, Script, Session, Tls, Transaction, Ttl},
    subscriptions::{Error as SubscribeError, Event, Gap, Message, Subscription, Topics},
};

/// The way to Redis: there is none in a service that was built without the feature `cache`.
#[cfg(not(feature = "cache"))]
#[derive(Debug, Clone, Copy)]
pub enum Cache {}
