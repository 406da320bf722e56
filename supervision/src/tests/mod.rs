//! What needs no runtime: the laws of backoff and intensity, and the machine against a simulated
//! world.

mod edges;
mod laws;
mod machine;
mod properties;
mod world;
