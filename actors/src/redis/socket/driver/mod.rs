//! The driver of a connection: one task that writes what all callers have ready, and hands each reply to its caller.

mod expected;
mod incoming;
mod lock;
mod outgoing;
mod resp2;
mod shared;
mod shell;
mod slots;
mod state;
mod timer;
mod unsent;

#[cfg(test)]
mod tests;

pub(crate) use expected::{Answer, Expected, Form, Pack, Refusal, Replies};
pub(super) use shared::Shared;
pub(super) use shell::Driver;
pub(crate) use shell::Pushed;
pub(super) use state::Accepted;
pub(crate) use state::MOST_IN_FLIGHT;
