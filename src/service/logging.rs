//! A log for services that bring none.

use std::io::IsTerminal;

use mainstay_actors::supervision::LIBRARY_LOG_TARGET;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

/// Writes what is logged at `levels` or above to stdout, unless the process has a subscriber
/// already.
pub(super) fn install(levels: &str) {
    if tracing::dispatcher::has_been_set() {
        return;
    }
    let levels: Targets =
        levels.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let is_given = levels.iter().any(|(target, _)| target.starts_with(LIBRARY_LOG_TARGET));
    let levels =
        if is_given { levels } else { levels.with_target(LIBRARY_LOG_TARGET, LevelFilter::WARN) };
    let lines = tracing_subscriber::fmt::layer().with_ansi(std::io::stdout().is_terminal());
    // Another thread may have been first.
    tracing_subscriber::registry().with(lines).with(levels).try_init().ok();
}
