//! The end of a service: what was accepted is answered, and Redis is left behind clean.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mainstay::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::support::{App, Server, config, eventually, routes};

const SOON: Duration = Duration::from_secs(10);

/// The service has left `server`: no connection with a name is open.
async fn has_left(server: &Server) {
    eventually("no connection is left", async || {
        server.client_names().await.is_empty().then_some(())
    })
    .await;
}

/// Requests on their way through a handler.
#[derive(Debug, Default)]
struct Counted {
    begun: AtomicUsize,
    finished: AtomicUsize,
}

/// `/slow` holds a connection over two round trips, `begun` and `finished` say how many did.
fn slow(counted: &Arc<Counted>) -> Router<AppState> {
    let counted = Arc::clone(counted);
    let slow = async move |mut conn: CacheConn| -> Result<String> {
        counted.begun.fetch_add(1, Ordering::Relaxed);
        let number: u64 = conn.incr("requests", 1).await?;
        // Long enough for the end to come in between.
        redis::cmd("BLPOP").arg("nothing").arg(0.02).query_async::<()>(&mut *conn).await?;
        counted.finished.fetch_add(1, Ordering::Relaxed);
        Ok(number.to_string())
    };
    Router::new().route("/slow", get(slow))
}

// redis R21
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_accepted_is_answered_and_redis_is_free_of_us() {
    let server = Server::start().await;
    let counted = Arc::new(Counted::default());
    let mut config = config(server.url());
    config.redis.max_connections = 8;
    let limit = config.service.shutdown_timeout;
    let app = Arc::new(App::start(config, slow(&counted)).await);
    app.becomes_ready().await;
    assert!(!server.client_names().await.is_empty());

    let answered = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        let (app, answered) = (Arc::clone(&app), Arc::clone(&answered));
        clients.spawn(async move {
            // Ends with the first request that is not accepted any more.
            while let Ok(answer) = app.try_get("/slow").await {
                assert_eq!(answer.status, 200, "{answer:?}");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    eventually("the load runs", async || (answered.load(Ordering::Relaxed) >= 100).then_some(()))
        .await;
    app.ask_to_end();
    clients.join_all().await;

    let mut app = Arc::into_inner(app).expect("the load has ended");
    app.served(limit).await.unwrap();
    let begun = counted.begun.load(Ordering::Relaxed);
    assert_eq!(counted.finished.load(Ordering::Relaxed), begun, "none was cut off");
    assert_eq!(answered.load(Ordering::Relaxed), begun, "every answer has arrived");
    assert_eq!(server.ask::<usize>(&["GET", "requests"]).await, begun);
    has_left(&server).await;
}

#[tokio::test]
async fn connections_that_nobody_uses_do_not_hold_up_the_end() {
    let server = Server::start().await;
    let mut app = App::start(config(server.url()), routes()).await;
    app.becomes_ready().await;
    let mut silent = TcpStream::connect(app.address()).await.unwrap();
    let mut used = TcpStream::connect(app.address()).await.unwrap();
    used.write_all(b"GET /health HTTP/1.1\r\nhost: it\r\n\r\n").await.unwrap();
    let mut received = Vec::new();
    while !received.ends_with(b"}") {
        used.read_buf(&mut received).await.unwrap();
    }
    app.ask_to_end();
    // Far less than shutdown_timeout, which is 25 s.
    app.served(SOON).await.unwrap();
    for stream in [&mut silent, &mut used] {
        let read = timeout(SOON, stream.read(&mut [0])).await.expect("it was closed");
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
    has_left(&server).await;
}

#[tokio::test]
async fn a_handler_that_never_ends_is_cut_off_in_time_and_its_lease_with_it() {
    let server = Server::start().await;
    let mut config = config(server.url());
    config.service.shutdown_timeout = Duration::from_millis(500);
    config.service.request_timeout = Duration::from_secs(30);
    let held = async |mut conn: CacheConn| -> Result<()> {
        // No request's deadline ends this before half a minute.
        redis::cmd("BLPOP").arg("nothing").arg(0).query_async::<()>(&mut *conn).await?;
        Ok(())
    };
    let mut app = App::start(config, Router::new().route("/held", get(held))).await;
    app.becomes_ready().await;
    let mut client = TcpStream::connect(app.address()).await.unwrap();
    client.write_all(b"GET /held HTTP/1.1\r\nhost: it\r\n\r\n").await.unwrap();
    eventually("the handler waits", async || {
        let info: String = server.ask(&["INFO", "clients"]).await;
        info.contains("blocked_clients:1").then_some(())
    })
    .await;
    let begun = Instant::now();
    app.ask_to_end();
    app.served(SOON).await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(500) + Duration::from_secs(1));
    assert_eq!(timeout(SOON, client.read(&mut [0])).await.unwrap().unwrap_or(0), 0);
    has_left(&server).await;
}

#[tokio::test]
async fn a_service_ends_in_good_order_while_redis_is_away() {
    let mut server = Server::start().await;
    let app = App::start(config(server.url()), routes()).await;
    app.becomes_ready().await;
    server.kill();
    app.answers("/ready", 503).await;
    app.end().await;
}

#[tokio::test]
async fn a_service_ends_in_good_order_while_redis_is_frozen() {
    let server = Server::start().await;
    let mut app = App::start(config(server.url()), routes()).await;
    app.answers("/stored", 200).await;
    server.freeze();
    app.answers("/ready", 503).await;
    app.ask_to_end();
    app.served(SOON).await.unwrap();
    server.thaw();
    has_left(&server).await;
}
