use std::sync::Arc;

use mainstay_actors::tree::Ways;

use crate::{Cache, Config, Result};

/// What there is before any actor: the way to Redis and the configuration. Clones share everything.
#[derive(Debug, Clone)]
pub struct Resources {
    #[cfg_attr(
        not(feature = "cache"),
        expect(dead_code, reason = "there are ways to Redis alone")
    )]
    ways: Ways,
    config: Arc<Config>,
}

impl Resources {
    pub(crate) fn new(ways: &Ways, config: &Arc<Config>) -> Self {
        Self { ways: ways.clone(), config: Arc::clone(config) }
    }

    /// As [`AppState::cache`](crate::AppState::cache), for an actor: what it subscribes to goes on until
    /// the service's own actors have ended.
    ///
    /// # Errors
    /// As there.
    #[cfg(feature = "cache")]
    pub fn cache(&self) -> Result<Cache> {
        Ok(Cache::new(self.ways.redis()))
    }

    /// As [`AppState::cache_of`](crate::AppState::cache_of), for an actor.
    ///
    /// # Errors
    /// As there.
    #[cfg(feature = "cache")]
    pub fn cache_of(&self, name: &str) -> Result<Cache> {
        Ok(Cache::new(self.ways.redis_of(name)?))
    }

    /// As [`AppState::cache`](crate::AppState::cache).
    ///
    /// # Errors
    /// As there.
    #[cfg(not(feature = "cache"))]
    pub fn cache(&self) -> Result<Cache> {
        Err(crate::Error::FeatureOff { feature: "cache" })
    }

    /// As [`AppState::cache_of`](crate::AppState::cache_of).
    ///
    /// # Errors
    /// As there.
    #[cfg(not(feature = "cache"))]
    pub fn cache_of(&self, _name: &str) -> Result<Cache> {
        Err(crate::Error::FeatureOff { feature: "cache" })
    }

    /// What the service runs with. Answers from memory.
    pub fn config(&self) -> &Config {
        &self.config
    }
}
