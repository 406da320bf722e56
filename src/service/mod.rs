//! From the description of a service to the running process, and to its end.

mod builder;
mod connections;
mod listener;
mod progress;
mod run;
mod shortage;
mod socket;
mod stop;

#[cfg(test)]
mod tests;

pub use builder::ServiceBuilder;
pub use listener::Listener;
pub use run::{Bound, Service};
