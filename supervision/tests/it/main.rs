//! Whole trees, on a paused clock where nothing blocks its thread.
#![allow(clippy::unwrap_used, reason = "only tests use these helpers")]

mod asks;
mod bounds;
mod drain;
mod edges;
mod end;
mod escalation;
mod extremes;
mod giving_up;
mod groups;
mod growth;
mod lifecycle;
#[cfg(feature = "chaos")]
mod load;
mod messages;
mod observation;
mod removal;
mod retry;
mod runtime_end;
mod shutdown;
mod spans;
mod starting;
mod support;
mod tasks;
mod values;
