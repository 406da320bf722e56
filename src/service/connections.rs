//! The connections of clients.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinSet, unconstrained};
use tokio::time::{Instant, sleep_until};

use super::progress::Progress;
use super::shortage::{Over, Shortage};
use super::socket::{Limits, Socket};
use crate::config::service::Config;
use crate::web::Edge;

/// How long accepting pauses when the process or the machine has no room for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a connection without a request stays open at the end: a client may be sending one just
/// now, and would not know whether it was executed if it met a closed connection.
const LAST_WORD: Duration = Duration::from_millis(200);

/// How long a connection that was upgraded stays open at the end, for what its handler has to say: a
/// web socket's closing handshake.
const GOODBYE: Duration = Duration::from_secs(1);

/// The most connections that are taken over from the system's queue at the end.
const MOST_LAST: usize = 4096;

/// Every open connection. Dropping it cuts them off.
pub(super) struct Connections {
    edge: Arc<Edge>,
    open: JoinSet<()>,
    ends: watch::Sender<bool>,
    limits: Limits,
    shortage: Shortage,
}

impl Connections {
    pub(super) fn new(edge: Edge, config: &Config) -> Self {
        let idle = config.keep_alive_timeout;
        let limits = Limits { idle, half_closed: config.request_timeout.saturating_add(idle) };
        Self {
            edge: Arc::new(edge),
            open: JoinSet::new(),
            ends: watch::Sender::new(false),
            limits,
            shortage: Shortage::default(),
        }
    }

    /// Takes connections, without end. *Cancel safety*: may be dropped; no connection is lost.
    pub(super) async fn accept(&mut self, listener: &TcpListener) -> Infallible {
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.add(stream, peer),
                    Err(error) if is_of_one_connection(&error) => {}
                    Err(error) => {
                        if self.shortage.failed(Instant::now()) {
                            tracing::error!(%error, "cannot accept; check the limit on open files");
                        }
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                Some(_ended) = self.open.join_next() => {}
                () = passed(self.shortage.over_at()) => self.end_shortage(),
            }
        }
    }

    /// Takes over those connections that the system has accepted already, so that their requests
    /// are answered.
    pub(super) async fn accept_last(&mut self, listener: &TcpListener) {
        // What has arrived by now is known to the runtime only after it has looked.
        tokio::task::yield_now().await;
        for _ in 0..MOST_LAST {
            // Tokio would have a task that takes many at once wait for its next turn.
            match unconstrained(listener.accept()).now_or_never() {
                Some(Ok((stream, peer))) => self.add(stream, peer),
                Some(Err(error)) if is_of_one_connection(&error) => {}
                Some(Err(_)) | None => return,
            }
        }
    }

    /// Ends each connection as soon as no request is under way on it, nor begun within
    /// [`LAST_WORD`]. Those that were upgraded have [`GOODBYE`]. *Cancel safety*: may be dropped.
    pub(super) async fn finish(&mut self) {
        self.end_shortage();
        self.ends.send_replace(true);
        while self.open.join_next().await.is_some() {}
    }

    /// Cuts every connection off.
    pub(super) async fn cut(&mut self) {
        self.open.shutdown().await;
    }

    fn end_shortage(&mut self) {
        if let Some(Over { failures, lasted }) = self.shortage.end() {
            tracing::info!(failures, ?lasted, "accepts connections again");
        }
    }

    /// How many there are.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a connection belongs to this set, and ends with it"
    )]
    fn add(&mut self, stream: TcpStream, peer: SocketAddr) {
        let edge = Arc::clone(&self.edge);
        self.open.spawn(serve(stream, peer, edge, self.ends.subscribe(), self.limits));
    }
}

/// One connection, as the answers to its requests need it.
struct Connection {
    edge: Arc<Edge>,
    peer: SocketAddr,
    progress: Arc<Progress>,
    ends: watch::Receiver<bool>,
}

impl Connection {
    async fn answer(self: Arc<Self>, request: hyper::Request<Incoming>) -> Response {
        self.progress.request_begins(!request.body().is_end_stream());
        let mut request = request.map(|body| self.progress.follow(body));
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let is_tunnel = request.method() == Method::CONNECT;
        let mut response = self.edge.answer(request).await;
        let status = response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS || (is_tunnel && status.is_success()) {
            self.progress.upgrades();
        } else if is_ending(&self.ends) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Ready at that moment; without one, never.
async fn passed(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    edge: Arc<Edge>,
    mut ends: watch::Receiver<bool>,
    limits: Limits,
) {
    // Merely slower without.
    stream.set_nodelay(true).ok();
    let progress = Arc::<Progress>::default();
    let (socket, closed) = Socket::new(stream, limits, Arc::clone(&progress));
    let connection = Connection { edge, peer, progress: Arc::clone(&progress), ends: ends.clone() };
    let connection = Arc::new(connection);
    let answer =
        service_fn(move |request| Arc::clone(&connection).answer(request).map(Ok::<_, Infallible>));
    // The socket itself ends a connection that is idle: hyper would set up a timer for each request.
    let connection = http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(socket), answer)
        .with_upgrades();
    if let Err(error) = until_asked_to_end(connection, ends.clone()).await {
        tracing::trace!(%error, %peer, "a connection broke");
    }
    if progress.is_upgraded() {
        tokio::select! {
            _ = closed => {}
            () = asked_to_end(&mut ends, GOODBYE) => {}
        }
    }
}

async fn until_asked_to_end<S>(
    connection: http1::UpgradeableConnection<TokioIo<Socket>, S>,
    ends: watch::Receiver<bool>,
) -> hyper::Result<()>
where
    S: HttpService<Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut waits = ends.clone();
    let mut connection = pin!(connection);
    let mut asked_to_end = pin!(unconstrained(asked_to_end(&mut waits, LAST_WORD)));
    let mut is_waiting = false;
    let ended = poll_fn(|cx| {
        // First the connection: a request that has arrived already is under way when it is asked to
        // end.
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(Some(ended));
        }
        // It waits from its first poll on, and is not asked again for each request.
        if is_waiting && !is_ending(&ends) {
            return Poll::Pending;
        }
        is_waiting = true;
        asked_to_end.as_mut().poll(cx).map(|()| None)
    });
    if let Some(ended) = ended.await {
        return ended;
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

/// Whether the connections are to end. They are told once, and `ends` was made before.
fn is_ending(ends: &watch::Receiver<bool>) -> bool {
    ends.has_changed().unwrap_or(true)
}

/// A watch whose other side is gone ends too; then the task is cut off anyway.
async fn asked_to_end(ends: &mut watch::Receiver<bool>, delay: Duration) {
    ends.wait_for(|ends| *ends).await.map(drop).ok();
    tokio::time::sleep(delay).await;
}

/// Whether only the connection that was to be accepted is at fault.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
