//! The supervised Redis tier that an axum service leans on.
//!
//! The connections to Redis belong to a tree of actors; an actor that falls is restarted. While
//! Redis is away every request is still answered within its deadline, and the process does not end
//! because of it. `/health`, `/ready` and the tree itself show what happens.
//!
//! ```no_run
//! # #[cfg(feature = "cache")]
//! # mod service {
//! use mainstay::prelude::*;
//!
//! async fn greeting(mut conn: CacheConn, Path(name): Path<String>) -> Result<String> {
//!     let visits: u64 = conn.incr(format!("visits:{name}"), 1).await?;
//!     Ok(format!("hello {name}, visit {visits}\n"))
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
//! It uses the Redis at `redis://localhost:6379`, or wherever `ACTON_REDIS_URL` says;
//! `ACTON_REDIS_URL=embedded` starts one.
//!
//! - [`ServiceBuilder`] describes a service, [`AppState`] is what its handlers share. An axum app
//!   that serves itself begins with [`AppState::start`].
//! - [`cache`]: [`CacheConn`](cache) is a connection as a handler holds it; pipelines, transactions,
//!   scripts and subscriptions.
//! - [`actor`]: actors of the service's own, and the messages that they are asked and told.
//! - [`config`]: every key, its default and its variable.
//! - [`Error`]: which status a client reads for which failure.
//! - `testing`, with the feature `testing`: a private Redis and bad weather for a service's tests.
//!
//! The features are `cache`, `embedded` and `tls` (on by default), `testing` and `chaos`.

mod draining;
mod error;
mod logging;
#[cfg(all(doctest, feature = "cache"))]
mod prose;
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
pub use draining::Draining;
pub use error::{Error, Result};
pub use recipient::Recipient;
pub use resources::Resources;
pub use service::{Bound, Listener, Service, ServiceBuilder};
pub use state::AppState;
pub use versioning::{ApiVersion, VersionedApiBuilder};
pub use web::RequestId;

pub use {axum, chrono, serde_json, tokio, tracing, uuid};

#[cfg(feature = "cache")]
pub use redis;
