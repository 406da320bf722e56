//! The pool manager: keeps one generation of connections in use and at most one older one draining.

#[warn(clippy::wildcard_enum_match_arm)]
mod actor;
mod message;
mod state;

#[cfg(test)]
mod tests;

pub(crate) use actor::{Args, Manager};
pub(crate) use message::Message;
#[expect(
    clippy::module_name_repetitions,
    reason = "messages are imperatives, said without a path"
)]
pub use message::{GetPoolStatus, RebuildPool};
