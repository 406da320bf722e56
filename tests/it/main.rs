//! What a service of Mainstay promises, seen from outside: over HTTP, with a real server behind it.
#![allow(
    clippy::disallowed_methods,
    reason = "a test is the root of its own tasks, and chooses its server by a variable"
)]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

/// As acton-service's users name it.
extern crate mainstay as acton_service;

mod support;

mod architecture;
mod futures;
mod links;
mod prelude;
mod readme;

#[cfg(feature = "cache")]
mod addresses;
#[cfg(feature = "cache")]
mod bounds;
#[cfg(feature = "cache")]
mod clients;
#[cfg(feature = "tls")]
mod deployment_page;
#[cfg(feature = "cache")]
mod endpoints;
#[cfg(feature = "cache")]
mod faults;
#[cfg(feature = "cache")]
mod first_lines;
#[cfg(feature = "cache")]
mod handshakes;
#[cfg(feature = "cache")]
mod messages;
mod names;
#[cfg(feature = "cache")]
mod outage;
#[cfg(feature = "cache")]
mod own_actors;
#[cfg(feature = "cache")]
mod page;
#[cfg(feature = "cache")]
mod protocols;
#[cfg(feature = "cache")]
mod readiness;
#[cfg(feature = "cache")]
mod redis_page;
#[cfg(feature = "cache")]
mod runtimes;
#[cfg(feature = "cache")]
mod shutdown;
#[cfg(feature = "cache")]
mod subscriptions;
#[cfg(all(feature = "cache", feature = "chaos"))]
mod supervision;
mod testing;
#[cfg(feature = "tls")]
mod tls;
