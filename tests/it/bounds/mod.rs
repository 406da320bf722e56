//! Whatever the load, everything keeps within its bounds: connects, connections, memory, waits.

#[cfg(target_os = "linux")]
mod connections;
mod ending;
mod health;
mod outage;
mod single;
mod waits;
mod wire;

use std::time::Duration;

/// What a machine that is busy with other tests may add to a bound.
const SLACK: Duration = Duration::from_secs(1);
