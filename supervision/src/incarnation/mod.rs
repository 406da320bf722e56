//! One incarnation of an actor: its code, what that code may do, and the ractor actor around it.

mod context;
mod host;

pub use self::context::{Cx, Server};
pub(crate) use self::host::{Fall, Host};
