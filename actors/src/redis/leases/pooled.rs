use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::generation::Lifecycle;
use crate::redis::socket::{Ending, Wire};

/// What a pool keeps: one variant for each topology.
#[derive(Debug)]
pub(crate) enum Connection {
    Node(Node),
}

/// A connection to a single server, with what decides whether it may be used again.
pub(crate) struct Node {
    pub(crate) line: Line,
    pub(crate) generation: Arc<Lifecycle>,
    /// True from the moment a command is sent until its reply is here, and for good after a command that leaves
    /// state behind.
    pub(crate) is_doubtful: bool,
    pub(crate) last_reply: Instant,
    /// Until its first command ends, however it ends.
    pub(crate) is_new: bool,
    born: Instant,
    expires: Instant,
}

/// The wire and what was learned on it.
pub(crate) struct Line {
    pub(crate) wire: Wire,
    /// Told when the other side closes it.
    pub(crate) ending: Arc<Ending>,
}

/// Counts the connections that are open.
#[derive(Debug)]
pub(crate) struct Open(Arc<AtomicUsize>);

impl Connection {
    pub(crate) fn node(&self) -> &Node {
        match self {
            Self::Node(node) => node,
        }
    }

    pub(crate) fn node_mut(&mut self) -> &mut Node {
        match self {
            Self::Node(node) => node,
        }
    }
}

impl Node {
    pub(crate) fn new(line: Line, generation: Arc<Lifecycle>, lifetime: Duration) -> Self {
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
    pub(crate) fn is_stillborn(&self) -> bool {
        self.is_new && self.line.is_dead() && self.born.elapsed() < STILLBORN
    }

    /// Whether this connection must not be handed out any more.
    pub(crate) fn is_spent(&self) -> bool {
        self.line.is_dead()
            || self.is_doubtful
            || self.generation.is_closed()
            || Instant::now() >= self.expires
    }

    /// Whether it has been silent for so long that it may have died without a word.
    pub(crate) fn is_idle(&self) -> bool {
        self.last_reply.elapsed() >= TRUSTED
    }

    pub(crate) fn replied(&mut self) {
        self.last_reply = Instant::now();
    }
}

impl Line {
    pub(crate) fn new(wire: Wire, ending: Arc<Ending>, open: Open) -> Self {
        wire.count_by(open);
        Self { wire, ending }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.ending.reason().is_some()
    }
}

impl Open {
    pub(crate) fn count(counter: &Arc<AtomicUsize>) -> Self {
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

/// A connection that is closed tells so within milliseconds; this bounds the trust in one that merely says nothing.
const TRUSTED: Duration = Duration::from_secs(1);
const STILLBORN: Duration = Duration::from_secs(1);
