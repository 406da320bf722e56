//! The socket of one client, as hyper reads and writes it.

use std::io::{self, ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::progress::Progress;

/// How many bytes are read ahead at once while hyper reads nothing.
const AHEAD_BYTES: usize = 1024;

/// A socket that tells a client that sends nothing more from one that is gone.
///
/// With `half_close` hyper does not look at its input while a request is under way, so it would not
/// notice a reset either. This looks each time that hyper flushes: a reset is an error, which ends the
/// connection and its handler; an end of input is only noted.
pub(super) struct Socket {
    /// `None` once the client has said that it sends nothing more.
    input: Option<OwnedReadHalf>,
    output: OwnedWriteHalf,
    /// What was read while hyper did not.
    ahead: Vec<u8>,
    /// Whether hyper itself has just begun to wait for input.
    is_awaited: bool,
    ended: Option<Ended>,
    idle: Idle,
    limits: Limits,
    progress: Arc<Progress>,
    /// Dropped with the socket, which after an upgrade is the handler's.
    _open: oneshot::Sender<()>,
}

/// How long a connection stays open on which nothing happens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// While there is no request, and while the head of one is read.
    pub(super) idle: Duration,
    /// While nothing is written to a client that sends nothing more. A handler has its whole time
    /// before that.
    pub(super) half_closed: Duration,
}

/// How long the head of a request has been waited for.
#[derive(Default)]
struct Idle {
    since: Option<Instant>,
    /// Wakes the task when it is time to look again. It is set anew only when it has fired, so that no
    /// request pays for a timer.
    timer: Option<Pin<Box<Sleep>>>,
}

/// The client sends nothing more. It may still read what it is answered, or it may have closed its
/// socket: until something is written, both look the same.
struct Ended {
    reset: BoxFuture<'static, ()>,
    /// By when something must be written.
    end: Pin<Box<Sleep>>,
}

impl Socket {
    /// The receiver ends with the socket.
    pub(super) fn new(
        stream: TcpStream,
        limits: Limits,
        progress: Arc<Progress>,
    ) -> (Self, oneshot::Receiver<()>) {
        let (input, output) = stream.into_split();
        let (open, closed) = oneshot::channel();
        let socket = Self {
            input: Some(input),
            output,
            ahead: Vec::new(),
            is_awaited: false,
            ended: None,
            idle: Idle::default(),
            limits,
            progress,
            _open: open,
        };
        (socket, closed)
    }

    /// Looks whether the client is gone, and has the task of `cx` woken when it goes.
    fn watch(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let is_awaited = std::mem::take(&mut self.is_awaited);
        if is_awaited || !self.ahead.is_empty() || self.progress.is_upgraded() {
            return Ok(());
        }
        if let Some(input) = &mut self.input {
            let mut space = [const { MaybeUninit::uninit() }; AHEAD_BYTES];
            let mut space = ReadBuf::uninit(&mut space);
            match Pin::new(input).poll_read(cx, &mut space) {
                Poll::Pending => return Ok(()),
                Poll::Ready(read) => read?,
            }
            if !space.filled().is_empty() {
                self.ahead.extend_from_slice(space.filled());
                // Hyper may be about to wait for these.
                cx.waker().wake_by_ref();
                return Ok(());
            }
            self.end_input();
        }
        self.ended.as_mut().map_or(Ok(()), |ended| ended.watch(cx))
    }

    /// Waits for input, and for the head of a request no longer than that may take.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.progress.is_body_read() {
            // What waits is the handler, which has a deadline of its own. That its request has begun is left for the
            // first wait after it.
            self.idle.since = None;
            return Poll::Pending;
        }
        if self.progress.take_begun() {
            self.idle.since = None;
        }
        self.idle.wait(cx, self.limits.idle)
    }

    fn end_input(&mut self) {
        let Some(input) = self.input.take() else { return };
        let reset = async move { input.ready(Interest::ERROR).await.map_or((), drop) }.boxed();
        self.ended = Some(Ended { reset, end: Box::pin(sleep(self.limits.half_closed)) });
    }

    /// What a write has come to. One that has to wait watches meanwhile.
    fn written(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Pending => self.watch(cx)?,
            Poll::Ready(_) => {
                if let Some(ended) = &mut self.ended {
                    ended.end.as_mut().reset(Instant::now() + self.limits.half_closed);
                }
            }
        }
        written
    }
}

impl Idle {
    fn wait(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<io::Result<()>> {
        let now = Instant::now();
        // A limit too long to be added is none.
        let Some(end) = self.since.get_or_insert(now).checked_add(limit) else {
            return Poll::Pending;
        };
        if now >= end {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(now)));
        if timer.deadline() > now {
            return Poll::Pending;
        }
        timer.as_mut().reset(end);
        // Once is enough, because it is always the same task that waits; but then it must not be put off.
        unconstrained(timer).poll_unpin(cx).map(|()| Err(ErrorKind::TimedOut.into()))
    }
}

impl Ended {
    fn watch(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.reset.poll_unpin(cx).is_ready() {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if self.end.poll_unpin(cx).is_ready() {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let len_bytes = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead[..len_bytes]);
            self.ahead.drain(..len_bytes);
            return Poll::Ready(Ok(()));
        }
        let Some(input) = &mut self.input else { return Poll::Ready(Ok(())) };
        let read = Pin::new(input).poll_read(cx, buf);
        self.is_awaited = read.is_pending();
        if self.is_awaited && !self.progress.is_upgraded() {
            return self.wait(cx);
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.output).poll_write(cx, bytes);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.output).poll_write_vectored(cx, slices);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.output.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch(cx)?;
        Pin::new(&mut self.output).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_shutdown(cx)
    }
}
