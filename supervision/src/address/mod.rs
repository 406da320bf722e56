//! The addresses of actors, which survive restarts, and what is sent to them.

mod handle;
mod recipient;

pub(crate) use self::handle::{
    Body, Caller, Envelope, Place, Slot, TaskPanic, Trace, await_answer,
};
pub use self::handle::{CallError, Handle, Rejected};
pub use self::recipient::Recipient;
