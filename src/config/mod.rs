//! The configuration: the keys, the sources that set them, and the values that are refused.
//!
//! [`Config::load`] is all that most programs need. [`Config::load_from`] is for a program that logs by itself where the
//! values came from, or that reads another environment than its own.
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
