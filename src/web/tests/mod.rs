//! What a request meets on its way to a handler, without a socket and without a Redis.

mod app;
mod edge;

use std::future::pending;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Extension, FromRef};
use axum::http::{Request, Response};
use mainstay_actors::deadline;
use serde_json::Value;
use tower::ServiceExt;

use crate::Config;
use crate::actor::{self, Actor, BoxError, Cx, Reply, Server};
use crate::prelude::*;
use crate::web::RequestId;

/// A configuration whose Redis is not there.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.service.name = "test".to_owned();
    config.service.bind = [127, 0, 0, 1].into();
    config.service.port = 0;
    #[cfg(feature = "cache")]
    {
        config.redis.url = "unix:///nonexistent/redis.sock".to_owned();
    }
    config
}

async fn send(builder: ServiceBuilder, request: Request<Body>) -> Response<Body> {
    let (router, state) = builder.build().into_router().await.unwrap();
    let response = router.oneshot(request).await.unwrap();
    state.shutdown(Duration::from_secs(5)).await;
    response
}

fn service(routes: Router<AppState>) -> ServiceBuilder {
    ServiceBuilder::new().with_config(config()).with_routes(routes)
}

fn a_get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

async fn text_of(response: Response<Body>) -> String {
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

async fn problem_of(response: Response<Body>) -> Value {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    serde_json::from_str(&text_of(response).await).unwrap()
}

#[tokio::test]
async fn a_request_keeps_its_id_on_its_whole_way() {
    async fn shown(Extension(id): Extension<RequestId>) -> String {
        assert_eq!(RequestId::current().as_ref(), Some(&id));
        id.as_str().to_owned()
    }
    let request = Request::get("/").header("x-request-id", "from-the-client").body(Body::empty());
    let response = send(service(Router::new().route("/", get(shown))), request.unwrap()).await;
    assert_eq!(response.headers()["x-request-id"], "from-the-client");
    assert_eq!(text_of(response).await, "from-the-client");
}

#[tokio::test]
async fn a_handler_that_panics_is_answered_500() {
    async fn panics() {
        panic!("secret");
    }
    let response = send(service(Router::new().route("/", get(panics))), a_get("/")).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let problem = problem_of(response).await;
    assert_eq!(problem["request_id"], id);
    assert!(!problem.to_string().contains("secret"), "{problem}");
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_cut_off() {
    let cases = [("GET", "deadline"), ("POST", "outcome-unknown")];
    for (method, kind) in cases {
        let mut config = config();
        config.service.request_timeout = Duration::from_millis(20);
        let routes = Router::new().route("/", get(pending::<()>).post(pending::<()>));
        let builder = service(routes).with_config(config);
        let request = Request::builder().method(method).uri("/").body(Body::empty()).unwrap();
        let response = tokio::time::timeout(Duration::from_secs(2), send(builder, request)).await;
        let response = response.expect("the request is cut off long before this");
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
        let problem = problem_of(response).await;
        assert_eq!(problem["type"], format!("urn:mainstay:problem:{kind}"), "{method}");
    }
}

#[tokio::test]
async fn everything_within_a_request_sees_its_deadline() {
    async fn left() -> String {
        let end = deadline::current().unwrap();
        end.saturating_duration_since(tokio::time::Instant::now()).as_millis().to_string()
    }
    let response = send(service(Router::new().route("/", get(left))), a_get("/")).await;
    let left: u64 = text_of(response).await.parse().unwrap();
    assert!((29_000..=30_000).contains(&left), "{left} ms");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    async fn length(body: String) -> String {
        body.len().to_string()
    }
    let mut config = config();
    config.service.body_limit = 10;
    for (length_bytes, status) in [(10, StatusCode::OK), (11, StatusCode::PAYLOAD_TOO_LARGE)] {
        let builder = service(Router::new().route("/", post(length))).with_config(config.clone());
        let request = Request::post("/").body(Body::from("x".repeat(length_bytes))).unwrap();
        assert_eq!(send(builder, request).await.status(), status, "{length_bytes} bytes");
    }
}

#[tokio::test]
async fn middleware_wraps_all_routes_and_never_health_and_readiness() {
    let builder = || {
        ServiceBuilder::new()
            .with_config(config())
            .with_middleware(|router| {
                router.layer(axum::middleware::map_request(async |_: Request<Body>| {
                    Err::<Request<Body>, _>(StatusCode::IM_A_TEAPOT)
                }))
            })
            .with_routes(
                Router::new().route("/", get(async || "")).route("/health", post(async || "")),
            )
    };
    assert_eq!(send(builder(), a_get("/")).await.status(), StatusCode::IM_A_TEAPOT);
    let health = send(builder().with_version("1.2.3"), a_get("/health")).await;
    assert_eq!(health.status(), StatusCode::OK);
    let health: Value = serde_json::from_str(&text_of(health).await).unwrap();
    let wanted = serde_json::json!({"status": "healthy", "service": "test", "version": "1.2.3"});
    assert_eq!(health, wanted);
    let ready = send(builder(), a_get("/ready")).await;
    assert_ne!(ready.status(), StatusCode::IM_A_TEAPOT);
    let ready: Value = serde_json::from_str(&text_of(ready).await).unwrap();
    assert_eq!(ready["service"], "test");
}

#[tokio::test]
async fn routes_have_the_state_they_were_written_for() {
    #[derive(Clone)]
    struct Own {
        app: AppState,
        motto: &'static str,
    }
    impl FromRef<Own> for AppState {
        fn from_ref(own: &Own) -> Self {
            own.app.clone()
        }
    }
    async fn name(State(app): State<AppState>) -> String {
        app.config().service.name.clone()
    }
    async fn motto(State(own): State<Own>) -> &'static str {
        own.motto
    }
    let builder = || {
        let routes = Router::<AppState>::new().route("/early", get(name));
        ServiceBuilder::new()
            .with_routes(routes)
            .with_state(|app| Own { app, motto: "stay" })
            .with_routes(Router::<Own>::new().route("/motto", get(motto)).route("/late", get(name)))
            .with_config(config())
            .with_name("named")
    };
    for (path, wanted) in [("/early", "named"), ("/motto", "stay"), ("/late", "named")] {
        let (router, state) = builder().build().into_router().await.unwrap();
        let response = router.oneshot(a_get(path)).await.unwrap();
        assert_eq!(text_of(response).await, wanted, "{path}");
        state.shutdown(Duration::from_secs(5)).await;
    }
}

struct Double(u64);
impl actor::Request for Double {
    type Reply = u64;
}
enum Message {
    Double(Double, Reply<u64>),
}
struct Calculator;
impl Server for Calculator {
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
        let Message::Double(Double(number), reply) = message;
        reply.send(2 * number);
        Ok(())
    }
}

async fn doubled(Path(number): Path<u64>, double: Recipient<Double>) -> Result<String> {
    Ok(double.ask(Double(number)).await?.to_string())
}

#[tokio::test]
async fn a_handler_reaches_an_actor_by_the_type_of_its_message() {
    let builder = service(Router::new().route("/{number}", get(doubled)))
        .with_actor(Actor::new("calculator", || Calculator).accepts(Message::Double));
    assert_eq!(text_of(send(builder, a_get("/21")).await).await, "42");
}

#[tokio::test]
async fn a_message_that_nobody_takes_is_answered_500_without_its_name() {
    let response =
        send(service(Router::new().route("/{number}", get(doubled))), a_get("/21")).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let problem = problem_of(response).await;
    assert!(!problem.to_string().contains("Double"), "{problem}");
}

#[cfg(feature = "cache")]
mod without_redis {
    use tokio::time::Instant;

    use super::*;

    /// Sends until the health monitor has found out that Redis is away.
    async fn send_when_known(builder: ServiceBuilder, path: &str) -> Response<Body> {
        let (router, state) = builder.build().into_router().await.unwrap();
        let give_up = Instant::now() + Duration::from_secs(10);
        while state.ask(crate::cache::GetHealth).await.is_ok_and(|health| !health.breaker_open) {
            assert!(Instant::now() < give_up, "the breaker never opened");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let response = router.oneshot(a_get(path)).await.unwrap();
        state.shutdown(Duration::from_secs(5)).await;
        response
    }

    #[tokio::test]
    async fn a_handler_that_needs_a_connection_is_answered_503_at_once() {
        async fn needs(_conn: CacheConn) {}
        let begun = Instant::now();
        let response = send_when_known(service(Router::new().route("/", get(needs))), "/").await;
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
        let problem = problem_of(response).await;
        assert_eq!(problem["type"], "urn:mainstay:problem:unavailable");
        assert!(!problem.to_string().contains("nonexistent"), "{problem}");
    }

    #[tokio::test]
    async fn a_handler_that_can_do_without_a_connection_is_not_stopped() {
        async fn can_do_without(conn: Option<CacheConn>) -> &'static str {
            if conn.is_some() { "with" } else { "without" }
        }
        let routes = Router::new().route("/", get(can_do_without));
        assert_eq!(text_of(send_when_known(service(routes), "/").await).await, "without");
    }

    #[tokio::test]
    async fn a_connection_that_a_handler_can_do_without_takes_half_of_its_time_at_most() {
        async fn can_do_without(conn: Option<CacheConn>) -> String {
            let left = deadline::current().unwrap() - tokio::time::Instant::now();
            assert!(conn.is_none());
            left.as_millis().to_string()
        }
        // It takes connections and never answers, and nobody finds that out before the deadline.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = config();
        config.service.request_timeout = Duration::from_millis(400);
        config.redis.url = format!("redis://{}", silent.local_addr().unwrap());
        config.redis.connect_timeout = Duration::from_secs(30);
        config.redis.probe_timeout = Duration::from_secs(30);
        let routes = Router::new().route("/", get(can_do_without));
        let response = send(service(routes).with_config(config), a_get("/")).await;
        assert_eq!(response.status(), StatusCode::OK);
        let left: u64 = text_of(response).await.parse().unwrap();
        assert!((1..=200).contains(&left), "{left} ms");
    }

    #[tokio::test]
    async fn an_unhealthy_redis_is_shown_by_ready() {
        let response = send_when_known(service(Router::new()), "/ready").await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let ready: Value = serde_json::from_str(&text_of(response).await).unwrap();
        assert_eq!(ready["ready"], false);
        assert_eq!(ready["dependencies"]["redis"]["healthy"], false);
    }
}
