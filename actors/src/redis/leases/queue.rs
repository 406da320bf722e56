use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::current::CurrentGeneration;
use super::lease::Lease;
use super::waiting::{Waiting, most_waiting};
use crate::deadline;
use crate::redis::connect::Connector;
use crate::redis::status::{Cause, Error, Health};

/// The queue for leases: first come, first served, over all generations of an endpoint.
#[derive(Debug)]
pub(crate) struct Leases {
    permits: Arc<Semaphore>,
    most: u32,
    most_waiting: usize,
    waiting: AtomicUsize,
}

/// One caller's wait.
struct Wait<'a> {
    leases: &'a Leases,
    current: &'a CurrentGeneration,
    connector: &'a Connector,
    health: &'a Health,
    begun: Instant,
    deadline: Instant,
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

    /// Waits for a permit and then for a connection of the current generation. Cancel safe: nothing is lost.
    // redis R6, R7, R22
    pub(crate) async fn take(
        &self,
        current: &CurrentGeneration,
        connector: &Connector,
        health: &Health,
    ) -> Result<Lease, Error> {
        let begun = Instant::now();
        let deadline = deadline::at_most(connector.config().connection_timeout);
        if let Some(error) = health.opened() {
            return Err(error);
        }
        if current.load().is_none() {
            return Err(Error::NotBuilt);
        }
        if begun >= deadline {
            return Err(Error::Deadline { waited: Duration::ZERO });
        }
        let _waiting = Waiting::count(&self.waiting);
        let wait = Wait { leases: self, current, connector, health, begun, deadline };
        let permit = wait.permit().await?;
        wait.connection(permit).await
    }
}

impl Wait<'_> {
    async fn permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        let permits = Arc::clone(&self.leases.permits);
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            return Ok(permit);
        }
        if self.leases.waiting() > self.leases.most_waiting {
            return Err(self.refused(Duration::ZERO));
        }
        let mut acquired = pin!(permits.acquire_owned());
        let mut look_again = self.patience().min(self.deadline);
        loop {
            tokio::select! {
                biased;
                permit = &mut acquired => return Ok(permit.expect("nobody closes this semaphore")),
                error = self.health.wait_opened() => return Err(error),
                () = sleep_until(look_again) => {}
            }
            let now = Instant::now();
            if now >= self.deadline || self.shortage().is_some() {
                return Err(self.refused(self.begun.elapsed()));
            }
            look_again = self.deadline.min(now + LOOK_AGAIN);
        }
    }

    async fn connection(&self, mut permit: OwnedSemaphorePermit) -> Result<Lease, Error> {
        let backoff = self.connector.backoff();
        let probe_timeout = self.connector.config().probe_timeout;
        loop {
            // Looked up each time, so that a caller that waits moves on to a new generation.
            let generation = self.current.load().ok_or(Error::NotBuilt)?;
            let look_again = self.deadline.min(Instant::now() + LOOK_AGAIN);
            let connection = tokio::select! {
                biased;
                taken = generation.pool().take() => taken,
                error = self.health.wait_opened() => return Err(error),
                // The pool loses a wake-up when two connections come back between its check and its wait, so no wait of
                // the pool lasts long.
                () = sleep_until(look_again) => None,
            };
            if let Some(connection) = connection {
                let lease = Lease::new(connection, permit);
                match lease.tested(self.health, probe_timeout, self.deadline).await {
                    Ok(lease) => return Ok(lease),
                    Err(kept) => permit = kept,
                }
            }
            let now = Instant::now();
            if now >= self.patience()
                && let Some(cause) = backoff.standing()
            {
                return Err(Error::unavailable(cause));
            }
            if now >= self.deadline {
                return Err(match backoff.cause() {
                    Some(cause) => Error::unavailable(cause),
                    None => Error::Deadline { waited: self.begun.elapsed() },
                });
            }
        }
    }

    /// The end of a caller's wait while connecting fails: long enough for one attempt.
    // redis R6
    fn patience(&self) -> Instant {
        self.begun + self.connector.config().connect_timeout
    }

    /// Why there is no permit: all lease holders have a connection, or some wait for one that cannot be made.
    fn refused(&self, waited: Duration) -> Error {
        match self.shortage() {
            Some(cause) => Error::unavailable(cause),
            None => Error::Exhausted { max_connections: self.leases.most, waited },
        }
    }

    /// Why connecting fails, if callers that hold a permit wait for a connection too. Then no lease is to be expected
    /// soon.
    fn shortage(&self) -> Option<Cause> {
        let most = usize::try_from(self.leases.most).unwrap_or(usize::MAX);
        let is_short = self.connector.budget().leases.open() < most;
        self.connector.backoff().standing().filter(|_| is_short)
    }
}

const LOOK_AGAIN: Duration = Duration::from_millis(100);
