use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::redis::{FromRedisValue, Msg};

use crate::redis;

/// What comes next in a subscription.
#[derive(Debug, Clone)]
pub enum Event {
    /// Something was published.
    Message(Message),
    /// Messages may be missing here.
    Gap(Gap),
}

/// Messages may be missing at this place of a subscription, between the message before it and the one after it.
///
/// When it is read the subscription works again: what is published from then on arrives. Whoever keeps a copy of
/// something should read it anew now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Gap {
    /// How many messages arrived and were dropped, because more would have waited than may.
    pub dropped: u64,
    /// Whether the connection was made anew. What was published meanwhile never arrived, and nobody knows how much
    /// that was.
    pub reconnected: bool,
}

/// Something that was published. Cheap to clone.
#[derive(Clone)]
pub struct Message {
    inner: Arc<Inner>,
}

struct Inner {
    msg: Msg,
    pattern: Option<String>,
    /// In how many buffers it waits.
    waits: AtomicUsize,
}

impl Message {
    pub(super) fn new(msg: Msg) -> Self {
        let pattern = msg.get_pattern().ok().flatten();
        Self { inner: Arc::new(Inner { msg, pattern, waits: AtomicUsize::new(0) }) }
    }

    /// Where it was published; `?` where the name is not UTF-8, which only a pattern can match.
    pub fn channel(&self) -> &str {
        self.inner.msg.get_channel_name()
    }

    /// The pattern through which it came, if it came through one.
    pub fn pattern(&self) -> Option<&str> {
        self.inner.pattern.as_deref()
    }

    /// What was published.
    pub fn payload(&self) -> &[u8] {
        self.inner.msg.get_payload_bytes()
    }

    /// What was published, as a value of another type, such as `String` or `u64`.
    ///
    /// # Errors
    /// [`redis::Error::Value`] where it is no such value.
    pub fn get<T: FromRedisValue>(&self) -> Result<T, redis::Error> {
        self.inner.msg.get_payload().map_err(|_| redis::Error::Value)
    }

    pub(super) fn len_bytes(&self) -> usize {
        self.payload().len() + self.channel().len()
    }

    /// It waits in one more buffer. `true` says that it is the first.
    pub(super) fn waits(&self) -> bool {
        self.inner.waits.fetch_add(1, Ordering::AcqRel) == 0
    }

    /// It waits in one buffer less. `true` says that it was the last.
    pub(super) fn waits_no_more(&self) -> bool {
        self.inner.waits.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Whether both are one, which went to more than one subscriber.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// A number that no other message has while this one waits.
    pub(super) fn address(&self) -> usize {
        Arc::as_ptr(&self.inner).addr()
    }
}

/// Without what was published, which may be secret.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("channel", &self.channel())
            .field("pattern", &self.pattern())
            .field("len_bytes", &self.payload().len())
            .finish_non_exhaustive()
    }
}
