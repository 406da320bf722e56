//! The messages and tasks of one incarnation.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The messages and tasks of one incarnation. Each incarnation has counts of its own, so what was lost
/// with an earlier one cannot distort them.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// How many messages were accepted.
    accepted: AtomicUsize,
    /// How many of them were handled or skipped. Only the actor writes it.
    ended: AtomicUsize,
    tasks: AtomicUsize,
}

impl Load {
    /// Messages that are queued or being handled.
    pub(crate) fn messages(&self) -> usize {
        // In this order: a message ends after it was accepted, so the difference is never negative.
        let ended = self.ended.load(Ordering::Acquire);
        self.accepted.load(Ordering::Relaxed).wrapping_sub(ended)
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
        loop {
            let ended = self.ended.load(Ordering::Acquire);
            let more = |accepted: usize| {
                (accepted.wrapping_sub(ended) < capacity).then(|| accepted.wrapping_add(1))
            };
            match self.accepted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
                Ok(_before) => return Ok(()),
                // There were so many at one moment only if none has ended in between.
                Err(accepted) if self.ended.load(Ordering::Acquire) == ended => {
                    return Err(accepted.wrapping_sub(ended));
                }
                Err(_) => {}
            }
        }
    }

    /// Takes back a message that was counted and could not be sent.
    pub(crate) fn take_back_message(&self) {
        self.accepted.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts one message fewer. Only the actor calls this.
    pub(crate) fn end_message(&self) {
        // There is no other writer, so a cheaper load and store will do.
        let ended = self.ended.load(Ordering::Relaxed);
        self.ended.store(ended.wrapping_add(1), Ordering::Release);
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::thread;

    use super::*;

    #[test]
    fn the_count_of_messages_stays_between_zero_and_the_capacity() {
        const CAPACITY: usize = 3;
        let load = Load::default();
        let (sender, mailbox) = sync_channel(CAPACITY);
        thread::scope(|scope| {
            for _ in 0..2 {
                let (load, sender) = (&load, sender.clone());
                scope.spawn(move || {
                    for number in 0..20_000 {
                        while let Err(messages) = load.add_message(CAPACITY) {
                            assert_eq!(messages, CAPACITY, "it refuses only when it is full");
                            thread::yield_now();
                        }
                        sender.try_send(number).expect("what is counted has room");
                    }
                });
            }
            drop(sender);
            // This thread is the actor.
            while mailbox.recv().is_ok() {
                assert!((1..=CAPACITY).contains(&load.messages()));
                load.end_message();
            }
        });
        assert!(load.is_nothing());
    }

    #[test]
    fn a_message_that_was_not_sent_leaves_its_place() {
        let load = Load::default();
        assert_eq!(load.add_message(1), Ok(()));
        assert_eq!(load.add_message(1), Err(1));
        load.take_back_message();
        assert_eq!(load.add_message(1), Ok(()));
    }
}
