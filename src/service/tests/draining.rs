//! What goes on for as long as its client likes comes to its end with the service.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::extract::FromRef;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt};

use super::half_closed::{Serving, rest};
use super::*;

/// Says so once, and then nothing until the service drains.
async fn stream(draining: Draining) -> Body {
    let begun = stream::iter([Ok::<_, std::io::Error>("begun\n")]);
    Body::from_stream(begun.chain(stream::pending()).take_until(draining))
}

/// Waits for what never comes, and for no longer than the service accepts requests.
async fn long_poll(draining: Draining) -> StatusCode {
    tokio::select! {
        () = pending() => StatusCode::OK,
        () = draining => StatusCode::NO_CONTENT,
    }
}

async fn web_socket(draining: Draining, upgrade: WebSocketUpgrade) -> Response {
    let talk = async |mut socket: WebSocket| {
        let going_away = CloseFrame { code: close_code::AWAY, reason: "".into() };
        draining.await;
        socket.send(Message::Close(Some(going_away))).await.ok();
    };
    upgrade.on_upgrade(talk).into_response()
}

fn routes() -> Router<AppState> {
    Router::new()
        .route("/stream", get(stream))
        .route("/poll", get(long_poll))
        .route("/socket", get(web_socket))
}

async fn begin(serving: &Serving, path: &str) -> TcpStream {
    let mut client = serving.connect().await;
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let upgrade = if path == "/socket" { upgrade } else { "" };
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n{upgrade}\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

#[tokio::test]
async fn streams_long_polls_and_web_sockets_end_with_the_drain_and_hold_nothing_up() {
    let serving = Serving::start(routes(), |config| {
        config.service.request_timeout = Duration::from_secs(600);
        config.service.shutdown_timeout = Duration::from_secs(600);
    })
    .await;
    let mut stream = begin(&serving, "/stream").await;
    receive(&mut stream, "begun\n\r\n").await;
    let mut socket = begin(&serving, "/socket").await;
    assert!(receive(&mut socket, "\r\n\r\n").await.contains(" 101 "));
    let mut poll = begin(&serving, "/poll").await;
    serving.looks_around().await;
    let Serving { stop, served, .. } = serving;
    stop.send(()).unwrap();
    // Far less than shutdown_timeout.
    timeout(SOON, served).await.unwrap().unwrap().unwrap();
    assert_eq!(rest(&mut stream).await, "0\r\n\r\n", "a well-formed end");
    let answer = rest(&mut poll).await;
    assert!(answer.contains(" 204 ") && answer.contains("connection: close"), "{answer}");
    // A close frame (RFC 6455, 5.5.1) of two bytes: 1001, going away.
    let mut frame = [0; 4];
    timeout(SOON, socket.read_exact(&mut frame)).await.unwrap().unwrap();
    assert_eq!(frame, [0x88, 2, 0x03, 0xe9]);
}

#[tokio::test]
async fn a_web_socket_has_the_time_to_say_goodbye_and_none_that_says_nothing_holds_up_the_end() {
    let parted = Arc::new(AtomicBool::new(false));
    let has_parted = Arc::clone(&parted);
    let polite = async move |draining: Draining, upgrade: WebSocketUpgrade| {
        upgrade.on_upgrade(async move |mut socket: WebSocket| {
            draining.await;
            socket.send(Message::Close(None)).await.unwrap();
            // Until the client has closed as well.
            while socket.recv().await.is_some() {}
            has_parted.store(true, Ordering::Relaxed);
        })
    };
    let serving = Serving::start(Router::new().route("/socket", get(polite)), |config| {
        config.service.shutdown_timeout = Duration::from_secs(600);
    })
    .await;
    let mut socket = begin(&serving, "/socket").await;
    receive(&mut socket, "\r\n\r\n").await;
    let Serving { address, stop, served, .. } = serving;
    stop.send(()).unwrap();
    let mut frame = [0; 2];
    timeout(SOON, socket.read_exact(&mut frame)).await.unwrap().unwrap();
    assert_eq!(frame, [0x88, 0]);
    while TcpStream::connect(address).await.is_ok() {}
    // Close, masked by zeros.
    socket.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.unwrap();
    timeout(SOON, served).await.unwrap().unwrap().unwrap();
    assert!(parted.load(Ordering::Relaxed), "the service ended first");
    drop(socket);

    let deaf =
        async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(async |_socket| pending().await);
    let serving = Serving::start(Router::new().route("/socket", get(deaf)), |config| {
        config.service.shutdown_timeout = Duration::from_secs(600);
    })
    .await;
    let mut socket = begin(&serving, "/socket").await;
    receive(&mut socket, "\r\n\r\n").await;
    serving.end().await;
}

#[tokio::test]
async fn the_drain_begins_after_the_delay_and_not_at_the_signal() {
    let serving = Serving::start(routes(), |config| {
        config.service.drain_delay = Duration::from_millis(500);
        config.service.shutdown_timeout = Duration::from_secs(600);
    })
    .await;
    let begun = Instant::now();
    let Serving { address, state, stop, served } = serving;
    stop.send(()).unwrap();
    while state.is_running() {
        tokio::task::yield_now().await;
    }
    // Whoever comes during the delay is served, and until its end.
    let mut late = TcpStream::connect(address).await.unwrap();
    send(&mut late, "/stream").await;
    receive(&mut late, "begun\n\r\n").await;
    assert_eq!(state.draining().now_or_never(), None);
    timeout(SOON, state.draining()).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
    assert!(TcpStream::connect(address).await.is_err(), "no new connections are taken");
    assert_eq!(rest(&mut late).await, "0\r\n\r\n");
    timeout(SOON, served).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_that_does_not_look_is_cut_off_in_time() {
    let endless = async || Body::from_stream(stream::pending::<std::io::Result<String>>());
    let serving = Serving::start(Router::new().route("/endless", get(endless)), |config| {
        config.service.shutdown_timeout = Duration::from_millis(500);
    })
    .await;
    let mut client = begin(&serving, "/endless").await;
    receive(&mut client, "\r\n\r\n").await;
    let begun = Instant::now();
    serving.end().await;
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
    assert_eq!(rest(&mut client).await, "", "it has no end");
}

#[tokio::test]
async fn an_app_that_serves_itself_begins_the_drain_by_itself() {
    #[derive(Clone)]
    struct Own {
        app: AppState,
    }
    impl FromRef<Own> for AppState {
        fn from_ref(own: &Own) -> Self {
            own.app.clone()
        }
    }
    async fn own_stream(draining: Draining) -> Body {
        stream(draining).await
    }
    let state = AppState::start(config()).await.unwrap();
    let routes = Router::new().route("/stream", get(own_stream));
    let app = routes.with_state(Own { app: state.clone() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let ending = state.clone();
    let ended = async move {
        stopped.await.unwrap();
        ending.drain();
    };
    let client = async {
        let mut client = TcpStream::connect(address).await.unwrap();
        send(&mut client, "/stream").await;
        receive(&mut client, "begun\n\r\n").await;
        stop.send(()).unwrap();
        assert_eq!(rest(&mut client).await, "0\r\n\r\n");
    };
    let serve = axum::serve(listener, app).with_graceful_shutdown(ended).into_future();
    let (served, ()) = timeout(SOON, async { tokio::join!(serve, client) }).await.unwrap();
    served.unwrap();
    assert!(!state.is_running());
    assert!(state.shutdown(SOON).await.is_clean());
}

#[tokio::test]
async fn a_shutdown_of_the_actors_is_a_drain_too_and_all_who_wait_are_told() {
    let state = AppState::start(config()).await.unwrap();
    let was_ready = Arc::new(AtomicBool::new(false));
    let waits = [state.draining(), state.draining().clone()];
    let mut dropped = state.draining();
    assert_eq!((&mut dropped).now_or_never(), None);
    drop(dropped);
    assert!(format!("{:?}", waits[0]).contains("false"));
    let waiting = futures_util::future::join_all(waits);
    let note = async {
        waiting.await;
        was_ready.store(true, Ordering::Relaxed);
    };
    let (report, ()) = tokio::join!(state.shutdown(SOON), note);
    assert!(report.is_clean() && was_ready.load(Ordering::Relaxed));
    assert_eq!(state.draining().now_or_never(), Some(()), "also whoever asks later");
}

#[tokio::test]
async fn a_drain_that_has_begun_may_be_asked_about_again() {
    let drain = crate::draining::Drain::new();
    let mut draining = drain.draining();
    assert_eq!((&mut draining).now_or_never(), None);
    drain.begin();
    for _ in 0..2 {
        assert_eq!((&mut draining).now_or_never(), Some(()));
    }
    assert!(format!("{draining:?}").contains("is_ready: true"));
}
