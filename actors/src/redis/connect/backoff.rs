use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::redis::socket::Purpose;
use crate::redis::status::Cause;

/// Whether connecting fails at present, why, and when the next attempt is due.
#[derive(Default)]
pub(crate) struct Backoff {
    streak: ArcSwapOption<Streak>,
    ended: Notify,
}

/// A streak of failed attempts, with no connection since that answered.
#[derive(Debug, Clone, Copy)]
struct Streak {
    cause: Cause,
    failures: u32,
    next_attempt: Instant,
    /// When a lease's connection was last lost before it answered anything.
    lost: Option<Instant>,
}

/// How an attempt to get a working connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Connecting failed.
    Connect(Purpose),
    /// The handshake succeeded, and then the connection was lost with its first command, or before it.
    Unanswered,
}

impl Backoff {
    pub(crate) fn is_failing(&self) -> bool {
        self.streak.load().is_some()
    }

    /// Why connecting fails.
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.streak.load().as_ref().map(|streak| streak.cause)
    }

    /// The same, once it is more than one attempt's bad luck, which a failed login never is.
    pub(crate) fn standing(&self) -> Option<Cause> {
        let streak = self.streak.load();
        let stands = |streak: &Streak| streak.failures >= STANDING || is_login(streak.cause);
        streak.as_ref().filter(|streak| stands(streak)).map(|streak| streak.cause)
    }

    /// Why the login fails, as long as no other attempt at it is due.
    pub(crate) fn refused_login(&self) -> Option<Cause> {
        let streak = self.streak.load();
        let is_early =
            |streak: &Streak| is_login(streak.cause) && Instant::now() < streak.next_attempt;
        streak.as_ref().filter(|streak| is_early(streak)).map(|streak| streak.cause)
    }

    /// How many attempts have failed since a new connection answered.
    pub(crate) fn failures(&self) -> u32 {
        self.streak.load().as_ref().map_or(0, |streak| streak.failures)
    }

    /// Ends when the next attempt is due.
    pub(crate) async fn due(&self) {
        let ended = self.ended.notified();
        let Some(streak) = self.streak.load_full() else { return };
        tokio::select! {
            () = sleep_until(streak.next_attempt) => {}
            () = ended => {}
        }
    }

    /// Ends when the trouble does that there is or comes.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> {
        self.ended.notified()
    }

    /// Notes that a caller's connection answered for the first time: connecting works.
    pub(crate) fn answered(&self) {
        if self.is_failing() {
            self.streak.store(None);
            self.ended.notify_waiters();
        }
    }

    /// Notes that a probe's connection answered for the first time. That says little where a probe is answered and
    /// leases are not, so a loss among those must have been a while ago.
    pub(crate) fn probe_answered(&self) {
        let now = Instant::now();
        let recently = |lost: Instant| now.saturating_duration_since(lost) < RECENT;
        let was = self.streak.rcu(|streak| {
            streak.as_ref().filter(|streak| streak.lost.is_some_and(recently)).map(Arc::clone)
        });
        if was.is_some() && !self.is_failing() {
            self.ended.notify_waiters();
        }
    }

    /// Notes an attempt that came to nothing.
    pub(crate) fn failed(&self, cause: Cause, failure: Failure) {
        let now = Instant::now();
        let chance = fastrand::f64();
        // Read and written as one: attempts for leases and for the probe may fail at the same moment.
        self.streak.rcu(|streak| {
            let failures = streak.as_ref().map_or(1, |streak| streak.failures.saturating_add(1));
            // A probe's failure must not put off the next attempt of those who wait for a lease; only a login that
            // failed is not tried again soon by anyone.
            let is_apart =
                matches!(failure, Failure::Connect(Purpose::Probe | Purpose::Subscription));
            let next_attempt = if is_apart && !is_login(cause) {
                streak.as_ref().map_or(now, |streak| streak.next_attempt)
            } else {
                now + pause(failures, cause, chance)
            };
            let lost = match failure {
                Failure::Unanswered => Some(now),
                Failure::Connect(_) => streak.as_ref().and_then(|streak| streak.lost),
            };
            Some(Arc::new(Streak { cause, failures, next_attempt, lost }))
        });
    }
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backoff")
            .field("cause", &self.cause())
            .field("failures", &self.failures())
            .finish_non_exhaustive()
    }
}

/// The time to the next attempt: 250 ms growing to 500 ms, 50 % more or less; 2 s when the password is wrong, which
/// no haste will mend. `chance` is in 0..1.
pub(crate) fn pause(failures: u32, cause: Cause, chance: f64) -> Duration {
    let middle = match cause {
        cause if is_login(cause) => return AUTH_PAUSE,
        _ => Duration::from_millis(u64::from(125 * failures.saturating_add(1).clamp(2, 4))),
    };
    middle.mul_f64(0.5 + chance)
}

fn is_login(cause: Cause) -> bool {
    matches!(cause, Cause::Auth | Cause::NoPassword | Cause::PasswordFile | Cause::Denied)
}

const AUTH_PAUSE: Duration = Duration::from_secs(2);
/// One failed attempt may be bad luck.
const STANDING: u32 = 2;
/// Longer than the longest time between two attempts, so that a loss with each of them counts.
const RECENT: Duration = Duration::from_secs(2);
