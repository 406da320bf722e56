//! What each switch of `[service]` does.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use axum::extract::DefaultBodyLimit;
use futures_util::{FutureExt, stream};
use tracing::instrument::WithSubscriber;

use super::*;

fn configured(routes: Router<AppState>, configure: impl FnOnce(&mut Config)) -> ServiceBuilder {
    let mut config = config();
    configure(&mut config);
    service(routes).with_config(config)
}

#[tokio::test]
async fn an_error_without_a_body_is_problem_details() {
    let routes = || {
        Router::new()
            .route("/here", post(async || ""))
            .route("/teapot", get(async || StatusCode::IM_A_TEAPOT))
    };
    let cases = [("/nowhere", 404, "Not Found"), ("/teapot", 418, "I'm a teapot")];
    for (path, status, title) in cases {
        let response = send(service(routes()), a_get(path)).await;
        assert_eq!(response.status(), status);
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let problem = problem_of(response).await;
        assert_eq!((&problem["title"], &problem["status"]), (&title.into(), &status.into()));
        assert_eq!(problem["request_id"], id);
    }
    let response = send(service(routes()), a_get("/here")).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()["allow"], "POST");
    assert_eq!(problem_of(response).await["title"], "Method Not Allowed");
    let to_ready = Request::post("/ready").body(Body::empty()).unwrap();
    let response = send(service(routes()), to_ready).await;
    assert_eq!(response.headers()["allow"], "GET,HEAD");
    assert_eq!(problem_of(response).await["status"], 405);
}

#[tokio::test]
async fn an_error_that_says_something_is_left_as_it_is() {
    let said = async || (StatusCode::NOT_FOUND, "no such user");
    let response = send(service(Router::new().route("/", get(said))), a_get("/")).await;
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(text_of(response).await, "no such user");
    let fallback = Router::new().fallback(async || (StatusCode::NOT_FOUND, "lost"));
    assert_eq!(text_of(send(service(fallback), a_get("/nowhere")).await).await, "lost");
}

#[tokio::test]
async fn without_request_ids_nothing_has_one() {
    let fails = async || Err::<(), _>(Error::conflict("taken"));
    let routes = Router::new().route("/", get(fails));
    let builder = configured(routes, |config| config.service.request_id = false);
    let response = send(builder, a_get("/")).await;
    assert_eq!(response.status(), StatusCode::CONFLICT);
    assert!(!response.headers().contains_key("x-request-id"));
    assert_eq!(problem_of(response).await.get("request_id"), None);
}

#[tokio::test]
async fn without_the_panic_guard_a_panic_goes_through() {
    async fn panics() {
        panic!("through");
    }
    let builder = configured(Router::new().route("/", get(panics)), |config| {
        config.service.panic_guard = false;
    });
    let sent = AssertUnwindSafe(send(builder, a_get("/"))).catch_unwind().await;
    assert_eq!(sent.unwrap_err().downcast_ref(), Some(&"through"));
}

#[tokio::test]
async fn a_route_may_have_a_body_limit_of_its_own() {
    async fn length(body: String) -> String {
        body.len().to_string()
    }
    let routes = Router::new()
        .route("/usual", post(length))
        .route("/large", post(length).layer(DefaultBodyLimit::max(20)));
    for (path, status) in [("/usual", StatusCode::PAYLOAD_TOO_LARGE), ("/large", StatusCode::OK)] {
        let builder = configured(routes.clone(), |config| config.service.body_limit = 10);
        let request = Request::post(path).body(Body::from("x".repeat(20))).unwrap();
        assert_eq!(send(builder, request).await.status(), status, "{path}");
    }
}

#[tokio::test]
async fn responses_are_compressed_where_that_is_switched_on_and_asked_for() {
    let cases = [(true, "gzip, br", true), (true, "identity", false), (false, "gzip", false)];
    for (compression, accepts, is_compressed) in cases {
        let routes = Router::new().route("/", get(async || "x".repeat(1000)));
        let builder = configured(routes, |config| config.service.compression = compression);
        let request = Request::get("/").header("accept-encoding", accepts).body(Body::empty());
        let response = send(builder, request.unwrap()).await;
        let encoding = response.headers().get("content-encoding");
        assert_eq!(encoding.is_some_and(|encoding| encoding == "gzip"), is_compressed, "{accepts}");
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert_eq!(body.len() < 1000, is_compressed, "{} bytes", body.len());
    }
}

#[tokio::test]
async fn a_stream_is_compressed_to_its_end_and_not_asked_beyond() {
    let lines = || {
        // Panics when it is asked once more after its end.
        let lines =
            stream::unfold(0, async |n| (n < 3).then_some((io::Result::Ok("line\n"), n + 1)));
        Body::from_stream(lines)
    };
    let routes = Router::new().route("/", get(async move || lines()));
    let builder = configured(routes, |config| config.service.compression = true);
    let request = Request::get("/").header("accept-encoding", "gzip").body(Body::empty());
    let response = send(builder, request.unwrap()).await;
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    // The end of gzip is the length of what was compressed (RFC 1952, 2.3.1).
    assert_eq!(body[body.len() - 4..], 15_u32.to_le_bytes());
}

fn from_a_page(method: &str) -> Request<Body> {
    let request = Request::builder().method(method).uri("/slow");
    let request = request.header("origin", "https://shop.example");
    request.header("access-control-request-method", "PUT").body(Body::empty()).unwrap()
}

/// A request that is late, except one that the service's own middleware refuses.
fn service_for_pages(cors: &str) -> ServiceBuilder {
    let routes = Router::new().route("/slow", put(pending::<()>));
    let only_put = async |request: Request<Body>| {
        let is_put = request.method() == "PUT";
        is_put.then_some(request).ok_or(StatusCode::UNAUTHORIZED)
    };
    configured(routes, |config| {
        config.service.cors = cors.to_owned();
        config.service.request_timeout = Duration::from_millis(20);
    })
    .with_middleware(move |router| router.layer(axum::middleware::map_request(only_put)))
}

#[tokio::test]
async fn pages_of_the_origins_that_are_named_may_call_and_read_every_answer() {
    let cases = [
        ("https://app.example, https://shop.example", Some("https://shop.example")),
        ("*", Some("*")),
        ("https://app.example", None),
        ("off", None),
    ];
    for (cors, allowed) in cases {
        let late = send(service_for_pages(cors), from_a_page("PUT")).await;
        assert_eq!(late.status(), StatusCode::GATEWAY_TIMEOUT);
        let refused = send(service_for_pages(cors), from_a_page("GET")).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        let preflight = send(service_for_pages(cors), from_a_page("OPTIONS")).await;
        for response in [&preflight, &late, &refused] {
            let origin = response.headers().get("access-control-allow-origin");
            assert_eq!(origin.map(|origin| origin.to_str().unwrap()), allowed, "{cors}");
        }
        if allowed.is_some() {
            assert_eq!(preflight.status(), StatusCode::OK);
            assert_eq!(preflight.headers()["access-control-allow-methods"], "PUT");
        }
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the access log says of `work`.
async fn access_log_of(work: impl Future<Output = ()>) -> Vec<String> {
    let work = Box::pin(work);
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false);
    let subscriber = subscriber.with_writer(move || writer.clone()).finish();
    work.with_subscriber(subscriber).await;
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let lines = text.lines().filter(|line| line.contains("mainstay::access"));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn each_request_is_a_line_of_the_access_log_without_its_query() {
    let routes = || Router::new().route("/users/{id}", get(async || StatusCode::ACCEPTED));
    let logged = || configured(routes(), |config| config.service.access_log = true);
    let lines = Box::pin(access_log_of(async {
        let request = Request::get("/users/7?token=hunter2").header("x-request-id", "seven");
        send(logged(), request.body(Body::empty()).unwrap()).await;
        send(logged(), a_get("/health")).await;
        send(service(routes()), a_get("/users/8")).await;
    }))
    .await;
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    for part in [r#"method=GET path="/users/7" status=202"#, r#"request_id="seven""#, "answered"] {
        assert!(line.contains(part), "{line}");
    }
    assert!(!line.contains("hunter2"), "{line}");
}

#[tokio::test]
async fn a_panic_that_goes_through_is_a_line_of_the_access_log_that_blames_no_client() {
    async fn panics() {
        panic!("through");
    }
    let lines = Box::pin(access_log_of(async {
        let builder = configured(Router::new().route("/", get(panics)), |config| {
            config.service.access_log = true;
            config.service.panic_guard = false;
        });
        let sent = AssertUnwindSafe(send(builder, a_get("/"))).catch_unwind().await;
        sent.unwrap_err();
    }))
    .await;
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(line.contains("not answered") && !line.contains("client"), "{line}");
}

#[tokio::test]
async fn a_client_that_leaves_is_a_line_of_the_access_log_too() {
    let lines = Box::pin(access_log_of(async {
        let endless = Router::new().route("/", get(pending::<()>));
        let builder = configured(endless, |config| config.service.access_log = true);
        let (router, state) = builder.build().into_router().await.unwrap();
        assert!(router.oneshot(a_get("/")).now_or_never().is_none());
        state.shutdown(Duration::from_secs(5)).await;
    }))
    .await;
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(line.contains("not answered") && !line.contains("status"), "{line}");
}
