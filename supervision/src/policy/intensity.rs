//! When a supervisor gives up.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;

/// How many restarts a supervisor allows within a sliding window. One more makes it give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intensity {
    /// How many restarts are allowed. Default 5. Starts that fail in `init` count towards the same
    /// maximum without the window, until the actor is up.
    pub max: u32,
    /// The length of the window. Default 30 s.
    pub within: Duration,
}

impl Default for Intensity {
    fn default() -> Self {
        Self { max: 5, within: Duration::from_secs(30) }
    }
}

impl Intensity {
    /// Whether an actor that falls immediately after every start would exceed this, given its backoff.
    ///
    /// With a backoff longer than the window a broken actor would restart forever.
    /// [`System::start`](crate::System::start) refuses that.
    pub fn is_reachable_with(&self, backoff: &Backoff) -> bool {
        self.is_reachable(backoff, Duration::ZERO)
    }

    /// The same for an actor that falls `until_fall` after each start.
    pub(crate) fn is_reachable(&self, backoff: &Backoff, until_fall: Duration) -> bool {
        // From the 32nd doubling on every delay is the same.
        let growing = (0..self.max.min(32)).map(|attempt| backoff.ceiling(attempt));
        let rest = backoff.ceiling(32).saturating_mul(self.max.saturating_sub(32));
        let delays = growing.fold(rest, Duration::saturating_add);
        delays.saturating_add(until_fall.saturating_mul(self.max)) < self.within
    }
}

/// The restarts within the window.
#[derive(Debug)]
pub(crate) struct Window {
    intensity: Intensity,
    restarts: VecDeque<Instant>,
}

impl Window {
    pub(crate) fn new(intensity: Intensity) -> Self {
        Self { intensity, restarts: VecDeque::new() }
    }

    /// Counts a restart at `now`. Returns `false` if it is one too many.
    pub(crate) fn admit(&mut self, now: Instant) -> bool {
        self.expire(now);
        if self.restarts.len() >= self.intensity.max as usize {
            return false;
        }
        self.restarts.push_back(now);
        true
    }

    /// How many restarts are within the window.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.restarts.len()).unwrap_or(u32::MAX)
    }

    /// When the oldest restart leaves the window.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.restarts.front().and_then(|oldest| oldest.checked_add(self.intensity.within))
    }

    /// Forgets the restarts that have left the window at `now`.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(oldest) = self.restarts.front() {
            if now.saturating_duration_since(*oldest) < self.intensity.within {
                break;
            }
            self.restarts.pop_front();
        }
    }
}
