//! What is published of each place in the tree, and who is told of changes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::time::Instant;

use crate::Strategy;
use crate::exit::{Cause, Exit};
use crate::machine::{Change, View};
use crate::published::Event;

/// How many events a slow reader may fall behind before it misses some.
const EVENTS_KEPT: usize = 1024;

/// Named values that an actor shows beside its state.
pub(crate) type Facts = BTreeMap<&'static str, Value>;

/// One place in the tree: an actor's or a supervisor's, for all of its incarnations.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: Arc<str>,
    /// Known once the tree is assembled.
    path: OnceLock<Arc<str>>,
    pub(crate) kind: Kind,
    /// Written by the supervisor alone.
    pub(crate) status: ArcSwap<Status>,
    /// Written by the actor; outlives its incarnations.
    pub(crate) facts: ArcSwap<Facts>,
    /// Messages that wait, or are being handled, in the newest incarnation's mailbox.
    pub(crate) depth: ArcSwap<AtomicUsize>,
    pub(crate) handled: AtomicU64,
    /// Whether a supervisor is ending its children: it knows before the one above it does.
    pub(crate) is_ending: AtomicBool,
    /// How many falls a supervisor still tolerates.
    pub(crate) falls_left: AtomicU32,
    /// Held by all parts of an incarnation (its state, its tasks): the next one starts, and the end
    /// of this one is reported, only when none is left.
    occupancy: Arc<Semaphore>,
    /// Milliseconds since the system started, plus one, at which the handling of the message in
    /// hand first had to wait; 0 while none waits.
    pub(crate) busy_since_ms: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Actor { capacity: usize },
    Supervisor { strategy: Strategy },
}

/// What its supervisor last said of a place in the tree.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub(crate) view: View,
    pub(crate) incarnation: u64,
    pub(crate) restarts: u64,
    pub(crate) last_exit: Option<Exit>,
    pub(crate) removed: bool,
}

impl Default for Status {
    fn default() -> Self {
        Self { view: View::Idle, incarnation: 0, restarts: 0, last_exit: None, removed: false }
    }
}

impl Node {
    pub(crate) fn new(id: Arc<str>, kind: Kind) -> Self {
        Self {
            id,
            path: OnceLock::new(),
            kind,
            status: ArcSwap::from_pointee(Status::default()),
            facts: ArcSwap::from_pointee(Facts::new()),
            depth: ArcSwap::default(),
            handled: AtomicU64::new(0),
            is_ending: AtomicBool::new(false),
            falls_left: AtomicU32::new(0),
            occupancy: Arc::new(Semaphore::new(1)),
            busy_since_ms: AtomicU64::new(0),
        }
    }

    pub(crate) fn place(&self, path: Arc<str>) {
        self.path.set(path).ok();
    }

    pub(crate) fn path(&self) -> &Arc<str> {
        self.path.get().unwrap_or(&self.id)
    }

    /// Waits until no part of an earlier incarnation is left, and keeps others out.
    pub(crate) async fn occupy(&self) -> Arc<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.occupancy).acquire_owned().await;
        Arc::new(permit.expect("the semaphore is never closed"))
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth.load().load(Ordering::Relaxed)
    }

    pub(crate) fn publish_fact(&self, name: &'static str, value: &Value) -> bool {
        if self.facts.load().get(name) == Some(value) {
            return false;
        }
        self.facts.rcu(|facts| {
            let mut facts = Facts::clone(facts);
            facts.insert(name, value.clone());
            facts
        });
        true
    }
}

/// What all parts of one running tree share.
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

    /// Lets everyone who waits for a change look again.
    pub(crate) fn touch(&self) {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        self.changes.send_replace(sequence);
    }

    pub(crate) fn tell(&self, node: &Node, incarnation: u64, change: Change) {
        let event = Event { path: Arc::clone(node.path()), incarnation, change };
        event.trace();
        // Nobody listening is the usual case.
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
