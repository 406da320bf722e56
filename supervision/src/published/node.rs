//! What is published of each actor and supervisor.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::exit::Exit;
use crate::machine::View;
use crate::policy::Strategy;

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

    pub(crate) fn set_path(&self, path: Arc<str>) {
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
