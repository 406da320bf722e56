//! What all parts of a running tree share: its changes, its events, and its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::event::Event;
use super::node::Node;
use super::report::ShutdownReport;
use crate::exit::Cause;
use crate::machine::Change;

/// How many events a slow reader may lag behind before it misses some.
const EVENTS_KEPT: usize = 1024;

/// What all parts of a running tree share.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) started: Instant,
    changes: watch::Sender<u64>,
    events: broadcast::Sender<Event>,
    /// How the root ended; `None` while it runs.
    pub(crate) ended: watch::Sender<Option<Ended>>,
    sequence: AtomicU64,
}

/// How the root of a tree ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) cause: Option<Arc<Cause>>,
    pub(crate) report: ShutdownReport,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            changes: watch::Sender::new(0),
            events: broadcast::Sender::new(EVENTS_KEPT),
            ended: watch::Sender::new(None),
            sequence: AtomicU64::new(0),
        }
    }

    /// Wakes everyone who waits for a change.
    pub(crate) fn touch(&self) {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        self.changes.send_replace(sequence);
    }

    pub(crate) fn tell(&self, node: &Node, incarnation: u64, change: Change) {
        let event = Event { path: Arc::clone(node.path()), incarnation, change };
        event.trace();
        // It fails if nobody listens, which is usual.
        self.events.send(event).ok();
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    pub(crate) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
