//! Restart, shutdown, backoff and intensity: how a supervisor treats its children.

mod backoff;
mod child;
mod intensity;
mod restart;

pub use self::backoff::{Backoff, Jitter};
pub(crate) use self::child::{ChildPolicy, SupervisorPolicy};
pub use self::intensity::Intensity;
pub(crate) use self::intensity::Window;
pub use self::restart::{Restart, Shutdown, Strategy};
