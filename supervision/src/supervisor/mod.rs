//! Supervisors: how one is described, what it knows of each child, and the actor that runs it.

mod actor;
mod builder;
mod driver;

pub use self::actor::{Accept, Actor, Asked, Told};
pub(crate) use self::actor::{AskRoute, Route, TellRoute};
pub(crate) use self::builder::{Child, Plan};
pub use self::builder::{Defaults, Supervisor};
pub(crate) use self::driver::{Command, Driver, Report};
