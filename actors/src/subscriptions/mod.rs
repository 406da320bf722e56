//! The subscriptions: what others publish on channels of Redis reaches a service in order, and where something may be
//! missing the service is told.
//!
//! All subscriptions of an endpoint share one connection. It is made when the first of them asks, and is no lease. When
//! it is lost it is made again and every channel and pattern is subscribed to again; then each subscription continues
//! with a [`Gap`]. See [`Subscription`].

#[warn(clippy::wildcard_enum_match_arm)]
mod actor;
mod bounds;
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
