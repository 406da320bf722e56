//! Lanes: the connections that callers share, and how each of them is replaced.

mod keeper;
mod lane;
mod lane_set;
mod state;

#[cfg(test)]
mod tests;

pub(crate) use keeper::Lanes;
pub(crate) use lane::Lane;
pub(crate) use lane_set::{LaneSet, SilentLane};
