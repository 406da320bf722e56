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
pub(crate) struct Trouble {
    row: ArcSwapOption<Row>,
    ended: Notify,
}

/// A row of failed attempts, with no connection since that answered.
#[derive(Debug, Clone, Copy)]
struct Row {
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

impl Trouble {
    pub(crate) fn is_there(&self) -> bool {
        self.row.load().is_some()
    }

    /// Why connecting fails.
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.row.load().as_ref().map(|row| row.cause)
    }

    /// The same, once it is more than one attempt's bad luck, which a failed login never is.
    pub(crate) fn standing(&self) -> Option<Cause> {
        let row = self.row.load();
        let stands = |row: &Row| row.failures >= STANDING || is_login(row.cause);
        row.as_ref().filter(|row| stands(row)).map(|row| row.cause)
    }

    /// Why the login fails, as long as no other attempt at it is due.
    pub(crate) fn refused_login(&self) -> Option<Cause> {
        let row = self.row.load();
        let is_early = |row: &Row| is_login(row.cause) && Instant::now() < row.next_attempt;
        row.as_ref().filter(|row| is_early(row)).map(|row| row.cause)
    }

    /// How many attempts have failed since a new connection answered.
    pub(crate) fn failures(&self) -> u32 {
        self.row.load().as_ref().map_or(0, |row| row.failures)
    }

    /// Ends when the next attempt is due.
    pub(crate) async fn due(&self) {
        let ended = self.ended.notified();
        let Some(row) = self.row.load_full() else { return };
        tokio::select! {
            () = sleep_until(row.next_attempt) => {}
            () = ended => {}
        }
    }

    /// Ends when the trouble does that there is or comes.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> {
        self.ended.notified()
    }

    /// Notes that a caller's connection answered for the first time: connecting works.
    pub(crate) fn answered(&self) {
        if self.is_there() {
            self.row.store(None);
            self.ended.notify_waiters();
        }
    }

    /// Notes that a probe's connection answered for the first time. That says little where a probe is answered and
    /// leases are not, so a loss among those must have been a while ago.
    pub(crate) fn probe_answered(&self) {
        let now = Instant::now();
        let recently = |lost: Instant| now.saturating_duration_since(lost) < RECENT;
        let was = self
            .row
            .rcu(|row| row.as_ref().filter(|row| row.lost.is_some_and(recently)).map(Arc::clone));
        if was.is_some() && !self.is_there() {
            self.ended.notify_waiters();
        }
    }

    /// Notes an attempt that came to nothing.
    pub(crate) fn failed(&self, cause: Cause, failure: Failure) {
        let now = Instant::now();
        let chance = fastrand::f64();
        // Read and written as one: attempts for leases and for the probe may fail at the same moment.
        self.row.rcu(|row| {
            let failures = row.as_ref().map_or(1, |row| row.failures.saturating_add(1));
            // A probe's failure must not put off the next attempt of those who wait for a lease; only a login that
            // failed is not tried again soon by anyone.
            let is_apart =
                matches!(failure, Failure::Connect(Purpose::Probe | Purpose::Subscription));
            let next_attempt = if is_apart && !is_login(cause) {
                row.as_ref().map_or(now, |row| row.next_attempt)
            } else {
                now + pause(failures, cause, chance)
            };
            let lost = match failure {
                Failure::Unanswered => Some(now),
                Failure::Connect(_) => row.as_ref().and_then(|row| row.lost),
            };
            Some(Arc::new(Row { cause, failures, next_attempt, lost }))
        });
    }
}

impl fmt::Debug for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trouble")
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
