//! The rooms of Mainstay: Redis and the supervised actors that own it.
//!
//! Every room is a module with the same files: its messages, its state (which makes the decisions), its actor (a thin
//! shell), its error, and the handle that callers use. Rooms use `redis` and never each other; none of them knows HTTP.
//!
//! [`Tree`] starts all of them.

mod ask;
#[cfg(feature = "cache")]
mod blocking;
pub mod deadline;
mod outcome;
mod start_error;
pub mod tree;

#[cfg(feature = "cache")]
pub mod cache;
#[cfg(feature = "embedded")]
pub mod embedded;
#[cfg(feature = "cache")]
pub mod health;
#[cfg(feature = "cache")]
pub mod pool;
#[cfg(feature = "cache")]
pub mod redis;
#[cfg(feature = "cache")]
pub mod subscriptions;

pub use ask::AskError;
pub use mainstay_supervision as supervision;
pub use outcome::Outcome;
pub use tree::Tree;
