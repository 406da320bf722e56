use std::fmt;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use super::lock::{Mutex, MutexGuard};
use super::state::State;

/// What the callers of a connection and its driver share.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// How many bytes have arrived.
    heard: AtomicU64,
}

impl Shared {
    pub(crate) fn new(is_shared: bool) -> Self {
        Self { state: Mutex::new(State::new(is_shared)), heard: AtomicU64::new(0) }
    }

    /// Nothing that is done while this is held can run code of callers, or wait.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes have arrived.
    pub(crate) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    pub(super) fn count_heard(&self, len_bytes: usize) {
        self.heard.fetch_add(u64::try_from(len_bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("heard", &self.heard()).finish_non_exhaustive()
    }
}
