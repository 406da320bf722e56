#![doc = include_str!("../README.md")]

mod address;
mod clock;
mod exit;
mod incarnation;
mod log;
mod machine;
mod message;
mod nursery;
mod policy;
mod published;
mod quiet;
mod supervisor;
mod system;
#[cfg(test)]
mod tests;

pub use address::{Accept, Asked, CallError, Handle, Recipient, Rejected, Told};
pub use exit::{BoxError, Cause, Exit};
pub use incarnation::{Cx, Server};
pub use log::LIBRARY_LOG_TARGET;
pub use machine::{Change, State};
pub use message::{Notice, Reply, Request};
pub use nursery::Nursery;
pub use policy::{Backoff, Intensity, Jitter, Restart, Shutdown, Strategy};
pub use published::{Event, Mailbox, ShutdownReport, TreeSnapshot};
pub use supervisor::{Actor, Defaults, Supervisor};
pub use system::{GetTree, NoActor, NoTaker, StartError, System};
