//! Clients that close their connection, and streams that a service ends.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use mainstay::actor::{Actor, BoxError, Cx, Server};
use mainstay::axum::Extension;
use mainstay::axum::response::IntoResponse;
use mainstay::axum::response::sse::{self, Sse};
use mainstay::cache::{Event, SubscribeError, Subscription};
use mainstay::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::support::{App, Server as Redis, config, eventually};

/// `/blocked` waits at the server until the deadline of the request.
fn blocked() -> Router<AppState> {
    let blocked = async |mut conn: CacheConn| -> Result<()> {
        redis::cmd("BLPOP").arg("nothing").arg(0).query_async::<()>(&mut *conn).await?;
        Ok(())
    };
    Router::new().route("/blocked", get(blocked))
}

async fn becomes(server: &Redis, blocked_clients: usize) {
    eventually(&format!("{blocked_clients} are blocked"), async || {
        let info: String = server.ask(&["INFO", "clients"]).await;
        info.contains(&format!("blocked_clients:{blocked_clients}\r")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_that_resets_its_connection_ends_its_blocked_command_and_its_lease_is_back() {
    let server = Redis::start().await;
    let mut config = config(server.url());
    config.service.request_timeout = Duration::from_secs(600);
    let app = App::start(config, blocked()).await;
    app.becomes_ready().await;
    let mut client = TcpStream::connect(app.address()).await.unwrap();
    client.write_all(b"GET /blocked HTTP/1.1\r\nhost: it\r\n\r\n").await.unwrap();
    becomes(&server, 1).await;
    client.set_zero_linger().unwrap();
    drop(client);
    becomes(&server, 0).await;
    app.has_all_leases().await;
    app.end().await;
}

#[tokio::test]
async fn a_client_that_closes_its_connection_leaves_its_blocked_command_to_the_deadline() {
    let server = Redis::start().await;
    let mut config = config(server.url());
    config.service.request_timeout = Duration::from_secs(1);
    let app = App::start(config, blocked()).await;
    app.becomes_ready().await;
    let mut client = TcpStream::connect(app.address()).await.unwrap();
    client.write_all(b"GET /blocked HTTP/1.1\r\nhost: it\r\n\r\n").await.unwrap();
    becomes(&server, 1).await;
    drop(client);
    becomes(&server, 0).await;
    app.has_all_leases().await;
    app.end().await;
}

const SOON: Duration = Duration::from_secs(10);

/// Everything that is published on `news`, as server-sent events.
async fn news(
    State(state): State<AppState>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event>>>> {
    let news = state.cache()?.subscribe("news").await?;
    let events = news.map(|event| {
        Ok(match event {
            Event::Message(message) => sse::Event::default().data(message.get::<String>()?),
            Event::Gap(_) => sse::Event::default().event("gap"),
        })
    });
    Ok(Sse::new(events).keep_alive(sse::KeepAlive::default()))
}

/// Sends a request for `path`, and reads until `text` has come.
async fn opens(app: &App, path: &str, text: &str) -> TcpStream {
    let mut client = TcpStream::connect(app.address()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: it\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    reads(&mut client, text).await;
    client
}

async fn reads(client: &mut TcpStream, text: &str) {
    let mut received = Vec::new();
    while !String::from_utf8_lossy(&received).contains(text) {
        let read = timeout(SOON, client.read_buf(&mut received)).await.expect(text).unwrap();
        assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&received));
    }
}

/// The rest of a chunked response, which comes to its end by itself.
async fn ends_well(mut client: TcpStream) -> String {
    let mut received = Vec::new();
    timeout(SOON, client.read_to_end(&mut received)).await.expect("it stays open").unwrap();
    let received = String::from_utf8(received).unwrap();
    assert!(received.ends_with("0\r\n\r\n"), "{received:?}");
    received
}

#[tokio::test]
async fn a_stream_of_a_subscription_ends_with_the_drain_and_holds_nothing_up() {
    let server = Redis::start().await;
    let mut app = App::start(config(server.url()), Router::new().route("/news", get(news))).await;
    app.becomes_ready().await;
    let mut client = opens(&app, "/news", "\r\n\r\n").await;
    assert_eq!(server.ask::<u64>(&["PUBLISH", "news", "first"]).await, 1);
    reads(&mut client, "data: first").await;
    let begun = Instant::now();
    app.ask_to_end();
    // Four fifths of shutdown_timeout are 20 s.
    app.served(SOON).await.unwrap();
    assert!(begun.elapsed() < SOON);
    ends_well(client).await;
}

/// Does nothing. It is made from what all actors are made from.
struct Idle;

impl Server for Idle {
    type Message = ();
    type State = ();

    async fn init(&self, _: &Cx<()>) -> Result<(), BoxError> {
        Ok(())
    }

    async fn handle(&self, _: &Cx<()>, (): (), (): &mut ()) -> Result<(), BoxError> {
        Ok(())
    }
}

async fn payload(subscription: &mut Subscription) -> Option<String> {
    match timeout(SOON, subscription.next()).await.expect("no event")? {
        Event::Message(message) => Some(message.get().unwrap()),
        Event::Gap(gap) => panic!("{gap:?}"),
    }
}

#[tokio::test]
async fn the_subscription_of_an_actor_outlives_those_of_requests_and_ends_after_the_last_request() {
    let server = Redis::start().await;
    let go_on = Arc::new(Notify::new());
    let may_go_on = Arc::clone(&go_on);
    let slow = async move |Extension(begun): Extension<Arc<Notify>>| {
        begun.notify_one();
        may_go_on.notified().await;
    };
    let begun = Arc::new(Notify::new());
    let routes = Router::new().route("/slow", get(slow)).layer(Extension(Arc::clone(&begun)));
    let actors = Arc::new(OnceLock::new());
    let given = Arc::clone(&actors);
    let mut app = App::start_with(config(server.url()), |builder| {
        builder.with_routes(routes).with_actor_using(move |resources| {
            given.set(resources.cache()?).ok();
            Ok(Actor::new("idle", || Idle))
        })
    })
    .await;
    app.becomes_ready().await;
    let (of_actors, of_requests) = (actors.get().unwrap(), app.state.cache().unwrap());
    let mut lasting = of_actors.subscribe("news").await.unwrap();
    let mut ending = of_requests.subscribe("news").await.unwrap();
    let _client = opens_slowly(&app, &begun).await;
    app.ask_to_end();
    timeout(SOON, app.state.draining()).await.unwrap();
    assert_eq!(payload(&mut ending).await, None);
    assert_eq!(server.ask::<u64>(&["PUBLISH", "news", "late"]).await, 1);
    assert_eq!(payload(&mut lasting).await.as_deref(), Some("late"));
    let refused = of_requests.subscribe("news").await.unwrap_err();
    assert!(matches!(refused, SubscribeError::Closed), "{refused:?}");
    assert_eq!(Error::from(refused).into_response().status(), 503);
    let _another = of_actors.subscribe("sport").await.unwrap();
    go_on.notify_one();
    app.served(SOON).await.unwrap();
    assert_eq!(payload(&mut lasting).await, None);
}

/// A request that is under way.
async fn opens_slowly(app: &App, begun: &Notify) -> TcpStream {
    let mut client = TcpStream::connect(app.address()).await.unwrap();
    client.write_all(b"GET /slow HTTP/1.1\r\nhost: it\r\n\r\n").await.unwrap();
    timeout(SOON, begun.notified()).await.unwrap();
    client
}
