use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::redis::socket::Purpose;
use crate::redis::status::{Cause, ConfigFile};

/// Whether connecting fails at present, why, and when the next attempt is due.
#[derive(Default)]
pub(crate) struct Backoff {
    streak: ArcSwapOption<Streak>,
    ended: Notify,
}

/// Failed attempts in a row, with no new connection that answered since.
#[derive(Debug, Clone, Copy)]
struct Streak {
    cause: Cause,
    failures: u32,
    next_attempt: Instant,
    /// When a connection for a lease was last lost before it had answered anything.
    lost: Option<Instant>,
}

/// How an attempt to get a working connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Connecting failed.
    Connect(Purpose),
    /// The handshake succeeded, and the connection was lost with its first command or before.
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

    /// Why connecting fails, after at least two failed attempts or one failed login. A single failure may be an
    /// accident.
    pub(crate) fn standing(&self) -> Option<Cause> {
        let streak = self.streak.load();
        let stands = |streak: &Streak| streak.failures >= STANDING || is_login(streak.cause);
        streak.as_ref().filter(|streak| stands(streak)).map(|streak| streak.cause)
    }

    /// Why the login failed, until the next attempt is due.
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

    /// Waits until the next attempt is due.
    pub(crate) async fn due(&self) {
        let ended = self.ended.notified();
        let Some(streak) = self.streak.load_full() else { return };
        tokio::select! {
            () = sleep_until(streak.next_attempt) => {}
            () = ended => {}
        }
    }

    /// Waits until the present streak ends, or the next one if there is none.
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

    /// Notes that a probe's connection answered for the first time. A probe may be answered while leases are not, so it
    /// ends the streak only if no connection for a lease was lost lately.
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

    /// Notes an attempt that failed.
    pub(crate) fn failed(&self, cause: Cause, failure: Failure) {
        let now = Instant::now();
        let chance = fastrand::f64();
        // Read and written as one: attempts for leases and for the probe may fail at the same moment.
        self.streak.rcu(|streak| {
            let failures = streak.as_ref().map_or(1, |streak| streak.failures.saturating_add(1));
            // A probe's failure must not delay the next attempt for a lease. A failed login delays every attempt.
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

/// The pause before the next attempt: 250 ms growing to 500 ms, 50 % more or less; 2 s after a failed login, since
/// trying again sooner would not help. `chance` is in 0..1.
pub(crate) fn pause(failures: u32, cause: Cause, chance: f64) -> Duration {
    let middle = match cause {
        cause if is_login(cause) => return AUTH_PAUSE,
        _ => Duration::from_millis(u64::from(125 * failures.saturating_add(1).clamp(2, 4))),
    };
    middle.mul_f64(0.5 + chance)
}

fn is_login(cause: Cause) -> bool {
    match cause {
        Cause::Auth | Cause::NoPassword | Cause::NoUsers | Cause::PasswordFile | Cause::Denied => {
            true
        }
        Cause::FileUnreadable { file, .. } | Cause::FileTimeout(file) => {
            file == ConfigFile::Password
        }
        _ => false,
    }
}

const AUTH_PAUSE: Duration = Duration::from_secs(2);
/// One failed attempt may be an accident.
const STANDING: u32 = 2;
/// Longer than the longest time between two attempts, so that a loss in each of them counts.
const RECENT: Duration = Duration::from_secs(2);
