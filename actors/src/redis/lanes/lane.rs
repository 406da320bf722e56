use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};

use super::state::{BEAT, Beat, Heard, Heartbeat, Pinged, STALL_LOOK, Silence};
use crate::redis::connect::{Connection, Lifecycle, ping, ping_patiently, silence};
use crate::redis::socket::{CloseReason, CloseSignal, Wire};
use crate::redis::status::{Cause, Health};

/// A connection that callers share: their commands go out together, and each gets its own reply.
pub(crate) struct Lane {
    /// Taken out when the lane is retired. Requests under way keep the wire until they end, later ones find none, and a
    /// caller that holds a lane for long keeps no connection open.
    connection: ArcSwapOption<Connection>,
    closing: Arc<CloseSignal>,
    lifecycle: Arc<Lifecycle>,
    expires: Instant,
    /// A [`Heard`]: the highest since the last look.
    heard: AtomicU8,
    heartbeat: Mutex<Heartbeat>,
    /// Others are preferred to it, while it is silent.
    is_stalled: AtomicBool,
}

impl Lane {
    /// A lane over a connection that has just had a reply.
    pub(super) fn new(
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
            heard: AtomicU8::new(Heard::of(objection) as u8),
            heartbeat: Mutex::default(),
            is_stalled: AtomicBool::new(false),
        }
    }

    pub(crate) fn lifecycle(&self) -> &Arc<Lifecycle> {
        &self.lifecycle
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.closing.reason().is_none()
    }

    /// Whether it was silent for too long when it was last looked at.
    pub(super) fn is_stalled(&self) -> bool {
        self.is_stalled.load(Ordering::Relaxed)
    }

    /// Whether it serves and was answered lately, be it only to the `PING` of an idle lane. "Not now" does not count as
    /// an answer.
    pub(crate) fn is_answered(&self) -> bool {
        let lately = || self.heartbeat().was_answered_lately(Instant::now());
        let has_heard = || self.heard.load(Ordering::Relaxed) == Heard::Answer as u8;
        self.is_serving() && (has_heard() || lately())
    }

    /// The wire, while the lane serves.
    pub(crate) fn wire(&self) -> Option<Wire> {
        if self.is_serving() { self.last_wire() } else { None }
    }

    /// The wire, also of a lane that no longer serves, until the lane is retired.
    pub(crate) fn last_wire(&self) -> Option<Wire> {
        self.connection.load().as_ref().map(|connection| connection.wire.clone())
    }

    pub(crate) fn close(&self, reason: CloseReason) {
        self.closing.fire(reason);
    }

    /// Notes a reply, and whether it says "not now". Reads before it writes, so that busy lanes do not contend for a
    /// cache line.
    pub(crate) fn replied(&self, objection: Option<Cause>) {
        let heard = Heard::of(objection) as u8;
        if self.heard.load(Ordering::Relaxed) < heard {
            self.heard.store(heard, Ordering::Relaxed);
        }
    }

    /// Closes the lane for new requests. Those under way finish as usual.
    pub(super) fn retire(&self, reason: CloseReason) {
        self.close(reason);
        self.connection.store(None);
    }

    /// Waits until the lane is to be replaced, and returns why.
    // redis R24
    pub(super) async fn watch(&self, limit: Duration, health: &Health) -> CloseReason {
        tokio::select! {
            biased;
            reason = self.fails(limit, health) => reason,
            () = self.lifecycle.closed() => CloseReason::Replaced,
            () = sleep_until(self.expires) => CloseReason::Aged,
        }
    }

    /// Waits until no reply is expected on the lane any more, or it has stalled, and returns why. A lane without a reply
    /// for a second is sent a `PING`.
    // redis R2, R3
    pub(super) async fn fails(&self, command_timeout: Duration, health: &Health) -> CloseReason {
        let mut beat = interval_at(Instant::now() + BEAT, BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                reason = self.closing.fired() => return reason,
                _ = beat.tick() => {}
            }
            let heard = self.take_heard();
            if self.heartbeat().beat(heard, Instant::now()) == Beat::Rest {
                continue;
            }
            let Some(wire) = self.wire() else { continue };
            let stalls = stalls(wire.clone(), command_timeout);
            tokio::select! {
                biased;
                reason = self.closing.fired() => return reason,
                found = ping_patiently(&wire) => match Pinged::of(found) {
                    Pinged::Close(reason) => self.close(reason),
                    Pinged::Replied(objection) => {
                        self.replied(objection);
                        if objection.is_none() && !self.lifecycle.is_closed() {
                            health.succeeded();
                        }
                    }
                },
                () = stalls => return CloseReason::Stalled,
            }
        }
    }

    /// How many bytes had arrived, if nothing more arrives within `limit` after a `PING`.
    pub(super) async fn silent_since(&self, limit: Duration) -> Option<u64> {
        let (wire, sent) = (self.wire()?, Instant::now());
        let heard = wire.heard();
        let is_silent = ping(&wire, limit).await == Err(Cause::Timeout)
            && silence(sent, limit) == Cause::Timeout
            && wire.heard() == heard;
        is_silent.then_some(heard)
    }

    /// Closes the lane if still no more bytes have arrived.
    pub(super) fn close_if_silent_since(&self, heard: u64) {
        if self.heard_bytes() == heard {
            self.close(CloseReason::Silent);
        }
    }

    /// How many bytes have arrived.
    fn heard_bytes(&self) -> u64 {
        self.connection.load().as_ref().map_or(0, |connection| connection.wire.heard())
    }

    fn take_heard(&self) -> Heard {
        match self.heard.swap(Heard::Silence as u8, Ordering::Relaxed) {
            heard if heard == Heard::Silence as u8 => Heard::Silence,
            heard if heard == Heard::Objection as u8 => Heard::Objection,
            _ => Heard::Answer,
        }
    }

    fn heartbeat(&self) -> MutexGuard<'_, Heartbeat> {
        self.heartbeat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lane that has stalled. Others are preferred to it until this is dropped.
pub(super) struct Stall<'a> {
    lane: &'a Lane,
    heard: u64,
}

impl<'a> Stall<'a> {
    pub(super) fn of(lane: &'a Lane) -> Self {
        lane.is_stalled.store(true, Ordering::Relaxed);
        Self { lane, heard: lane.heard_bytes() }
    }

    /// Whether the lane was heard again.
    pub(super) fn is_over(&self) -> bool {
        self.lane.heard_bytes() != self.heard
    }

    /// Waits until the lane is heard again.
    pub(super) async fn over(&self) {
        while !self.is_over() {
            sleep(STALL_LOOK).await;
        }
    }
}

impl Drop for Stall<'_> {
    fn drop(&mut self) {
        self.lane.is_stalled.store(false, Ordering::Relaxed);
    }
}

/// Waits until nothing was heard for too long.
async fn stalls(wire: Wire, command_timeout: Duration) {
    let mut silence = Silence::new(wire.heard());
    loop {
        let looked = Instant::now();
        sleep(STALL_LOOK).await;
        if silence.is_stall(wire.heard(), looked.elapsed(), command_timeout) {
            return;
        }
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("generation", &self.lifecycle.number())
            .field("closed", &self.closing.reason())
            .finish_non_exhaustive()
    }
}
