use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::redis::{FromRedisValue, Msg};

use crate::redis;

/// The next thing in a subscription: a message, or a gap.
#[derive(Debug, Clone)]
pub enum Event {
    /// A message was published.
    Message(Message),
    /// Messages may be missing here.
    Gap(Gap),
}

/// Messages may be missing at this point of a subscription, between the message before it and the one after it.
///
/// When the gap is read the subscription works again: what is published from then on arrives. A reader that keeps a
/// copy of something should read it again now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Gap {
    /// How many messages arrived and were dropped, because too much waited already.
    pub dropped: u64,
    /// Whether the connection was replaced. What was published meanwhile never arrived, and how much that was is not
    /// known.
    pub reconnected: bool,
}

/// A published message. Cheap to clone.
#[derive(Clone)]
pub struct Message {
    inner: Arc<Inner>,
}

struct Inner {
    msg: Msg,
    pattern: Option<String>,
    /// How many buffers hold it.
    waits: AtomicUsize,
}

impl Message {
    pub(super) fn new(msg: Msg) -> Self {
        let pattern = msg.get_pattern().ok().flatten();
        Self { inner: Arc::new(Inner { msg, pattern, waits: AtomicUsize::new(0) }) }
    }

    /// The channel it was published on; `?` if the name is not UTF-8, which only a pattern can match.
    pub fn channel(&self) -> &str {
        self.inner.msg.get_channel_name()
    }

    /// The pattern that matched, if it came through a pattern.
    pub fn pattern(&self) -> Option<&str> {
        self.inner.pattern.as_deref()
    }

    /// The payload, as bytes.
    pub fn payload(&self) -> &[u8] {
        self.inner.msg.get_payload_bytes()
    }

    /// The payload as a value of another type, such as `String` or `u64`.
    ///
    /// # Errors
    /// [`redis::Error::Value`] if it is not of that type.
    pub fn get<T: FromRedisValue>(&self) -> Result<T, redis::Error> {
        self.inner.msg.get_payload().map_err(|_| redis::Error::Value)
    }

    pub(super) fn len_bytes(&self) -> usize {
        self.payload().len() + self.channel().len()
    }

    /// Notes that one more buffer holds it. `true` says that it is the first.
    pub(super) fn waits(&self) -> bool {
        self.inner.waits.fetch_add(1, Ordering::AcqRel) == 0
    }

    /// Notes that one buffer less holds it. `true` says that it was the last.
    pub(super) fn waits_no_more(&self) -> bool {
        self.inner.waits.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Whether both are the same message, as it went to different subscribers.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// A number that no other message has while this one exists.
    pub(super) fn address(&self) -> usize {
        Arc::as_ptr(&self.inner).addr()
    }
}

/// Shows no payload, which may be secret.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("channel", &self.channel())
            .field("pattern", &self.pattern())
            .field("len_bytes", &self.payload().len())
            .finish_non_exhaustive()
    }
}
