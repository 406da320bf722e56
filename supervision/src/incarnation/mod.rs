//! One incarnation of an actor: its code, what that code can do, and the ractor actor around it.

mod context;
mod handling;
mod host;
mod link;
mod server;

pub use self::context::Cx;
pub(crate) use self::host::Host;
pub(crate) use self::link::{Command, Report};
pub use self::server::Server;
