//! What is run short by the suite and long by `scripts/soak`.

mod down;
mod leases;

pub(crate) use {
    down::{Down, calls_while_down},
    leases::cancelled_waits,
};
