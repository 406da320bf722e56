//! What is known of a server: why something failed, which state it is in, whether it is healthy.

mod cause;
mod error;
mod health;
mod server_state;

pub use cause::Cause;
pub(crate) use cause::code_of;
pub use error::Error;
pub(crate) use error::{RETRY_AFTER, refused_multi};
pub use health::{Breaker, Health, Mark, Verdict};
pub use server_state::ServerState;
