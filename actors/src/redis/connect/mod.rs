//! Making connections: how often, with which handshake, and what each is for.

mod backoff;
mod capability;
mod connector;
mod pace;
mod probe;
mod pubsub;

pub(crate) use backoff::{Failure, pause};
pub(crate) use capability::{Lack, is_refusal};
pub(crate) use connector::Connector;
pub use pace::ConnectGate;
pub use probe::Probe;
pub(crate) use probe::ping;
pub(crate) use pubsub::{Deliver, Failed, Incoming, Kind, PubSub};
