use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// One timer for the deadlines of all requests, late by at most [`COARSE`].
pub(super) struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// When it fires, while anyone waits.
    armed: Option<Instant>,
}

impl Timer {
    pub(super) fn new() -> Self {
        Self { sleep: Box::pin(sleep_until(Instant::now())), armed: None }
    }

    /// Ready when `earliest` has passed, and perhaps before.
    pub(super) fn poll(&mut self, earliest: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(earliest) = earliest else {
            self.armed = None;
            return Poll::Pending;
        };
        if self.armed.is_none_or(|armed| armed > earliest + COARSE) {
            let at = earliest.max(Instant::now() + COARSE);
            // A deadline that has passed already would otherwise be put off at each look.
            if self.armed.is_none_or(|armed| armed > at) {
                self.armed = Some(at);
                self.sleep.as_mut().reset(at);
            }
        }
        // A task whose budget is spent would not be woken by it.
        pin!(unconstrained(self.sleep.as_mut())).poll(cx)
    }

    /// The deadlines that have passed were dealt with.
    pub(super) fn done(&mut self) {
        self.armed = None;
    }
}

/// Deadlines are looked at once in so much time.
const COARSE: Duration = Duration::from_millis(10);
