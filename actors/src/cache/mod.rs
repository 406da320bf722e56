//! The cache: the handle through which a service reaches Redis.

mod error;
mod handle;

pub use error::NoEndpoint;
pub use handle::{Cache, PoolStats};

pub use crate::redis::PoolStatus;
