//! A bounded number of slots.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One of a bounded number of slots. Freed when dropped.
pub(crate) struct Slot(Arc<AtomicUsize>);

impl Slot {
    /// Takes a slot if fewer than `capacity` are taken. The error is how many are.
    pub(crate) fn take(taken: &Arc<AtomicUsize>, capacity: usize) -> Result<Self, usize> {
        let before = taken.fetch_add(1, Ordering::AcqRel);
        let slot = Self(Arc::clone(taken));
        if before < capacity { Ok(slot) } else { Err(before) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
