//! Redis: endpoints, with their lanes, leases and generations, and the one connection type that callers see.
//!
//! An [`Endpoint`] is everything that rooms share about one Redis. It publishes a [`Generation`] (a pool built from one
//! configuration) and a [`Verdict`]. Callers hold a [`CacheConn`], whose [`Session`] applies the deadline, the breaker
//! and typed errors to every command. The actors, not this module, decide when to probe, rebuild or close.
//!
//! Each folder imports only folders below its own line, and no two files import each other:
//!
//! ```text
//! client      the connections that callers hold
//! endpoint    everything that rooms share about one Redis
//! lanes       shared connections, and when each of them is replaced
//! leases      dedicated connections, the queue for them, and the generations of their pool
//! connect     making connections, and the one function that sends every request
//! command     what a command requires of its connection
//! socket      bytes, TLS, and how many connections may be open
//! status      the health and state of a server, and what its replies mean
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
pub(crate) use lanes::SilentLane;
pub use leases::{Generation, Reason};
pub use socket::CloseReason;
pub(crate) use status::RETRY_AFTER;
pub use status::{
    Breaker, Cause, ConfigFile, Error, Health, Mark, ServerState, Unreadable, Verdict,
};
