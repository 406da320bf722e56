#![doc = include_str!("../README.md")]

mod address;
mod exit;
mod incarnation;
pub mod machine;
mod message;
mod nursery;
mod policy;
mod published;
mod supervisor;
mod system;
#[cfg(test)]
mod tests;

/// The target of what the actor library below logs. It keeps a span open around everything that an
/// actor does, which is of no interest to a service.
pub const LIBRARY_LOG_TARGET: &str = "ractor";

pub use address::{CallError, Handle, Recipient, Rejected};
pub use exit::{BoxError, Cause, Exit};
pub use incarnation::{Cx, Server};
pub use machine::Change;
pub use message::{Notice, Reply, Request};
pub use nursery::Nursery;
pub use policy::{Backoff, ChildPolicy, Flags, Intensity, Jitter, Restart, Shutdown, Strategy};
pub use published::{Event, Mailbox, ShutdownReport, State, TreeSnapshot};
pub use supervisor::{Accept, Actor, Asked, Defaults, Supervisor, Told};
pub use system::{GetTree, NoActor, NoTaker, StartError, System};
