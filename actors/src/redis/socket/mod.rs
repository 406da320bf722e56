//! Sockets: the bytes of a connection, with TLS if the address says so, and how many may be open.

mod budget;
mod close_reason;
mod driver;
mod file;
mod frame;
mod lookup;
mod preferred;
mod race;
mod stream;
mod tls;
mod wire;

#[cfg(test)]
mod schedules;
#[cfg(test)]
mod tests;

pub(crate) use budget::{Budget, Load, OpenCount, Permit, Purpose};
pub use close_reason::CloseReason;
pub(crate) use close_reason::CloseSignal;
pub(crate) use driver::{Answer, Expected, Form, MOST_IN_FLIGHT, Pack, Pushed, Refusal, Replies};
pub(crate) use file::{is_being_read, read as read_file};
pub(crate) use preferred::PreferredAddress;
pub(crate) use race::{Progress, race};
pub(crate) use stream::{Route, awaited, routes};
pub(crate) use wire::{Socket, Wire};
