//! Actors fall while requests are served: nobody notices who does not ask just that one.

use std::sync::Arc;
use std::time::Duration;

use mainstay::actor::{AskError, Backoff, CallError, Jitter, State};
use mainstay::cache::GetPoolStatus;
use mainstay::prelude::*;
use mainstay::{Config, Error};
use mainstay_actors::tree::{Setup, Tree};

use crate::support::{Answer, App, Load, Server, config, counter, eventually, routes, within};

const FALLS: u64 = 100;

const PATHS: &[&str] = &["/stored", "/bypass", "/count", "/pool", "/work", "/health", "/ready"];

/// A house that tolerates all the falls of a test: 200 within a minute, each followed by a pause of
/// at most 5 ms.
fn patient(redis_url: String) -> Config {
    let mut config = config(redis_url);
    config.redis.max_connections = 8;
    // A machine that stands still for a moment is not to look like an outage.
    config.redis.probe_interval = Duration::from_secs(1);
    config.redis.probe_timeout = Duration::from_secs(2);
    config.redis.command_timeout = Duration::from_secs(3);
    config.supervision.intensity = 200;
    config.supervision.within = Duration::from_secs(60);
    config.supervision.backoff_min = Duration::from_millis(1);
    config.supervision.backoff_max = Duration::from_millis(5);
    config
}

async fn started(config: Config) -> Arc<App> {
    let describe = |builder: ServiceBuilder| builder.with_actor(counter()).with_routes(routes());
    let app = App::start_with(config, describe).await;
    app.becomes_ready().await;
    Arc::new(app)
}

fn is_up(app: &App, id: &str, restarts: u64) -> bool {
    let tree = app.state.tree();
    let actor = tree.find(id).unwrap();
    actor.state == State::Up && actor.restarts == restarts
}

/// What may be answered while `falling` falls. Whoever asks that very actor may be told to come
/// again, or that it fell over the question; everyone else is answered as ever.
fn check(falling: &str, path: &str, answer: &Answer) {
    assert!(answer.took < Duration::from_secs(6), "{path} took longer than its 5 s: {answer:?}");
    let asked = match path {
        "/count" => "counter",
        "/pool" => "pool-manager",
        "/ready" => "health-monitor",
        "/work" => "nursery",
        _ => "nobody",
    };
    match (answer.status, path) {
        (200 | 202, _) => {}
        // A monitor that falls before any of its probes ends lets its verdict grow old.
        (503, "/ready") if asked == falling => {
            let seen = &answer.json()["dependencies"]["redis"];
            assert_eq!(seen["message"], "the health monitor has not reported lately", "{answer:?}");
        }
        (503, _) if asked == falling => answer.is_unavailable(),
        (504, _) if asked == falling => {
            assert_eq!(answer.json()["type"], "urn:mainstay:problem:outcome-unknown", "{answer:?}");
        }
        _ => panic!("{path}, while {falling} falls: {answer:?}"),
    }
}

/// Makes `falling` panic a hundred times under load.
async fn falls_under_load(falling: &str, config: Config) {
    let app = started(config).await;
    let load = Load::on(&app, PATHS);
    for fall in 0..FALLS {
        let up = async || is_up(&app, falling, fall).then_some(());
        eventually(&format!("{falling} is up after {fall} falls"), up).await;
        app.state.inject_panic(falling).unwrap();
    }
    let up = async || is_up(&app, falling, FALLS).then_some(());
    eventually(&format!("{falling} is up after its last fall"), up).await;
    let seen = load.answered();
    within(Duration::from_secs(60), "answers after the last fall", async || {
        (load.answered() > seen + 100).then_some(())
    })
    .await;

    let answers = load.end().await;
    assert!(answers.len() > 500, "hardly any load: {}", answers.len());
    for (path, answer) in &answers {
        check(falling, path, answer);
    }
    app.has_all_leases().await;
    eventually("the nursery is empty", async || (app.state.nursery().running() == 0).then_some(()))
        .await;
    for (id, state, restarts) in app.nodes() {
        let wanted = if id == falling { FALLS } else { 0 };
        assert_eq!((state, restarts), (State::Up, wanted), "{id}");
    }
    let tree = app.state.tree();
    assert_eq!(tree.find(falling).unwrap().incarnation, FALLS + 1);
    if falling != "counter" {
        assert_eq!(tree.find("counter").unwrap().incarnation, 1);
    }
    assert_eq!(app.generation(), 1, "a fall makes no new pool");
    app.becomes_ready().await;
    for path in PATHS {
        let answer = app.get(path).await;
        assert!(matches!(answer.status, 200 | 202), "{path}: {answer:?}");
    }
    Arc::into_inner(app).expect("the load has ended").end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_falls_of_the_pool_manager_harm_nobody() {
    let server = Server::start().await;
    falls_under_load("pool-manager", patient(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_falls_of_the_health_monitor_harm_nobody() {
    let server = Server::start().await;
    falls_under_load("health-monitor", patient(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_falls_of_the_nursery_harm_nobody_who_does_not_use_it() {
    let server = Server::start().await;
    falls_under_load("nursery", patient(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_falls_of_a_services_own_actor_harm_nobody_who_does_not_ask_it() {
    let server = Server::start().await;
    falls_under_load("counter", patient(server.url())).await;
}

#[cfg(feature = "embedded")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_falls_of_the_embedded_servers_keeper_leave_the_server_alone() {
    falls_under_load("embedded-redis", patient("embedded".to_owned())).await;
}

/// Crashes `id` until its supervisor has had enough, and the service with it.
async fn falls_once_too_often(id: &str, path: &str) {
    let server = Server::start().await;
    let mut config = patient(server.url());
    config.supervision.intensity = 3;
    // As long as this it is still asked whether it is ready.
    config.service.drain_delay = Duration::from_secs(2);
    let app = started(config).await;
    for fall in 0..=3 {
        eventually("it is up", async || is_up(&app, id, fall).then_some(())).await;
        app.state.inject_panic(id).unwrap();
    }
    app.answers("/ready", 503).await;
    assert_eq!(app.get("/health").await.status, 200, "the process lives, and says so");
    let mut app = Arc::into_inner(app).expect("nobody else holds it");
    let error = app.served(Duration::from_secs(20)).await.unwrap_err();
    let Error::GaveUp(cause) = &error else { panic!("{error:?}") };
    assert_eq!(cause.path(), Some(path), "{error:?}");
    let line = format!("{error:?}");
    assert!(line.contains(&format!("{path} fell 4 times within 60s")), "{line}");
    assert!(line.contains("panicked"), "{line}");
    assert_ne!(app.state.tree().state, State::Up);
    eventually("it has left the server", async || {
        server.client_names().await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_of_the_house_that_falls_too_often_ends_the_service_with_the_cause() {
    falls_once_too_often("pool-manager", "mainstay/pool-manager").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_services_own_actor_that_falls_too_often_ends_the_service_with_the_cause() {
    falls_once_too_often("counter", "mainstay/application/counter").await;
}

#[tokio::test]
async fn what_a_fallen_actor_had_published_is_read_while_it_is_down() {
    let server = Server::start().await;
    let mut setup = Setup::new("it");
    setup.redis.url = server.url();
    // Exactly so long does it stay down: longer than this test takes.
    let pause = Duration::from_secs(20);
    let backoff = Backoff { min: pause, max: pause, jitter: Jitter::None, ..Backoff::default() };
    setup.limits.actors.backoff = backoff;
    setup.limits.intensity.max = 1;
    let tree = Tree::start(setup).await.unwrap();
    eventually("a connection", async || tree.cache().get().await.ok()).await;
    tree.system().inject_panic("pool-manager").unwrap();
    eventually("it is down", async || {
        (tree.snapshot().find("pool-manager").unwrap().state == State::Backoff).then_some(())
    })
    .await;
    assert_eq!(tree.snapshot().find("pool-manager").unwrap().facts["generation"], 1);
    let asked = tree.ask(GetPoolStatus).await;
    assert!(matches!(asked, Err(AskError::Call(CallError::Unavailable { .. }))), "{asked:?}");
    let mut conn = tree.cache().get().await.unwrap();
    conn.set("key", "value").await.unwrap();
    drop(conn);
    assert_eq!(tree.cache().status().generation, 1);
    assert!(tree.shutdown(Duration::from_secs(5)).await.is_clean());
}
