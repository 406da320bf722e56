//! The root of a configuration: one field for each section.

#[cfg(feature = "cache")]
use std::collections::BTreeMap;

#[cfg(feature = "cache")]
use mainstay_actors::redis;

use super::{service, supervision};

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
