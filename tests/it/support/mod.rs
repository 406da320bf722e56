//! What the tests share: a server of each test's own, the weather on the way to it, a service to
//! ask.

pub(crate) mod imports;
mod module;
pub(crate) mod source;

#[cfg(feature = "cache")]
mod app;
#[cfg(feature = "tls")]
mod certificates;
#[cfg(feature = "cache")]
pub(crate) mod figures;
#[cfg(all(feature = "tls", target_os = "linux"))]
pub(crate) mod hanging;
#[cfg(feature = "cache")]
mod listener;
#[cfg(feature = "cache")]
mod load;
#[cfg(feature = "cache")]
mod log;
#[cfg(feature = "cache")]
mod routes;
#[cfg(feature = "cache")]
mod server;
#[cfg(feature = "cache")]
pub(crate) mod soak;
#[cfg(feature = "cache")]
pub(crate) mod tree;

#[cfg(feature = "cache")]
pub(crate) use {
    app::{Answer, App, config},
    listener::{Listener, Welcome},
    load::Load,
    log::Log,
    mainstay::testing::{Port, Proxy, Way, Weather, eventually, within},
    routes::{Count, counter, routes},
    server::{Keeper, Server, endpoint, field},
};

#[cfg(feature = "tls")]
pub(crate) use certificates::Authority;

#[cfg(feature = "embedded")]
pub(crate) use server::signal;
