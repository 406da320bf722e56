//! A service in this process, and what it answers.

use std::io;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use mainstay::Config;
use mainstay::actor::State;
use mainstay::axum::{body::Body, http::Request};
use mainstay::prelude::*;
use mainstay::testing;

use super::eventually;

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
    inner: testing::App,
}

/// What a request was answered.
#[derive(Debug)]
pub(crate) struct Answer(testing::Answer);

impl App {
    pub(crate) async fn start(config: Config, routes: Router<AppState>) -> Self {
        Self::start_with(config, |builder| builder.with_routes(routes)).await
    }

    pub(crate) async fn start_with(
        config: Config,
        describe: impl FnOnce(ServiceBuilder) -> ServiceBuilder,
    ) -> Self {
        let builder = testing::App::builder("").configure(|default| *default = config);
        let inner = builder.start(describe).await;
        Self { state: inner.state().clone(), inner }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer(self.inner.get(path).await)
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        Answer(self.inner.send(request).await)
    }

    /// As [`get`](Self::get), also where there may be no service any more.
    pub(crate) async fn try_get(&self, path: &str) -> io::Result<Answer> {
        self.inner.try_send(Request::get(path).body(Body::empty()).unwrap()).await.map(Answer)
    }

    /// Its address, for whoever connects by hand.
    pub(crate) fn address(&self) -> &str {
        self.url().trim_start_matches("http://")
    }

    pub(crate) async fn is_ready(&self) -> bool {
        self.get("/ready").await.status == 200
    }

    pub(crate) async fn becomes_ready(&self) {
        self.wait_ready().await;
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

    /// Ends the service in good order.
    pub(crate) async fn end(self) {
        self.inner.end().await;
    }
}

impl Deref for App {
    type Target = testing::App;

    fn deref(&self) -> &testing::App {
        &self.inner
    }
}

impl DerefMut for App {
    fn deref_mut(&mut self) -> &mut testing::App {
        &mut self.inner
    }
}

impl Answer {
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

impl Deref for Answer {
    type Target = testing::Answer;

    fn deref(&self) -> &testing::Answer {
        &self.0
    }
}
