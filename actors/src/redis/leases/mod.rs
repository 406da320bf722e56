//! Leases: connections of which a caller has one to itself, and the pool that they come from.

mod bb8_adapter;
mod generation;
mod lease;
mod pooled;

pub(crate) use bb8_adapter::jittered;
pub(crate) use generation::Lifecycle;
pub use generation::{Generation, Reason};
pub(crate) use lease::{Lease, Leases, Waiting, most_waiting};
pub(crate) use pooled::{Line, Node, Open};
