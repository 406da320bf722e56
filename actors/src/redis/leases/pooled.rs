use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::redis::connect::{Connection, Lifecycle};

/// A connection of the pool, with the facts that decide whether it may be used again.
pub(crate) struct PooledConnection {
    pub(crate) connection: Connection,
    pub(crate) generation: Arc<Lifecycle>,
    /// True from the moment a command is sent until its reply has arrived, and for good after a command that leaves
    /// state behind.
    pub(crate) is_doubtful: bool,
    pub(crate) last_reply: Instant,
    /// True until its first command ends, however it ends.
    pub(crate) is_new: bool,
    created: Instant,
    expires: Instant,
}

impl PooledConnection {
    pub(crate) fn new(
        connection: Connection,
        generation: Arc<Lifecycle>,
        lifetime: Duration,
    ) -> Self {
        let now = Instant::now();
        Self {
            connection,
            generation,
            is_doubtful: false,
            last_reply: now,
            is_new: true,
            created: now,
            expires: now + lifetime,
        }
    }

    /// Whether the server closed it right after the handshake. A connection that was closed later may only have been
    /// idle for longer than the server allows.
    pub(crate) fn is_stillborn(&self) -> bool {
        self.is_new && self.connection.is_closed() && self.created.elapsed() < STILLBORN
    }

    /// Whether this connection must not be handed out any more.
    pub(crate) fn is_spent(&self) -> bool {
        self.connection.is_closed()
            || self.is_doubtful
            || self.generation.is_closed()
            || Instant::now() >= self.expires
    }

    /// Whether it has been silent for so long that it may have died unnoticed.
    pub(crate) fn is_idle(&self) -> bool {
        self.last_reply.elapsed() >= TRUSTED
    }

    pub(crate) fn replied(&mut self) {
        self.last_reply = Instant::now();
    }
}

impl fmt::Debug for PooledConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledConnection")
            .field("generation", &self.generation.number())
            .field("is_closed", &self.connection.is_closed())
            .field("is_doubtful", &self.is_doubtful)
            .finish_non_exhaustive()
    }
}

/// A silent connection is trusted for this long. One that the server closes is noticed within milliseconds.
const TRUSTED: Duration = Duration::from_secs(1);
const STILLBORN: Duration = Duration::from_secs(1);
