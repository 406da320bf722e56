use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::budget::{OpenCount, Permit};
use super::close_reason::CloseSignal;
use super::driver::{Accepted, Answer, Driver, Pack, Pushed, Refusal, Shared};
use super::stream::Stream;

/// A connection that carries any number of requests at once. All clones are the same connection; dropping the last one
/// closes it.
#[derive(Clone)]
pub(crate) struct Wire {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    driver: AbortHandle,
    open: OnceLock<OpenCount>,
}

/// The bytes of a connection, for as long as it is open.
pub(crate) struct Socket {
    stream: Stream,
    permit: Permit,
}

/// A request on its way.
///
/// It is sent when this is polled for the first time. When this is dropped later, the replies are still read, and thrown
/// away; the request may or may not be executed.
#[must_use = "nothing is sent before it is polled"]
pub(crate) struct Asking<'a, P> {
    wire: &'a Wire,
    request: &'a P,
    until: Option<Instant>,
    stage: Stage,
}

enum Stage {
    /// Leaves to `Sent`, or to `Over` if it is refused.
    New,
    /// Leaves to `Over` with the answer.
    Sent {
        key: usize,
    },
    Over,
}

impl Socket {
    pub(crate) fn new(stream: Stream, permit: Permit) -> Self {
        Self { stream, permit }
    }
}

impl Wire {
    /// A connection over `socket`. `is_shared`: many callers use it. Push messages go to `pushed`, and `closing` fires
    /// when the connection has ended.
    pub(crate) fn open(
        socket: Socket,
        is_shared: bool,
        pushed: Option<Pushed>,
        closing: &Arc<CloseSignal>,
    ) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "a wire outlives the actor that opened it: it ends with its last user"
        )]
        let run = |driver| tokio::spawn(driver).abort_handle();
        Self::open_by(run, socket, is_shared, pushed, closing)
    }

    /// The same, with a driver that `run` runs.
    pub(super) fn open_by(
        run: impl FnOnce(Driver) -> AbortHandle,
        socket: Socket,
        is_shared: bool,
        pushed: Option<Pushed>,
        closing: &Arc<CloseSignal>,
    ) -> Self {
        let Socket { stream, permit } = socket;
        let shared = Arc::new(Shared::new(is_shared));
        let closing = Arc::clone(closing);
        let driver = run(Driver::new(Arc::clone(&shared), stream, permit, closing, pushed));
        Self { inner: Arc::new(Inner { shared, driver, open: OnceLock::new() }) }
    }

    /// Keeps `open` until the connection is closed, which may be after the caller has dropped it.
    pub(crate) fn count_by(&self, open: OpenCount) {
        self.inner.open.set(open).expect("a wire is counted once");
    }

    /// Sends `request`, and waits for the replies until `until`.
    pub(crate) fn ask<'a, P: Pack>(
        &'a self,
        request: &'a P,
        until: Option<Instant>,
    ) -> Asking<'a, P> {
        Asking { wire: self, request, until, stage: Stage::New }
    }

    /// How many bytes have arrived.
    pub(crate) fn heard(&self) -> u64 {
        self.inner.shared.heard()
    }
}

impl<P: Pack> Asking<'_, P> {
    fn send(&mut self, cx: &Context<'_>) -> Result<(), Refusal> {
        let (request, until, caller) = (self.request, self.until, cx.waker().clone());
        let shared = &self.wire.inner.shared;
        let mut chunk = Vec::new();
        if request.len_bytes() > COPIED_BYTES {
            if let Some(refusal) = shared.state().refusal(request.is_test()) {
                return Err(refusal);
            }
            request.pack(&mut chunk);
        }
        let mut state = shared.state();
        if let Some(refusal) = state.refusal(request.is_test()) {
            // Before the waker and the chunk are dropped.
            drop(state);
            return Err(refusal);
        }
        let Accepted { key, driver } = state.send(request.expected(), until, caller, |unsent| {
            if chunk.is_empty() {
                unsent.add(|buffer| request.pack(buffer));
            } else {
                unsent.add_chunk(chunk);
            }
        });
        drop(state);
        self.stage = Stage::Sent { key };
        if let Some(driver) = driver {
            driver.wake();
        }
        Ok(())
    }
}

impl<P: Pack> Future for Asking<'_, P> {
    type Output = Result<Answer, Refusal>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.stage {
            Stage::New => match self.send(cx) {
                Ok(()) => Poll::Pending,
                Err(refusal) => {
                    self.stage = Stage::Over;
                    Poll::Ready(Err(refusal))
                }
            },
            Stage::Sent { key } => {
                let polled = self.wire.inner.shared.state().poll(key, cx.waker());
                match polled {
                    Ok(answer) => {
                        self.stage = Stage::Over;
                        Poll::Ready(Ok(answer))
                    }
                    Err(_former_waker) => Poll::Pending,
                }
            }
            Stage::Over => unreachable!("it is not polled after its answer"),
        }
    }
}

impl<P> Drop for Asking<'_, P> {
    fn drop(&mut self) {
        if let Stage::Sent { key } = self.stage {
            let left = self.wire.inner.shared.state().abandon(key);
            // Not before the lock is released.
            drop(left);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.shared.fmt(f)
    }
}

/// A request of more bytes has a buffer of its own, which is written as it is.
const COPIED_BYTES: usize = 64 * 1024;
