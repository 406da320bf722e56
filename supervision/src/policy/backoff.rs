//! How long an actor waits before it is restarted.

use std::time::Duration;

/// The delay before a restart: `min` doubling with each attempt up to `max`, spread by [`Jitter`].
///
/// The number of attempts returns to zero when an incarnation has been up for `stable_after`. Only
/// uptime resets it, not the time since the last fall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The delay of the first attempt. Default 100 ms.
    pub min: Duration,
    /// The longest delay. Default 10 s.
    pub max: Duration,
    /// How a delay is randomized, so that actors that fell together do not restart together.
    pub jitter: Jitter,
    /// The uptime after which an incarnation counts as stable. Default 30 s.
    pub stable_after: Duration,
}

/// How a delay is randomized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Jitter {
    /// Not at all: exactly the computed delay.
    None,
    /// Between zero and the computed delay ("full jitter", AWS Architecture Blog, 2015). The default.
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
    /// No delay: for tests, and for actors whose restart costs nothing.
    pub const fn none() -> Self {
        Self {
            min: Duration::ZERO,
            max: Duration::ZERO,
            jitter: Jitter::None,
            stable_after: Duration::from_secs(30),
        }
    }

    /// The longest delay before `attempt`; the first attempt is 0.
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
        self.min.saturating_mul(factor).min(self.max)
    }

    /// The delay before `attempt`. `luck` is a random number, uniform in `0.0..1.0`.
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
