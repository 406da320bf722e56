//! Calls of the operating system that may hang: a name is looked up, a file is read.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

use futures_util::FutureExt;
use futures_util::future::Shared;
use tokio::sync::oneshot;

/// Blocking calls of one kind, each on a thread of its own. Nobody waits for that thread: not the end of the process,
/// and not the runtime, which when dropped waits for the threads of `spawn_blocking`, `tokio::fs` and `lookup_host`.
///
/// For each key there is one call at a time, so the threads that hang are no more than the keys.
pub(crate) struct Calls<K: 'static, T: 'static> {
    under_way: Mutex<BTreeMap<K, Answer<T>>>,
}

type Answer<T> = Shared<oneshot::Receiver<T>>;

/// Takes a call out when it has ended, by a panic too.
struct UnderWay<K: Ord + 'static, T: 'static> {
    calls: &'static Calls<K, T>,
    key: K,
}

impl<K: Ord, T> Calls<K, T> {
    pub(crate) const fn new() -> Self {
        Self { under_way: Mutex::new(BTreeMap::new()) }
    }

    /// Whether a call for `key` has begun and not ended.
    pub(crate) fn is_under_way(&self, key: &K) -> bool {
        self.lock().contains_key(key)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<K, Answer<T>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord + Clone + Send, T: Clone + Send + Sync> Calls<K, T> {
    /// Makes `call`, or shares the answer to the call for `key` that is under way. *Cancel safety*: when dropped, the
    /// call goes on, and whoever asks next shares its answer.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub(crate) async fn answer(
        &'static self,
        key: K,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let answer = self.join(key, call)?;
        answer.await.map_err(|_panicked| io::ErrorKind::Other.into())
    }

    fn join(
        &'static self,
        key: K,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<Answer<T>> {
        let mut calls = self.lock();
        if let Some(answer) = calls.get(&key) {
            return Ok(answer.clone());
        }
        let (sender, receiver) = oneshot::channel();
        let ended = key.clone();
        let thread = move || {
            let under_way = UnderWay { calls: self, key: ended };
            let answer = call();
            // Before the answer is sent: whoever asks after it has arrived makes a new call.
            drop(under_way);
            sender.send(answer).ok(); // Nobody may wait any more.
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "each deadline passes without it, and there is one a key"
        )]
        Builder::new().name(THREAD.into()).spawn(thread)?;
        let answer = receiver.shared();
        calls.insert(key, answer.clone());
        Ok(answer)
    }
}

impl<K: Ord, T> Drop for UnderWay<K, T> {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.key);
    }
}

/// Linux shows 15 bytes of a thread's name.
const THREAD: &str = "mainstay-wait";

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::runtime::Runtime;
    use tokio::time::{Instant, timeout};

    use super::*;

    const SOON: Duration = Duration::from_secs(5);
    const MOMENT: Duration = Duration::from_millis(10);

    #[tokio::test]
    async fn whoever_asks_during_a_call_shares_its_answer() {
        static CALLS: Calls<u8, usize> = Calls::new();
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let (go_on, held) = mpsc::channel::<()>();
        let first = CALLS.answer(7, move || {
            held.recv().unwrap();
            MADE.fetch_add(1, Ordering::Relaxed)
        });
        assert!(timeout(MOMENT, first).await.is_err(), "it hangs");
        assert!(CALLS.is_under_way(&7) && !CALLS.is_under_way(&8));
        assert_eq!(CALLS.answer(8, || 8).await.unwrap(), 8, "another key is not held up");
        let again = || MADE.fetch_add(1, Ordering::Relaxed);
        let others = [CALLS.join(7, again).unwrap(), CALLS.join(7, again).unwrap()];
        go_on.send(()).unwrap();
        for other in others {
            assert_eq!(timeout(SOON, other).await.unwrap(), Ok(0));
        }
        assert!(!CALLS.is_under_way(&7));
        assert_eq!(CALLS.answer(7, again).await.unwrap(), 1, "what has ended is not shared");
    }

    #[test]
    fn a_runtime_does_not_wait_for_a_call_that_hangs() {
        static CALLS: Calls<u8, ()> = Calls::new();
        let (_go_on, held) = mpsc::channel::<()>();
        let runtime = Runtime::new().unwrap();
        let hangs = CALLS.answer(1, move || held.recv_timeout(2 * SOON).unwrap_or_default());
        runtime.block_on(async { timeout(MOMENT, hangs).await.unwrap_err() });
        let begun = Instant::now();
        drop(runtime);
        assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
        assert!(CALLS.is_under_way(&1));
    }

    #[tokio::test]
    async fn a_call_that_panics_is_an_error_and_ends() {
        static CALLS: Calls<u8, ()> = Calls::new();
        let panics = CALLS.answer(1, || panic!("on purpose"));
        timeout(SOON, panics).await.unwrap().unwrap_err();
        assert!(!CALLS.is_under_way(&1));
        CALLS.answer(1, || {}).await.unwrap();
    }
}
