//! What the sources had to tell, from [`Config::load`] until there is a log to tell it to: its level is loaded with the
//! rest.

use std::mem::take;
use std::sync::{Mutex, PoisonError};

use super::{Config, Loaded};

/// Lines for the log, without secrets.
struct Untold {
    notes: Vec<String>,
    warnings: Vec<String>,
}

/// Of the last configuration that this process loaded.
static UNTOLD: Mutex<Untold> = Mutex::new(Untold { notes: Vec::new(), warnings: Vec::new() });

/// What the lines are about, rather than where they waited.
const TARGET: &str = "mainstay::config";

/// Gives the configuration, and keeps what there is to tell of it.
pub(crate) fn keep(loaded: Loaded) -> Config {
    let Loaded { config, notes, warnings, .. } = loaded;
    *UNTOLD.lock().unwrap_or_else(PoisonError::into_inner) = Untold { notes, warnings };
    config
}

/// Logs what was kept, once.
pub(crate) fn tell() {
    let (notes, warnings) = {
        let mut untold = UNTOLD.lock().unwrap_or_else(PoisonError::into_inner);
        (take(&mut untold.notes), take(&mut untold.warnings))
    };
    for note in notes {
        tracing::info!(target: TARGET, "{note}");
    }
    for warning in warnings {
        tracing::warn!(target: TARGET, "{warning}");
    }
}
