//! Redis itself: endpoints, generations of their pools, leases, and the one connection type that callers see.
//!
//! An [`Endpoint`] is everything that rooms share about one Redis. It publishes a [`Generation`] (a pool built from
//! one configuration) and a [`Verdict`]; a lease of a connection comes as a [`CacheConn`], whose [`Session`] keeps
//! deadline, breaker and typed errors over every command. Nothing here starts a task or decides when to probe,
//! rebuild or close: actors do.

mod address;
mod client;
mod command;
mod config;
mod connect;
mod endpoint;
mod lanes;
mod leases;
mod socket;
mod status;

#[cfg(test)]
mod tests;

pub use address::{Address, Fault as AddressFault, Login};
pub use client::{CacheConn, Call, Script, Session, Transaction, Ttl};
pub use config::{Config, Fault, MOST_ENDPOINTS, Tls, fault_of_name};
pub(crate) use connect::{Deliver, Failed, Incoming, PubSub, TopicKind, pause};
pub use connect::{Pace, Probe};
pub use endpoint::{Endpoint, PoolStatus};
pub use leases::{Generation, Reason};
pub use socket::CloseReason;
pub(crate) use status::RETRY_AFTER;
pub use status::{Breaker, Cause, Error, Health, Mark, ServerState, Verdict};
