use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::redis::{CacheConn, Endpoint, Error, PoolStatus};

/// The handle through which a service reaches Redis. Clones share everything.
#[derive(Debug, Clone)]
pub struct Cache {
    endpoint: Arc<Endpoint>,
}

/// Three numbers about leases, for a service's own statistics page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStats {
    /// The most leases that can be out at once.
    pub max_size: usize,
    /// The connections that are open for leases, leased or idle.
    pub size: usize,
    /// The leases that can be taken now, before any other is given back.
    pub available: usize,
}

impl Cache {
    /// A handle on `endpoint`.
    pub fn new(endpoint: Arc<Endpoint>) -> Self {
        Self { endpoint }
    }

    /// A connection that all callers share, until a command needs one to itself. Answers from memory; waits only while
    /// there is no connection at all.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with the cause as soon as Redis is known to be away; [`Error::Deadline`] when the
    /// request's deadline has passed. Cancel safe.
    pub async fn get(&self) -> Result<CacheConn, Error> {
        self.endpoint.connection().await
    }

    /// The endpoint that it reaches.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The connections at this moment. Answers from memory.
    pub fn status(&self) -> PoolStatus {
        self.endpoint.status()
    }

    /// Takes every connection out of use. No caller gets one afterwards.
    pub(crate) fn close(&self) {
        if let Some(generation) = self.endpoint.close() {
            generation.cut();
        }
    }
}

impl From<PoolStatus> for PoolStats {
    fn from(status: PoolStatus) -> Self {
        Self { max_size: status.max_size, size: status.size, available: status.available }
    }
}
