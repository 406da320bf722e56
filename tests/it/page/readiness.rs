//! `/ready` as the page has it: 200 or 503 by what Redis answers, and `optional`.

use serde_json::json;

use super::configuration::World;
use crate::support::{App, Server, eventually};
use acton_service::prelude::*;

/// A service whose file says whether Redis is optional.
async fn service(server: &Server, optional: bool) -> App {
    let text = format!("[redis]\nurl = {:?}\noptional = {optional}\n", server.url());
    let mut config = World::with_file(text).load();
    config.service.bind = [127, 0, 0, 1].into();
    config.service.port = 0;
    App::start(config, Router::new()).await
}

/// `/ready` answers `status`, and the whole of its body is as on the page.
async fn becomes(app: &App, status: u16, healthy: bool) {
    let answer = eventually(&format!("{status}, healthy: {healthy}"), async || {
        let answer = app.get("/ready").await;
        let is_so = answer.json()["dependencies"]["redis"]["healthy"] == healthy;
        (answer.status == status && is_so).then_some(answer)
    })
    .await;
    let body = answer.json();
    let message = body["dependencies"]["redis"]["message"].as_str().unwrap();
    assert!(!message.is_empty());
    let whole = json!({
        "ready": status == 200,
        "service": "my-service",
        "dependencies": {"redis": {"healthy": healthy, "message": message}},
    });
    assert_eq!(body, whole);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(app.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_service_is_ready_while_redis_answers() {
    let mut server = Server::start().await;
    let app = service(&server, false).await;
    becomes(&app, 200, true).await;
    server.kill();
    becomes(&app, 503, false).await;
    server.restart().await;
    becomes(&app, 200, true).await;
}

#[tokio::test]
async fn a_service_is_always_ready_where_redis_is_optional() {
    let mut server = Server::start().await;
    let app = service(&server, true).await;
    becomes(&app, 200, true).await;
    server.kill();
    becomes(&app, 200, false).await;
    server.restart().await;
    becomes(&app, 200, true).await;
}
