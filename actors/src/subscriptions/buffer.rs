use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::event::{Event, Gap, Message};
use super::{BUFFER_BYTES, BUFFER_MESSAGES, BUFFERS_BYTES};

/// What waits for one subscriber. Never holds up whoever fills it.
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

/// Events in order. Two gaps never stand side by side: they are one.
#[derive(Debug, Default)]
pub(super) struct Queue {
    events: VecDeque<Event>,
    messages: usize,
    len_bytes: usize,
    /// The bytes that wait in all queues of the endpoint.
    together: Arc<AtomicUsize>,
}

impl Buffer {
    /// One that counts what waits in it to what waits `together` with others.
    pub(super) fn beside(together: &Arc<AtomicUsize>) -> Self {
        let mut inner = Inner::default();
        inner.queue.together = Arc::clone(together);
        Self { inner: Mutex::new(inner) }
    }

    /// `false` says that there was no room for it.
    pub(super) fn push(&self, message: Message) -> bool {
        self.change(|inner| inner.queue.push(message))
    }

    /// Messages may be missing here, because the connection was made anew.
    pub(super) fn reconnected(&self) {
        self.change(|inner| inner.queue.gap(|gap| gap.reconnected = true));
    }

    /// What waits may still be read; nothing comes after it.
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
        let together = self.together.load(Ordering::Relaxed).saturating_add(message.len_bytes());
        let is_large = len_bytes > BUFFER_BYTES || together > BUFFERS_BYTES;
        if self.messages >= BUFFER_MESSAGES || (self.messages > 0 && is_large) {
            self.gap(|gap| gap.dropped += 1);
            return false;
        }
        self.messages += 1;
        self.len_bytes = len_bytes;
        self.together.fetch_add(message.len_bytes(), Ordering::Relaxed);
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
            self.together.fetch_sub(message.len_bytes(), Ordering::Relaxed);
        }
        if self.events.is_empty() && self.events.capacity() > KEPT {
            self.events = VecDeque::new();
        }
        Some(event)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.together.fetch_sub(self.len_bytes, Ordering::Relaxed);
    }
}

/// Places that an empty queue keeps.
const KEPT: usize = 64;
