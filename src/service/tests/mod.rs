//! How a service starts and ends, over real sockets and without a Redis.

mod draining;
mod half_closed;

use std::future::{pending, ready};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use crate::Config;
use crate::actor::{Actor, BoxError, Cx, Reply, Request, Server};
use crate::prelude::*;
use crate::web::tests::config;

const SOON: Duration = Duration::from_secs(5);

struct Ask;
impl Request for Ask {
    type Reply = ();
}
enum Message {
    Ask(Ask, Reply<()>),
}
struct Falling;
impl Server for Falling {
    type Message = Message;
    type State = ();

    async fn init(&self, _cx: &Cx<Message>) -> Result<(), BoxError> {
        Ok(())
    }

    async fn handle(
        &self,
        _cx: &Cx<Message>,
        message: Message,
        (): &mut (),
    ) -> Result<(), BoxError> {
        let Message::Ask(Ask, _reply) = message;
        Err("fallen".into())
    }
}

fn falling() -> Actor<Falling> {
    Actor::new("falling", || Falling).accepts(Message::Ask)
}

fn service() -> ServiceBuilder {
    ServiceBuilder::new().with_config(config())
}

async fn send(stream: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
}

/// One response that ends with `end`.
async fn receive(stream: &mut TcpStream, end: &str) -> String {
    let mut received = Vec::new();
    while !received.ends_with(end.as_bytes()) {
        let read = timeout(SOON, stream.read_buf(&mut received)).await.unwrap().unwrap();
        assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&received));
    }
    String::from_utf8(received).unwrap()
}

#[test]
fn a_service_is_described_without_a_runtime() {
    let service = service().with_name("early").with_actor(falling()).build();
    assert!(format!("{service:?}").contains("early"));
}

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_end() {
    let (arrived, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (has_arrived, may_go_on) = (Arc::clone(&arrived), Arc::clone(&go_on));
    let slow = async move || {
        has_arrived.notify_one();
        may_go_on.notified().await;
        "answered"
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let service = service()
        .with_routes(Router::new().route("/slow", get(slow)))
        .with_shutdown(async { drop(stopped.await) })
        .build();
    let bound = service.bind().await.unwrap();
    let (address, state) = (bound.local_addr(), bound.state().clone());

    let client = async {
        let mut idle = TcpStream::connect(address).await.unwrap();
        let mut used = TcpStream::connect(address).await.unwrap();
        send(&mut used, "/health").await;
        receive(&mut used, "}").await;
        let mut busy = TcpStream::connect(address).await.unwrap();
        send(&mut busy, "/slow").await;
        arrived.notified().await;
        stop.send(()).unwrap();
        // Connections without a request are closed while the request is under way.
        for stream in [&mut idle, &mut used] {
            assert_eq!(timeout(SOON, stream.read(&mut [0])).await.unwrap().unwrap(), 0);
        }
        assert!(!state.is_running());
        assert!(TcpStream::connect(address).await.is_err(), "no new connections are taken");
        go_on.notify_one();
        receive(&mut busy, "answered").await;
    };
    let (served, ()) = timeout(SOON, async { tokio::join!(bound.serve(), client) }).await.unwrap();
    served.unwrap();
}

#[tokio::test]
async fn a_request_that_was_on_its_way_is_answered_and_its_connection_closed() {
    let (stop, stopped) = oneshot::channel::<()>();
    let bound =
        service().with_shutdown(async { drop(stopped.await) }).build().bind().await.unwrap();
    let address = bound.local_addr();
    let client = async {
        let mut used = TcpStream::connect(address).await.unwrap();
        send(&mut used, "/health").await;
        let first = receive(&mut used, "}").await;
        assert!(!first.contains("connection: close"), "{first}");
        stop.send(()).unwrap();
        while TcpStream::connect(address).await.is_ok() {}
        send(&mut used, "/health").await;
        let last = receive(&mut used, "}").await;
        assert!(last.starts_with("HTTP/1.1 200") && last.contains("connection: close"), "{last}");
        assert_eq!(timeout(SOON, used.read(&mut [0])).await.unwrap().unwrap(), 0);
    };
    let (served, ()) = timeout(SOON, async { tokio::join!(bound.serve(), client) }).await.unwrap();
    served.unwrap();
}

#[tokio::test]
async fn a_request_without_end_is_cut_off_in_time() {
    let mut config = config();
    config.service.shutdown_timeout = Duration::from_millis(200);
    let arrived = Arc::new(Notify::new());
    let has_arrived = Arc::clone(&arrived);
    let endless = async move || {
        has_arrived.notify_one();
        pending::<()>().await;
    };
    let service = service()
        .with_config(config)
        .with_routes(Router::new().route("/endless", get(endless)))
        .with_shutdown(async move { arrived.notified().await })
        .build();
    let bound = service.bind().await.unwrap();
    let mut client = TcpStream::connect(bound.local_addr()).await.unwrap();
    send(&mut client, "/endless").await;
    timeout(SOON, bound.serve()).await.unwrap().unwrap();
    assert_eq!(timeout(SOON, client.read(&mut [0])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn while_a_service_drains_it_answers_and_is_not_ready() {
    let mut config = config();
    config.service.drain_delay = Duration::from_secs(1);
    let (stop, stopped) = oneshot::channel::<()>();
    let service =
        service().with_config(config).with_shutdown(async { drop(stopped.await) }).build();
    let bound = service.bind().await.unwrap();
    let (address, state) = (bound.local_addr(), bound.state().clone());
    let client = async {
        stop.send(()).unwrap();
        while state.is_running() {
            tokio::task::yield_now().await;
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        send(&mut stream, "/ready").await;
        let ready = receive(&mut stream, "}").await;
        assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
        assert!(ready.contains(r#""ready":false"#), "{ready}");
    };
    let (served, ()) = timeout(SOON, async { tokio::join!(bound.serve(), client) }).await.unwrap();
    served.unwrap();
}

#[tokio::test]
async fn a_service_whose_actors_cannot_be_kept_running_ends_with_the_cause() {
    let mut config = config();
    config.supervision.intensity = 1;
    config.supervision.backoff_min = Duration::from_millis(1);
    config.supervision.backoff_max = Duration::from_millis(1);
    let service =
        service().with_config(config).with_actor(falling()).with_shutdown(pending()).build();
    let bound = service.bind().await.unwrap();
    let state = bound.state().clone();
    let client = async {
        while state.is_running() {
            state.ask(Ask).await.ok();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let (served, ()) = timeout(SOON, async { tokio::join!(bound.serve(), client) }).await.unwrap();
    let error = served.unwrap_err();
    assert!(matches!(error, Error::GaveUp(_)));
    let line = format!("{error:?}");
    assert!(line.contains("falling") && line.contains("fallen"), "{line}");
    assert!(!line.contains('\n'), "{line}");
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_says_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config();
    config.service.port = taken.local_addr().unwrap().port();
    let error = service().with_config(config).build().serve().await.unwrap_err();
    assert!(matches!(error, Error::Listen { .. }));
    assert!(format!("{error:?}").contains("ACTON_SERVICE_PORT"), "{error:?}");
}

#[tokio::test]
async fn two_takers_of_one_message_are_an_error_that_names_them() {
    let again = Actor::new("again", || Falling).accepts(Message::Ask);
    let error =
        service().with_actor(falling()).with_actor(again).build().serve().await.unwrap_err();
    assert!(matches!(error, Error::Start(_)));
    let line = format!("{error:?}");
    assert!(line.contains("falling") && line.contains("again") && line.contains("Ask"), "{line}");
}

#[tokio::test]
async fn two_services_live_in_one_process() {
    let bind = async |name: &str| {
        service().with_name(name).with_shutdown(ready(())).build().bind().await.unwrap()
    };
    let (first, second) = (bind("first").await, bind("second").await);
    assert_ne!(first.local_addr(), second.local_addr());
    assert_eq!(first.state().config().service.name, "first");
    let (first, second) = tokio::join!(first.serve(), second.serve());
    first.unwrap();
    second.unwrap();
}

#[tokio::test]
async fn a_service_listens_on_the_socket_it_was_given() {
    let standard = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let tokio = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = [standard.local_addr().unwrap(), tokio.local_addr().unwrap()];
    let services = [service().with_listener(standard), service().with_listener(tokio)];
    for (service, address) in services.into_iter().zip(addresses) {
        let (stop, stopped) = oneshot::channel::<()>();
        let service = service.with_shutdown(async { drop(stopped.await) }).build();
        let bound = service.bind().await.unwrap();
        assert_eq!(bound.local_addr(), address);
        let client = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            send(&mut stream, "/health").await;
            assert!(receive(&mut stream, "}").await.starts_with("HTTP/1.1 200"));
            stop.send(()).unwrap();
        };
        let (served, ()) =
            timeout(SOON, async { tokio::join!(bound.serve(), client) }).await.unwrap();
        served.unwrap();
    }
}

#[tokio::test]
async fn a_connection_whose_handler_panics_unguarded_is_cut_and_no_other() {
    async fn panics() {
        panic!("unguarded");
    }
    let mut config = config();
    config.service.panic_guard = false;
    let (stop, stopped) = oneshot::channel::<()>();
    let service = service()
        .with_config(config)
        .with_routes(Router::new().route("/panics", get(panics)))
        .with_shutdown(async { drop(stopped.await) })
        .build();
    let bound = service.bind().await.unwrap();
    let address = bound.local_addr();
    let client = async {
        let mut other = TcpStream::connect(address).await.unwrap();
        let mut panicked = TcpStream::connect(address).await.unwrap();
        send(&mut panicked, "/panics").await;
        assert_eq!(timeout(SOON, panicked.read(&mut [0])).await.unwrap().unwrap(), 0);
        send(&mut other, "/health").await;
        assert!(receive(&mut other, "}").await.starts_with("HTTP/1.1 200"));
        stop.send(()).unwrap();
    };
    let (served, ()) = timeout(SOON, async { tokio::join!(bound.serve(), client) }).await.unwrap();
    served.unwrap();
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_the_keep_alive_timeout_and_no_busy_one() {
    let limit = Duration::from_millis(200);
    let mut config = config();
    config.service.keep_alive_timeout = limit;
    let (arrived, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (has_arrived, may_go_on) = (Arc::clone(&arrived), Arc::clone(&go_on));
    let slow = async move || {
        has_arrived.notify_one();
        may_go_on.notified().await;
        "answered"
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let service = service()
        .with_config(config)
        .with_routes(Router::new().route("/slow", get(slow)))
        .with_shutdown(async { drop(stopped.await) });
    let bound = service.build().bind().await.unwrap();
    let address = bound.local_addr();
    let client = async {
        let mut busy = TcpStream::connect(address).await.unwrap();
        send(&mut busy, "/slow").await;
        arrived.notified().await;
        let mut used = TcpStream::connect(address).await.unwrap();
        send(&mut used, "/health").await;
        receive(&mut used, "}").await;
        let begun = Instant::now();
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut hesitant = TcpStream::connect(address).await.unwrap();
        hesitant.write_all(b"GET /health HT").await.unwrap();
        for stream in [&mut used, &mut silent, &mut hesitant] {
            // Without an answer, or with 408.
            let mut rest = Vec::new();
            timeout(SOON, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
        }
        assert!(begun.elapsed() > limit / 2, "{:?}", begun.elapsed());
        go_on.notify_one();
        receive(&mut busy, "answered").await;
        stop.send(()).unwrap();
    };
    let (served, ()) = timeout(SOON, async { tokio::join!(bound.serve(), client) }).await.unwrap();
    served.unwrap();
}

/// What a service answers to a POST of so many bytes to `/`, on its socket.
async fn posted(config: Config, len_bytes: usize) -> String {
    async fn length(body: String) -> String {
        body.len().to_string()
    }
    let routes = Router::new().route("/", post(length));
    let serving = half_closed::Serving::start(routes, |default| *default = config).await;
    let mut client = serving.connect().await;
    let head = format!(
        "POST / HTTP/1.1\r\nhost: test\r\norigin: https://a.example\r\naccept-encoding: gzip\r\n\
         connection: close\r\ncontent-length: {len_bytes}\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await.unwrap();
    // One that is refused need not be read.
    client.write_all(&vec![b'x'; len_bytes]).await.ok();
    let mut answer = vec![0; 15];
    timeout(SOON, client.read_exact(&mut answer)).await.unwrap().unwrap();
    let mut rest = Vec::new();
    timeout(SOON, client.read_to_end(&mut rest)).await.unwrap().ok();
    answer.extend(rest);
    serving.end().await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn what_the_service_wraps_its_routes_in_is_there_on_its_socket_too() {
    let usual = config().service.body_limit;
    let cases =
        [(usual, usual, "200"), (usual, usual + 1, "413"), (10, 10, "200"), (10, 11, "413")];
    for (limit, len_bytes, status) in cases {
        for cors in ["off", "*"] {
            let mut config = config();
            config.service.body_limit = limit;
            config.service.cors = cors.to_owned();
            let answer = posted(config, len_bytes).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{limit}: {answer:.200}");
            assert!(answer.contains("\r\nx-request-id: "), "{answer:.300}");
            assert_eq!(answer.contains("\r\naccess-control-allow-origin: *"), cors == "*");
        }
    }
}

#[tokio::test]
async fn the_paths_of_the_service_are_its_own_on_its_socket_too() {
    async fn mine() -> &'static str {
        "mine"
    }
    let routes = Router::new().route("/health", get(mine)).route("/health/mine", get(mine));
    let serving = half_closed::Serving::start(routes, |_| {}).await;
    let mut client = serving.connect().await;
    send(&mut client, "/health?all").await;
    assert!(receive(&mut client, "}").await.contains(r#""status":"healthy""#));
    send(&mut client, "/health/mine").await;
    receive(&mut client, "mine").await;
    client.write_all(b"POST /ready HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    let refused = receive(&mut client, "}").await;
    assert!(refused.starts_with("HTTP/1.1 405") && refused.contains("problem+json"), "{refused}");
    serving.end().await;
}

#[tokio::test]
async fn a_connection_is_idle_from_the_end_of_its_request_on() {
    let mut config = config();
    config.service.keep_alive_timeout = Duration::from_millis(800);
    let go_on = Arc::new(Notify::new());
    let may_go_on = Arc::clone(&go_on);
    let slow = async move |body: String| {
        may_go_on.notified().await;
        body
    };
    let routes = Router::new().route("/slow", post(slow));
    let serving = half_closed::Serving::start(routes, |default| *default = config).await;
    let mut client = serving.connect().await;
    for _ in 0..2 {
        let head = "POST /slow HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\n";
        client.write_all(head.as_bytes()).await.unwrap();
        // The body comes later, and the answer later than a connection may be idle.
        serving.looks_around().await;
        client.write_all(b"body").await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        go_on.notify_one();
        receive(&mut client, "body").await;
        serving.looks_around().await;
    }
    serving.end().await;
}

#[tokio::test]
async fn every_connection_that_the_system_has_accepted_is_answered_at_the_end() {
    // One more than what tokio lets a task do in one go, and as many as Linux queues where `somaxconn` is 128.
    const QUEUED: usize = 129;
    let (stop, stopped) = oneshot::channel::<()>();
    let service = service().with_config(config()).with_shutdown(async { drop(stopped.await) });
    let bound = service.build().bind().await.unwrap();
    let address = bound.local_addr();
    // Nobody accepts yet, and the service is to end at once.
    let mut clients = Vec::new();
    for _ in 0..QUEUED {
        let mut client = TcpStream::connect(address).await.unwrap();
        send(&mut client, "/health").await;
        clients.push(client);
    }
    stop.send(()).unwrap();
    let answered = async {
        for client in &mut clients {
            receive(client, "}").await;
        }
    };
    let (served, ()) =
        timeout(SOON, async { tokio::join!(bound.serve(), answered) }).await.unwrap();
    served.unwrap();
}
