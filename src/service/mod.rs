//! From the description of a service to the running process, and to its end.

mod builder;
mod connections;
mod logging;
mod run;
mod stop;

#[cfg(test)]
mod tests;

pub use builder::ServiceBuilder;
pub use run::{Bound, Service};
