use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use ::redis::{PushInfo, Value};
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep};

use super::incoming::Incoming;
use super::outgoing::Outgoing;
use super::resp2::pushed;
use super::shared::Shared;
use super::state::Next;
use super::timer::Timer;
use crate::redis::socket::budget::Permit;
use crate::redis::socket::close_reason::{CloseReason, CloseSignal};
use crate::redis::socket::frame::Frame;
use crate::redis::socket::stream::Stream;
use crate::redis::status::Cause;

/// Takes push messages. It is called in the task that reads the connection, so it must not block.
pub(crate) type Pushed = Box<dyn Fn(PushInfo) + Send + Sync>;

/// The task of one connection: it writes what callers have added, and hands them the replies. Whoever drops it ends the
/// connection.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    stream: Stream,
    closing: Arc<CloseSignal>,
    pushed: Option<Pushed>,
    incoming: Incoming,
    outgoing: Outgoing,
    timer: Timer,
    /// Other tasks were given the time to add to the next write.
    has_gathered: bool,
    /// When the timer was seen to have fired. The connection is read once more before anyone is told: a reply that had
    /// arrived is never late.
    fired: Option<Instant>,
    /// A write has failed. What the server said before is still read, until this moment.
    failed_write: Option<Pin<Box<Sleep>>>,
    was_asked: bool,
    end: End,
    batch: Batch,
    // Dropped last: it is given back after the socket is closed.
    _permit: Permit,
}

/// What one read has brought. Its vectors are kept to be filled again.
#[derive(Default)]
struct Batch {
    frames: Vec<Frame>,
    pushed: Vec<PushInfo>,
    wake: Vec<Waker>,
    /// Replies that nobody waits for, to be dropped outside of the lock.
    left: Vec<Value>,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy)]
struct End {
    cause: Cause,
    reason: CloseReason,
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        stream: Stream,
        permit: Permit,
        closing: Arc<CloseSignal>,
        pushed: Option<Pushed>,
    ) -> Self {
        Self {
            shared,
            stream,
            closing,
            pushed,
            incoming: Incoming::new(),
            outgoing: Outgoing::new(),
            timer: Timer::new(),
            has_gathered: false,
            fired: None,
            failed_write: None,
            was_asked: false,
            end: End { cause: Cause::Closed, reason: CloseReason::Closed },
            batch: Batch::default(),
            _permit: permit,
        }
    }

    /// Reads until nothing more has arrived, and hands over what has.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            match ready!(self.incoming.poll_read(&mut self.stream, cx)) {
                Ok(0) => return Poll::Ready(End::of(Cause::Closed)),
                Ok(len_bytes) => self.shared.count_heard(len_bytes),
                Err(error) => return Poll::Ready(End::of(Cause::of_io(&error))),
            }
            let decoded = self.incoming.decode(&mut self.batch.frames);
            let handed = self.hand_over();
            self.batch.release(self.pushed.as_ref());
            if let Err(end) = handed {
                return Poll::Ready(end);
            }
            if decoded.is_err() {
                return Poll::Ready(End::PROTOCOL);
            }
        }
    }

    /// Hands each frame to whom it belongs.
    fn hand_over(&mut self) -> Result<(), End> {
        let batch = &mut self.batch;
        let only_subscribes = self.pushed.is_some();
        let mut state = self.shared.state();
        for frame in batch.frames.drain(..) {
            match if only_subscribes { pushed(frame) } else { frame } {
                Frame::Reply(reply) => match state.replied(reply, &mut batch.left) {
                    Ok(caller) => batch.wake.extend(caller),
                    Err((reason, caller)) => {
                        batch.wake.extend(caller);
                        return Err(End { cause: Cause::Protocol, reason });
                    }
                },
                Frame::Push { kind, data } => {
                    batch.wake.extend(state.pushed(&kind));
                    batch.pushed.push(PushInfo { kind, data });
                }
            }
        }
        Ok(())
    }

    /// Writes what callers have added, until nothing is left or nothing more is taken. Returns the earliest deadline of
    /// those who wait, or one before it.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<Option<Instant>, End> {
        loop {
            let written = self.outgoing.poll_write(&mut self.stream, cx);
            let mut state = self.shared.state();
            match written {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Err(End::of(Cause::of_io(&error))),
                Poll::Pending => return Ok(state.park(cx.waker())),
            }
            match state.next(self.has_gathered, cx.waker()) {
                Next::Park(earliest) => return Ok(earliest),
                Next::Gather(earliest) => {
                    self.has_gathered = true;
                    // Behind all tasks that are ready.
                    cx.waker().wake_by_ref();
                    return Ok(earliest);
                }
                Next::Write => {
                    self.has_gathered = false;
                    let chunks = state.take_unsent(self.outgoing.take_spare());
                    self.outgoing.add(chunks);
                }
            }
        }
    }

    /// Tells those whose time is up, after one more look at what has arrived.
    fn poll_deadlines(&mut self, mut earliest: Option<Instant>, cx: &mut Context<'_>) {
        while self.timer.poll(earliest, cx).is_ready() {
            let Some(fired) = self.fired.take() else {
                self.fired = Some(Instant::now());
                cx.waker().wake_by_ref();
                return;
            };
            self.timer.done();
            earliest = self.shared.state().expire(fired, &mut self.batch.wake);
            self.batch.release(None);
        }
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = &mut *self;
        if !driver.was_asked {
            let mut state = driver.shared.state();
            driver.was_asked = state.was_asked();
            if !driver.was_asked {
                // A server may say at once that it is full. That is its answer to the first request.
                state.park(cx.waker());
                return Poll::Pending;
            }
        }
        // Reading comes first, also while a write is blocked: a server that cannot send takes nothing, either.
        if let Poll::Ready(end) = driver.poll_read(cx) {
            // What failed first is the cause.
            if driver.failed_write.is_none() {
                driver.end = end;
            }
            return Poll::Ready(());
        }
        if let Some(last_read) = &mut driver.failed_write {
            return pin!(unconstrained(last_read.as_mut())).poll(cx);
        }
        match driver.poll_write(cx) {
            Ok(earliest) => driver.poll_deadlines(earliest, cx),
            Err(end) => {
                driver.end = end;
                driver.closing.fire(end.reason);
                driver.shared.state().close(end.cause);
                driver.failed_write = Some(Box::pin(sleep(LAST_READ)));
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let End { cause, reason } = self.end;
        self.closing.fire(reason);
        let written = self.outgoing.written();
        let unsent = self.shared.state().end(cause, written, &mut self.batch.wake);
        drop(unsent);
        self.batch.release(None);
    }
}

impl Batch {
    /// Wakes callers, passes on push messages and drops what nobody wants, none of which may happen under the lock.
    fn release(&mut self, pushed: Option<&Pushed>) {
        self.left.clear();
        for push in self.pushed.drain(..) {
            if let Some(pushed) = pushed {
                pushed(push);
            }
        }
        // In their order, and if one of them panics, the others later.
        self.wake.reverse();
        while let Some(caller) = self.wake.pop() {
            caller.wake();
        }
        if self.frames.capacity() > KEPT_FRAMES {
            // A peak is over.
            *self = Self::default();
        }
    }
}

impl End {
    const PROTOCOL: Self = Self { cause: Cause::Protocol, reason: CloseReason::Protocol };

    fn of(cause: Cause) -> Self {
        Self { cause, reason: CloseReason::Closed }
    }
}

/// How long what the server said before a write failed is read. It has arrived by then.
const LAST_READ: Duration = Duration::from_millis(100);
/// Room for so many frames of one read is kept.
const KEPT_FRAMES: usize = 4096;
