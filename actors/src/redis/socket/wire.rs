use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, PushInfo, RedisConnectionInfo, RedisResult};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::AbortHandle;

use super::budget::{OpenCount, Permit};
use super::close_reason::{CloseReason, CloseSignal};
use super::stream::Stream;

/// A connection that carries any number of requests at once. All clones are the same connection; dropping the last one
/// closes it.
#[derive(Clone)]
pub(crate) struct Wire {
    mux: MultiplexedConnection,
    driver: Arc<Driver>,
}

/// Takes push messages. It is called in the task that reads the connection, so it must not block.
pub(crate) type Pushed = Box<dyn Fn(PushInfo) + Send + Sync>;

/// The task that writes and reads.
struct Driver {
    task: AbortHandle,
    in_flight: Arc<AtomicUsize>,
    heard: Arc<AtomicU64>,
    open: OnceLock<OpenCount>,
}

impl Wire {
    /// Shakes hands over `socket`. Push messages go to `pushed`, and `closing` fires when the server closes the
    /// connection.
    pub(crate) async fn open(
        socket: Socket,
        login: &RedisConnectionInfo,
        is_shared: bool,
        pushed: Option<Pushed>,
        closing: &Arc<CloseSignal>,
    ) -> RedisResult<Self> {
        // Each request has its own deadline. A second clock would contradict it.
        let mut config =
            AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        if is_shared {
            config = config
                .set_pipeline_buffer_size(GATHERED)
                .set_write_backpressure_boundary(GATHERED_BYTES);
        }
        if let Some(pushed) = pushed {
            config = config.set_push_sender(move |push| {
                pushed(push);
                Ok::<(), ::redis::aio::SendError>(())
            });
        }
        let (in_flight, heard) = (Arc::clone(&socket.in_flight), socket.heard());
        let (mux, driving) = MultiplexedConnection::new_with_config(login, socket, config).await?;
        let fire = FireAtEnd(Arc::clone(closing));
        #[expect(
            clippy::disallowed_methods,
            reason = "a wire outlives the actor that opened it: it ends with its last user"
        )]
        let task = tokio::spawn(async move {
            let _fire = fire;
            driving.await;
        });
        let driver = Driver { task: task.abort_handle(), in_flight, heard, open: OnceLock::new() };
        Ok(Self { mux, driver: Arc::new(driver) })
    }

    /// Keeps `open` until the connection is closed, which may be after the caller has dropped it.
    pub(crate) fn count_by(&self, open: OpenCount) {
        self.driver.open.set(open).expect("a wire is counted once");
    }

    /// The connection to send one request on. The request counts as in flight until the guard is dropped.
    pub(crate) fn begin(&mut self) -> (&mut MultiplexedConnection, InFlight<'_>) {
        let in_flight = InFlight::count(&self.driver.in_flight);
        (&mut self.mux, in_flight)
    }

    /// The connection of the redis crate, for subscriptions. It ends with the wire.
    pub(crate) fn mux(&self) -> MultiplexedConnection {
        self.mux.clone()
    }

    /// How many bytes have arrived.
    pub(crate) fn heard(&self) -> u64 {
        self.driver.heard.load(Ordering::Relaxed)
    }

    /// How many requests wait for a reply.
    pub(crate) fn in_flight(&self) -> usize {
        self.driver.in_flight.load(Ordering::Relaxed)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Counts one request for as long as it waits for its reply.
pub(crate) struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn count(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Fires the signal, however the task ends.
struct FireAtEnd(Arc<CloseSignal>);

impl Drop for FireAtEnd {
    fn drop(&mut self) {
        self.0.fire(CloseReason::Closed);
    }
}

/// The bytes of a connection, for as long as it is open.
///
/// Gathers the commands of all tasks that are ready to send into one write: while other requests are in flight, a write
/// yields once to the other ready tasks. A request that is alone never waits.
pub(crate) struct Socket {
    // Dropped first: the permit is given back after the socket is closed.
    stream: Stream,
    in_flight: Arc<AtomicUsize>,
    has_waited: bool,
    /// Counts the bytes that arrive.
    heard: Arc<AtomicU64>,
    peer: Option<SocketAddr>,
    _permit: Permit,
}

impl Socket {
    pub(crate) fn new(stream: Stream, peer: Option<SocketAddr>, permit: Permit) -> Self {
        Self {
            stream,
            in_flight: Arc::default(),
            has_waited: false,
            heard: Arc::default(),
            peer,
            _permit: permit,
        }
    }

    /// The address that it leads to, if that is one of TCP.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// How many bytes have arrived.
    pub(crate) fn heard(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.heard)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let is_worth_it = bytes.len() < ENOUGH_BYTES && self.in_flight.load(Ordering::Relaxed) > 1;
        if is_worth_it && !self.has_waited {
            self.has_waited = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.has_waited = false;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let len_bytes = buffer.filled().len().saturating_sub(before);
        self.heard.fetch_add(u64::try_from(len_bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        read
    }
}

/// How many commands and bytes one write of a shared wire may carry.
const GATHERED: usize = 1024;
const GATHERED_BYTES: usize = 64 * 1024;
/// A write of this size is not delayed to gather more.
const ENOUGH_BYTES: usize = 8 * 1024;
