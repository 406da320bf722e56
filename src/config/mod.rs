//! The configuration: what a service may be told, where from, and what is refused.
//!
//! [`Config::load`] is all that most programs need. Whoever wants to log where the values came from, or brings an
//! environment of its own, calls [`Config::load_from`].
#![doc = include_str!("../../docs/configuration.md")]

pub mod service;
pub mod supervision;

mod environment;
mod error;
mod loaded;
mod root;

mod endpoints;
mod keys;
mod section;
mod slot;
mod value;

mod files;
mod layer;
mod links;
mod load;
mod nearest;
mod old;
mod variable_name;
mod variables;

#[cfg(all(test, feature = "cache"))]
mod tests;

pub use environment::{Environment, Process, Surroundings};
pub use error::{Error, Fault};
pub use loaded::Loaded;
pub use root::Config;
