//! Supervisors: their description, their view of each child, and the actor that runs each.

mod actor;
mod builder;
mod child;
mod driver;
mod leaf;
mod nested;

pub use self::actor::Actor;
pub use self::builder::{Defaults, Supervisor};
pub(crate) use self::child::Plan;
pub(crate) use self::driver::Driver;
