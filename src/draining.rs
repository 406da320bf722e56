use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;
use futures_util::future::Shared;
use tokio::sync::oneshot;

/// A future that is ready once the service drains: it takes no new connections, and waits for the
/// requests that are under way. From [`AppState::draining`](crate::AppState::draining), or as an
/// argument of a handler.
///
/// What would go on for as long as its client likes (server-sent events, a web socket, a long poll)
/// waits for this too, and comes to its end. A response that goes on regardless is cut off when four
/// fifths of `service.shutdown_timeout` are over; the end waits a second for a web socket that does.
///
/// It is ready after `service.drain_delay`, not at the signal: until then load balancers still send
/// requests here, and a client that is told to go would come back to the same service.
///
/// ```
/// use std::convert::Infallible;
/// use std::time::Duration;
///
/// use futures_util::{Stream, StreamExt, stream};
/// use mainstay::axum::response::sse::{Event, Sse};
/// use mainstay::prelude::*;
///
/// async fn seconds(draining: Draining) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
///     let seconds = stream::unfold(0, async |second: u64| {
///         tokio::time::sleep(Duration::from_secs(1)).await;
///         Some((Ok(Event::default().data(second.to_string())), second + 1))
///     });
///     Sse::new(seconds.take_until(draining))
/// }
/// # let _: Router<AppState> = Router::new().route("/seconds", get(seconds));
/// ```
///
/// Clones become ready together, and stay so. Cancel safe.
#[derive(Clone)]
#[must_use = "it says nothing until it is awaited"]
pub struct Draining {
    begins: Shared<oneshot::Receiver<()>>,
    /// A shared future may not be polled again once it was ready, and a loop does that.
    has_begun: bool,
}

/// Makes its [`Draining`]s ready.
#[derive(Debug)]
pub(crate) struct Drain {
    begin: Mutex<Option<oneshot::Sender<()>>>,
    draining: Draining,
}

impl Drain {
    pub(crate) fn new() -> Self {
        let (begin, has_begun) = oneshot::channel();
        Self {
            begin: Mutex::new(Some(begin)),
            draining: Draining { begins: has_begun.shared(), has_begun: false },
        }
    }

    pub(crate) fn begin(&self) {
        let begin = self.begin.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(begin) = begin {
            begin.send(()).ok(); // Nobody need be waiting.
        }
    }

    pub(crate) fn draining(&self) -> Draining {
        self.draining.clone()
    }
}

impl Future for Draining {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.has_begun {
            // A service whose state is gone has come to its end as well.
            ready!(self.begins.poll_unpin(cx)).ok();
            self.has_begun = true;
        }
        Poll::Ready(())
    }
}

impl fmt::Debug for Draining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draining")
            .field("is_ready", &(self.has_begun || self.begins.peek().is_some()))
            .finish()
    }
}
