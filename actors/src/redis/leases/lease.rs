use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::bb8_adapter::Checkout;
use super::pooled::PooledConnection;
use crate::deadline;
use crate::redis::connect::{Leased, ping};
use crate::redis::endpoint::Endpoint;
use crate::redis::status::Error;

/// The right to hold a connection: first come, first served, over all generations of an endpoint.
#[derive(Debug)]
pub(crate) struct Leases {
    permits: Arc<Semaphore>,
    most: u32,
    most_waiting: usize,
    waiting: AtomicUsize,
}

/// A connection for one holder.
pub(crate) struct Lease {
    // Fields are dropped in this order: the connection is back in the pool before the next in line may look there.
    connection: Checkout,
    _leased: Leased,
    permit: OwnedSemaphorePermit,
}

impl Leases {
    pub(crate) fn new(most: u32) -> Self {
        let permits =
            usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(permits)),
            most,
            most_waiting: most_waiting(most),
            waiting: AtomicUsize::new(0),
        }
    }

    pub(crate) fn available(&self) -> usize {
        self.permits.available_permits()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Waits in line for a permit and then for a connection. *Cancel safety*: may be dropped; nothing is lost.
    // redis R6, R7, R22
    pub(crate) async fn take(&self, endpoint: &Endpoint) -> Result<Lease, Error> {
        let begun = Instant::now();
        let deadline = deadline::at_most(endpoint.config().connection_timeout);
        if let Some(error) = endpoint.health().opened() {
            return Err(error);
        }
        if endpoint.generation().is_none() {
            return Err(Error::NotBuilt);
        }
        if begun >= deadline {
            return Err(Error::Deadline { waited: Duration::ZERO });
        }
        let _waiting = Waiting::count(&self.waiting);
        let permit = self.permit(endpoint, begun, deadline).await?;
        self.connection(endpoint, permit, begun, deadline).await
    }

    async fn permit(
        &self,
        endpoint: &Endpoint,
        begun: Instant,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, Error> {
        let permits = Arc::clone(&self.permits);
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            return Ok(permit);
        }
        if self.waiting() > self.most_waiting {
            return Err(self.refused(endpoint, Duration::ZERO));
        }
        let mut acquired = pin!(permits.acquire_owned());
        let mut look_again = patience(endpoint, begun).min(deadline);
        loop {
            tokio::select! {
                biased;
                permit = &mut acquired => return Ok(permit.expect("nobody closes this semaphore")),
                error = endpoint.health().wait_opened() => return Err(error),
                () = sleep_until(look_again) => {}
            }
            let now = Instant::now();
            if now >= deadline || endpoint.shortage().is_some() {
                return Err(self.refused(endpoint, begun.elapsed()));
            }
            look_again = deadline.min(now + LOOK_AGAIN);
        }
    }

    /// Why there is no permit: those who hold one have a connection, or wait for one that cannot be made.
    fn refused(&self, endpoint: &Endpoint, waited: Duration) -> Error {
        match endpoint.shortage() {
            Some(cause) => Error::unavailable(cause),
            None => Error::Exhausted { max_connections: self.most, waited },
        }
    }

    async fn connection(
        &self,
        endpoint: &Endpoint,
        mut permit: OwnedSemaphorePermit,
        begun: Instant,
        deadline: Instant,
    ) -> Result<Lease, Error> {
        loop {
            // Looked up each time, so that a waiter moves on to a new generation with everyone else.
            let generation = endpoint.generation().ok_or(Error::NotBuilt)?;
            let look_again = deadline.min(Instant::now() + LOOK_AGAIN);
            let connection = tokio::select! {
                biased;
                taken = generation.pool().take() => taken,
                error = endpoint.health().wait_opened() => return Err(error),
                // The pool loses a wake-up when two connections come back between its check and its wait, so no
                // wait of it is trusted for long.
                () = sleep_until(look_again) => None,
            };
            if let Some(connection) = connection {
                let leased = Leased::count(&connection.generation);
                let lease = Lease { connection, _leased: leased, permit };
                match lease.tested(endpoint, deadline).await {
                    Ok(lease) => return Ok(lease),
                    Err(kept) => permit = kept,
                }
            }
            let now = Instant::now();
            if now >= patience(endpoint, begun)
                && let Some(cause) = endpoint.standing_connect_failure()
            {
                return Err(Error::unavailable(cause));
            }
            if now >= deadline {
                return Err(match endpoint.connect_failure() {
                    Some(cause) => Error::unavailable(cause),
                    None => Error::Deadline { waited: begun.elapsed() },
                });
            }
        }
    }
}

impl Lease {
    pub(crate) fn pooled(&self) -> &PooledConnection {
        &self.connection
    }

    pub(crate) fn pooled_mut(&mut self) -> &mut PooledConnection {
        &mut self.connection
    }

    /// Asks a connection that has been silent for long whether it is still there. One that is not gives its permit
    /// back for the next try.
    async fn tested(
        mut self,
        endpoint: &Endpoint,
        deadline: Instant,
    ) -> Result<Self, OwnedSemaphorePermit> {
        if !self.pooled().is_idle() {
            return Ok(self);
        }
        let pooled = self.pooled_mut();
        // Stays so if this future is dropped under way.
        pooled.is_doubtful = true;
        let limit = endpoint.config().probe_timeout;
        match timeout_at(deadline, ping(&mut pooled.connection.wire, limit)).await {
            Ok(Ok(())) => endpoint.health().succeeded(),
            // It answers, which is all that is asked here: the command will say the rest.
            Ok(Err(cause)) if cause.will_pass() => {}
            Ok(Err(_)) => {
                pooled.generation.distrust_idle();
                return Err(self.discarded());
            }
            // Our caller had no time for an answer, which says nothing of the server.
            Err(_) => return Err(self.discarded()),
        }
        pooled.is_doubtful = false;
        pooled.replied();
        Ok(self)
    }

    /// Drops the connection first, then hands on the permit.
    fn discarded(self) -> OwnedSemaphorePermit {
        let Self { connection, permit, .. } = self;
        drop(connection);
        permit
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("connection", self.pooled()).finish_non_exhaustive()
    }
}

/// One caller waits for as long as this lives.
pub(crate) struct Waiting<'a> {
    counter: &'a AtomicUsize,
    number: usize,
}

impl<'a> Waiting<'a> {
    pub(crate) fn count(counter: &'a AtomicUsize) -> Self {
        let number = counter.fetch_add(1, Ordering::Relaxed) + 1;
        Self { counter, number }
    }

    /// How many waited when this one came, itself included.
    pub(crate) fn number(&self) -> usize {
        self.number
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long a caller waits for a connection while new ones cannot be made: long enough for one attempt.
// redis R6
fn patience(endpoint: &Endpoint, begun: Instant) -> Instant {
    begun + endpoint.config().connect_timeout
}

/// How many callers may wait at once.
pub(crate) fn most_waiting(max_connections: u32) -> usize {
    let leases = usize::try_from(max_connections).unwrap_or(usize::MAX);
    leases.saturating_mul(WAITING_EACH).max(WAITING_LEAST)
}

/// A caller beyond these would most likely wait in vain, and cost memory.
const WAITING_EACH: usize = 16;
const WAITING_LEAST: usize = 1024;
const LOOK_AGAIN: Duration = Duration::from_millis(100);
