//! The same with the whole service around it: actors that probe, rebuild and replace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mainstay::Config;
use mainstay_actors::Outcome;
use mainstay_actors::redis::{Cause, Error, Script};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::SLACK;
use crate::support::{App, Port, Proxy, Server, Weather, config, eventually, routes, within};

/// What each caller of some met, one after the other, until it was enough.
struct Callers {
    callers: JoinSet<Vec<(Duration, Result<(), Error>)>>,
    enough: Arc<AtomicBool>,
}

impl Callers {
    /// Each takes a connection, writes on it and reads it back.
    fn of(app: &Arc<App>) -> Self {
        let enough = Arc::<AtomicBool>::default();
        let callers = (0..16).map(|caller| {
            let (app, enough) = (Arc::clone(app), Arc::clone(&enough));
            async move {
                let mut met = Vec::new();
                while !enough.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let result = once(&app, caller).await;
                    met.push((begun.elapsed(), result));
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                met
            }
        });
        Self { callers: callers.collect(), enough }
    }

    async fn end(self) -> Vec<(Duration, Result<(), Error>)> {
        self.enough.store(true, Ordering::Relaxed);
        self.callers.join_all().await.into_iter().flatten().collect()
    }
}

async fn once(app: &App, caller: u64) -> Result<(), Error> {
    let value = uuid::Uuid::new_v4().to_string();
    let mut conn = app.state.cache().unwrap().get().await?;
    if caller.is_multiple_of(4) {
        conn.pin().await?;
    }
    conn.set_ex(&value, &value, 60).await?;
    assert_eq!(conn.get::<_, String>(&value).await?, value);
    Ok(())
}

fn longest(config: &Config) -> Duration {
    // To get a connection, to write, to read.
    config.redis.connect_timeout + 2 * config.redis.command_timeout + SLACK
}

async fn stored(app: &App, limit: Duration, what: &str) {
    within(limit, what, async || once(app, 0).await.and(once(app, 1).await).ok()).await;
}

// redis R2, acton 3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standstill_is_known_within_three_probes_and_over_with_the_next_one() {
    let server = Server::start().await;
    let config = config(server.url());
    let (probe_interval, longest) = (config.redis.probe_interval, longest(&config));
    let app = Arc::new(App::start(config, routes()).await);
    app.becomes_ready().await;
    let callers = Callers::of(&app);
    server.freeze();
    let not_ready = async || (!app.is_ready().await).then_some(());
    within(3 * probe_interval + SLACK, "not ready", not_ready).await;
    let begun = Instant::now();
    let error =
        eventually("the breaker is open", async || app.state.cache().unwrap().get().await.err())
            .await;
    assert!(matches!(error, Error::Unavailable { cause: Cause::Timeout, .. }), "{error:?}");
    assert!(begun.elapsed() < SLACK, "{:?}", begun.elapsed());
    server.thaw();
    stored(&app, probe_interval + SLACK, "service after the standstill").await;
    within(probe_interval + SLACK, "ready", async || app.is_ready().await.then_some(())).await;
    for (took, result) in callers.end().await {
        assert!(took < longest, "{result:?} after {took:?}");
        if let Err(error) = result {
            let outcome = error.outcome();
            let is_outage = matches!(
                outcome,
                Outcome::Deadline | Outcome::OutcomeUnknown | Outcome::Unavailable { .. }
            );
            assert!(is_outage, "{error:?}");
        }
    }
    assert_eq!((app.restarts(), app.generation()), (0, 1));
    app.has_all_leases().await;
}

// redis R6
#[tokio::test]
async fn with_an_open_breaker_every_caller_is_told_at_once_and_nothing_is_sent() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.address()).await;
    let app = App::start(config(proxy.url()), routes()).await;
    app.becomes_ready().await;
    let mut kept = app.state.cache().unwrap().get().await.unwrap();
    let mut pinned = app.state.cache().unwrap().get().await.unwrap();
    pinned.pin().await.unwrap();
    // What is open stays good, so only the breaker can hold it back.
    proxy.set(Weather::Gone).await;
    app.answers("/ready", 503).await;
    eventually("the breaker is open", async || app.state.cache().unwrap().get().await.err()).await;
    let begun = Instant::now();
    for _ in 0..100 {
        for error in [
            app.state.cache().unwrap().get().await.unwrap_err(),
            kept.set("k", "v").await.unwrap_err(),
            pinned.set("k", "v").await.unwrap_err(),
            kept.pin().await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::Unavailable { cause: Cause::Refused, .. }), "{error:?}");
        }
    }
    assert!(begun.elapsed() < SLACK, "400 answers took {:?}", begun.elapsed());
    assert!(!server.ask::<bool>(&["EXISTS", "k"]).await);
}

// redis R5
#[tokio::test]
async fn a_wrong_password_that_is_corrected_heals_without_a_restart() {
    let server = Server::start_configured(Port::reserve(), &["--requirepass", "right"]).await;
    let file = server.path("password");
    std::fs::write(&file, "wrong").unwrap();
    let mut config = config(server.url());
    config.redis.password_file = Some(file.clone());
    let app = App::start(config, routes()).await;
    app.answers("/ready", 503).await;
    eventually("the cause is told", async || {
        let error = app.state.cache().unwrap().get().await.unwrap_err();
        (error.cause() == Some(Cause::Auth)).then_some(())
    })
    .await;
    std::fs::write(&file, "right").unwrap();
    // A login that failed is tried every two seconds.
    stored(&app, Duration::from_secs(4) + SLACK, "service with the right password").await;
    app.becomes_ready().await;
    assert_eq!((app.restarts(), app.generation()), (0, 1));
}

// redis R5
#[tokio::test]
async fn a_password_that_changes_under_open_lanes_costs_no_restart() {
    let server = Server::start_configured(Port::reserve(), &["--requirepass", "first"]).await;
    let file = server.path("password");
    std::fs::write(&file, "first").unwrap();
    let mut config = config(server.url());
    config.redis.password_file = Some(file.clone());
    let app = App::start(config, routes()).await;
    app.becomes_ready().await;
    once(&app, 0).await.unwrap();
    // What is logged in stays so, and new connections need the new password.
    let client = redis::Client::open(format!("redis://:first@{}", server.address())).unwrap();
    let mut direct = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("CONFIG")
        .arg("SET")
        .arg("requirepass")
        .arg("second")
        .exec_async(&mut direct)
        .await
        .unwrap();
    std::fs::write(&file, "second").unwrap();
    redis::cmd("CLIENT")
        .arg("KILL")
        .arg("TYPE")
        .arg("normal")
        .arg("SKIPME")
        .arg("yes")
        .exec_async(&mut direct)
        .await
        .unwrap();
    stored(&app, Duration::from_secs(4) + SLACK, "service with the second password").await;
    app.becomes_ready().await;
    assert_eq!((app.restarts(), app.generation()), (0, 1));
}

// acton 1
#[tokio::test]
async fn a_server_that_starts_late_is_ready_within_two_seconds_and_no_restart() {
    let port = Port::reserve();
    let app = App::start(config(port.url()), routes()).await;
    app.answers("/ready", 503).await;
    let error = app.state.cache().unwrap().get().await.unwrap_err();
    assert_eq!(error.cause(), Some(Cause::Refused));
    let _server = Server::start_on(port).await;
    let limit = Duration::from_secs(2) + SLACK;
    within(limit, "ready", async || app.is_ready().await.then_some(())).await;
    stored(&app, limit, "service").await;
    assert_eq!((app.restarts(), app.generation()), (0, 1));
}

// redis R11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_was_a_replica_for_a_while_is_written_to_again_on_new_connections() {
    let server = Server::start().await;
    let app = Arc::new(App::start(config(server.url()), routes()).await);
    app.becomes_ready().await;
    once(&app, 0).await.unwrap();
    let lanes = server.clients("lane").await;
    assert!(!lanes.is_empty());
    let callers = Callers::of(&app);
    server.ask::<()>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    eventually("a generation is built", async || (app.generation() > 1).then_some(())).await;
    server.ask::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    stored(&app, Duration::from_secs(5), "writes").await;
    eventually("no old lane is left", async || {
        let now = server.clients("lane").await;
        (!now.is_empty() && now.iter().all(|lane| !lanes.contains(lane))).then_some(())
    })
    .await;
    let met = callers.end().await;
    for (_, result) in &met {
        if let Err(error) = result {
            let is_read_only = matches!(
                error,
                Error::Unavailable { cause: Cause::ReadOnly | Cause::Replaced, .. }
            );
            assert!(is_read_only, "{error:?}");
        }
    }
    assert!(met.iter().any(|(_, result)| result.is_err()), "someone wrote to the replica");
    assert_eq!(app.restarts(), 0);
    app.becomes_ready().await;
    app.has_all_leases().await;
    // No new generation for each refused write.
    assert!(app.generation() < 10, "{}", app.generation());
}

/// Enough keys for a server to need more than a second to load them, at the pace of `SLOW_LOAD`.
const KEYS: &str = "for i = 1, 20000 do redis.call('SET', i, 'v') end";
const SLOW_LOAD: [&str; 4] =
    ["--key-load-delay", "100", "--loading-process-events-interval-bytes", "1024"];

async fn told_to_save(server: &Server) {
    let patient = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let client = redis::Client::open(server.unix_url()).unwrap();
    let mut direct = client.get_multiplexed_async_connection_with_config(&patient).await.unwrap();
    redis::cmd("EVAL").arg(KEYS).arg(0).exec_async(&mut direct).await.unwrap();
    redis::cmd("SAVE").exec_async(&mut direct).await.unwrap();
}

// redis R12
#[tokio::test]
async fn a_server_that_loads_is_waited_for_and_then_told_to_be_loading() {
    let mut server = Server::start_configured(Port::reserve(), &SLOW_LOAD).await;
    let mut config = config(server.url());
    config.redis.command_timeout = Duration::from_secs(1);
    let app = App::start(config, routes()).await;
    app.becomes_ready().await;
    let mut conn = app.state.cache().unwrap().get().await.unwrap();
    conn.set("mine", "kept").await.unwrap();
    told_to_save(&server).await;
    server.kill();
    server.restart().await;
    let mut causes = Vec::new();
    within(Duration::from_secs(20), "service after loading", async || {
        let begun = Instant::now();
        let found = conn.get::<_, Option<String>>("mine").await;
        // To get a lane, to be told to come again, and to ask again.
        assert!(begun.elapsed() < Duration::from_secs(4) + SLACK, "{:?}", begun.elapsed());
        match found {
            Ok(value) => {
                assert_eq!(value.as_deref(), Some("kept"), "nothing is read before it is loaded");
                Some(())
            }
            Err(Error::Unavailable { cause, .. }) => {
                causes.push(cause);
                None
            }
            Err(error) => panic!("{error:?}"),
        }
    })
    .await;
    assert!(causes.contains(&Cause::Loading), "{causes:?}");
    app.becomes_ready().await;
    once(&app, 0).await.unwrap();
    assert_eq!((app.restarts(), app.generation()), (0, 1));
}

// redis R12
#[tokio::test]
async fn a_command_waits_for_a_server_that_loads_for_less_than_its_deadline() {
    let mut server = Server::start_configured(Port::reserve(), &SLOW_LOAD).await;
    let mut config = config(server.url());
    config.redis.command_timeout = Duration::from_secs(30);
    // No breaker to stand before it.
    config.redis.probe_interval = Duration::from_secs(60);
    let app = App::start(config, routes()).await;
    app.becomes_ready().await;
    told_to_save(&server).await;
    server.kill();
    server.restart().await;
    let mut conn = eventually("a lane", async || app.state.cache().unwrap().get().await.ok()).await;
    conn.set("mine", "v").await.unwrap();
    conn.pin().await.unwrap();
    assert_eq!(conn.get::<_, String>("20000").await.unwrap(), "v");
}

// redis R13
#[tokio::test]
async fn new_lanes_know_the_scripts_that_were_called_before_a_restart() {
    let mut server = Server::start().await;
    let app = App::start(config(server.url()), routes()).await;
    app.becomes_ready().await;
    let script = Script::new("return ARGV[1]");
    let mut conn = app.state.cache().unwrap().get().await.unwrap();
    assert_eq!(script.arg("a").invoke::<String>(&mut conn).await.unwrap(), "a");
    server.kill();
    server.restart().await;
    within(Duration::from_secs(5), "the script runs", async || {
        let mut conn = app.state.cache().unwrap().get().await.ok()?;
        script.arg("b").invoke::<String>(&mut conn).await.ok()
    })
    .await;
    let calls: String = server.ask(&["INFO", "commandstats"]).await;
    assert!(calls.contains("cmdstat_evalsha:calls=1,"), "{calls}");
    assert!(!calls.contains("cmdstat_eval:"), "{calls}");
    let errors: String = server.ask(&["INFO", "errorstats"]).await;
    assert!(!errors.contains("NOSCRIPT"), "{errors}");
}

#[cfg(feature = "chaos")]
const FALLS: u64 = 20;

// acton 24
#[cfg(feature = "chaos")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_are_used_and_replaced_while_the_one_who_keeps_them_falls() {
    let server = Server::start().await;
    let mut config = config(server.url());
    config.redis.lanes = Some(2);
    config.redis.max_connections = 8;
    config.redis.command_timeout = Duration::from_secs(3);
    config.supervision.intensity = 200;
    config.supervision.within = Duration::from_secs(60);
    config.supervision.backoff_min = Duration::from_millis(1);
    config.supervision.backoff_max = Duration::from_millis(5);
    let app = Arc::new(App::start(config, routes()).await);
    app.becomes_ready().await;
    eventually("every lane", async || (server.clients("lane").await.len() == 2).then_some(()))
        .await;
    let callers = Callers::of(&app);
    for fall in 1..=FALLS {
        app.state.inject_panic("pool-manager").unwrap();
        eventually("it is up again", async || (app.restarts() == fall).then_some(())).await;
        eventually("it is up again", async || {
            let tree = app.state.tree();
            (tree.find("pool-manager")?.state == mainstay::actor::State::Up).then_some(())
        })
        .await;
    }
    // A fall loses no lane: nobody noticed.
    let met = callers.end().await;
    assert!(met.len() > 100, "hardly any load: {}", met.len());
    for (_, result) in met {
        result.unwrap();
    }
    // And whoever is up now still replaces what is lost.
    let before = server.clients("lane").await;
    for lane in &before {
        server.ask::<()>(&["CLIENT", "KILL", "ADDR", &lane.to_string()]).await;
    }
    eventually("new lanes", async || {
        let now = server.clients("lane").await;
        (now.len() == 2 && now.iter().all(|lane| !before.contains(lane))).then_some(())
    })
    .await;
    assert_eq!((app.restarts(), app.generation()), (FALLS, 1));
    app.has_all_leases().await;
    Arc::into_inner(app).expect("the load has ended").end().await;
    let left = server.client_names().await;
    assert!(left.is_empty(), "{left:?}");
}
