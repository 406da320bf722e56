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
    let levels = targets(levels);
    let lines = tracing_subscriber::fmt::layer().with_ansi(std::io::stdout().is_terminal());
    // Another thread may have been first.
    tracing_subscriber::registry().with(lines).with(levels).try_init().ok();
}

fn targets(levels: &str) -> Targets {
    // A blank would become part of a target's name.
    let levels = levels.replace(char::is_whitespace, "").parse();
    let levels: Targets = levels.unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let is_given = levels.iter().any(|(target, _)| target.starts_with(LIBRARY_LOG_TARGET));
    if is_given { levels } else { levels.with_target(LIBRARY_LOG_TARGET, LevelFilter::WARN) }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn blanks_in_a_list_of_levels_do_not_count() {
        let levels = targets(" warn, redis = debug ,shop=trace");
        for (target, level) in [("redis", Level::DEBUG), ("shop", Level::TRACE), ("a", Level::WARN)]
        {
            assert!(levels.would_enable(target, &level), "{target}");
        }
        assert!(!levels.would_enable("a", &Level::INFO));
    }
}
