//! What is published about each actor and supervisor.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwapOption;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::load::Load;
use super::report::ShutdownReport;
use crate::machine::{State, Summary};
use crate::policy::Strategy;

/// Named values that an actor publishes in the snapshot.
pub(crate) type Facts = BTreeMap<&'static str, Value>;

/// What is published about one actor or supervisor, across all of its incarnations.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: Arc<str>,
    /// Set when the tree is assembled.
    path: OnceLock<Arc<str>>,
    pub(crate) kind: Kind,
    /// The supervisor above. Set when the tree is assembled; the root has none.
    parent: OnceLock<Arc<Node>>,
    /// What its supervisor last published about it. Written only by the supervisor.
    summary: Mutex<Summary>,
    /// Whether it was removed by hand. Written by the caller of `System::remove`, before the supervisor
    /// learns of it.
    is_removed: AtomicBool,
    /// Written by the actor. Outlives its incarnations.
    facts: Mutex<Facts>,
    /// The messages and tasks of the running incarnation.
    load: ArcSwapOption<Load>,
    pub(crate) handled: AtomicU64,
    /// Whether a supervisor is ending its children. It knows this before the supervisor above does.
    pub(crate) is_ending: AtomicBool,
    /// The report of a supervisor's last end.
    report: Mutex<ShutdownReport>,
    /// How many more falls a supervisor allows within its window.
    pub(crate) falls_left: AtomicU32,
    /// Held by every part of an incarnation (its state, its tasks). Only when all are gone does the
    /// supervisor learn of its end, and does the next one start.
    occupancy: Arc<Semaphore>,
    /// When the handler of the current message first had to wait, in milliseconds since the system
    /// started, plus one; 0 while no handler waits.
    pub(crate) busy_since_ms: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Actor { capacity: usize },
    Supervisor { strategy: Strategy },
}

impl Node {
    pub(crate) fn new(id: Arc<str>, kind: Kind) -> Self {
        Self {
            id,
            path: OnceLock::new(),
            kind,
            parent: OnceLock::new(),
            summary: Mutex::default(),
            is_removed: AtomicBool::new(false),
            facts: Mutex::default(),
            load: ArcSwapOption::empty(),
            handled: AtomicU64::new(0),
            is_ending: AtomicBool::new(false),
            report: Mutex::default(),
            falls_left: AtomicU32::new(0),
            occupancy: Arc::new(Semaphore::new(1)),
            busy_since_ms: AtomicU64::new(0),
        }
    }

    /// Sets its parent, and with it its path.
    pub(crate) fn set_parent(&self, parent: &Arc<Node>) {
        self.path.set(Arc::from(format!("{}/{}", parent.path(), self.id))).ok();
        self.parent.set(Arc::clone(parent)).ok();
    }

    pub(crate) fn path(&self) -> &Arc<str> {
        self.path.get().unwrap_or(&self.id)
    }

    pub(crate) fn parent(&self) -> Option<&Arc<Node>> {
        self.parent.get()
    }

    pub(crate) fn summary(&self) -> Summary {
        self.summary_mut().clone()
    }

    pub(crate) fn set_summary(&self, summary: Summary) {
        *self.summary_mut() = summary;
    }

    /// Publishes that it has ended.
    pub(crate) fn set_down(&self) {
        let mut summary = self.summary_mut();
        (summary.state, summary.up_since, summary.starts_at) = (State::Down, None, None);
    }

    fn summary_mut(&self) -> MutexGuard<'_, Summary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its state as published. A supervisor that is ending shows that before the one above it knows.
    pub(crate) fn state(&self) -> State {
        match self.summary_mut().state {
            State::Up if self.is_ending.load(Ordering::Relaxed) => State::Stopping,
            state => state,
        }
    }

    /// Publishes the messages and tasks of an incarnation that starts, or that there are none.
    pub(crate) fn set_load(&self, load: Option<Arc<Load>>) {
        self.load.store(load);
        self.busy_since_ms.store(0, Ordering::Relaxed);
    }

    pub(crate) fn load(&self) -> Option<Arc<Load>> {
        self.load.load_full()
    }

    /// Messages that are queued or being handled.
    pub(crate) fn messages(&self) -> usize {
        self.load.load().as_ref().map_or(0, |load| load.messages())
    }

    /// Tasks that are running or whose result is queued.
    pub(crate) fn tasks(&self) -> usize {
        self.load.load().as_ref().map_or(0, |load| load.tasks())
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Acquire)
    }

    /// Marks it as removed by hand. Returns `false` if it already was.
    pub(crate) fn remove(&self) -> bool {
        !self.is_removed.swap(true, Ordering::AcqRel)
    }

    /// Whether it, or a supervisor above it, is ending or was removed.
    pub(crate) fn is_going(&self) -> bool {
        let is_ending = self.is_ending.load(Ordering::Relaxed) || self.is_removed();
        is_ending || self.parent().is_some_and(|parent| parent.is_going())
    }

    /// Whether any part of an incarnation is left.
    pub(crate) fn is_occupied(&self) -> bool {
        self.occupancy.available_permits() == 0
    }

    /// Keeps the next incarnation out, if no part of an earlier one is left. Does not wait.
    pub(crate) fn try_occupy(&self) -> Option<Arc<OwnedSemaphorePermit>> {
        Arc::clone(&self.occupancy).try_acquire_owned().ok().map(Arc::new)
    }

    /// Waits until no part of an earlier incarnation is left, and keeps the next one out.
    pub(crate) async fn occupy(&self) -> Arc<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.occupancy).acquire_owned().await;
        Arc::new(permit.expect("the semaphore is never closed"))
    }

    pub(crate) fn report(&self) -> ShutdownReport {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_report(&self, report: ShutdownReport) {
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }

    pub(crate) fn publish_fact(&self, name: &'static str, value: &Value) -> bool {
        let mut facts = self.facts_mut();
        if facts.get(name) == Some(value) {
            return false;
        }
        facts.insert(name, value.clone());
        true
    }

    pub(crate) fn facts(&self) -> Facts {
        self.facts_mut().clone()
    }

    fn facts_mut(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
