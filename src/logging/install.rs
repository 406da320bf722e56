use std::io::{IsTerminal, Write, stdout};
use std::sync::{Arc, Mutex, PoisonError};

use mainstay_actors::supervision::LIBRARY_LOG_TARGET;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use super::lines::Lines;
use super::running::{Writer, keep};

/// Writes what is logged at `levels` or above to stdout, unless the process has a subscriber
/// already.
pub(crate) fn install(levels: &str) {
    if tracing::dispatcher::has_been_set() {
        return;
    }
    let levels = targets(levels);
    let is_terminal = stdout().is_terminal();
    let lines = Lines::to(stdout(), move |lost| line_of_lost(lost, is_terminal));
    let layer =
        tracing_subscriber::fmt::layer().with_ansi(is_terminal).with_writer(Writer(lines.clone()));
    // Another thread may have been first.
    if tracing_subscriber::registry().with(layer).with(levels).try_init().is_ok() {
        keep(lines);
        #[cfg(unix)]
        super::panics::never_wait_for_stderr();
    }
}

/// The line that says how many were lost, in the format of the log. It has no place in the queue, and no level that
/// could be switched off.
fn line_of_lost(lines: usize, is_terminal: bool) -> Vec<u8> {
    let written = Arc::new(Mutex::new(Vec::new()));
    let log = tracing_subscriber::fmt().with_ansi(is_terminal).with_writer({
        let written = Arc::clone(&written);
        move || Kept(Arc::clone(&written))
    });
    tracing::subscriber::with_default(log.finish(), || {
        tracing::warn!(
            target: "mainstay::logging",
            lines,
            "log lines were lost, because nobody read them in time; check what reads stdout"
        );
    });
    let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *written)
}

/// Keeps what is written.
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
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
