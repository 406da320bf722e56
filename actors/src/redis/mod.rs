//! Redis itself: endpoints, their lanes, leases and generations, and the one connection type that callers see.
//!
//! An [`Endpoint`] is what rooms share about one Redis. It publishes a [`Generation`] (a pool built from one configuration)
//! and a [`Verdict`]. Callers hold a [`CacheConn`], whose [`Session`] keeps deadline, breaker and typed errors over every
//! command. Nothing here starts a task or decides when to probe, rebuild or close: actors do.
//!
//! Each folder imports only folders below its own line, and no two files import each other:
//!
//! ```text
//! client      what callers hold
//! endpoint    what rooms share about one Redis
//! lanes       shared connections, and which of them is replaced when
//! leases      dedicated connections, the line for them, and the generations of their pool
//! connect     making connections, and the one exchange that every request takes
//! command     what a command asks of the connection that carries it
//! socket      bytes, TLS, and how many connections may be open
//! status      what is known of a server, and what its replies mean
//! config      how an endpoint is reached and used
//! address     where it is
//! ```

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
