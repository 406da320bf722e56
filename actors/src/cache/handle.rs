use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::redis::{CacheConn, Endpoint, Error, Kind, PoolStatus};
use crate::subscriptions::{self, Registry, Subscription, Topics};

/// A service's way to Redis. Clones share everything.
#[derive(Debug, Clone)]
pub struct Cache {
    endpoint: Arc<Endpoint>,
    subscriptions: Option<Arc<Registry>>,
}

/// The three numbers that a service's own statistics page shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStats {
    /// The most leases that can be out at once.
    pub max_size: usize,
    /// The connections that are open for leases, leased or idle.
    pub size: usize,
    /// The leases that can be had now, before any other comes back.
    pub available: usize,
}

impl Cache {
    /// A handle on `endpoint`.
    pub fn new(endpoint: Arc<Endpoint>) -> Self {
        Self { endpoint, subscriptions: None }
    }

    /// The same, where an actor follows `subscriptions`.
    pub(crate) fn followed(self, subscriptions: Arc<Registry>) -> Self {
        Self { subscriptions: Some(subscriptions), ..self }
    }

    /// A connection, in the order of asking. Answers from memory if one is idle, else goes to Redis.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with the cause as soon as Redis is known to be away, [`Error::Exhausted`] when every
    /// connection stayed in use, [`Error::Deadline`] when the request's time ran out. *Cancel safety*: may be
    /// dropped.
    pub async fn get(&self) -> Result<CacheConn, Error> {
        self.endpoint.lease().await
    }

    /// Subscribes to channels: `"news"`, `["news", "sport"]` or a `Vec<String>`. Answers from memory where all of them
    /// are subscribed to already, else goes to Redis and returns when the server has confirmed: what is published from
    /// then on arrives.
    ///
    /// A subscription that stands survives every outage, but none begins in one: nobody waits for it yet, and whoever
    /// asks knows best whether to try again or to do without.
    ///
    /// # Errors
    /// [`redis`](subscriptions::Error::Redis) with the cause, at once while Redis is known to be away and after
    /// `connection_timeout` or with the request's deadline otherwise, or where the user has no permission for a
    /// channel; [`TooMany`](subscriptions::Error::TooMany) where 1 024 subscriptions stand, or 10 000 different channels
    /// and patterns are subscribed to; [`Topics`](subscriptions::Error::Topics) for no name, for more than 1 024, or for
    /// one longer than 4 096 bytes; [`Closed`](subscriptions::Error::Closed) while the service ends. *Cancel safety*:
    /// may be dropped.
    pub async fn subscribe(
        &self,
        channels: impl Into<Topics>,
    ) -> Result<Subscription, subscriptions::Error> {
        self.subscribe_to(Kind::Channel, channels.into()).await
    }

    /// Subscribes to every channel whose name matches a pattern, as in `"news.*"`; see Redis' `PSUBSCRIBE`. Otherwise as
    /// [`subscribe`](Self::subscribe).
    ///
    /// # Errors
    /// As there. *Cancel safety*: may be dropped.
    pub async fn psubscribe(
        &self,
        patterns: impl Into<Topics>,
    ) -> Result<Subscription, subscriptions::Error> {
        self.subscribe_to(Kind::Pattern, patterns.into()).await
    }

    async fn subscribe_to(
        &self,
        kind: Kind,
        topics: Topics,
    ) -> Result<Subscription, subscriptions::Error> {
        let registry = self.subscriptions.as_ref().ok_or(subscriptions::Error::Closed)?;
        registry.subscribe(&self.endpoint, kind, topics).await
    }

    /// The leases at this moment. Answers from memory.
    pub fn status(&self) -> PoolStatus {
        self.endpoint.status()
    }
}

impl From<PoolStatus> for PoolStats {
    fn from(status: PoolStatus) -> Self {
        Self { max_size: status.max_size, size: status.size, available: status.available }
    }
}
