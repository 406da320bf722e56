//! What a service says over HTTP: which status for which failure, how long a request may take,
//! whether the service is ready.

mod access;
mod edge;
mod error;
mod extract;
mod fused;
mod guard;
mod health;
mod problem;
mod random;
mod request_id;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use edge::Edge;
pub use guard::{Guard, GuardLayer};
pub use request_id::RequestId;
