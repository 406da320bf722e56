//! What can be read about the tree without asking an actor.

mod event;
mod hub;
mod load;
mod node;
mod report;
mod snapshot;

pub use self::event::Event;
pub(crate) use self::hub::{Ended, Hub};
pub(crate) use self::load::{Load, Task};
pub(crate) use self::node::{Kind, Node};
pub use self::report::ShutdownReport;
pub use self::snapshot::{Mailbox, TreeSnapshot};
