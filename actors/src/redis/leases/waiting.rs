use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts one caller for as long as it waits.
pub(crate) struct Waiting<'a> {
    counter: &'a AtomicUsize,
    number: usize,
}

impl<'a> Waiting<'a> {
    pub(crate) fn count(counter: &'a AtomicUsize) -> Self {
        let number = counter.fetch_add(1, Ordering::Relaxed) + 1;
        Self { counter, number }
    }

    /// How many callers waited when this one came, including this one.
    pub(crate) fn number(&self) -> usize {
        self.number
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many callers may wait at once.
pub(crate) fn most_waiting(max_connections: u32) -> usize {
    let leases = usize::try_from(max_connections).unwrap_or(usize::MAX);
    leases.saturating_mul(WAITING_EACH).max(WAITING_LEAST)
}

/// A caller beyond these would most likely wait in vain, and use memory.
const WAITING_EACH: usize = 16;
const WAITING_LEAST: usize = 1024;
