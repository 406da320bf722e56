//! A log for services that bring none. Whoever logs never waits for the reader of the log.

mod lines;
#[cfg(unix)]
mod panics;
mod running;

mod install;

pub(crate) use install::install;
pub(crate) use running::{LAST_LINES, Running};
