use std::fmt;
use std::sync::Arc;

use super::bb8_adapter::Pool;
use crate::redis::connect::{Connector, Lifecycle};

/// One pool, built from one configuration. An outage does not make a new generation; a changed configuration does. Each
/// lane belongs to the generation in which it was made, and is replaced once that generation is closed.
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
    /// It was asked for.
    Requested,
    /// The server answered that it is read-only: it is no longer the primary.
    ReadOnly,
    /// The host's name leads to another server.
    Moved,
}

impl Generation {
    /// Builds a generation. Does no IO: connections are made when leases need them.
    pub(crate) fn build(number: u64, reason: Reason, connector: Arc<Connector>) -> Self {
        let lifecycle = Arc::new(Lifecycle::new(number));
        let pool = Pool::new(connector, Arc::clone(&lifecycle));
        Self { pool, lifecycle, reason }
    }

    /// Its number, counted from 1 within an endpoint.
    pub fn number(&self) -> u64 {
        self.lifecycle.number()
    }

    /// How many of its connections are leased now. Answers from memory.
    pub fn leased(&self) -> usize {
        self.lifecycle.leased()
    }

    /// Makes no more connections, drops the idle ones at once, and leased ones when they are given back. Answers from
    /// memory.
    pub fn close(&self) {
        self.lifecycle.close();
        self.pool.drop_idle();
    }

    /// Ends every lease that is still out: blocking commands are cut, and every further command fails. Answers from
    /// memory.
    pub fn cut(&self) {
        self.close();
        self.lifecycle.cut();
    }

    /// Waits until none of its connections is leased. Cancel safe.
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
        // Otherwise the pool would try to connect for ever, with no caller left.
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
            Self::Moved => "moved",
        })
    }
}
