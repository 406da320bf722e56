//! Loads of any length: short in the suite, long in `scripts/soak`.

mod cancels;
mod down;
mod leases;

pub(crate) use {
    cancels::cancels,
    down::{Down, calls_while_down},
    leases::cancelled_waits,
};
