//! Loads of any length, for tests and for whoever lets one run for hours.

mod cancels;

pub(crate) use cancels::cancels;
