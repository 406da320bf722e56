//! What anyone can read of the tree without asking an actor.

mod node;
mod snapshot;

pub(crate) use self::node::{Ended, Hub, Kind, Node, Status};
pub use self::snapshot::{Event, Mailbox, ShutdownReport, State, TreeSnapshot};
