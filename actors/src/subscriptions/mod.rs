//! The subscriptions: what others publish on channels of Redis reaches a service in order, and where something may be
//! missing the service is told.
//!
//! All subscriptions of an endpoint share one connection. It is made when the first of them asks, and is no lease. When
//! it is lost it is made again and every channel and pattern is subscribed to again; then each subscription continues
//! with a [`Gap`]. See [`Subscription`].

#[warn(clippy::wildcard_enum_match_arm)]
mod actor;
mod buffer;
mod error;
mod event;
mod handle;
mod message;
mod state;

#[cfg(test)]
mod tests;

pub(crate) use actor::Keeper;
pub use error::Error;
pub use event::{Event, Gap, Message};
pub use handle::{Subscription, Subscriptions, Topics};

/// The most messages that wait for one subscriber.
const BUFFER_MESSAGES: usize = 1024;
/// The most that the messages that wait for one subscriber hold together; one larger message waits alone.
const BUFFER_BYTES: usize = 8 << 20;
/// The same for all subscribers of an endpoint together; what waits for several counts once.
const BUFFERS_BYTES: usize = 64 << 20;
const MOST_SUBSCRIPTIONS: usize = 1024;
/// Different channels and patterns of all subscriptions.
const MOST_TOPICS: usize = 10_000;
const MOST_TOPICS_EACH: usize = 1024;
/// Of the name of a channel or a pattern.
const MOST_NAME_BYTES: usize = 4096;
