//! How much one incarnation has to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What waits or runs in one incarnation. Each incarnation counts anew, so that nothing that is lost
/// with one can be missing from the next.
#[derive(Debug, Default)]
pub(crate) struct Load {
    messages: AtomicUsize,
    tasks: AtomicUsize,
}

impl Load {
    /// Messages that wait, or are being handled.
    pub(crate) fn messages(&self) -> usize {
        self.messages.load(Ordering::Relaxed)
    }

    /// Tasks that run, or whose result waits to be handled. Timers do not count.
    pub(crate) fn tasks(&self) -> usize {
        self.tasks.load(Ordering::Relaxed)
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.messages() == 0 && self.tasks() == 0
    }

    /// Counts one more message, unless `capacity` are counted already: then the error says how many.
    ///
    /// Whoever reads more than nothing here knows that a message is in the mailbox, or on its way.
    pub(crate) fn add_message(&self, capacity: usize) -> Result<(), usize> {
        let more = |messages| (messages < capacity).then_some(messages + 1);
        self.messages.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map(|_before| ())
    }

    /// Counts one message less.
    pub(crate) fn remove_message(&self) {
        self.messages.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts one more task for as long as the result lives.
    pub(crate) fn add_task(self: Arc<Self>) -> Task {
        self.tasks.fetch_add(1, Ordering::Relaxed);
        Task(self)
    }
}

/// A task that counts.
#[derive(Debug)]
pub(crate) struct Task(Arc<Load>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.tasks.fetch_sub(1, Ordering::Relaxed);
    }
}
