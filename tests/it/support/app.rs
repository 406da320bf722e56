//! A service in this process, and what it answers.

use std::sync::Mutex;
use std::time::Duration;

use mainstay::actor::State;
use mainstay::prelude::*;
use mainstay::{Bound, Config};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::wait::eventually;

/// Longer than any request may take: a request that is not answered by then hangs.
const HUNG: Duration = Duration::from_secs(20);

/// All by default, apart from where the service listens, where Redis is and the time for a request.
pub(crate) fn config(redis_url: impl Into<String>) -> Config {
    let mut config = Config::default();
    config.service.name = "it".into();
    config.service.bind = [127, 0, 0, 1].into();
    config.service.port = 0;
    config.service.request_timeout = Duration::from_secs(5);
    config.redis.url = redis_url.into();
    config
}

/// A service that answers. It ends with the test.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) state: AppState,
    url: String,
    client: reqwest::Client,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    served: JoinHandle<Result<()>>,
}

/// What a request was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
    pub(crate) took: Duration,
}

impl App {
    pub(crate) async fn start(config: Config, routes: Router<AppState>) -> Self {
        Self::start_with(config, |builder| builder.with_routes(routes)).await
    }

    pub(crate) async fn start_with(
        config: Config,
        describe: impl FnOnce(ServiceBuilder) -> ServiceBuilder,
    ) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let builder = ServiceBuilder::new().with_config(config).with_shutdown(async {
            // A test that drops its service does not ask it to end.
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        });
        let bound: Bound = describe(builder).build().bind().await.unwrap();
        let (url, state) = (format!("http://{}", bound.local_addr()), bound.state().clone());
        let client = reqwest::Client::builder().no_proxy().timeout(HUNG).build().unwrap();
        let served = tokio::spawn(bound.serve());
        Self { state, url, client, stop: Mutex::new(Some(stop)), served }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.unwrap()
    }

    /// As [`get`](Self::get), also where there may be no service any more.
    pub(crate) async fn try_get(&self, path: &str) -> reqwest::Result<Answer> {
        let sent = Instant::now();
        let response = self.client.get(format!("{}{path}", self.url)).send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        Ok(Answer { status, headers, text, took: sent.elapsed() })
    }

    /// Its address, for whoever connects by hand.
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    pub(crate) async fn is_ready(&self) -> bool {
        self.get("/ready").await.status == 200
    }

    pub(crate) async fn becomes_ready(&self) {
        eventually("the service is ready", async || self.is_ready().await.then_some(())).await;
    }

    pub(crate) async fn answers(&self, path: &str, status: u16) {
        eventually(&format!("{path} is answered {status}"), async || {
            (self.get(path).await.status == status).then_some(())
        })
        .await;
    }

    /// Every lease is back, and nobody waits for one.
    pub(crate) async fn has_all_leases(&self) {
        let cache = self.state.cache().unwrap();
        eventually("every lease is back", async || {
            let status = cache.status();
            (status.available == status.max_size && status.waiting == 0).then_some(())
        })
        .await;
    }

    /// The id, the state and the restarts of every place in the tree.
    pub(crate) fn nodes(&self) -> Vec<(String, State, u64)> {
        let mut nodes = Vec::new();
        let mut left = vec![self.state.tree()];
        while let Some(node) = left.pop() {
            nodes.push((node.id, node.state, node.restarts));
            left.extend(node.children);
        }
        nodes
    }

    /// The restarts of all actors.
    pub(crate) fn restarts(&self) -> u64 {
        self.nodes().iter().map(|(_, _, restarts)| restarts).sum()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.state.cache().unwrap().status().generation
    }

    /// The process of the embedded server, while there is one.
    #[cfg(feature = "embedded")]
    pub(crate) fn embedded_pid(&self) -> Option<u64> {
        self.state.tree().find("embedded-redis")?.facts.get("pid")?.as_u64()
    }

    /// Asks the service to end.
    pub(crate) fn ask_to_end(&self) {
        let stop = self.stop.lock().unwrap().take().expect("it is asked once");
        stop.send(()).expect("it still runs");
    }

    /// What `serve` returns. It must return within `limit`.
    pub(crate) async fn served(&mut self, limit: Duration) -> Result<()> {
        let served = timeout(limit, &mut self.served).await;
        served.unwrap_or_else(|_| panic!("serve() did not return within {limit:?}")).unwrap()
    }

    /// Ends the service in good order.
    pub(crate) async fn end(mut self) {
        self.ask_to_end();
        self.served(Duration::from_secs(30)).await.unwrap();
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// It says that a part of the service is away, and when to come again.
    #[track_caller]
    pub(crate) fn is_unavailable(&self) {
        assert_eq!(self.status, 503, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let seconds: u64 = self.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{self:?}");
        assert_eq!(self.json()["type"], "urn:mainstay:problem:unavailable", "{self:?}");
    }
}
