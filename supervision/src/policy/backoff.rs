//! How long a fallen actor waits before it is started again.

use std::time::Duration;

/// The delay before a restart: `min` doubling with each attempt up to `max`, spread by [`Jitter`].
///
/// The attempt count returns to zero once an incarnation has been up for `stable_after`, so what
/// resets the delay is uptime, not the passing of time since the last failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The delay of the first attempt. Default 100 ms.
    pub min: Duration,
    /// The longest delay. Default 10 s.
    pub max: Duration,
    /// How a delay is spread, so that actors that fell together do not return together.
    pub jitter: Jitter,
    /// The uptime after which an incarnation counts as healthy. Default 30 s.
    pub stable_after: Duration,
}

/// How a delay is spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Jitter {
    /// Exactly the computed delay.
    None,
    /// Between nothing and the computed delay ("full jitter", AWS Architecture Blog, 2015).
    Full,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            min: Duration::from_millis(100),
            max: Duration::from_secs(10),
            jitter: Jitter::Full,
            stable_after: Duration::from_secs(30),
        }
    }
}

impl Backoff {
    /// No delay at all: for tests, and for actors whose fall costs nothing.
    pub const fn none() -> Self {
        Self {
            min: Duration::ZERO,
            max: Duration::ZERO,
            jitter: Jitter::None,
            stable_after: Duration::from_secs(30),
        }
    }

    /// The longest delay that `attempt` (the first is 0) may take.
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
        self.min.saturating_mul(factor).min(self.max)
    }

    /// The delay of `attempt`, where `luck` is drawn uniformly from `0.0..1.0`.
    pub fn delay(&self, attempt: u32, luck: f64) -> Duration {
        match self.jitter {
            Jitter::None => self.ceiling(attempt),
            Jitter::Full => {
                let ceiling = self.ceiling(attempt);
                Duration::try_from_secs_f64(ceiling.as_secs_f64() * luck).unwrap_or(ceiling)
            }
        }
    }
}
