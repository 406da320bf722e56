//! The subscriptions: a service receives what is published on Redis channels, in order, and is told where messages may
//! be missing.
//!
//! All subscriptions of an endpoint share one connection, which is not a lease. It is made for the first subscription.
//! After it is lost a new one is made, every channel and pattern is subscribed to again, and each subscription
//! continues with a [`Gap`]. See [`Subscription`].

#[warn(clippy::wildcard_enum_match_arm)]
mod actor;
mod bounds;
mod buffer;
mod error;
mod event;
mod handle;
mod member;
mod message;
mod state;

#[cfg(test)]
mod tests;

pub(crate) use actor::Keeper;
pub use error::Error;
pub use event::{Event, Gap, Message};
pub use handle::{Subscription, Subscriptions, Topics};
