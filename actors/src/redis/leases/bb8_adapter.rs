//! The pool that leases come from. No other file names bb8.

use std::sync::Arc;
use std::time::Duration;

use bb8_redis::bb8::{self, ManageConnection};
use futures_util::FutureExt;

use super::pooled::PooledConnection;
use crate::redis::connect::{Connector, Failure, Lifecycle, jittered};
use crate::redis::socket::Purpose;
use crate::redis::status::{Cause, Error};

/// The connections of one generation that are leased or idle.
pub(super) struct Pool(bb8::Pool<Adapter>);

/// A connection that was taken out of a pool; it goes back when it is dropped.
pub(super) type Checkout = bb8::PooledConnection<'static, Adapter>;

/// Makes and judges the connections of one generation's pool.
pub(super) struct Adapter {
    connector: Arc<Connector>,
    lifecycle: Arc<Lifecycle>,
}

impl Pool {
    pub(super) fn new(connector: Arc<Connector>, lifecycle: Arc<Lifecycle>) -> Self {
        let config = Arc::clone(connector.config());
        let pool = bb8::Pool::builder()
            .max_size(config.max_connections.max(1))
            .min_idle(None)
            // `is_valid` only looks at flags. The lease sends a `PING` if one is due.
            .test_on_check_out(true)
            // Connections have a lifetime of their own, with jitter.
            .max_lifetime(None)
            .idle_timeout(Some(config.recycle_timeout))
            // The lease keeps the deadline and knows the cause, so the pool must never time out first.
            .connection_timeout(NEVER)
            // `connect` tries until it succeeds or the generation is closed, after which no retry makes sense.
            .retry_connection(false)
            .queue_strategy(bb8::QueueStrategy::Lifo)
            .build_unchecked(Adapter { connector, lifecycle });
        Self(pool)
    }

    /// An idle connection, or a new one. `None` once the generation is closed.
    pub(super) async fn take(&self) -> Option<Checkout> {
        self.0.get_owned().await.ok()
    }

    /// Drops the idle connections of a generation that was closed.
    pub(super) fn drop_idle(&self) {
        // The pool cannot be closed. Taking a connection out of it discards every idle one on the way, because none
        // is valid any more; it needs a runtime only to be refused a new connection.
        if tokio::runtime::Handle::try_current().is_ok() {
            drop(self.0.get_owned().now_or_never());
        }
    }
}

impl Adapter {
    /// Whether a connection must not be used again. The pool then drops it, so each stillborn one is noted once.
    fn is_spent(&self, connection: &PooledConnection) -> bool {
        if connection.is_stillborn() {
            self.connector.backoff().failed(Cause::Closed, Failure::Unanswered);
        }
        connection.is_spent()
    }
}

impl ManageConnection for Adapter {
    type Connection = PooledConnection;
    type Error = Error;

    /// Tries until it succeeds. An error means that the generation was closed.
    async fn connect(&self) -> Result<PooledConnection, Error> {
        let made = self.connector.connect_until(Purpose::Lease, self.lifecycle.closed()).await?;
        let lifetime = jittered(self.connector.config().recycle_timeout, fastrand::f64());
        Ok(PooledConnection::new(made, Arc::clone(&self.lifecycle), lifetime))
    }

    async fn is_valid(&self, connection: &mut PooledConnection) -> Result<(), Error> {
        if self.is_spent(connection) || !self.lifecycle.trusts(connection.last_reply) {
            return Err(Error::unavailable(Cause::Closed));
        }
        Ok(())
    }

    fn has_broken(&self, connection: &mut PooledConnection) -> bool {
        self.is_spent(connection)
    }
}

/// So long that the pool never times out, and short enough to be added to any clock.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);
