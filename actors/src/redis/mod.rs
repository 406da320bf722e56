//! Redis itself: endpoints, generations of their pools, leases, and the one connection type that callers see.
//!
//! An [`Endpoint`] is everything that rooms share about one Redis. It publishes a [`Generation`] (a pool built from
//! one configuration) and a [`Verdict`]; a lease of a connection comes as a [`CacheConn`], whose [`Link`] keeps
//! deadline, breaker and typed errors over every command. Nothing here starts a task or decides when to probe,
//! rebuild or close: actors do.

mod config;

mod address;
mod cause;
mod command;
mod condition;
mod conn;
mod connect;
mod connection;
mod ending;
mod endpoint;
mod error;
mod file;
mod gate;
mod generation;
mod lack;
mod lane;
mod lease;
mod link;
mod manager;
mod name;
mod pinned;
mod place;
mod probe;
mod pubsub;
mod request;
mod riding;
mod script;
mod stream;
mod tls;
mod transaction;
mod trouble;
mod ttl;
mod verdict;
mod wire;

#[cfg(test)]
mod tests;

pub use address::{Address, Fault as AddressFault, Login};
pub use cause::Cause;
pub use condition::Condition;
pub use config::{Config, Fault};
pub use conn::CacheConn;
pub use ending::Loss;
pub use endpoint::{Endpoint, PoolStatus};
pub use error::Error;
pub(crate) use error::RETRY_AFTER;
pub use gate::ConnectGate;
pub use generation::{Generation, Reason};
pub use link::Link;
pub use name::{MOST_ENDPOINTS, fault_of_name};
pub use probe::Probe;
pub(crate) use pubsub::{Deliver, Failed, Incoming, Kind, PubSub};
pub use script::{Call, Script};
pub use tls::Tls;
pub use transaction::Transaction;
pub(crate) use trouble::pause;
pub use ttl::Ttl;
pub use verdict::{Breaker, Health, Mark, Verdict};
