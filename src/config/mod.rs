//! The configuration: what a service may be told, where from, and what is refused.
//!
//! [`Config::load`] is all that most programs need. Whoever wants to log where the values came from, or brings an
//! environment of its own, calls [`Config::load_from`].
#![doc = include_str!("../../docs/configuration.md")]

pub mod service;
pub mod supervision;

mod environment;
mod error;

mod endpoints;
mod keys;
mod section;
mod slot;
mod value;

mod files;
mod layer;
mod links;
mod load;
mod nearest;
mod old;
mod variable_name;
mod variables;

#[cfg(all(test, feature = "cache"))]
mod tests;

#[cfg(feature = "cache")]
use std::collections::BTreeMap;

#[cfg(feature = "cache")]
use mainstay_actors::redis;

pub use environment::{Environment, Process, Surroundings};
pub use error::{Error, Fault};

/// Everything a service may be told, one field for each section. Shows itself without secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// `[service]`: the name, the address, the time limits.
    pub service: service::Config,
    /// `[redis]`: the default endpoint.
    #[cfg(feature = "cache")]
    pub redis: redis::Config,
    /// `[redis.endpoints.<name>]`: further endpoints by their names, at most 16. In code, what one of them does not say
    /// is the default; [`redis::Config::elsewhere`] lends it the sizes and times of `[redis]`, as in files.
    #[cfg(feature = "cache")]
    pub endpoints: BTreeMap<String, redis::Config>,
    /// `[supervision]`: restarts and mailboxes.
    pub supervision: supervision::Config,
}

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

impl Config {
    /// Loads the configuration of the service that the environment names, else of the running program.
    ///
    /// Reads variables and files, and logs which; so set up a log first. A service that only changes some values need
    /// not load it: [`ServiceBuilder::configure`](crate::ServiceBuilder::configure).
    ///
    /// # Errors
    /// Every fault at once, if there is one.
    pub fn load() -> Result<Self, Error> {
        Self::load_from(&Process, None).map(Loaded::logged)
    }

    /// Loads the configuration of the service called `name`.
    ///
    /// Reads variables and files, and logs which; so set up a log first. A service that only changes some values need
    /// not load it: [`ServiceBuilder::configure`](crate::ServiceBuilder::configure).
    ///
    /// # Errors
    /// Every fault at once, if there is one.
    pub fn load_for_service(name: &str) -> Result<Self, Error> {
        Self::load_from(&Process, Some(name)).map(Loaded::logged)
    }

    /// Loads the configuration out of `environment`, for the service called `name` or, without one, for the service
    /// that the environment names.
    ///
    /// # Errors
    /// Every fault at once, if there is one.
    pub fn load_from(environment: &dyn Environment, name: Option<&str>) -> Result<Loaded, Error> {
        Self::load_changed(environment, name, |_| {})
    }

    /// As [`load_from`](Self::load_from), with a `change` in code above every other source.
    pub(crate) fn load_changed(
        environment: &dyn Environment,
        name: Option<&str>,
        change: impl FnOnce(&mut Self),
    ) -> Result<Loaded, Error> {
        load::load(environment, name, change)
    }

    /// Checks a configuration that was made or changed in code. What was loaded passes. Answers from memory.
    ///
    /// # Errors
    /// Every fault at once, if there is one.
    pub fn validate(&self) -> Result<(), Error> {
        load::validate(self)
    }

    /// Every key with its variable, default, unit, bound and meaning, as a Markdown table. Answers from memory.
    pub fn reference() -> String {
        keys::reference()
    }
}
