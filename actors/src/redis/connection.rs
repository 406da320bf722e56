use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use super::ending::Ending;
use super::generation::Lifecycle;

/// What a pool keeps: one variant for each topology.
#[derive(Debug)]
pub(super) enum Connection {
    Node(Node),
}

/// A connection to a single server, with what decides whether it may be used again.
pub(super) struct Node {
    pub(super) line: Line,
    pub(super) generation: Arc<Lifecycle>,
    /// True from the moment a command is sent until its reply is here, and for good after a command that leaves
    /// state behind.
    pub(super) is_doubtful: bool,
    pub(super) last_reply: Instant,
    /// Until its first command ends, however it ends.
    pub(super) is_new: bool,
    born: Instant,
    expires: Instant,
}

/// The wire and what was learned on it.
pub(super) struct Line {
    pub(super) mux: MultiplexedConnection,
    /// Told by the driver of the wire when the other side closes it; on RESP3 only.
    pub(super) ending: Arc<Ending>,
    is_resp3: bool,
    _open: Open,
}

/// Counts the connections that are open.
#[derive(Debug)]
pub(super) struct Open(Arc<AtomicUsize>);

impl Connection {
    pub(super) fn node(&self) -> &Node {
        match self {
            Self::Node(node) => node,
        }
    }

    pub(super) fn node_mut(&mut self) -> &mut Node {
        match self {
            Self::Node(node) => node,
        }
    }
}

impl Node {
    pub(super) fn new(line: Line, generation: Arc<Lifecycle>, lifetime: Duration) -> Self {
        let now = Instant::now();
        Self {
            line,
            generation,
            is_doubtful: false,
            last_reply: now,
            is_new: true,
            born: now,
            expires: now + lifetime,
        }
    }

    /// Whether the other side closed it right after the handshake. One that was closed later may have been idle for
    /// too long in the server's opinion.
    pub(super) fn is_stillborn(&self) -> bool {
        self.is_new && self.line.is_dead() && self.born.elapsed() < STILLBORN
    }

    /// Whether this connection must not be handed out any more.
    pub(super) fn is_spent(&self) -> bool {
        self.line.is_dead()
            || self.is_doubtful
            || self.generation.is_closed()
            || Instant::now() >= self.expires
    }

    /// Whether it has been silent for so long that it may have died without a word.
    pub(super) fn is_idle(&self) -> bool {
        let trusted = if self.line.is_resp3 { TRUSTED } else { TRUSTED_RESP2 };
        self.last_reply.elapsed() >= trusted
    }

    pub(super) fn replied(&mut self) {
        self.last_reply = Instant::now();
    }
}

impl Line {
    pub(super) fn new(
        mux: MultiplexedConnection,
        ending: Arc<Ending>,
        is_resp3: bool,
        open: Open,
    ) -> Self {
        Self { mux, ending, is_resp3, _open: open }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.ending.reason().is_some()
    }
}

impl Open {
    pub(super) fn count(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("generation", &self.generation.number())
            .field("is_dead", &self.line.is_dead())
            .field("is_doubtful", &self.is_doubtful)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("is_dead", &self.is_dead()).finish_non_exhaustive()
    }
}

/// RESP3 tells within milliseconds that the other side closed an idle connection; this bounds what it cannot see.
const TRUSTED: Duration = Duration::from_secs(5);
const STILLBORN: Duration = Duration::from_secs(1);
/// RESP2 tells nothing.
const TRUSTED_RESP2: Duration = Duration::from_secs(1);
