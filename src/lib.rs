//! The supervised Redis tier that an axum service leans on.
//!
//! Everything a service asks of Redis goes through one tree of supervised actors. It restarts what
//! falls, keeps its promises while Redis is away, and shows itself as data.
//!
//! ```no_run
//! # #[cfg(feature = "cache")]
//! # mod service {
//! use mainstay::prelude::*;
//!
//! async fn greeting(mut conn: CacheConn, Path(name): Path<String>) -> Result<String> {
//!     let visits: u64 = conn.incr(format!("visits:{name}"), 1).await?;
//!     Ok(format!("hello {name}, for the {visits}. time"))
//! }
//!
//! # #[allow(clippy::needless_doctest_main)]
//! #[tokio::main]
//! # pub
//! async fn main() -> Result<()> {
//!     let routes = VersionedApiBuilder::new()
//!         .with_base_path("/api")
//!         .add_version(ApiVersion::V1, |router| router.route("/greetings/{name}", get(greeting)))
//!         .build_routes();
//!
//!     ServiceBuilder::new().with_routes(routes).build().serve().await
//! }
//! # }
//! # fn main() {}
//! ```
//!
//! Redis is looked for at `redis://localhost:6379`, or wherever `ACTON_REDIS_URL` says; see
//! [`config`].

mod recipient;
mod resources;
mod service;
mod state;
mod versioning;
mod web;

pub mod actor;
pub mod cache;
pub mod config;
pub mod middleware;
pub mod prelude;
#[cfg(all(feature = "testing", unix))]
pub mod testing;

pub use cache::Cache;
#[cfg(feature = "cache")]
pub use cache::{CacheConn, PoolStats};
pub use config::Config;
pub use recipient::Recipient;
pub use resources::Resources;
pub use service::{Bound, Listener, Service, ServiceBuilder};
pub use state::AppState;
pub use versioning::{ApiVersion, VersionedApiBuilder};
pub use web::{Error, RequestId, Result};

pub use {axum, chrono, serde_json, tokio, tracing, uuid};

#[cfg(feature = "cache")]
pub use redis;

#[cfg(all(doctest, feature = "cache"))]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/actors.md")]
#[doc = include_str!("../docs/redis.md")]
#[doc = include_str!("../docs/supervision.md")]
struct Prose;
