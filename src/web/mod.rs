//! What a service says over HTTP: which status for which failure, how long a request may take,
//! whether the service is ready.

mod error;
mod extract;
mod guard;
mod health;
mod problem;
mod request_id;

#[cfg(test)]
pub(crate) mod tests;

pub use error::{Error, Result};
pub(crate) use guard::guarded;
pub use request_id::RequestId;
