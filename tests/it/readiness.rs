//! `/ready`: what it says of a Redis that comes late, freezes, falls silent, is cut off, or does
//! not matter.

use std::time::Duration;

use mainstay::cache::ProbeNow;
use mainstay::prelude::*;
use mainstay_actors::redis::Cause;
use mainstay_actors::tree::{Setup, Tree};
use tokio::time::Instant;
use tracing::Level;

use crate::support::{App, Log, Port, Proxy, Server, Weather, config, eventually, routes, within};

/// What a machine that is busy with other tests may add to a bound.
const SLACK: Duration = Duration::from_secs(1);

/// A verdict counts for about three probe intervals.
fn verdict_lifetime(app: &App) -> Duration {
    app.state.config().redis.probe_interval * 3
}

/// `/ready` says that Redis is away, within `limit`.
async fn becomes_unready(app: &App, limit: Duration) -> String {
    within(limit, "the service is not ready", async || {
        let answer = app.get("/ready").await;
        if answer.status == 200 {
            return None;
        }
        assert_eq!(answer.status, 503, "{answer:?}");
        let ready = answer.json();
        assert_eq!(ready["ready"], false, "{ready}");
        assert_eq!(ready["dependencies"]["redis"]["healthy"], false, "{ready}");
        Some(ready["dependencies"]["redis"]["message"].as_str().unwrap().to_owned())
    })
    .await
}

#[tokio::test]
async fn a_redis_that_comes_late_is_found_and_costs_no_restart() {
    let port = Port::reserve();
    let app = App::start(config(port.url()), routes()).await;
    let health = app.get("/health").await;
    assert_eq!(health.status, 200, "{health:?}");
    let message = eventually("a probe has found nobody", async || {
        let message = becomes_unready(&app, Duration::ZERO).await;
        (message != "no probe has ended yet").then_some(message)
    })
    .await;
    assert!(message.contains("connection refused; check that redis runs"), "{message}");
    app.get("/stored").await.is_unavailable();

    let server = Server::start_on(port).await;
    let ready = async || app.is_ready().await.then_some(());
    within(Duration::from_secs(2) + SLACK, "ready, after the server listens", ready).await;
    app.answers("/stored", 200).await;
    assert_eq!(app.restarts(), 0);
    assert_eq!(app.generation(), 1);
    app.end().await;
    drop(server);
}

// redis R2
#[tokio::test]
async fn a_frozen_redis_is_noticed_in_time_and_heals_when_it_thaws() {
    let server = Server::start().await;
    let app = App::start(config(server.url()), routes()).await;
    app.becomes_ready().await;
    server.freeze();
    let message = becomes_unready(&app, verdict_lifetime(&app) + SLACK).await;
    assert!(message.contains("check the server's load and the network"), "{message}");
    server.thaw();
    app.becomes_ready().await;
    app.answers("/stored", 200).await;
    assert_eq!(app.restarts(), 0);
    app.end().await;
}

// redis R3
#[tokio::test]
async fn a_network_that_swallows_everything_is_noticed_in_time_and_heals() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.address()).await;
    let app = App::start(config(proxy.url()), routes()).await;
    app.becomes_ready().await;
    app.answers("/stored", 200).await;
    proxy.set(Weather::Silent).await;
    becomes_unready(&app, verdict_lifetime(&app) + SLACK).await;
    proxy.set(Weather::Fair).await;
    app.becomes_ready().await;
    // The connections of before are still there, and silent for ever.
    assert_eq!(app.get("/stored").await.status, 200, "who is ready serves");
    assert_eq!(app.restarts(), 0);
    app.end().await;
}

#[tokio::test]
async fn a_network_that_cuts_every_connection_is_noticed_in_time_and_heals() {
    for weather in [Weather::Cut, Weather::Gone] {
        let server = Server::start().await;
        let proxy = Proxy::before(server.address()).await;
        let app = App::start(config(proxy.url()), routes()).await;
        app.becomes_ready().await;
        proxy.set(weather).await;
        becomes_unready(&app, verdict_lifetime(&app) + SLACK).await;
        proxy.set(Weather::Fair).await;
        app.becomes_ready().await;
        app.answers("/stored", 200).await;
        assert_eq!(app.restarts(), 0, "{weather:?}");
        app.end().await;
    }
}

#[tokio::test]
async fn a_slow_network_is_no_outage() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.address()).await;
    let mut config = config(proxy.url());
    // A machine that stands still for a moment is not to look like an outage.
    config.redis.probe_timeout = Duration::from_secs(2);
    config.redis.command_timeout = Duration::from_secs(3);
    let app = App::start(config, routes()).await;
    app.becomes_ready().await;
    // There and back again takes less than a probe and less than a command may.
    proxy.set(Weather::Slow(Duration::from_millis(40))).await;
    let answers = futures_util::future::join_all((0..20).map(|_| app.get("/stored"))).await;
    for answer in answers {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.took > Duration::from_millis(80), "the delay is real: {answer:?}");
    }
    let report = app.state.ask(ProbeNow).await.unwrap();
    assert!(report.healthy, "{report:?}");
    assert!(app.is_ready().await);
    app.end().await;
}

#[tokio::test]
async fn an_optional_redis_is_shown_and_does_not_count() {
    let mut server = Server::start().await;
    let mut config = config(server.url());
    config.redis.optional = true;
    let app = App::start(config, routes()).await;
    let seen = async |healthy: bool| {
        let answer = app.get("/ready").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let ready = answer.json();
        assert_eq!(ready["ready"], true, "{ready}");
        (ready["dependencies"]["redis"]["healthy"] == healthy).then_some(())
    };
    eventually("redis is seen", async || seen(true).await).await;
    server.kill();
    eventually("redis is seen to be away", async || seen(false).await).await;
    app.get("/stored").await.is_unavailable();
    server.restart().await;
    eventually("redis is seen again", async || seen(true).await).await;
    app.end().await;
}

async fn tree_of(server: &Server) -> Tree {
    let mut setup = Setup::new("it");
    setup.redis.url = server.url();
    setup.redis.probe_interval = Duration::from_millis(100);
    Tree::start(setup).await.unwrap()
}

fn is_healthy(tree: &Tree) -> bool {
    tree.dependencies()[0].healthy
}

#[tokio::test]
async fn what_a_health_monitor_found_is_forgotten_when_it_is_gone() {
    let server = Server::start().await;
    let tree = tree_of(&server).await;
    eventually("healthy", async || is_healthy(&tree).then_some(())).await;
    tree.system().remove("health-monitor").unwrap();
    eventually("not healthy any more", async || (!is_healthy(&tree)).then_some(())).await;
    let message = &tree.dependencies()[0].message;
    assert_eq!(message, "the health monitor has not reported lately");
    // Nobody says that it is away, so it is tried.
    let mut conn = tree.cache().get().await.unwrap();
    conn.set("key", "value").await.unwrap();
    drop(conn);
    tree.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_breaker_that_nobody_watches_does_not_stay_open() {
    let mut server = Server::start().await;
    let tree = tree_of(&server).await;
    eventually("healthy", async || is_healthy(&tree).then_some(())).await;
    server.kill();
    let cache = tree.cache();
    let fails_at_once = async || {
        let begun = Instant::now();
        let failed = cache.get().await.is_err();
        failed && begun.elapsed() < Duration::from_millis(50)
    };
    eventually("the breaker is open", async || fails_at_once().await.then_some(())).await;
    tree.system().remove("health-monitor").unwrap();
    server.restart().await;
    let conn = eventually("a connection", async || cache.get().await.ok()).await;
    assert!(!is_healthy(&tree), "nobody has looked");
    drop(conn);
    tree.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn where_a_server_has_no_more_places_those_are_ready_that_serve() {
    let server = Server::start().await;
    let config = || {
        let mut config = config(server.url());
        // A machine that stands still for a moment is not to look like an outage.
        config.redis.probe_timeout = Duration::from_secs(2);
        config
    };
    let mut serving = Vec::new();
    for _ in 0..3 {
        let app = App::start(config(), routes()).await;
        app.becomes_ready().await;
        app.answers("/stored", 200).await;
        serving.push(app);
    }
    let client = redis::Client::open(server.url()).unwrap();
    let mut admin = client.get_multiplexed_async_connection().await.unwrap();
    let full = ["SET", "maxclients", "1"];
    let () = redis::cmd("CONFIG").arg(&full).query_async(&mut admin).await.unwrap();
    let list: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut admin).await.unwrap();
    // The monitors notice when each makes its next connection.
    for probe in list.lines().filter(|line| line.contains(":probe:")) {
        let id = probe.split(' ').next().unwrap().trim_start_matches("id=");
        let kill = ["KILL", "ID", id];
        let _: u64 = redis::cmd("CLIENT").arg(&kill).query_async(&mut admin).await.unwrap();
    }
    let late = App::start(config(), routes()).await;
    for app in &serving {
        eventually("it says what fails", async || {
            let ready = app.get("/ready").await;
            assert_eq!(ready.status, 200, "{ready:?}");
            assert_eq!(app.get("/stored").await.status, 200);
            let message = "connected, but new connections fail: ";
            (ready.text.contains(message) && ready.text.contains("maxclients")).then_some(())
        })
        .await;
    }
    assert!(becomes_unready(&late, SLACK).await.contains("maxclients"));
    late.get("/stored").await.is_unavailable();

    let roomy = ["SET", "maxclients", "100"];
    let () = redis::cmd("CONFIG").arg(&roomy).query_async(&mut admin).await.unwrap();
    serving.push(late);
    for app in serving {
        eventually("nothing is wrong", async || {
            app.get("/ready").await.text.contains(r#""connected""#).then_some(())
        })
        .await;
        assert_eq!(app.restarts(), 0);
        app.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_process_that_is_held_up_says_nothing_of_redis() {
    const HELD_UP: Duration = Duration::from_millis(400);
    let log = Log::here();
    let server = Server::start().await;
    let app = App::start(config(server.url()), routes()).await;
    app.becomes_ready().await;
    for polls in 0..20 {
        let state = app.state.clone();
        let asked = tokio::spawn(async move { state.ask(ProbeNow).await.unwrap() });
        // The probe is sent, and then nobody looks for its answer.
        let busy = tokio::spawn(async move {
            for _ in 0..polls / 2 {
                tokio::task::yield_now().await;
            }
            std::thread::sleep(HELD_UP);
        });
        let report = asked.await.unwrap();
        assert!(report.healthy, "after {polls}: {report:?}");
        busy.await.unwrap();
        let ready = app.get("/ready").await;
        assert_eq!(ready.status, 200, "after {polls}: {ready:?}");
        assert_eq!(app.get("/stored").await.status, 200, "after {polls}");
    }
    let lines = log.lines(Level::WARN);
    assert!(!lines.iter().any(|line| line.contains("does not answer")), "{lines:#?}");
    app.end().await;
}

/// A node of a cluster, with the other one that it shares the keys with.
async fn nodes() -> (Server, Server) {
    let node = async || {
        let (port, bus) = (Port::reserve(), Port::reserve());
        let bus_port = bus.address().port().to_string();
        let arguments = ["--cluster-enabled", "yes", "--cluster-port", &bus_port];
        (Server::start_configured(port, &arguments).await, bus)
    };
    let ((one, _one_bus), (other, other_bus)) = (node().await, node().await);
    one.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]).await;
    other.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]).await;
    let (port, bus) = (other.address().port().to_string(), other_bus.address().port().to_string());
    one.ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await;
    within(Duration::from_secs(20), "the cluster is there", async || {
        let info: String = one.ask(&["CLUSTER", "INFO"]).await;
        info.contains("cluster_state:ok").then_some(())
    })
    .await;
    (one, other)
}

#[tokio::test]
async fn a_node_of_a_cluster_is_not_ready_where_other_nodes_hold_some_of_the_keys() {
    let (one, _other) = nodes().await;
    // Without the right to ask, the first command that is sent elsewhere tells.
    let may_not_ask = ["ACL", "SETUSER", "may-not-ask", "on", ">secret", "~*", "+@all", "-cluster"];
    one.ask::<()>(&may_not_ask).await;
    let as_another = one.url().replace("//", "//may-not-ask:secret@");
    for (url, may_ask) in [(one.url(), true), (as_another, false)] {
        let app = App::start(config(url), routes().route("/all", get(all))).await;
        if !may_ask {
            app.becomes_ready().await;
            assert_eq!(app.get("/all").await.status, 500);
        }
        let message = eventually("it is named", async || {
            let message = becomes_unready(&app, SLACK).await;
            message.contains("a node of a cluster").then_some(message)
        })
        .await;
        assert_eq!(message, Cause::ClusterNode.to_string());
        // A key of its own is served; half of them are.
        app.answers("/stored", 200).await;
        assert_eq!(app.restarts(), 0);
        app.end().await;
    }
}

#[test]
fn the_documentation_says_what_is_said_of_a_node_of_a_cluster() {
    let document = include_str!("../../docs/outages.md");
    assert!(document.contains(&format!("> {}", Cause::ClusterNode)), "{}", Cause::ClusterNode);
}

/// Reads keys of every node.
async fn all(mut cache: CacheConn) -> Result<String> {
    let mut found = String::new();
    for number in 0..100 {
        found +=
            &cache.get::<_, Option<String>>(format!("key:{number}")).await?.unwrap_or_default();
    }
    Ok(found)
}

#[tokio::test]
async fn a_node_that_holds_all_keys_of_its_cluster_is_a_server_like_any_other() {
    let (port, bus) = (Port::reserve(), Port::reserve());
    let bus_port = bus.address().port().to_string();
    let arguments = ["--cluster-enabled", "yes", "--cluster-port", &bus_port];
    let node = Server::start_configured(port, &arguments).await;
    node.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    let app = App::start(config(node.url()), routes()).await;
    app.becomes_ready().await;
    app.answers("/stored", 200).await;
    app.end().await;
}

#[tokio::test]
async fn a_script_that_keeps_the_server_busy_can_be_killed_through_it() {
    let arguments = ["--busy-reply-threshold", "50", "--lua-time-limit", "50"];
    let server = Server::start_configured(Port::reserve(), &arguments).await;
    let app = App::start(config(server.url()), routes()).await;
    app.becomes_ready().await;
    let client = redis::Client::open(server.url()).unwrap();
    let unlimited = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let mut other = client.get_multiplexed_async_connection_with_config(&unlimited).await.unwrap();
    let script = tokio::spawn(async move {
        let forever = redis::cmd("EVAL").arg(&["while true do end", "0"]).clone();
        forever.query_async::<()>(&mut other).await
    });
    let message = eventually("it is known to be busy", async || {
        let message = becomes_unready(&app, Duration::from_secs(2) + SLACK).await;
        message.contains("busy with a script").then_some(message)
    })
    .await;
    assert!(message.contains("SCRIPT KILL"), "{message}");
    for _ in 0..3 {
        let report = app.state.ask(ProbeNow).await.unwrap();
        assert!(!report.healthy && !report.breaker_open, "{report:?}");
        app.get("/stored").await.is_unavailable();
    }

    let mut conn = app.state.cache().unwrap().get().await.unwrap();
    let () = redis::cmd("SCRIPT").arg("KILL").query_async(&mut *conn).await.unwrap();
    script.await.unwrap().unwrap_err();
    app.becomes_ready().await;
    app.answers("/stored", 200).await;
    app.end().await;
}
