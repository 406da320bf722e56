//! Tower layers for a service's routes: `.with_middleware(|router| router.layer(..))`, or
//! `router.layer(..)` in an axum app of its own.

pub use crate::web::{Guard, GuardLayer};
