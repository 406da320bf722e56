//! The root of a configuration: one field for each section.

#[cfg(feature = "cache")]
use std::collections::BTreeMap;

#[cfg(feature = "cache")]
use mainstay_actors::redis;

use super::{service, supervision};

/// The whole configuration, one field for each section. `Debug` shows no secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// `[service]`: the name, the address, the time limits.
    pub service: service::Config,
    /// `[redis]`: the default endpoint.
    #[cfg(feature = "cache")]
    pub redis: redis::Config,
    /// `[redis.endpoints.<name>]`: further endpoints by their names, at most 16. In code, a field that is not set has
    /// its default. [`redis::Config::elsewhere`] copies the sizes and times of `[redis]` instead, as a file does.
    #[cfg(feature = "cache")]
    pub endpoints: BTreeMap<String, redis::Config>,
    /// `[supervision]`: restarts and mailboxes.
    pub supervision: supervision::Config,
}
