//! Leases: connections that one caller has to itself, the line of those who wait for one, and the pool they come from.

mod bb8_adapter;
mod generation;
mod lease;
mod pooled;

pub use generation::{Generation, Reason};
pub(crate) use lease::{Lease, Leases, Waiting, most_waiting};
pub(crate) use pooled::PooledConnection;
