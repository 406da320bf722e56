//! The cache: the handle through which a service reaches Redis.

mod handle;

pub use handle::{Cache, PoolStats};

pub use crate::redis::PoolStatus;
