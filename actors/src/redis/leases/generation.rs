use std::fmt;
use std::sync::Arc;

use super::bb8_adapter::Pool;
use crate::redis::connect::{Connector, Lifecycle};

/// One pool, built from one configuration. An outage makes no new generation; a changed configuration does. Lanes are
/// kept beside it: each belongs to the generation it was made in and is replaced once that one is closed.
pub struct Generation {
    pool: Pool,
    lifecycle: Arc<Lifecycle>,
    reason: Reason,
}

/// Why a generation was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// It is the first one.
    Start,
    /// Someone asked for it.
    Requested,
    /// The server answered that it is read-only: it is no longer the primary.
    ReadOnly,
}

impl Generation {
    /// Does no IO: connections are made when leases ask for them.
    pub(crate) fn build(number: u64, reason: Reason, connector: Arc<Connector>) -> Self {
        let lifecycle = Arc::new(Lifecycle::new(number));
        let pool = Pool::new(connector, Arc::clone(&lifecycle));
        Self { pool, lifecycle, reason }
    }

    /// Counts from 1 within an endpoint.
    pub fn number(&self) -> u64 {
        self.lifecycle.number()
    }

    /// How many of its connections are leased now. Answers from memory.
    pub fn leased(&self) -> usize {
        self.lifecycle.leased()
    }

    /// Makes no more connections, drops the idle ones, and drops leased ones as they come back. Answers from memory.
    pub fn close(&self) {
        self.lifecycle.close();
        self.pool.drop_idle();
    }

    /// Ends what is still leased: commands in flight that block are cut, every further one fails. Answers from
    /// memory.
    pub fn cut(&self) {
        self.close();
        self.lifecycle.cut();
    }

    /// Ends when none of its connections is leased any more. Cancel safe.
    pub async fn drained(&self) {
        self.lifecycle.drained().await;
    }

    pub(crate) fn lifecycle(&self) -> Arc<Lifecycle> {
        Arc::clone(&self.lifecycle)
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        // Otherwise the pool would go on connecting for ever, for nobody.
        self.lifecycle.close();
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation")
            .field("number", &self.number())
            .field("reason", &self.reason)
            .field("leased", &self.leased())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Requested => "requested",
            Self::ReadOnly => "read-only",
        })
    }
}
