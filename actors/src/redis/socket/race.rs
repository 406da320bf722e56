use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;

use crate::redis::status::Cause;

/// How far one attempt to connect has come, at all addresses that it tries.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    told: Mutex<Option<Cause>>,
    encrypting: AtomicUsize,
}

/// Counts one TLS handshake for as long as it is under way.
pub(super) struct Encrypting<'a>(&'a AtomicUsize);

impl Progress {
    /// Notes why one address failed.
    pub(crate) fn failed(&self, cause: Cause) {
        let mut told = self.told();
        *told = Some(told.map_or(cause, |told| told.or_more_telling(cause)));
    }

    /// Whether one address has failed.
    pub(crate) fn is_told(&self) -> bool {
        self.told().is_some()
    }

    /// What the attempt failed for if its time is up now.
    pub(crate) fn overdue(&self) -> Cause {
        let waits = match self.encrypting.load(Ordering::Relaxed) {
            0 => Cause::Timeout,
            _ => Cause::TlsTimeout,
        };
        self.told().unwrap_or(waits)
    }

    pub(super) fn encrypting(&self) -> Encrypting<'_> {
        self.encrypting.fetch_add(1, Ordering::Relaxed);
        Encrypting(&self.encrypting)
    }

    fn told(&self) -> MutexGuard<'_, Option<Cause>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Encrypting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tries `places` in their order, and returns the first success. The next one is tried after [`HEAD_START`] or at the
/// failure of one before it, and no more than two at a time (RFC 8305, 5).
///
/// # Errors
/// The most telling of the failures.
pub(crate) async fn race<P, T, F>(
    places: Vec<P>,
    progress: &Progress,
    at: impl Fn(P) -> F,
) -> Result<T, Cause>
where
    F: Future<Output = Result<T, Cause>>,
{
    let mut next = places.into_iter();
    let mut attempts = FuturesUnordered::new();
    loop {
        if attempts.len() < AT_ONCE
            && let Some(place) = next.next()
        {
            attempts.push(at(place));
        }
        let has_next = attempts.len() < AT_ONCE && next.len() > 0;
        tokio::select! {
            biased;
            made = attempts.next() => match made {
                Some(Ok(made)) => return Ok(made),
                Some(Err(cause)) => progress.failed(cause),
                None => return Err(progress.overdue()),
            },
            () = sleep(HEAD_START), if has_next => {}
        }
    }
}

/// How many addresses of a name are tried at once.
const AT_ONCE: usize = 2;
/// How long an attempt has to itself.
const HEAD_START: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::pending;

    use tokio::time::{Instant, timeout};

    use super::*;

    /// What becomes of each place, and when each was begun.
    async fn raced(places: Vec<(u64, Result<u8, Cause>)>) -> (Result<u8, Cause>, Vec<Duration>) {
        let (start, begun) = (Instant::now(), RefCell::new(Vec::new()));
        let made = race(places, &Progress::default(), |(took_ms, end)| {
            begun.borrow_mut().push(start.elapsed());
            async move {
                sleep(Duration::from_millis(took_ms)).await;
                end
            }
        })
        .await;
        (made, begun.into_inner())
    }

    fn ms(moments: &[u64]) -> Vec<Duration> {
        moments.iter().copied().map(Duration::from_millis).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_one_begins_after_a_head_start_or_at_a_failure() {
        let refused = Err(Cause::Refused);
        let silent = 60_000;
        assert_eq!(raced(vec![(10, Ok(1)), (0, Ok(2))]).await, (Ok(1), ms(&[0])));
        assert_eq!(raced(vec![(10, refused), (5, Ok(2))]).await, (Ok(2), ms(&[0, 10])));
        assert_eq!(raced(vec![(silent, Ok(1)), (5, Ok(2))]).await, (Ok(2), ms(&[0, 250])));
        assert_eq!(raced(vec![(300, Ok(1)), (100, Ok(2))]).await, (Ok(1), ms(&[0, 250])));
        let third = vec![(silent, Ok(1)), (silent, refused), (5, Ok(3))];
        let (made, begun) = raced(third).await;
        assert_eq!((made, begun.len()), (Ok(1), 2), "no more than two at once");
        let third = vec![(silent, Ok(1)), (50, refused), (5, Ok(3))];
        assert_eq!(raced(third).await, (Ok(3), ms(&[0, 250, 300])));
    }

    #[tokio::test(start_paused = true)]
    async fn of_all_failures_the_one_that_got_furthest_is_told() {
        let order = [
            Cause::Timeout,
            Cause::Refused,
            Cause::NoDescriptors,
            Cause::HandshakeClosed,
            Cause::Tls,
            Cause::Loading,
        ];
        for (near, far) in order.iter().zip(&order[1..]) {
            for places in [[near, far], [far, near]] {
                let places = places.map(|cause| (1, Err(*cause))).to_vec();
                assert_eq!(raced(places).await.0, Err(*far));
            }
        }
        let first = raced(vec![(1, Err(Cause::Auth)), (1, Err(Cause::Loading))]).await.0;
        assert_eq!(first, Err(Cause::Auth), "of two that got as far");
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_address_said_counts_though_another_is_silent() {
        let progress = Progress::default();
        let places = vec![Some(Cause::Refused), None];
        let attempt = race(places, &progress, |cause| async move {
            match cause {
                Some(cause) => Err::<(), _>(cause),
                None => pending().await,
            }
        });
        assert!(timeout(Duration::from_secs(1), attempt).await.is_err());
        assert_eq!(progress.overdue(), Cause::Refused);
        let progress = Progress::default();
        assert_eq!(progress.overdue(), Cause::Timeout);
        let encrypting = progress.encrypting();
        assert_eq!(progress.overdue(), Cause::TlsTimeout);
        drop(encrypting);
        assert_eq!(progress.overdue(), Cause::Timeout);
    }
}
