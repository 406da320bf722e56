use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

/// Limits the rate of connecting: six attempts at once, and at most ten a second while they fail. All endpoints of a
/// tree share one.
#[derive(Debug)]
pub struct Pace {
    at_once: Semaphore,
    next_retry: Mutex<Option<Instant>>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { at_once: Semaphore::new(AT_ONCE), next_retry: Mutex::new(None) }
    }
}

impl Pace {
    /// A pace that nothing waits for yet.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) async fn enter(&self, is_retry: bool) -> Option<SemaphorePermit<'_>> {
        if is_retry {
            self.wait().await;
        }
        // `None` would mean a closed semaphore, and this one is never closed.
        self.at_once.acquire().await.ok()
    }

    /// Waits until the next attempt after a failed one may be made.
    pub(crate) async fn wait(&self) {
        let slot = {
            let mut next = self.next_retry.lock().unwrap_or_else(PoisonError::into_inner);
            let slot = next.map_or_else(Instant::now, |next| next.max(Instant::now()));
            *next = Some(slot + RETRY_SPACING);
            slot
        };
        sleep_until(slot).await;
    }
}

const AT_ONCE: usize = 6;
const RETRY_SPACING: Duration = Duration::from_millis(100);
