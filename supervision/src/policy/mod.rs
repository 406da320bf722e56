//! What a supervisor promises about its children.

mod backoff;
mod intensity;
mod restart;

pub use self::backoff::{Backoff, Jitter};
pub use self::intensity::Intensity;
pub(crate) use self::intensity::Window;
pub use self::restart::{ChildPolicy, Flags, Restart, Shutdown, Strategy};
