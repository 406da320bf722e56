//! Making connections: the handshake, the pace of attempts, and the one function that sends every request.

mod backoff;
mod capability;
mod connection;
mod connector;
mod exchange;
mod greeting;
mod handshake;
mod lifecycle;
mod pace;
mod probe;
mod pubsub;

#[cfg(test)]
mod tests;

pub(crate) use backoff::{Failure, pause};
pub(crate) use capability::MissingCapability;
pub(crate) use connection::{Connection, jittered};
pub(crate) use connector::Connector;
pub(crate) use exchange::{Exchanged, Limit, exchange, ping, ping_patiently, silence};
pub(crate) use lifecycle::{Leased, Lifecycle};
pub use pace::Pace;
pub use probe::Probe;
pub(crate) use pubsub::{Deliver, Failed, Incoming, PubSub, TopicKind};
