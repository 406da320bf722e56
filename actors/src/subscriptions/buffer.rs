use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::bounds::{BUFFER_BYTES, BUFFER_MESSAGES, BUFFERS_BYTES};
use super::event::{Event, Gap, Message};

/// The events that wait for one subscriber. Adding one never blocks.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    queue: Queue,
    is_closed: bool,
    waker: Option<Waker>,
}

/// Events in order. Two gaps in a row are merged into one.
#[derive(Debug, Default)]
pub(super) struct Queue {
    events: VecDeque<Event>,
    messages: usize,
    len_bytes: usize,
    /// The bytes that wait in all queues of the endpoint. A message that waits in several counts once.
    together: Arc<AtomicUsize>,
}

impl Buffer {
    /// A buffer whose bytes count towards `together`, the sum over all buffers.
    pub(super) fn beside(together: &Arc<AtomicUsize>) -> Self {
        let mut inner = Inner::default();
        inner.queue.together = Arc::clone(together);
        Self { inner: Mutex::new(inner) }
    }

    /// Adds a message. `false` says that there was no room, so that it was dropped.
    pub(super) fn push(&self, message: Message) -> bool {
        self.change(|inner| inner.queue.push(message))
    }

    /// Drops every message that waits and returns how many there were. A gap takes their place, with that count.
    fn give_up(&self) -> u64 {
        self.change(|inner| inner.queue.give_up())
    }

    /// Adds a gap: the connection is a new one, so messages may be missing.
    pub(super) fn reconnected(&self) {
        self.change(|inner| inner.queue.gap(|gap| gap.reconnected = true));
    }

    /// Closes the buffer: what waits may still be read, and nothing comes after it.
    pub(super) fn close(&self) {
        self.change(|inner| inner.is_closed = true);
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut inner = self.lock();
        match inner.queue.pop() {
            Some(event) => Poll::Ready(Some(event)),
            None if inner.is_closed => Poll::Ready(None),
            None => {
                inner.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let result = change(&mut inner);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    pub(super) fn push(&mut self, message: Message) -> bool {
        let len_bytes = self.len_bytes.saturating_add(message.len_bytes());
        let is_large = len_bytes > BUFFER_BYTES;
        if self.messages >= BUFFER_MESSAGES || (self.messages > 0 && is_large) {
            self.gap(|gap| gap.dropped += 1);
            return false;
        }
        self.messages += 1;
        self.len_bytes = len_bytes;
        if message.waits() {
            self.together.fetch_add(charge(&message), Ordering::Relaxed);
        }
        self.events.push_back(Event::Message(message));
        true
    }

    pub(super) fn gap(&mut self, widen: impl FnOnce(&mut Gap)) {
        if let Some(Event::Gap(gap)) = self.events.back_mut() {
            return widen(gap);
        }
        let mut gap = Gap::default();
        widen(&mut gap);
        self.events.push_back(Event::Gap(gap));
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if let Event::Message(message) = &event {
            self.messages -= 1;
            self.len_bytes -= message.len_bytes();
            self.release(message);
        }
        if self.events.is_empty() && self.events.capacity() > KEPT {
            self.events = VecDeque::new();
        }
        Some(event)
    }

    pub(super) fn give_up(&mut self) -> u64 {
        let mut whole = Gap::default();
        let mut messages = 0;
        while let Some(event) = self.pop() {
            match event {
                Event::Message(_) => messages += 1,
                Event::Gap(gap) => {
                    whole.dropped += gap.dropped;
                    whole.reconnected |= gap.reconnected;
                }
            }
        }
        whole.dropped += messages;
        self.events.push_back(Event::Gap(whole));
        messages
    }

    /// The bytes that wait here, without those of the `newest` message.
    fn weight_beside(&self, newest: &Message) -> usize {
        match self.events.back() {
            Some(Event::Message(last)) if last.is(newest) => self.len_bytes - last.len_bytes(),
            _ => self.len_bytes,
        }
    }

    /// A number that orders queues of the same weight. A message that several hold frees its bytes only when the last
    /// of them gives it up, so those that hold the same one give up one after the other.
    fn oldest(&self) -> Option<usize> {
        self.events.iter().find_map(|event| match event {
            Event::Message(message) => Some(message.address()),
            Event::Gap(_) => None,
        })
    }

    fn release(&self, message: &Message) {
        if message.waits_no_more() {
            self.together.fetch_sub(charge(message), Ordering::Relaxed);
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

/// Makes room while more bytes wait `together` than may. The buffer that holds the most gives up all its messages, then
/// the next, so that subscribers who read in time lose nothing to those who do not. A buffer that holds only the
/// `newest` message, which may be larger than all others, keeps it. Returns how many messages were dropped.
pub(super) fn make_room<'a>(
    together: &AtomicUsize,
    buffers: &(impl Iterator<Item = &'a Buffer> + Clone),
    newest: &Message,
) -> u64 {
    let mut dropped = 0;
    while together.load(Ordering::Relaxed) > BUFFERS_BYTES {
        let weighed = buffers.clone().map(|one| {
            let queue = &one.lock().queue;
            ((queue.weight_beside(newest), queue.oldest()), one)
        });
        match weighed.max_by_key(|(weight, _)| *weight) {
            Some(((1.., _), heaviest)) => dropped += heaviest.give_up(),
            _ => break,
        }
    }
    dropped
}

/// The bytes that a message counts for: at most those of one buffer.
fn charge(message: &Message) -> usize {
    message.len_bytes().min(BUFFER_BYTES)
}

/// The capacity that an empty queue keeps, in events.
const KEPT: usize = 64;
