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
#[derive(Debug, Clone)]
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
        self.wait_from(Instant::now()).await;
    }

    /// Waits until the next socket may be opened to a server that has just hung up.
    pub(super) async fn wait_again(&self) {
        self.wait_from(Instant::now() + SERVER_SPACING).await;
    }

    async fn wait_from(&self, earliest: Instant) {
        sleep_until(self.server.take(earliest, SERVER_SPACING)).await;
        sleep_until(self.pace.overall.take(Instant::now(), OVERALL_SPACING)).await;
    }
}

impl Spacing {
    /// The next free moment that is not before `earliest`.
    fn take(&self, earliest: Instant, spacing: Duration) -> Instant {
        let mut next = locked(&self.next);
        let moment = next.map_or(earliest, |next| next.max(earliest));
        *next = Some(moment + spacing);
        moment
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const SERVER_SPACING: Duration = Duration::from_millis(100);
const OVERALL_SPACING: Duration = Duration::from_millis(10);
