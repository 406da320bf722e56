//! How far the requests of one connection have come.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};

/// What the socket of a connection has to know of its requests. All that writes and reads it is one
/// task, apart from a handler that reads its body in another.
#[derive(Debug, Default)]
pub(super) struct Progress {
    has_begun: AtomicBool,
    is_body_read: AtomicBool,
    is_upgraded: AtomicBool,
}

impl Progress {
    pub(super) fn request_begins(&self, has_body: bool) {
        self.has_begun.store(true, Ordering::Relaxed);
        self.is_body_read.store(has_body, Ordering::Relaxed);
    }

    /// Whether a request has begun since this was last asked.
    pub(super) fn take_begun(&self) -> bool {
        let has_begun = self.has_begun.load(Ordering::Relaxed);
        if has_begun {
            self.has_begun.store(false, Ordering::Relaxed);
        }
        has_begun
    }

    /// Whether somebody may still read the body of the last request.
    pub(super) fn is_body_read(&self) -> bool {
        self.is_body_read.load(Ordering::Relaxed)
    }

    pub(super) fn upgrades(&self) {
        self.is_upgraded.store(true, Ordering::Relaxed);
    }

    /// Whether the connection is one of another protocol now.
    pub(super) fn is_upgraded(&self) -> bool {
        self.is_upgraded.load(Ordering::Relaxed)
    }

    /// The body of the request that has begun.
    pub(super) fn follow(self: &Arc<Self>, body: Incoming) -> Body {
        if body.is_end_stream() {
            return Body::empty();
        }
        Body::new(Followed { body, progress: Arc::clone(self) })
    }
}

/// A body that is read until it ends, fails, or is dropped.
struct Followed {
    body: Incoming,
    progress: Arc<Progress>,
}

impl HttpBody for Followed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() {
            self.progress.is_body_read.store(false, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.progress.is_body_read.store(false, Ordering::Relaxed);
    }
}
