//! The lock that callers and driver share. Under `--cfg shuttle` a test can run every order in which it is taken.

#[cfg(shuttle)]
pub(super) use shuttle::sync::{Mutex, MutexGuard};
#[cfg(not(shuttle))]
pub(super) use std::sync::{Mutex, MutexGuard};
