use std::time::Duration;

use mainstay::prelude::*;
use mainstay::testing::{App, Redis, Weather, eventually};

fn routes() -> Router<AppState> {
    Router::new().route("/visits/{page}", get(visits).post(visit))
}

async fn visit(mut conn: CacheConn, Path(page): Path<String>) -> Result<String> {
    let visits: u64 = conn.incr(format!("visits:{page}"), 1).await?;
    Ok(visits.to_string())
}

/// Can do without Redis: then it says nothing.
async fn visits(conn: Option<CacheConn>, Path(page): Path<String>) -> String {
    let Some(mut conn) = conn else { return String::new() };
    conn.get(format!("visits:{page}")).await.ok().flatten().unwrap_or_default()
}

#[tokio::test]
async fn visits_are_counted() {
    let redis = Redis::start().await;
    let app = App::start(redis.url(), |service| service.with_routes(routes())).await;
    app.wait_ready().await;

    for count in ["1", "2"] {
        assert_eq!(app.post("/visits/home", &()).await.text, count);
    }
    assert_eq!(app.get("/visits/home").await.text, "2");
    assert_eq!(redis.ask::<u64>(&["GET", "visits:home"]).await, 2);
    app.end().await;
}

#[tokio::test]
async fn a_silent_redis_costs_a_bounded_wait_and_the_count_goes_on_afterwards() {
    let redis = Redis::start().await;
    let proxy = redis.proxy().await;
    let app = App::builder(proxy.url())
        .configure(|config| config.redis.command_timeout = Duration::from_millis(200))
        .start(|service| service.with_routes(routes()))
        .await;
    app.wait_ready().await;

    proxy.set(Weather::Silent).await;
    let answer = app.post("/visits/home", &()).await;
    // 504: it may have been counted, or not. 503 if the health monitor has noticed first.
    assert!([503, 504].contains(&answer.status));
    assert!(answer.took < Duration::from_secs(1));

    // Once the health monitor has noticed, nobody waits any more.
    eventually("a visit is refused", async || {
        (app.post("/visits/home", &()).await.status == 503).then_some(())
    })
    .await;
    assert_eq!(app.get("/ready").await.status, 503);
    assert_eq!(app.get("/visits/home").await.text, "");

    proxy.set(Weather::Fair).await;
    app.wait_ready().await;
    assert_eq!(app.post("/visits/home", &()).await.status, 200);
}
