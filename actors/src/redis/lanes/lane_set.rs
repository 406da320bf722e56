use std::cell::Cell;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::future::join_all;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, Semaphore};

use super::lane::Lane;
use crate::redis::socket::{CloseReason, Load};

/// The slots of an endpoint's lanes. A slot's lane is replaced while it is in use.
pub(crate) struct LaneSet {
    ordinary: Box<[ArcSwapOption<Lane>]>,
    bulk: ArcSwapOption<Lane>,
    published: Notify,
    /// Held while a stalled lane's successor is made: then they are made one after the other.
    pub(super) stalled: Semaphore,
    pub(super) waiting: AtomicUsize,
    large_values: AtomicU64,
}

/// A lane that did not answer a `PING`.
pub(crate) struct SilentLane {
    lane: Arc<Lane>,
    heard: u64,
}

impl SilentLane {
    /// Closes the lane, unless it was heard meanwhile: the server has answered somebody who asked later.
    pub(crate) fn close_if_silent(&self) {
        self.lane.close_if_silent_since(self.heard);
    }
}

impl LaneSet {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            ordinary: (0..count).map(|_| ArcSwapOption::empty()).collect(),
            bulk: ArcSwapOption::empty(),
            published: Notify::new(),
            stalled: Semaphore::new(1),
            waiting: AtomicUsize::new(0),
            large_values: AtomicU64::new(0),
        }
    }

    /// The number of slots. The last one is for large values.
    pub(crate) fn count(&self) -> usize {
        self.ordinary.len() + 1
    }

    /// Whether `is_so` holds for any ordinary lane. Callers reach the lane for large values only through an ordinary
    /// one.
    pub(crate) fn any(&self, is_so: impl Fn(&Lane) -> bool) -> bool {
        self.ordinary.iter().any(|slot| slot.load().as_deref().is_some_and(&is_so))
    }

    /// The ordinary lanes on which nothing arrives within `limit` after a `PING`. One for large values may be silent for
    /// longer.
    pub(crate) async fn silent(&self, limit: Duration) -> Vec<SilentLane> {
        let lanes = self.ordinary.iter().filter_map(ArcSwapOption::load_full);
        let silent = lanes.map(|lane| async move {
            let heard = lane.silent_since(limit).await?;
            Some(SilentLane { lane, heard })
        });
        join_all(silent).await.into_iter().flatten().collect()
    }

    pub(crate) fn retire_all(&self) {
        for slot in 0..self.count() {
            if let Some(lane) = self.slot(slot).swap(None) {
                lane.retire(CloseReason::Replaced);
            }
        }
    }

    /// Counts a large value on an ordinary lane, and logs a warning for the first.
    pub(crate) fn saw_large_value(&self, endpoint: &str) {
        if self.large_values.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                endpoint,
                "more than 64 KiB went over a connection that many share: take CacheConn::bulk() for large values"
            );
        }
    }

    pub(crate) fn large_values(&self) -> u64 {
        self.large_values.load(Ordering::Relaxed)
    }

    pub(super) fn load_of(&self, slot: usize) -> Load {
        if slot < self.ordinary.len() { Load::Ordinary } else { Load::Bulk }
    }

    pub(super) fn slot(&self, slot: usize) -> &ArcSwapOption<Lane> {
        self.ordinary.get(slot).unwrap_or(&self.bulk)
    }

    pub(super) fn publish(&self, slot: usize, lane: Lane) -> Option<Arc<Lane>> {
        let old = self.slot(slot).swap(Some(Arc::new(lane)));
        self.published.notify_waiters();
        old
    }

    /// Waits until a lane is published after this call.
    pub(super) fn published(&self) -> Notified<'_> {
        self.published.notified()
    }

    /// A lane that serves. Each thread prefers its own lane, so that threads share little; any that is heard is better.
    pub(crate) fn serving(&self, load: Load) -> Option<Arc<Lane>> {
        let serving = |slot: &ArcSwapOption<Lane>, stalled| {
            let lane = slot.load();
            let may_serve = |lane: &&Arc<Lane>| lane.is_serving() && lane.is_stalled() == stalled;
            lane.as_ref().filter(may_serve).map(Arc::clone)
        };
        let slots = match load {
            Load::Bulk => (&self.ordinary[..0], slice::from_ref(&self.bulk)),
            Load::Ordinary => self.ordinary.split_at(number_of_thread() % self.ordinary.len()),
        };
        let (before, from_here) = slots;
        let find = |stalled| from_here.iter().chain(before).find_map(|slot| serving(slot, stalled));
        find(false).or_else(|| find(true))
    }
}

/// A number that no other thread has.
fn number_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
    }
    NUMBER.get().unwrap_or_else(|| {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        NUMBER.set(Some(number));
        number
    })
}
