//! The embedded server: a private redis-server that the service runs for `url = "embedded"`.

#[warn(clippy::wildcard_enum_match_arm)]
mod actor;
mod error;
mod home;
mod message;
mod nest;
mod process;
mod state;

#[cfg(test)]
mod tests;

pub(crate) use actor::Keeper;
pub use error::Error;
pub use home::Home;
pub(crate) use nest::Nest;
pub use process::{Server, locate};
