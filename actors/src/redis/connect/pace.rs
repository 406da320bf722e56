use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::redis::address::Address;

/// Limits the rate of connecting while attempts fail: ten a second to one server, a hundred over all. All endpoints of a
/// tree share one. It limits nothing else, so an attempt that hangs delays no other endpoint.
#[derive(Debug, Default)]
pub struct Pace {
    overall: Spacing,
    /// One for each address of an endpoint.
    servers: Mutex<HashMap<String, Arc<Spacing>>>,
}

/// The pace of connecting to one server.
#[derive(Debug)]
pub(super) struct ServerPace {
    pace: Arc<Pace>,
    server: Arc<Spacing>,
}

/// Moments that are at least a certain time apart.
#[derive(Debug, Default)]
struct Spacing {
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// A pace that nothing waits for yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Endpoints at the same address share the pace of their server.
    pub(super) fn of(self: Arc<Self>, address: &Address) -> ServerPace {
        let server = Arc::clone(locked(&self.servers).entry(address.server()).or_default());
        ServerPace { pace: self, server }
    }
}

impl ServerPace {
    /// Waits until the next attempt after a failed one may be made.
    pub(super) async fn wait(&self) {
        sleep_until(self.server.take(SERVER_SPACING)).await;
        sleep_until(self.pace.overall.take(OVERALL_SPACING)).await;
    }
}

impl Spacing {
    /// The next free moment.
    fn take(&self, spacing: Duration) -> Instant {
        let mut next = locked(&self.next);
        let now = Instant::now();
        let moment = next.map_or(now, |next| next.max(now));
        *next = Some(moment + spacing);
        moment
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const SERVER_SPACING: Duration = Duration::from_millis(100);
const OVERALL_SPACING: Duration = Duration::from_millis(10);
