//! The messages and tasks of one incarnation.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The messages and tasks of one incarnation. Each incarnation has counts of its own, so what was lost
/// with an earlier one cannot distort them.
#[derive(Debug, Default)]
pub(crate) struct Load {
    messages: AtomicUsize,
    tasks: AtomicUsize,
}

impl Load {
    /// Messages that are queued or being handled.
    pub(crate) fn messages(&self) -> usize {
        self.messages.load(Ordering::Relaxed)
    }

    /// Tasks that are running or whose result is queued. Timers do not count.
    pub(crate) fn tasks(&self) -> usize {
        self.tasks.load(Ordering::Relaxed)
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.messages() == 0 && self.tasks() == 0
    }

    /// Counts one more message. If there are `capacity` already, the error is how many there are.
    ///
    /// A message is counted before it is sent, so a count of zero means that none is under way.
    pub(crate) fn add_message(&self, capacity: usize) -> Result<(), usize> {
        let more = |messages| (messages < capacity).then_some(messages + 1);
        self.messages.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map(|_before| ())
    }

    /// Counts one message fewer.
    pub(crate) fn remove_message(&self) {
        self.messages.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts one more task until the returned value is dropped.
    pub(crate) fn add_task(self: Arc<Self>) -> Task {
        self.tasks.fetch_add(1, Ordering::Relaxed);
        Task(self)
    }
}

/// A counted task.
#[derive(Debug)]
pub(crate) struct Task(Arc<Load>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.tasks.fetch_sub(1, Ordering::Relaxed);
    }
}
