use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use crate::redis::connect::{Connection, Lifecycle, ping};
use crate::redis::socket::{CloseReason, CloseSignal, Load, Wire};
use crate::redis::status::{Cause, Health};

/// A connection that callers share: their commands go out together, and each gets its own reply.
pub(crate) struct Lane {
    /// Taken out when the lane is retired: what is under way then keeps the wire until it ends, what comes later finds
    /// none, and a caller who holds a lane for long holds no connection open.
    connection: ArcSwapOption<Connection>,
    closing: Arc<CloseSignal>,
    lifecycle: Arc<Lifecycle>,
    expires: Instant,
    /// What came since the last beat.
    heard: AtomicU8,
    /// The last beat that found an answer.
    answered: Mutex<Option<Instant>>,
    /// Since the last reply.
    timeouts: AtomicU32,
}

/// The slots in which lanes are published, and replaced while in use.
pub(crate) struct LaneSet {
    ordinary: Box<[ArcSwapOption<Lane>]>,
    bulk: ArcSwapOption<Lane>,
    published: Notify,
    pub(crate) waiting: AtomicUsize,
}

impl Lane {
    /// Of a connection that has just been replied to.
    pub(crate) fn new(
        connection: Connection,
        lifecycle: Arc<Lifecycle>,
        lifetime: Duration,
        objection: Option<Cause>,
    ) -> Self {
        Self {
            closing: Arc::clone(&connection.closing),
            connection: ArcSwapOption::from_pointee(connection),
            lifecycle,
            expires: Instant::now() + lifetime,
            heard: AtomicU8::new(heard(objection)),
            answered: Mutex::default(),
            timeouts: AtomicU32::new(0),
        }
    }

    pub(crate) fn lifecycle(&self) -> &Arc<Lifecycle> {
        &self.lifecycle
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.closing.reason().is_none()
    }

    /// Whether it serves and was answered lately, if only to the `PING` that an idle one is asked. "Not now" is no answer.
    pub(crate) fn is_answered(&self) -> bool {
        let lately = || self.answered().is_some_and(|answered| answered.elapsed() < LATELY);
        self.is_serving() && (self.heard.load(Ordering::Relaxed) == ANSWER || lately())
    }

    /// The wire, while the lane serves.
    pub(crate) fn wire(&self) -> Option<Wire> {
        if !self.is_serving() {
            return None;
        }
        self.connection.load().as_ref().map(|connection| connection.wire.clone())
    }

    /// The wire, also of a lane that does not serve any more, as long as it is there.
    pub(crate) fn last_wire(&self) -> Option<Wire> {
        self.connection.load().as_ref().map(|connection| connection.wire.clone())
    }

    pub(crate) fn close(&self, reason: CloseReason) {
        self.closing.fire(reason);
    }

    /// Notes a reply, and whether it says "not now". Looks before it writes, so that lanes in full use share no cache
    /// connection that changes.
    pub(crate) fn replied(&self, objection: Option<Cause>) {
        let heard = heard(objection);
        if self.heard.load(Ordering::Relaxed) < heard {
            self.heard.store(heard, Ordering::Relaxed);
        }
        if self.timeouts.load(Ordering::Relaxed) != 0 {
            self.timeouts.store(0, Ordering::Relaxed);
        }
    }

    /// Notes that a command had no reply within the whole of `command_timeout`.
    // redis R3
    pub(crate) fn timed_out(&self) {
        if self.timeouts.fetch_add(1, Ordering::Relaxed) + 1 >= TIMEOUTS_TO_REPLACE {
            self.close(CloseReason::Timeouts);
        }
    }

    /// Lets go of the wire. What is under way on it ends as it would have.
    pub(crate) fn retire(&self, reason: CloseReason) {
        self.close(reason);
        self.connection.store(None);
    }

    /// Ends when the lane is to be replaced, and says why.
    // redis R24
    pub(crate) async fn watch(&self, limit: Duration, health: &Health) -> CloseReason {
        tokio::select! {
            biased;
            reason = self.fails(limit, health) => reason,
            () = self.lifecycle.closed() => CloseReason::Replaced,
            () = sleep_until(self.expires) => CloseReason::Aged,
        }
    }

    /// Ends when nothing more is expected of the lane, and says why. A lane that has had no reply for a second is asked
    /// for one.
    // redis R2, R3
    pub(crate) async fn fails(&self, limit: Duration, health: &Health) -> CloseReason {
        let mut beat = interval_at(Instant::now() + BEAT, BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                reason = self.closing.fired() => return reason,
                _ = beat.tick() => {}
            }
            match self.heard.swap(SILENCE, Ordering::Relaxed) {
                SILENCE => {}
                OBJECTION => continue,
                _ => {
                    *self.answered() = Some(Instant::now());
                    continue;
                }
            }
            let Some(mut wire) = self.wire() else { continue };
            tokio::select! {
                biased;
                reason = self.closing.fired() => return reason,
                found = ping(&mut wire, limit) => match found {
                    Err(Cause::Timeout) => self.close(CloseReason::Silent),
                    Err(Cause::Closed | Cause::Protocol) => self.close(CloseReason::Closed),
                    Err(Cause::Auth) => self.close(CloseReason::Unauthenticated),
                    Err(objection) => self.replied(Some(objection)),
                    Ok(()) => {
                        self.replied(None);
                        health.succeeded();
                    }
                },
            }
        }
    }

    fn answered(&self) -> MutexGuard<'_, Option<Instant>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LaneSet {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            ordinary: (0..count).map(|_| ArcSwapOption::empty()).collect(),
            bulk: ArcSwapOption::empty(),
            published: Notify::new(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// How many slots there are; the last one is for bulk.
    pub(crate) fn count(&self) -> usize {
        self.ordinary.len() + 1
    }

    pub(crate) fn load_of(&self, slot: usize) -> Load {
        if slot < self.ordinary.len() { Load::Ordinary } else { Load::Bulk }
    }

    pub(crate) fn slot(&self, slot: usize) -> &ArcSwapOption<Lane> {
        self.ordinary.get(slot).unwrap_or(&self.bulk)
    }

    pub(crate) fn publish(&self, slot: usize, lane: Lane) -> Option<Arc<Lane>> {
        let old = self.slot(slot).swap(Some(Arc::new(lane)));
        self.published.notify_waiters();
        old
    }

    /// Ends when a lane is published after this call.
    pub(crate) fn published(&self) -> Notified<'_> {
        self.published.notified()
    }

    /// A lane that serves. Each thread has its own first choice, so that threads share little.
    pub(crate) fn serving(&self, load: Load) -> Option<Arc<Lane>> {
        let serving = |slot: &ArcSwapOption<Lane>| {
            let lane = slot.load();
            lane.as_ref().filter(|lane| lane.is_serving()).map(Arc::clone)
        };
        match load {
            Load::Bulk => serving(&self.bulk),
            Load::Ordinary => {
                let (before, from_here) = self.ordinary.split_at(seat() % self.ordinary.len());
                from_here.iter().chain(before).find_map(serving)
            }
        }
    }

    /// Whether any ordinary lane is so. Nobody who comes gets to the one for large values but by way of these.
    pub(crate) fn any(&self, is_so: impl Fn(&Lane) -> bool) -> bool {
        self.ordinary.iter().any(|slot| slot.load().as_deref().is_some_and(&is_so))
    }

    pub(crate) fn retire_all(&self) {
        for slot in 0..self.count() {
            if let Some(lane) = self.slot(slot).swap(None) {
                lane.retire(CloseReason::Replaced);
            }
        }
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("generation", &self.lifecycle.number())
            .field("ended", &self.closing.reason())
            .finish_non_exhaustive()
    }
}

/// A number of this thread's own.
fn seat() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SEAT: Cell<Option<usize>> = const { Cell::new(None) };
    }
    SEAT.get().unwrap_or_else(|| {
        let seat = NEXT.fetch_add(1, Ordering::Relaxed);
        SEAT.set(Some(seat));
        seat
    })
}

fn heard(objection: Option<Cause>) -> u8 {
    if objection.is_none() { ANSWER } else { OBJECTION }
}

/// Two of these without a reply are the longest silence: an idle lane is asked once a second.
const BEAT: Duration = Duration::from_millis(500);
/// Twice the longest silence of a lane that is answered.
const LATELY: Duration = Duration::from_secs(2);
const TIMEOUTS_TO_REPLACE: u32 = 3;

// What a lane can hear, the more telling above the other.
const SILENCE: u8 = 0;
const OBJECTION: u8 = 1;
const ANSWER: u8 = 2;
