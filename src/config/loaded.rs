//! A configuration together with what its sources had to tell.

use super::environment::{Process, Surroundings};
use super::root::Config;

/// A configuration, and what its sources had to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Lines for the log at `info`, without secrets: which files were read, which variable won over which, what was
    /// passed over.
    pub notes: Vec<String>,
    /// Lines for the log at `warn`, without secrets: what was given, has no effect, and may be relied upon.
    pub warnings: Vec<String>,
    /// What a child process is started with.
    pub surroundings: Surroundings,
}

/// What the lines are about.
const LOG_TARGET: &str = "mainstay::config";

impl Loaded {
    /// A configuration that has no sources to tell of.
    pub(crate) fn in_code(config: Config) -> Self {
        let surroundings = Surroundings::of(&Process);
        Self { config, notes: Vec::new(), warnings: Vec::new(), surroundings }
    }

    /// The configuration alone; the rest is in the log.
    pub(crate) fn logged(self) -> Config {
        for note in self.notes {
            tracing::info!(target: LOG_TARGET, "{note}");
        }
        for warning in self.warnings {
            tracing::warn!(target: LOG_TARGET, "{warning}");
        }
        self.config
    }
}
