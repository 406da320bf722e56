use std::sync::Arc;

use super::conn::CacheConn;
use super::session::Session;
use crate::redis::endpoint::Endpoint;
use crate::redis::socket::Load;
use crate::redis::status::Error;

/// The connections that callers get from an endpoint. They are made here, because an endpoint does not know their
/// types.
impl Endpoint {
    /// A connection on a lane: commands go out together with those of other callers, until one needs a dedicated
    /// connection and leases it. Answers from memory while a lane serves; else waits for one, for at most
    /// `connect_timeout`. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with the cause, at once while the endpoint is known to be away, and within 250 ms while
    /// connecting fails; [`Error::Deadline`], [`Error::NotBuilt`].
    pub async fn connection(self: &Arc<Self>) -> Result<CacheConn, Error> {
        let lane = self.lanes().take(Load::Ordinary).await?;
        Ok(CacheConn::new(Session::on_lane(lane, Arc::clone(self))))
    }

    /// Leases a connection, first come first served, within `connection_timeout` and the deadline in force. Answers
    /// from memory if a connection is idle, else goes to Redis. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with the cause, as soon as the endpoint is known to be away, and after about
    /// `connect_timeout` if only new connections fail and none is idle; [`Error::Exhausted`] if no lease was given back
    /// in time, and at once while 16 callers for each lease (at least 1 024) wait already; [`Error::Deadline`],
    /// [`Error::NotBuilt`].
    pub async fn lease(self: &Arc<Self>) -> Result<CacheConn, Error> {
        let lease = self.take_lease().await?;
        Ok(CacheConn::new(Session::on_lease(lease, Arc::clone(self))))
    }
}
