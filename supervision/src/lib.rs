#![doc = include_str!("../README.md")]

mod actor;
mod backoff;
mod driver;
mod exit;
mod handle;
mod host;
mod intensity;
pub mod machine;
mod message;
mod node;
mod nursery;
mod policy;
mod recipient;
mod server;
mod snapshot;
mod supervisor;
mod system;
#[cfg(test)]
mod tests;

/// The target of what the actor library below logs. It keeps a span open around everything that an
/// actor does, which is of no interest to a service.
pub const LIBRARY_LOG_TARGET: &str = "ractor";

pub use actor::{Accept, Actor, Asked, Told};
pub use backoff::{Backoff, Jitter};
pub use exit::{BoxError, Cause, Exit};
pub use handle::{CallError, Handle, Rejected};
pub use intensity::Intensity;
pub use machine::Change;
pub use message::{Notice, Reply, Request};
pub use nursery::Nursery;
pub use policy::{ChildPolicy, Flags, Restart, Shutdown, Strategy};
pub use recipient::Recipient;
pub use server::{Cx, Server};
pub use snapshot::{Event, Mailbox, ShutdownReport, State, TreeSnapshot};
pub use supervisor::{Defaults, Supervisor};
pub use system::{GetTree, NoActor, NoTaker, StartError, System};
