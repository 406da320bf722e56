//! Addresses of actors, which survive restarts, and the messages sent to them.

mod call_error;
mod envelope;
mod handle;
mod question;
mod recipient;
mod route;
mod seat;
mod slot;

pub use self::call_error::{CallError, Rejected};
pub(crate) use self::envelope::{Body, Caller, Control, Envelope, TaskPanic, Trace};
pub use self::handle::Handle;
pub use self::recipient::Recipient;
pub(crate) use self::route::Route;
pub use self::route::{Accept, Asked, Told};
pub(crate) use self::seat::Seat;
pub(crate) use self::slot::Slot;
