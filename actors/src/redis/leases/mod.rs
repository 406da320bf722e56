//! Leases: dedicated connections, the queue of callers that wait for one, and the pool that they come from.

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
