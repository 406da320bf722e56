//! The health monitor: probes one endpoint on a connection of its own, and publishes the verdict.

#[warn(clippy::wildcard_enum_match_arm)]
mod actor;
mod message;
mod server_states;
mod state;

#[cfg(test)]
mod tests;

pub(crate) use actor::Monitor;
pub(crate) use message::Message;
#[expect(
    clippy::module_name_repetitions,
    reason = "messages are imperatives, said without a path"
)]
pub use message::{GetHealth, ProbeNow, Report};
