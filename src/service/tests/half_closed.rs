//! Clients that say nothing more, and clients that are gone.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use futures_util::stream::{self, StreamExt};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use super::*;
use crate::Config;

/// A service that serves until it is asked to end.
pub(super) struct Serving {
    pub(super) address: std::net::SocketAddr,
    pub(super) state: AppState,
    pub(super) stop: oneshot::Sender<()>,
    pub(super) served: JoinHandle<Result<()>>,
}

impl Serving {
    #[expect(clippy::disallowed_methods, reason = "the test owns it, and waits for its end")]
    pub(super) async fn start(
        routes: Router<AppState>,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = config();
        configure(&mut config);
        let (stop, stopped) = oneshot::channel::<()>();
        let service = ServiceBuilder::new()
            .with_config(config)
            .with_routes(routes)
            .with_shutdown(async { drop(stopped.await) });
        let bound = service.build().bind().await.unwrap();
        let address = bound.local_addr();
        let state = bound.state().clone();
        Self { address, state, stop, served: tokio::spawn(bound.serve()) }
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A request of another client is answered, so the service has looked at its sockets.
    pub(super) async fn looks_around(&self) {
        for _ in 0..3 {
            let mut other = self.connect().await;
            send(&mut other, "/health").await;
            receive(&mut other, "}").await;
        }
    }

    pub(super) async fn end(self) {
        self.stop.send(()).unwrap();
        timeout(SOON, self.served).await.unwrap().unwrap().unwrap();
    }
}

/// What a handler came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Began,
    Finished,
    Dropped,
}

/// Reports how it ended.
struct Handler {
    fate: mpsc::UnboundedSender<Fate>,
    is_finished: bool,
}

impl Handler {
    fn begins(fate: &mpsc::UnboundedSender<Fate>) -> Self {
        fate.send(Fate::Began).unwrap();
        Self { fate: fate.clone(), is_finished: false }
    }

    fn finishes(mut self) {
        self.is_finished = true;
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        let fate = if self.is_finished { Fate::Finished } else { Fate::Dropped };
        self.fate.send(fate).ok();
    }
}

/// `/slow` says what becomes of it, and ends when it may.
fn slow() -> (Router<AppState>, mpsc::UnboundedReceiver<Fate>, Arc<Notify>) {
    let (fate, fates) = mpsc::unbounded_channel();
    let go_on = Arc::new(Notify::new());
    let may_go_on = Arc::clone(&go_on);
    let slow = async move |body: Bytes| {
        let handler = Handler::begins(&fate);
        may_go_on.notified().await;
        handler.finishes();
        format!("answered {}", body.len())
    };
    (Router::new().route("/slow", get(slow.clone()).post(slow)), fates, go_on)
}

async fn next(fates: &mut mpsc::UnboundedReceiver<Fate>) -> Fate {
    timeout(SOON, fates.recv()).await.expect("nothing became of it").unwrap()
}

/// All that is sent until the connection is closed.
pub(super) async fn rest(stream: &mut TcpStream) -> String {
    let mut received = Vec::new();
    timeout(SOON, stream.read_to_end(&mut received)).await.expect("it stays open").unwrap();
    String::from_utf8(received).unwrap()
}

const GET: &str = "GET /slow HTTP/1.1\r\nhost: test\r\n\r\n";
const POST: &str = "POST /slow HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody";
const CLOSING: &str = "GET /slow HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
const OLD: &str = "GET /slow HTTP/1.0\r\n\r\n";

#[tokio::test]
async fn a_client_that_half_closes_after_its_request_is_answered_and_then_closed() {
    for (request, answer) in
        [(GET, "answered 0"), (POST, "answered 4"), (CLOSING, "answered 0"), (OLD, "answered 0")]
    {
        let (routes, mut fates, go_on) = slow();
        let serving = Serving::start(routes, |_| {}).await;
        let mut client = serving.connect().await;
        client.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(next(&mut fates).await, Fate::Began);
        client.shutdown().await.unwrap();
        serving.looks_around().await;
        go_on.notify_one();
        assert_eq!(next(&mut fates).await, Fate::Finished, "{request}");
        let answered = rest(&mut client).await;
        assert!(answered.contains(" 200 OK") && answered.ends_with(answer), "{answered}");
        serving.end().await;
    }
}

#[tokio::test]
async fn each_request_that_came_before_the_end_of_input_is_answered() {
    let (routes, mut fates, go_on) = slow();
    let serving = Serving::start(routes, |_| {}).await;
    let mut client = serving.connect().await;
    client.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(next(&mut fates).await, Fate::Began);
    // These come while the first is under way.
    client.write_all([POST, POST].concat().as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    serving.looks_around().await;
    for begun in 1..=3 {
        go_on.notify_one();
        assert_eq!(next(&mut fates).await, Fate::Finished, "{begun}");
        if begun < 3 {
            assert_eq!(next(&mut fates).await, Fate::Began, "{begun}");
        }
    }
    let answered = rest(&mut client).await;
    assert_eq!(answered.matches("answered 4").count(), 2, "{answered}");
    serving.end().await;
}

#[tokio::test]
async fn a_response_in_progress_goes_on_to_a_client_that_has_half_closed() {
    let go_on = Arc::new(Notify::new());
    let may_go_on = Arc::clone(&go_on);
    let lines = async move || {
        let lines = stream::iter(0..3).then(move |n| {
            let may_go_on = Arc::clone(&may_go_on);
            async move {
                may_go_on.notified().await;
                Ok::<_, Infallible>(format!("line {n}\n"))
            }
        });
        Body::from_stream(lines)
    };
    let serving = Serving::start(Router::new().route("/slow", get(lines)), |_| {}).await;
    let mut client = serving.connect().await;
    client.write_all(GET.as_bytes()).await.unwrap();
    go_on.notify_one();
    receive(&mut client, "line 0\n\r\n").await;
    client.shutdown().await.unwrap();
    for _ in 1..3 {
        serving.looks_around().await;
        go_on.notify_one();
    }
    let lines = rest(&mut client).await;
    assert!(lines.contains("line 1") && lines.ends_with("line 2\n\r\n0\r\n\r\n"), "{lines}");
    serving.end().await;
}

#[tokio::test]
async fn a_client_that_resets_its_connection_ends_its_handler_also_after_it_has_half_closed() {
    for is_half_closed in [false, true] {
        for request in [GET, POST] {
            let (routes, mut fates, _go_on) = slow();
            let serving = Serving::start(routes, |_| {}).await;
            let mut client = serving.connect().await;
            client.write_all(request.as_bytes()).await.unwrap();
            assert_eq!(next(&mut fates).await, Fate::Began);
            if is_half_closed {
                client.shutdown().await.unwrap();
                serving.looks_around().await;
            }
            client.set_zero_linger().unwrap();
            drop(client);
            assert_eq!(next(&mut fates).await, Fate::Dropped, "{is_half_closed}, {request}");
            serving.end().await;
        }
    }
}

#[tokio::test]
async fn the_handler_of_a_client_that_has_gone_runs_to_its_answer_or_deadline() {
    let (routes, mut fates, go_on) = slow();
    let timed = |config: &mut Config| config.service.request_timeout = Duration::from_millis(300);
    let serving = Serving::start(routes, timed).await;
    for (is_answered, fate) in [(true, Fate::Finished), (false, Fate::Dropped)] {
        let mut client = serving.connect().await;
        client.write_all(GET.as_bytes()).await.unwrap();
        assert_eq!(next(&mut fates).await, Fate::Began);
        drop(client);
        serving.looks_around().await;
        if is_answered {
            go_on.notify_one();
        }
        assert_eq!(next(&mut fates).await, fate);
    }
    serving.end().await;
}

#[tokio::test]
async fn a_request_that_ends_too_early_is_an_error() {
    let cases = [
        ("POST /slow HTTP/1.1\r\nhost: test\r\ncontent-length: 9\r\n\r\nbody", "HTTP/1.1 400"),
        (
            "POST /slow HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbo",
            "HTTP/1.1 400",
        ),
        ("POST /slow HTTP/1.1\r\nhost: te", ""),
        ("", ""),
    ];
    let (routes, mut fates, _go_on) = slow();
    let serving = Serving::start(routes, |_| {}).await;
    for (request, answer) in cases {
        let mut client = serving.connect().await;
        client.write_all(request.as_bytes()).await.unwrap();
        serving.looks_around().await;
        client.shutdown().await.unwrap();
        let answered = rest(&mut client).await;
        assert!(answered.starts_with(answer), "{request}: {answered}");
    }
    assert!(fates.try_recv().is_err(), "no handler has begun");
    serving.end().await;
}

#[tokio::test]
async fn a_handler_that_does_not_read_its_body_sees_the_early_end_when_it_does() {
    let (fate, mut fates) = mpsc::unbounded_channel();
    let go_on = Arc::new(Notify::new());
    let may_go_on = Arc::clone(&go_on);
    let late = async move |request: Request| {
        let handler = Handler::begins(&fate);
        may_go_on.notified().await;
        let read = axum::body::to_bytes(request.into_body(), usize::MAX).await;
        handler.finishes();
        if read.is_err() { "it ended early" } else { "it was whole" }
    };
    let serving = Serving::start(Router::new().route("/slow", post(late)), |_| {}).await;
    for (length, answer) in [(9, "it ended early"), (4, "it was whole")] {
        let mut client = serving.connect().await;
        let head = format!("POST /slow HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(next(&mut fates).await, Fate::Began);
        client.write_all(b"body").await.unwrap();
        client.shutdown().await.unwrap();
        serving.looks_around().await;
        go_on.notify_one();
        assert_eq!(next(&mut fates).await, Fate::Finished);
        let answered = rest(&mut client).await;
        assert!(answered.ends_with(answer), "{answered}");
    }
    serving.end().await;
}

#[tokio::test]
async fn a_half_closed_connection_does_not_outlive_the_drain() {
    for is_answered in [true, false] {
        let (routes, mut fates, go_on) = slow();
        let timed = |config: &mut Config| {
            config.service.shutdown_timeout =
                if is_answered { Duration::from_secs(60) } else { Duration::from_millis(200) };
        };
        let serving = Serving::start(routes, timed).await;
        let mut client = serving.connect().await;
        client.write_all(GET.as_bytes()).await.unwrap();
        assert_eq!(next(&mut fates).await, Fate::Began);
        client.shutdown().await.unwrap();
        serving.looks_around().await;
        let Serving { address, stop, served, .. } = serving;
        stop.send(()).unwrap();
        if is_answered {
            while TcpStream::connect(address).await.is_ok() {}
            go_on.notify_one();
        }
        timeout(SOON, served).await.unwrap().unwrap().unwrap();
        let wanted = if is_answered { Fate::Finished } else { Fate::Dropped };
        assert_eq!(next(&mut fates).await, wanted);
        assert_eq!(rest(&mut client).await.contains("answered 0"), is_answered);
    }
}

/// A body that says `once` and then nothing more, and what becomes of it.
fn stuck(fate: &mpsc::UnboundedSender<Fate>, once: Vec<u8>) -> Body {
    let handler = Handler::begins(fate);
    let once = stream::once(async move { Ok::<_, Infallible>(once) });
    Body::from_stream(once.chain(stream::once(async move {
        let _handler = handler;
        pending().await
    })))
}

#[tokio::test]
async fn a_half_closed_connection_on_which_nothing_moves_is_closed_in_time() {
    // The one is silent, the other waits for a client that does not read.
    for len_bytes in [1, 64 << 20] {
        let (fate, mut fates) = mpsc::unbounded_channel();
        let handler = async move || stuck(&fate, vec![b'x'; len_bytes]);
        let serving = Serving::start(Router::new().route("/slow", get(handler)), |config| {
            config.service.request_timeout = Duration::from_millis(50);
            config.service.keep_alive_timeout = Duration::from_millis(50);
        })
        .await;
        let mut client = serving.connect().await;
        client.write_all(GET.as_bytes()).await.unwrap();
        assert_eq!(next(&mut fates).await, Fate::Began);
        client.shutdown().await.unwrap();
        assert_eq!(next(&mut fates).await, Fate::Dropped, "{len_bytes} bytes");
        serving.end().await;
    }
}

#[tokio::test]
async fn what_a_client_says_before_its_upgrade_comes_after_it() {
    let (fate, mut fates) = mpsc::unbounded_channel();
    let go_on = Arc::new(Notify::new());
    let may_go_on = Arc::clone(&go_on);
    #[expect(clippy::disallowed_methods, reason = "the task ends with the connection")]
    let echo = async move |request: Request| {
        let handler = Handler::begins(&fate);
        may_go_on.notified().await;
        handler.finishes();
        tokio::spawn(async move {
            let upgraded = hyper::upgrade::on(request).await.unwrap();
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
            tokio::io::copy(&mut read, &mut write).await.unwrap();
            write.shutdown().await
        });
        let upgrade = Response::builder().status(101).header("connection", "upgrade");
        upgrade.header("upgrade", "echo").body(Body::empty()).unwrap()
    };
    let serving = Serving::start(Router::new().route("/slow", get(echo)), |_| {}).await;
    let mut client = serving.connect().await;
    let head = GET.replace("\r\n\r\n", "\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(next(&mut fates).await, Fate::Began);
    let early = "x".repeat(10_000);
    client.write_all(early.as_bytes()).await.unwrap();
    serving.looks_around().await;
    go_on.notify_one();
    receive(&mut client, &format!("\r\n\r\n{early}")).await;
    client.write_all(b"later").await.unwrap();
    receive(&mut client, "later").await;
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await, "");
    serving.end().await;
}
