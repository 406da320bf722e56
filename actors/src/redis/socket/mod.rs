//! Sockets: the bytes of a connection, with TLS if the address says so, and how many may be open.

mod budget;
mod close_reason;
mod file;
mod lookup;
mod preferred;
mod stream;
mod tls;
mod wire;

pub(crate) use budget::{Budget, Load, OpenCount, Permit, Purpose};
pub use close_reason::CloseReason;
pub(crate) use close_reason::CloseSignal;
pub(crate) use file::{is_being_read, read as read_file};
pub(crate) use preferred::PreferredAddress;
pub(crate) use stream::{open as open_stream, overdue};
pub(crate) use wire::{Pushed, Socket, Wire};
