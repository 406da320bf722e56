use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use super::generation::{Generation, Reason};
use crate::redis::connect::Connector;

/// The generation in use, and how many were built and replaced.
#[derive(Debug, Default)]
pub(crate) struct CurrentGeneration {
    current: ArcSwapOption<Generation>,
    built: AtomicU64,
    rebuilds: AtomicU64,
}

impl CurrentGeneration {
    /// The generation in use.
    pub(crate) fn load(&self) -> Option<Arc<Generation>> {
        self.current.load_full()
    }

    /// Its number; 0 before the first.
    pub(crate) fn number(&self) -> u64 {
        self.current.load().as_ref().map_or(0, |generation| generation.number())
    }

    /// How many of its connections are leased now.
    pub(crate) fn leased(&self) -> usize {
        self.current.load().as_ref().map_or(0, |generation| generation.leased())
    }

    /// How many generations were replaced.
    pub(crate) fn rebuilds(&self) -> u64 {
        self.rebuilds.load(Ordering::Relaxed)
    }

    /// Builds the next generation without putting it into use.
    pub(crate) fn build(&self, reason: Reason, connector: &Arc<Connector>) -> Generation {
        let number = self.built.fetch_add(1, Ordering::Relaxed) + 1;
        Generation::build(number, reason, Arc::clone(connector))
    }

    /// Puts `generation` into use, and closes and returns the old one.
    pub(crate) fn publish(&self, generation: Generation) -> Option<Arc<Generation>> {
        let old = self.current.swap(Some(Arc::new(generation)));
        if let Some(old) = &old {
            self.rebuilds.fetch_add(1, Ordering::Relaxed);
            old.close();
        }
        old
    }

    /// Takes the generation out of use, closes and returns it.
    pub(crate) fn close(&self) -> Option<Arc<Generation>> {
        let old = self.current.swap(None);
        if let Some(old) = &old {
            old.close();
        }
        old
    }
}
