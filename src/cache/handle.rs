use std::ops::{Deref, DerefMut};

use mainstay_actors::{cache, redis};

/// The way to Redis, shared by all its clones.
#[derive(Debug, Clone)]
pub struct Cache {
    inner: cache::Cache,
}

impl Cache {
    pub(crate) fn new(inner: cache::Cache) -> Self {
        Self { inner }
    }

    /// A connection: a place on one that all requests share, until a command needs one to itself.
    /// Answers from memory; waits only while there is no connection at all.
    ///
    /// # Errors
    /// [`Error`](redis::Error) with the cause, as soon as Redis is known to be away. *Cancel
    /// safety*: may be dropped.
    pub async fn get(&self) -> Result<CacheConn, redis::Error> {
        Ok(CacheConn { inner: self.inner.get().await? })
    }

    /// The connections at this moment. Answers from memory.
    pub fn status(&self) -> cache::PoolStatus {
        self.inner.status()
    }
}

/// A connection to Redis, for one holder at a time. In a handler it is an extractor: a request that
/// finds Redis away is answered 503, and an `Option<CacheConn>` is then `None`.
///
/// The everyday commands are methods of [the type it derefs to](redis::CacheConn), and so are
/// `transaction` and `pin`. With `use redis::AsyncCommands` every other command is one too; pipelines
/// and scripts take `&mut *conn`.
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
