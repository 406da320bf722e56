//! A configuration that was loaded, and what there is to log about its sources.

use super::environment::{Process, Surroundings};
use super::root::Config;

/// A configuration, and what there is to log about its sources.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Lines for the log at `info`, without secrets: which files were read, which variable overrode another, what was
    /// ignored.
    pub notes: Vec<String>,
    /// Lines for the log at `warn`, without secrets: settings that have no effect although somebody may rely on them.
    pub warnings: Vec<String>,
    /// The environment that child processes are started with.
    pub surroundings: Surroundings,
}

/// The target of the lines in the log.
const LOG_TARGET: &str = "mainstay::config";

impl Loaded {
    /// A configuration that was made in code and so has no sources.
    pub(crate) fn in_code(config: Config) -> Self {
        let surroundings = Surroundings::of(&Process);
        Self { config, notes: Vec::new(), warnings: Vec::new(), surroundings }
    }

    /// Logs the lines and returns the configuration.
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
