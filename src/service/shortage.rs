use std::time::Duration;

use tokio::time::Instant;

/// A shortage is over when nothing has failed for so long: a connection that ends lets one be accepted, and the next
/// one fails again.
const QUIET: Duration = Duration::from_secs(5);

/// Failures in a row to accept connections, for want of descriptors or memory.
#[derive(Debug, Default)]
pub(super) struct Shortage(Option<Failures>);

#[derive(Debug)]
struct Failures {
    count: u64,
    first: Instant,
    last: Instant,
}

/// What there was to a shortage.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Over {
    pub(super) failures: u64,
    pub(super) lasted: Duration,
}

impl Shortage {
    /// Notes a failure. Says whether it is the first one.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        match &mut self.0 {
            Some(failures) => {
                failures.count += 1;
                failures.last = now;
                false
            }
            none => {
                *none = Some(Failures { count: 1, first: now, last: now });
                true
            }
        }
    }

    /// When it is over, if nothing fails until then.
    pub(super) fn over_at(&self) -> Option<Instant> {
        self.0.as_ref().map(|failures| failures.last + QUIET)
    }

    /// Ends it.
    pub(super) fn end(&mut self) -> Option<Over> {
        let Failures { count, first, last } = self.0.take()?;
        Some(Over { failures: count, lasted: last.saturating_duration_since(first) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_one_shortage_until_none_has_come_for_a_while() {
        let mut shortage = Shortage::default();
        let begin = Instant::now();
        assert_eq!((shortage.over_at(), shortage.end()), (None, None));
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert!(shortage.failed(at(0)));
        assert!(!shortage.failed(at(1)));
        assert!(!shortage.failed(at(4)));
        assert_eq!(shortage.over_at(), Some(at(4) + QUIET));
        let over = Over { failures: 3, lasted: Duration::from_secs(4) };
        assert_eq!(shortage.end(), Some(over));
        assert_eq!((shortage.over_at(), shortage.end()), (None, None));
        assert!(shortage.failed(at(60)), "the next one begins anew");
    }
}
