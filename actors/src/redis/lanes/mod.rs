//! Lanes: the connections that callers share.

mod lane;

pub(crate) use lane::{Lane, LaneSet};
