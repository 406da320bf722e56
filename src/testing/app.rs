use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Builder;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::Answer;
use super::client::Client;
use super::wait::SOON;
use crate::{AppState, Config, Result, ServiceBuilder};

/// A service that answers, in the process of the test and on a free port of loopback. It ends with this value.
///
/// Requests go over the socket, through all that the service wraps its routes in.
#[derive(Debug)]
pub struct App {
    state: AppState,
    address: SocketAddr,
    url: String,
    client: Client,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    /// None once it was waited for.
    served: Option<JoinHandle<Result<()>>>,
}

/// How an [`App`] is configured.
#[must_use]
pub struct AppBuilder {
    config: Config,
}

impl AppBuilder {
    /// Changes the configuration: `|config| config.service.request_timeout = Duration::from_secs(1)`.
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Starts the service that `describe` describes. It does not wait for Redis, as no service does.
    ///
    /// A configuration and an end that `describe` gives do not count: those of the test do.
    ///
    /// # Panics
    /// If the service cannot be started: with what [`Service::bind`](crate::Service::bind) says.
    pub async fn start<S: Clone + Send + Sync + 'static>(
        self,
        describe: impl FnOnce(ServiceBuilder) -> ServiceBuilder<S>,
    ) -> App {
        let (stop, stopped) = oneshot::channel::<()>();
        let builder =
            describe(ServiceBuilder::new()).with_config(self.config).with_shutdown(async {
                // A test that drops its service does not ask it to end.
                if stopped.await.is_err() {
                    std::future::pending::<()>().await;
                }
            });
        let bound = builder.build().bind().await;
        let bound = bound.unwrap_or_else(|error| panic!("the service does not start: {error}"));
        let (address, state) = (bound.local_addr(), bound.state().clone());
        #[expect(
            clippy::disallowed_methods,
            reason = "the app owns it, and aborts it when dropped"
        )]
        let served = tokio::spawn(bound.serve());
        let url = format!("http://{address}");
        let client = Client::of(&url);
        App { state, address, url, client, stop: Mutex::new(Some(stop)), served: Some(served) }
    }
}

impl App {
    /// Starts the service that `describe` describes, with its Redis at `redis_url`:
    /// `|service| service.with_routes(routes())`. No file is read, and no variable.
    ///
    /// # Panics
    /// As [`AppBuilder::start`].
    pub async fn start<S: Clone + Send + Sync + 'static>(
        redis_url: impl Into<String>,
        describe: impl FnOnce(ServiceBuilder) -> ServiceBuilder<S>,
    ) -> Self {
        Self::builder(redis_url).start(describe).await
    }

    /// A configuration of all defaults, apart from: Redis at `redis_url`, any free port of 127.0.0.1, and a log of warnings
    /// alone.
    pub fn builder(redis_url: impl Into<String>) -> AppBuilder {
        let mut config = Config::default();
        config.service.bind = Ipv4Addr::LOCALHOST.into();
        config.service.port = 0;
        config.service.log_level = "warn".into();
        config.redis.url = redis_url.into();
        AppBuilder { config }
    }

    /// `http://127.0.0.1:<port>`, for clients of your own.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its handlers share.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Waits until `/ready` is answered 200.
    ///
    /// # Panics
    /// If that takes longer than 10 s: with what `/ready` said last.
    pub async fn wait_ready(&self) {
        self.wait_ready_within(SOON).await;
    }

    /// As [`wait_ready`](Self::wait_ready), for as long as `limit`.
    ///
    /// # Panics
    /// If it takes longer.
    pub async fn wait_ready_within(&self, limit: Duration) {
        let end = Instant::now() + limit;
        loop {
            let Answer { status, text, .. } = self.get("/ready").await;
            if status == 200 {
                return;
            }
            assert!(
                Instant::now() < end,
                "not ready within {limit:?}: /ready says {status}, {text}"
            );
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Asks for a path.
    ///
    /// # Panics
    /// If the path is none, or if there is no answer, or none within 60 s.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(request(Request::get(path), Body::empty())).await
    }

    /// Sends JSON to a path.
    ///
    /// # Panics
    /// As [`get`](Self::get).
    pub async fn post(&self, path: &str, body: &impl Serialize) -> Answer {
        let body = serde_json::to_vec(body)
            .unwrap_or_else(|error| panic!("the body cannot be written as JSON: {error}"));
        let head = Request::post(path).header(CONTENT_TYPE, "application/json");
        self.send(request(head, Body::from(body))).await
    }

    /// Sends any other request: `Request::delete("/users/1").header("authorization", token).body(Body::empty())`, with the
    /// `Request` of `axum::http`. Its address is a path.
    ///
    /// # Panics
    /// As [`get`](Self::get).
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let asked = format!("{} {}", request.method(), request.uri());
        self.try_send(request).await.unwrap_or_else(|error| panic!("{asked}: {error:?}"))
    }

    /// As [`send`](Self::send), also where there may be no service any more.
    ///
    /// # Errors
    /// There is no answer, or none within 60 s.
    pub async fn try_send(&self, request: Request<Body>) -> io::Result<Answer> {
        self.client.send(request).await
    }

    /// Asks the service to end, as SIGTERM would. Once is enough.
    pub fn ask_to_end(&self) {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(stop) = stop {
            stop.send(()).ok(); // It may have ended by itself.
        }
    }

    /// Waits until the service has ended, and returns what [`serve`](crate::Bound::serve) does.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// If it has not ended after `limit`, if it panicked, or if this was returned before.
    pub async fn served(&mut self, limit: Duration) -> Result<()> {
        let Some(serving) = &mut self.served else { panic!("its end was waited for before") };
        let served = timeout(limit, serving).await;
        let served = served.unwrap_or_else(|_| panic!("the service has not ended after {limit:?}"));
        self.served = None;
        served.unwrap_or_else(|error| panic!("the service panicked: {error}"))
    }

    /// Ends the service in good order, unless [`served`](Self::served) has seen its end.
    ///
    /// # Panics
    /// If it takes longer than `service.shutdown_timeout` and 5 s, or if [`serve`](crate::Bound::serve) returns an error.
    pub async fn end(mut self) {
        if self.served.is_none() {
            return;
        }
        self.ask_to_end();
        let limit = self.state.config().service.shutdown_timeout + Duration::from_secs(5);
        let served = self.served(limit).await;
        served.unwrap_or_else(|error| panic!("the service ended badly: {error}"));
    }
}

fn request(head: Builder, body: Body) -> Request<Body> {
    head.body(body).unwrap_or_else(|error| panic!("a path as in \"/users/1\" is wanted: {error}"))
}

impl Drop for App {
    fn drop(&mut self) {
        if let Some(served) = &self.served {
            served.abort();
        }
    }
}

impl fmt::Debug for AppBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppBuilder").field("service", &self.config.service).finish_non_exhaustive()
    }
}
