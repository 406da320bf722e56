//! Redis goes away under load and comes back; and the table of docs/outages.md, cell by cell.

#[cfg(feature = "chaos")]
mod cells;
#[cfg(feature = "chaos")]
mod table;

use std::sync::Arc;
use std::time::Duration;

use tracing::Level;

#[cfg(feature = "embedded")]
use crate::support::signal;
use crate::support::{
    Answer, App, Load, Log, Proxy, Server, Weather, config, eventually, routes, within,
};

const PATHS: &[&str] = &["/stored", "/bypass", "/health"];

/// What a machine that is busy with other tests may add to a bound.
const SLACK: Duration = Duration::from_secs(1);

/// The time by which every request must have been answered: its own, and what it takes to say so.
fn longest(app: &App) -> Duration {
    app.state.config().service.request_timeout + SLACK
}

/// What needs Redis may say that it is away. What can do without is answered all the same.
fn check(path: &str, answer: &Answer, longest: Duration) {
    assert!(answer.took < longest, "{path} took longer than its time: {answer:?}");
    match (path, answer.status) {
        (_, 200) => {}
        ("/stored", 503) => answer.is_unavailable(),
        // Redis died between a command and its reply: nobody knows what became of a write.
        ("/stored", 504) => {
            assert_eq!(answer.json()["type"], "urn:mainstay:problem:outcome-unknown", "{answer:?}");
        }
        _ => panic!("{path} is never answered so: {answer:?}"),
    }
}

/// Waits until the load has seen `more` answers.
async fn more(load: &Load, more: usize) {
    let wanted = load.answered() + more;
    within(Duration::from_secs(60), "more answers", async || {
        (load.answered() >= wanted).then_some(())
    })
    .await;
}

/// A server that is killed and comes back, with what clients see in the meantime.
// redis R4, R6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_is_a_503_for_who_needs_it_and_heals_within_a_second_of_its_return() {
    let mut server = Server::start().await;
    let app = Arc::new(App::start(config(server.url()), routes()).await);
    app.becomes_ready().await;
    let load = Load::on(&app, PATHS);
    more(&load, 500).await;

    server.kill();
    app.answers("/ready", 503).await;
    more(&load, 500).await;
    let away = app.get("/stored").await;
    away.is_unavailable();
    assert_eq!(app.get("/bypass").await.text, "bypass");

    server.restart().await;
    let ready = async || app.is_ready().await.then_some(());
    within(Duration::from_secs(1) + SLACK, "ready, after the server listens", ready).await;
    let stored = async || (app.get("/stored").await.status == 200).then_some(());
    within(Duration::from_secs(1) + SLACK, "stored again", stored).await;
    more(&load, 500).await;

    let answers = load.end().await;
    for (path, answer) in &answers {
        check(path, answer, longest(&app));
    }
    let count =
        |path, status| answers.iter().filter(|(of, a)| *of == path && a.status == status).count();
    assert!(count("/stored", 200) > 0 && count("/stored", 503) > 0, "both were met");
    assert_eq!(app.restarts(), 0);
    assert_eq!(app.generation(), 1);
    app.has_all_leases().await;
}

#[cfg(feature = "embedded")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_embedded_server_is_replaced_and_hits_come_back_within_a_second() {
    let app = Arc::new(App::start(config("embedded"), routes()).await);
    app.becomes_ready().await;
    let load = Load::on(&app, PATHS);
    more(&load, 500).await;
    let first = app.embedded_pid().unwrap();
    assert!(signal("-9", first));
    let second =
        eventually("another server", async || app.embedded_pid().filter(|pid| *pid != first)).await;
    let hit = async || (app.get("/bypass").await.text == "hit").then_some(());
    within(Duration::from_secs(1) + SLACK, "hits, after the server is back", hit).await;
    app.answers("/stored", 200).await;
    more(&load, 500).await;

    for (path, answer) in &load.end().await {
        check(path, answer, longest(&app));
    }
    assert_eq!((app.restarts(), app.generation()), (0, 1));
    app.has_all_leases().await;
    Arc::into_inner(app).expect("the load has ended").end().await;
    eventually("it is gone", async || (!signal("-0", second)).then_some(())).await;
}

// redis R2, R3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_answered_in_its_time_in_any_weather() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.address()).await;
    let mut config = config(proxy.url());
    config.redis.max_connections = 8;
    let app = Arc::new(App::start(config, routes()).await);
    app.becomes_ready().await;
    let load = Load::on(&app, PATHS);
    for weather in [Weather::Silent, Weather::Cut, Weather::Gone] {
        more(&load, 100).await;
        proxy.set(weather).await;
        app.answers("/ready", 503).await;
        more(&load, 100).await;
        proxy.set(Weather::Fair).await;
        app.becomes_ready().await;
        app.answers("/stored", 200).await;
    }
    let longest = longest(&app);
    for (path, answer) in &load.end().await {
        // A read that was sent into silence ends with its time and has changed nothing.
        let is_late_read =
            answer.status == 504 && answer.json()["type"] == "urn:mainstay:problem:deadline";
        assert!(answer.took < longest, "{path}: {answer:?}");
        if !(is_late_read && *path == "/stored") {
            check(path, answer, longest);
        }
    }
    assert_eq!(app.restarts(), 0);
    assert_eq!(app.generation(), 1);
    app.has_all_leases().await;
}

#[tokio::test]
async fn an_outage_is_a_line_when_it_begins_and_one_when_it_ends() {
    let log = Log::here();
    let mut server = Server::start().await;
    let app = Arc::new(App::start(config(server.url()), routes()).await);
    app.becomes_ready().await;
    let begun = log.lines(Level::INFO);
    let about = |lines: &[String], what: &str| lines.iter().filter(|l| l.contains(what)).count();
    assert_eq!(about(&begun, "INFO pool started"), 1, "{begun:#?}");
    assert_eq!(about(&begun, "INFO redis answers"), 1, "{begun:#?}");

    log.clear();
    let load = Load::on(&app, PATHS);
    more(&load, 200).await;
    server.kill();
    app.answers("/ready", 503).await;
    more(&load, 200).await;
    server.restart().await;
    app.becomes_ready().await;
    more(&load, 200).await;
    load.end().await;
    let lines = log.lines(Level::INFO);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].starts_with("WARN redis does not answer"), "{lines:#?}");
    assert!(lines[1].starts_with("INFO redis answers again"), "{lines:#?}");

    log.clear();
    let app = Arc::into_inner(app).expect("the load has ended");
    app.end().await;
    let ended = log.lines(Level::INFO);
    assert_eq!(about(&ended, "INFO pool stopped"), 1, "{ended:#?}");
}

#[tokio::test]
async fn paused_writes_are_one_line_and_reads_behind_them_come_back() {
    let log = Log::here();
    let server = Server::start().await;
    let mut config = config(server.url());
    config.redis.lanes = Some(1);
    // A machine that stands still for a moment is not to look like an outage.
    config.redis.probe_timeout = Duration::from_secs(2);
    let app = App::start(config, routes()).await;
    app.becomes_ready().await;
    let () = server.ask(&["CLIENT", "PAUSE", "60000", "WRITE"]).await;
    for _ in 0..2 {
        assert_eq!(app.get("/stored").await.status, 504, "a write waits on the lane");
        app.answers("/bypass", 200).await;
        let cache = app.state.cache().unwrap();
        eventually("a read is answered", async || {
            cache.get().await.ok()?.get::<_, Option<String>>("key").await.ok()
        })
        .await;
    }
    assert_eq!(app.get("/ready").await.status, 200, "the server answers, and what it is asked");
    let lines = log.lines(Level::WARN);
    let [line] = lines.as_slice() else { panic!("not one line but {lines:#?}") };
    assert!(line.contains("a lane stalled") && line.contains("CLIENT PAUSE"), "{line}");
    let () = server.ask(&["CLIENT", "UNPAUSE"]).await;
    app.answers("/stored", 200).await;
    assert_eq!((app.restarts(), app.generation()), (0, 1));
    app.end().await;
}
