//! For the tests of a service: a private Redis, the service on a free port, and bad weather.
#![doc = ""]
#![doc = include_str!("../../docs/testing.md")]

mod app;
mod client;
mod frames;
mod port;
mod process;
mod proxy;
mod redis;
mod rules;
mod wait;

pub use app::{App, AppBuilder};
pub use client::Answer;
pub use port::Port;
pub use proxy::{Proxy, Way, Weather};
pub use redis::{Redis, RedisBuilder};
pub use rules::{On, Rule};
pub use wait::{eventually, within};
