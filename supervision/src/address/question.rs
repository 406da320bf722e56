//! The state of one ask, which the caller and the actor share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::call_error::CallError;

/// The actor has not begun to handle it. Exits to `TAKEN`, `WITHDRAWN`.
const QUEUED: u8 = 0;
/// The actor has begun to handle it.
const TAKEN: u8 = 1;
/// Its deadline passed, or its caller left, before the actor began. It is never handled.
const WITHDRAWN: u8 = 2;

#[derive(Debug)]
pub(crate) struct Question {
    deadline: Instant,
    fate: AtomicU8,
}

impl Question {
    pub(super) fn new(deadline: Instant) -> Arc<Self> {
        Arc::new(Self { deadline, fate: AtomicU8::new(QUEUED) })
    }

    /// Whether the actor may handle it. From then on it can no longer be withdrawn.
    pub(crate) fn take(&self) -> bool {
        if self.deadline <= Instant::now() {
            return !self.withdraw();
        }
        self.settle(TAKEN)
    }

    /// Withdraws it unless the actor has begun. Returns `true` if it is never handled.
    fn withdraw(&self) -> bool {
        self.settle(WITHDRAWN) || self.is_withdrawn()
    }

    fn is_withdrawn(&self) -> bool {
        self.fate.load(Ordering::Acquire) == WITHDRAWN
    }

    fn settle(&self, fate: u8) -> bool {
        // Nothing leaves a final state, so a cheaper load is often enough.
        if self.fate.load(Ordering::Acquire) != QUEUED {
            return false;
        }
        self.fate.compare_exchange(QUEUED, fate, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Withdraws the question when its caller stops waiting.
struct Asker(Arc<Question>);

impl Drop for Asker {
    fn drop(&mut self) {
        self.0.withdraw();
    }
}

/// Waits for the reply to a question that `incarnation` has accepted.
pub(super) async fn await_answer<R>(
    answer: oneshot::Receiver<R>,
    question: Arc<Question>,
    incarnation: u64,
) -> Result<R, CallError> {
    let asker = Asker(question);
    match tokio::time::timeout_at(asker.0.deadline, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_dropped)) if asker.0.is_withdrawn() => Err(CallError::Deadline { accepted: false }),
        Ok(Err(_dropped)) => Err(CallError::Died { incarnation }),
        Err(_elapsed) => Err(CallError::Deadline { accepted: !asker.0.withdraw() }),
    }
}
