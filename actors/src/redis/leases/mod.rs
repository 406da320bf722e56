//! Leases: connections that one caller has to itself, the line of those who wait for one, and the pool they come from.

mod bb8_adapter;
mod current;
mod generation;
mod lease;
mod pooled;
mod queue;
mod waiting;

pub(crate) use current::CurrentGeneration;
pub use generation::{Generation, Reason};
pub(crate) use lease::Lease;
pub(crate) use pooled::PooledConnection;
pub(crate) use queue::Leases;
pub(crate) use waiting::{Waiting, most_waiting};
