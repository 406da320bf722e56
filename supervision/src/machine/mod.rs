//! The decisions of one supervisor, without a runtime.

mod child;
mod event;
mod group;
#[expect(clippy::module_inception, reason = "the machine is what this folder is about")]
mod machine;
mod stop;

pub use self::event::{Change, Effect, Input, Key, View};
pub use self::machine::Machine;
