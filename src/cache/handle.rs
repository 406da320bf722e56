use std::ops::{Deref, DerefMut};

use mainstay_actors::subscriptions::{self, Subscription, Topics};
use mainstay_actors::tree::Redis;
use mainstay_actors::{cache, redis};

/// The way to Redis, shared by all its clones.
#[derive(Debug, Clone)]
pub struct Cache {
    redis: Redis,
}

impl Cache {
    pub(crate) fn new(redis: &Redis) -> Self {
        Self { redis: redis.clone() }
    }

    /// The same for a request, whose subscriptions end when the service drains.
    pub(crate) fn until_drain(mut self) -> Self {
        self.redis.subscriptions = self.redis.subscriptions.until_drain();
        self
    }

    /// A connection: a place on one that all requests share, until a command needs one to itself.
    /// Answers from memory; waits only while there is no connection at all.
    ///
    /// # Errors
    /// [`Error`](redis::Error) with the cause, as soon as Redis is known to be away. *Cancel
    /// safety*: may be dropped.
    pub async fn get(&self) -> Result<CacheConn, redis::Error> {
        Ok(CacheConn { inner: self.redis.cache.get().await? })
    }

    /// Subscribes to channels: `"news"`, `["news", "sport"]` or a `Vec<String>`. Answers from
    /// memory where all of them are subscribed to already, else goes to Redis and returns when the
    /// server has confirmed: what is published from then on arrives.
    ///
    /// A [`Subscription`] that stands survives every outage, but none begins in one. One that a handler
    /// made ends when the service [drains](crate::Draining), one of an actor with the actors.
    ///
    /// ```no_run
    /// # async fn follow(cache: mainstay::Cache) -> mainstay::Result<()> {
    /// use mainstay::cache::Event;
    ///
    /// let mut prices = cache.subscribe(["prices:eur", "prices:usd"]).await?;
    /// while let Some(event) = prices.next().await {
    ///     match event {
    ///         Event::Message(message) => println!("{}: {}", message.channel(), message.get::<f64>()?),
    ///         // Whatever is kept of the prices is read anew here.
    ///         Event::Gap(gap) => println!("something may be missing: {gap:?}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error`](subscriptions::Error) with the cause, at once while Redis is known to be away.
    /// *Cancel safety*: may be dropped.
    pub async fn subscribe(
        &self,
        channels: impl Into<Topics>,
    ) -> Result<Subscription, subscriptions::Error> {
        self.redis.subscriptions.subscribe(channels).await
    }

    /// Subscribes to every channel whose name matches a pattern, as in `"news.*"`; see Redis'
    /// `PSUBSCRIBE`. Otherwise as [`subscribe`](Self::subscribe).
    ///
    /// # Errors
    /// As there. *Cancel safety*: may be dropped.
    pub async fn psubscribe(
        &self,
        patterns: impl Into<Topics>,
    ) -> Result<Subscription, subscriptions::Error> {
        self.redis.subscriptions.psubscribe(patterns).await
    }

    /// The connections at this moment. Answers from memory.
    pub fn status(&self) -> cache::PoolStatus {
        self.redis.cache.status()
    }
}

/// A connection to Redis, for one holder at a time. In a handler it is an extractor: a request that
/// finds Redis away is answered 503, and an `Option<CacheConn>` is then `None`.
///
/// The everyday commands are methods of [the type it derefs to](redis::CacheConn), and so are
/// `transaction` and `pin`. With `use redis::AsyncCommands` every other command is one too; pipelines
/// and scripts take `&mut *conn`.
///
/// Take one for each piece of work, which costs nothing, rather than one for good. While it shares a
/// connection it goes on over another one when that is lost; but after a write whose reply never came
/// everything may fail with [`OutcomeUnknown`](redis::Error::OutcomeUnknown) until another one is
/// taken, and a connection that it has to itself is not replaced when it is lost: then everything
/// fails with [`Unavailable`](redis::Error::Unavailable), also when Redis is back.
// It is no `ConnectionLike` itself: then the trait's `get` would come before the method of this
// name.
#[derive(Debug)]
pub struct CacheConn {
    inner: redis::CacheConn,
}

impl CacheConn {
    /// The same connection on the lane for large values, which hold up nobody's small ones there.
    /// Answers from memory.
    ///
    /// # Errors
    /// [`Error`](redis::Error). *Cancel safety*: may be dropped.
    pub async fn bulk(self) -> Result<Self, redis::Error> {
        Ok(Self { inner: self.inner.bulk().await? })
    }
}

impl Deref for CacheConn {
    type Target = redis::CacheConn;

    fn deref(&self) -> &redis::CacheConn {
        &self.inner
    }
}

impl DerefMut for CacheConn {
    fn deref_mut(&mut self) -> &mut redis::CacheConn {
        &mut self.inner
    }
}
