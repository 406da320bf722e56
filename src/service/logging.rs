//! A log for services that bring none.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

/// Writes what is logged at `levels` or above to stdout, unless the process has a subscriber already.
pub(super) fn install(levels: &str) {
    if tracing::dispatcher::has_been_set() {
        return;
    }
    let levels: Targets =
        levels.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    // The actor library keeps a span open around everything that an actor does.
    let levels = if levels.iter().any(|(target, _)| target.starts_with("ractor")) {
        levels
    } else {
        levels.with_target("ractor", LevelFilter::WARN)
    };
    let lines = tracing_subscriber::fmt::layer().with_ansi(std::io::stdout().is_terminal());
    // Another thread may have been first.
    tracing_subscriber::registry().with(lines).with(levels).try_init().ok();
}
