use std::fmt;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::bb8_adapter::Checkout;
use super::pooled::PooledConnection;
use crate::redis::connect::{Leased, ping};
use crate::redis::status::Health;

/// A connection that one caller has to itself.
pub(crate) struct Lease {
    // Fields are dropped in this order: the connection is back in the pool before the permit wakes the next caller.
    connection: Checkout,
    _leased: Leased,
    permit: OwnedSemaphorePermit,
}

impl Lease {
    pub(super) fn new(connection: Checkout, permit: OwnedSemaphorePermit) -> Self {
        let leased = Leased::count(&connection.generation);
        Self { connection, _leased: leased, permit }
    }

    pub(crate) fn pooled(&self) -> &PooledConnection {
        &self.connection
    }

    pub(crate) fn pooled_mut(&mut self) -> &mut PooledConnection {
        &mut self.connection
    }

    /// Tests a connection that has been silent for long with a `PING`. If it does not answer within `limit` it is
    /// dropped, and the permit is returned for the next try.
    pub(super) async fn tested(
        mut self,
        health: &Health,
        limit: Duration,
        deadline: Instant,
    ) -> Result<Self, OwnedSemaphorePermit> {
        if !self.pooled().is_idle() {
            return Ok(self);
        }
        let pooled = self.pooled_mut();
        // Stays set if this future is dropped before the answer.
        pooled.is_doubtful = true;
        match timeout_at(deadline, ping(&pooled.connection.wire, limit)).await {
            Ok(Ok(())) if pooled.generation.is_closed() => {}
            Ok(Ok(())) => health.succeeded(),
            // Any answer is enough here: the command gets the same error.
            Ok(Err(cause)) if cause.will_pass() => {}
            Ok(Err(_)) => {
                pooled.generation.distrust_idle();
                return Err(self.discarded());
            }
            // The caller's deadline has passed, which says nothing of the server.
            Err(_) => return Err(self.discarded()),
        }
        pooled.is_doubtful = false;
        pooled.replied();
        Ok(self)
    }

    /// Drops the connection first, then returns the permit.
    fn discarded(self) -> OwnedSemaphorePermit {
        let Self { connection, permit, .. } = self;
        drop(connection);
        permit
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("connection", self.pooled()).finish_non_exhaustive()
    }
}
