//! What most files of a service need: `use mainstay::prelude::*;`.
//!
//! The crates it names (`redis`, `serde_json`, `uuid`, `chrono`, `tokio`) are those that this one
//! is built on, so a service needs none of them as dependencies of its own. The derives of `serde`
//! are the exception: they ask for `serde` beside this crate.
//!
//! The everyday commands are methods of `CacheConn`. With `use redis::AsyncCommands;` all others are
//! methods too; where the compiler calls that import unused, drop it. A
//! service that depends on another version of `redis` too writes `mainstay::redis` and `::redis` in
//! imports, where the bare name is ambiguous.

pub use axum::Router;
pub use axum::extract::{Json, Path, Query, State};
pub use axum::http::StatusCode;
pub use axum::routing::{delete, get, patch, post, put};
pub use serde::{Deserialize, Serialize};

pub use crate::{
    ApiVersion, AppState, Draining, Error, Recipient, Result, ServiceBuilder, VersionedApiBuilder,
};
#[cfg(feature = "cache")]
pub use crate::{CacheConn, PoolStats};

#[cfg(feature = "cache")]
pub use redis;
pub use {chrono, serde_json, tokio, uuid};
