//! The tower layer that a service's requests pass first. [`ServiceBuilder`](crate::ServiceBuilder)
//! puts it in place by itself; an axum app that serves itself says
//! `router.layer(GuardLayer::new(&state))`.

pub use crate::web::{Guard, GuardLayer};
