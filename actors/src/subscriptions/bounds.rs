//! The bounds of an endpoint's subscriptions.

/// The most messages that wait for one subscriber.
pub(super) const BUFFER_MESSAGES: usize = 1024;
/// The most bytes that the messages that wait for one subscriber hold together; one larger message waits alone.
pub(super) const BUFFER_BYTES: usize = 8 << 20;
/// The most bytes that wait for all subscribers of an endpoint together; a message that waits for several counts once.
pub(super) const BUFFERS_BYTES: usize = 64 << 20;
/// The most subscriptions.
pub(super) const MOST_SUBSCRIPTIONS: usize = 1024;
/// The most different channels and patterns of all subscriptions.
pub(super) const MOST_TOPICS: usize = 10_000;
/// The most channels and patterns of one subscription.
pub(super) const MOST_TOPICS_EACH: usize = 1024;
/// The longest name of a channel or a pattern, in bytes.
pub(super) const MOST_NAME_BYTES: usize = 4096;
