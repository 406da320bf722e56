//! The decisions of one supervisor, without a runtime.

mod child;
mod children;
mod deadlines;
mod ending;
mod event;
mod group;
#[expect(clippy::module_inception, reason = "the machine is what this folder is about")]
mod machine;
mod stop;
mod summary;

pub(crate) use self::deadlines::Deadlines;
pub use self::event::{Change, State};
pub(crate) use self::event::{Effect, Input, Key};
pub(crate) use self::machine::Machine;
pub(crate) use self::summary::Summary;
