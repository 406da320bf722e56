//! The status of a server: causes of failures, its health and state, and what its replies mean.

mod cause;
mod classify;
mod cluster;
mod code;
mod error;
mod greeting;
mod health;
mod script;
mod server_state;
mod unreadable;

#[cfg(test)]
mod tests;

pub use cause::{Cause, ConfigFile};
pub(crate) use classify::{
    Meaning, executed, has_ended, is_discarded_for_earlier, is_final, is_queued, is_refusal,
    is_replica, is_unknown_script, of_server, partial, server_error,
};
pub(crate) use cluster::has_foreign_slots;
pub use error::Error;
pub(crate) use error::RETRY_AFTER;
pub(crate) use greeting::{Hello, logged_in, selected, unwelcome};
pub use health::{Breaker, Health, Mark, Verdict};
pub(crate) use script::{Hint, mentions_noscript, of_script};
pub use server_state::ServerState;
pub use unreadable::Unreadable;
