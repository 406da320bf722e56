use std::sync::Arc;

use super::conn::CacheConn;
use super::session::Session;
use crate::redis::endpoint::Endpoint;
use crate::redis::socket::Load;
use crate::redis::status::Error;

/// What callers get of an endpoint. It stands here because an endpoint does not know what callers hold.
impl Endpoint {
    /// A connection that is shared while it can be: most commands go out together with those of other callers, and the
    /// first one that needs a connection to itself leases one. Answers from memory while a lane serves; else waits for
    /// one, for as long as one attempt to connect may take. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with the cause at once while the endpoint is known to be away, and within 250 ms while
    /// connecting fails; [`Error::Deadline`], [`Error::NotBuilt`].
    pub async fn connection(self: &Arc<Self>) -> Result<CacheConn, Error> {
        let lane = self.lanes().take(Load::Ordinary).await?;
        Ok(CacheConn::new(Session::on_lane(lane, Arc::clone(self))))
    }

    /// Leases a connection, in the order of asking, within `connection_timeout` and the deadline in force. Answers
    /// from memory if a connection is idle, else goes to Redis. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with the cause as soon as the endpoint is known to be away, and about
    /// `connect_timeout` later where only new connections cannot be made and none is idle; [`Error::Exhausted`] when
    /// no lease came back in time, and at once when 16 callers for each lease (at least 1 024) wait already;
    /// [`Error::Deadline`], [`Error::NotBuilt`].
    pub async fn lease(self: &Arc<Self>) -> Result<CacheConn, Error> {
        let lease = self.take_lease().await?;
        Ok(CacheConn::new(Session::on_lease(lease, Arc::clone(self))))
    }
}
