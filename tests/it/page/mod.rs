//! What readers of acton-service's page on its cache know: the same names and arguments in the same
//! shapes, against real servers. What counts is what the server holds.

mod configuration;
mod handlers;
mod readiness;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use acton_service::axum::Extension;
use acton_service::axum::http::{Method, Request};
use acton_service::prelude::*;
use serde_json::{Value, json};

use crate::support::{Answer, App, Port, Server, config};

/// Stands where a service would have its database, and counts how often it is asked.
#[derive(Debug, Clone, Default)]
struct Source(Arc<AtomicUsize>);

impl Source {
    fn ask(&self) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn asked(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A service of the page's handlers, and their source.
struct Shop {
    app: App,
    source: Source,
}

impl Shop {
    async fn open(url: String) -> Self {
        let mut config = config(url);
        config.redis.max_connections = 7;
        let source = Source::default();
        let routes = VersionedApiBuilder::new()
            .with_base_path("/api")
            .add_version(ApiVersion::V1, handlers::routes)
            .build_routes();
        let known = Extension(source.clone());
        let app = App::start_with(config, |builder| {
            builder.with_routes(routes).with_middleware(|router| router.layer(known))
        })
        .await;
        Self { app, source }
    }

    async fn open_on(server: &Server) -> Self {
        let shop = Self::open(server.url()).await;
        shop.app.becomes_ready().await;
        shop
    }

    async fn get(&self, path: &str) -> Answer {
        self.app.get(&format!("/api/v1{path}")).await
    }

    async fn read(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// Sends JSON.
    async fn send(&self, method: Method, path: &str, body: &Value) -> Answer {
        let request = Request::builder().method(method).uri(format!("/api/v1{path}"));
        let request = request.header("content-type", "application/json");
        self.app.ask(request.body(body.to_string().into()).unwrap()).await
    }
}

/// What the server holds under `key`.
async fn held(server: &Server, key: &str) -> Option<String> {
    server.ask(&["GET", key]).await
}

/// The server ends `key` after `seconds` from when it was written, which was a moment ago.
async fn ends_after(server: &Server, key: &str, seconds: i64) {
    let left: i64 = server.ask(&["PTTL", key]).await;
    let most = seconds * 1000;
    assert!((most - 20_000..=most).contains(&left), "{key} ends in {left} ms, not in {seconds} s");
}

#[tokio::test]
async fn what_was_read_once_comes_from_the_cache_for_as_long_as_was_said() {
    let server = Server::start().await;
    let shop = Shop::open_on(&server).await;
    let book = json!({"id": 7, "title": "title 7", "asked": 1});
    assert_eq!(shop.read("/books/7").await, book);
    let text = held(&server, "book:7").await.expect("it is cached");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), book);
    ends_after(&server, "book:7", 300).await;
    assert_eq!(shop.read("/books/7").await, book);
    assert_eq!(shop.source.asked(), 1);

    // What another program left there and is no book is passed over, and written anew.
    server.ask::<()>(&["SET", "book:7", "no book"]).await;
    assert_eq!(shop.read("/books/7").await["asked"], 2);
    ends_after(&server, "book:7", 300).await;
}

#[tokio::test]
async fn a_session_has_an_id_and_an_end() {
    let server = Server::start().await;
    let shop = Shop::open_on(&server).await;
    let answer = shop.send(Method::POST, "/sessions", &json!({"reader": 7})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 4);

    let key = format!("session:{id}");
    let session: Value = serde_json::from_str(&held(&server, &key).await.unwrap()).unwrap();
    assert_eq!(session["reader"], 7);
    let begun: chrono::DateTime<chrono::Utc> = session["begun"].as_str().unwrap().parse().unwrap();
    let age = chrono::Utc::now() - begun;
    assert!((0..20).contains(&age.num_seconds()), "{age}");
    ends_after(&server, &key, 3600).await;
}

#[tokio::test]
async fn what_is_costly_is_done_once() {
    let server = Server::start().await;
    let shop = Shop::open_on(&server).await;
    for _ in 0..3 {
        assert_eq!(shop.read("/sales/may").await, json!({"month": "may", "asked": 1}));
    }
    ends_after(&server, "sales:may", 900).await;
    server.ask::<()>(&["DEL", "sales:may"]).await;
    assert_eq!(shop.read("/sales/may").await, json!({"month": "may", "asked": 2}));
}

#[tokio::test]
async fn a_change_takes_the_old_value_out_of_the_cache() {
    let server = Server::start().await;
    let shop = Shop::open_on(&server).await;
    shop.read("/books/7").await;
    assert!(held(&server, "book:7").await.is_some());
    let renamed = shop.send(Method::PUT, "/books/7", &json!({"title": "new"})).await;
    assert_eq!((renamed.status, &renamed.json()["title"]), (200, &json!("new")));
    assert_eq!(held(&server, "book:7").await, None);
}

#[tokio::test]
async fn who_can_do_without_redis_does() {
    let server = Server::start().await;
    let shop = Shop::open_on(&server).await;
    server.ask::<()>(&["SET", "news", r#"{"text":"cached"}"#]).await;
    assert_eq!(shop.read("/news").await["text"], "cached");
    assert_eq!(shop.read("/fallback").await["text"], "cached");
    assert_eq!(shop.source.asked(), 0);

    let port = Port::reserve();
    let shop = Shop::open(port.url()).await;
    for (path, count) in [("/news", 1), ("/fallback", 2)] {
        let answer = shop.get(path).await;
        assert_eq!(answer.json()["text"], format!("source {count}"), "{answer:?}");
        // No line is stood in for a Redis that is known to be away.
        assert!(answer.took < Duration::from_secs(3), "{answer:?}");
    }
}

#[tokio::test]
async fn the_pool_shows_its_leases() {
    let server = Server::start().await;
    let shop = Shop::open_on(&server).await;
    assert_eq!(shop.read("/pool").await, json!({"max_size": 7, "size": 0, "available": 7}));
    let mut conn = shop.app.state.cache().unwrap().get().await.unwrap();
    conn.pin().await.unwrap();
    assert_eq!(server.leases().await, 1);
    assert_eq!(shop.read("/pool").await, json!({"max_size": 7, "size": 1, "available": 6}));
}

#[tokio::test]
async fn a_pipeline_reads_several_keys_and_wants_an_option_for_those_that_may_be_missing() {
    let server = Server::start().await;
    let shop = Shop::open_on(&server).await;
    server.ask::<()>(&["MSET", "key1", "one", "key2", "two", "key3", "three"]).await;
    assert_eq!(shop.read("/pipeline").await, json!(["one", "two", "three"]));
    assert_eq!(shop.read("/pipeline/options").await, json!(["one", "two", "three"]));

    server.ask::<()>(&["DEL", "key2"]).await;
    assert_eq!(shop.read("/pipeline/options").await, json!(["one", null, "three"]));
    let refused = shop.get("/pipeline").await;
    assert_eq!(refused.status, 500, "nil is no String: {refused:?}");
    let status = shop.app.state.cache().unwrap().status();
    assert_eq!(status.available, status.max_size, "it needs no lease");
}

#[tokio::test]
async fn a_value_has_an_end_only_if_one_is_given() {
    let server = Server::start().await;
    let shop = Shop::open_on(&server).await;
    shop.read("/with-end").await;
    assert_eq!(held(&server, "key").await.as_deref(), Some("value"));
    ends_after(&server, "key", 3600).await;
    shop.read("/without-end").await;
    assert_eq!(held(&server, "key").await.as_deref(), Some("value"));
    assert_eq!(server.ask::<i64>(&["TTL", "key"]).await, -1);
}

#[tokio::test]
async fn redis_is_another_name_of_cache() {
    let server = Server::start().await;
    let shop = Shop::open_on(&server).await;
    shop.read("/other-name").await;
    assert_eq!(held(&server, "by").await.as_deref(), Some("redis()"));
}

#[tokio::test]
async fn a_question_mark_takes_each_error_to_its_answer() {
    let server = Server::start().await;
    let shop = Shop::open_on(&server).await;
    server.ask::<()>(&["RPUSH", "list", "secret"]).await;
    for path in ["/errors/redis", "/errors/crate", "/errors/json"] {
        let answer = shop.get(path).await;
        assert_eq!(answer.status, 500, "{path}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert!(
            !answer.text.contains("secret") && !answer.text.contains("WRONGTYPE"),
            "{answer:?}"
        );
    }
    let port = Port::reserve();
    let shop = Shop::open(port.url()).await;
    shop.get("/errors/pool").await.is_unavailable();
}
