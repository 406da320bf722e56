//! Several Redis servers behind one service: each has its own connections, health and place in
//! `/ready`, and what befalls one leaves the others alone.

use std::time::Duration;

use mainstay::Config;
use mainstay::cache::{GetPoolStatus, NoEndpoint};
use mainstay::prelude::*;
use mainstay_actors::Outcome;
use tracing::Level;

use crate::support::{App, Listener, Log, Port, Server, Welcome, config, eventually, routes};

/// The default endpoint, and `limits`.
async fn two() -> (Server, Server) {
    tokio::join!(Server::start(), Server::start())
}

fn config_of(default: &Server, limits: &Server) -> Config {
    let mut config = config(default.url());
    // A machine that stands still for a moment is not to look like an outage.
    config.redis.probe_timeout = Duration::from_secs(2);
    config.redis.command_timeout = Duration::from_secs(3);
    config.endpoints.insert("limits".into(), config.redis.elsewhere(limits.url()));
    config
}

/// `/limited` counts at the endpoint `limits`, `/nowhere` at one that nobody knows.
fn with_limits() -> Router<AppState> {
    routes().route("/limited", get(limited)).route("/nowhere", get(nowhere))
}

async fn limited(State(state): State<AppState>) -> Result<String> {
    let mut conn = state.cache_of("limits")?.get().await?;
    Ok(conn.incr::<_, _, u64>("limited", 1).await?.to_string())
}

async fn nowhere(State(state): State<AppState>) -> Result<&'static str> {
    state.cache_of("nowhere")?;
    Ok("here")
}

/// `/ready` answers `status`, because these two are healthy or not.
async fn becomes(app: &App, status: u16, default: bool, limits: bool) {
    let wanted = [("redis", default), ("redis.limits", limits)];
    eventually(&format!("ready is {status}: {wanted:?}"), async || {
        let answer = app.get("/ready").await;
        let ready = answer.json();
        let seen = ready["dependencies"].as_object().unwrap().iter();
        let seen = seen.map(|(name, seen)| (name.as_str(), seen["healthy"] == true));
        (answer.status == status && seen.eq(wanted)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_endpoint_has_its_own_server_connections_actors_and_line_in_the_log() {
    let log = Log::here();
    let (default, limits) = two().await;
    let mut config = config_of(&default, &limits);
    config.redis.max_connections = 7;
    let app = App::start(config, with_limits()).await;
    becomes(&app, 200, true, true).await;
    assert_eq!(app.get("/stored").await.status, 200);
    assert_eq!(app.get("/limited").await.text, "1");
    assert_eq!(limits.ask::<u64>(&["EXISTS", "limited"]).await, 1);
    assert_eq!(default.ask::<u64>(&["EXISTS", "limited"]).await, 0);

    for (server, name) in [(&default, "it:redis:"), (&limits, "it:redis.limits:")] {
        let names = server.client_names().await;
        assert!(!names.is_empty() && names.iter().all(|n| n.starts_with(name)), "{names:?}");
    }
    let nodes: Vec<_> = app.nodes().into_iter().map(|(id, ..)| id).collect();
    for id in ["pool-manager", "health-monitor", "pool-manager:limits", "health-monitor:limits"] {
        assert!(nodes.iter().any(|node| node == id), "{id} in {nodes:?}");
    }
    // Messages speak of the default endpoint, handles of their own.
    assert_eq!(app.state.ask(GetPoolStatus).await.unwrap().max_size, 7);
    assert_eq!(app.state.cache_of("limits").unwrap().status().max_size, 50);

    let lines = log.lines(Level::INFO);
    for (name, leases) in [("redis", 7), ("redis.limits", 50)] {
        let started = format!("INFO pool started endpoint=\"{name}\" ");
        let of: Vec<_> = lines.iter().filter(|line| line.starts_with(&started)).collect();
        assert_eq!(of.len(), 1, "{lines:#?}");
        assert!(of[0].contains(&format!("max_connections={leases} ")), "{of:?}");
    }
    app.end().await;
    for server in [&default, &limits] {
        eventually("no connection is left", async || {
            server.client_names().await.is_empty().then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn an_endpoint_that_is_away_is_named_and_leaves_the_other_alone() {
    let (mut default, mut limits) = two().await;
    let app = App::start(config_of(&default, &limits), with_limits()).await;
    becomes(&app, 200, true, true).await;

    limits.kill();
    becomes(&app, 503, true, false).await;
    app.answers("/limited", 503).await;
    app.get("/limited").await.is_unavailable();
    for _ in 0..100 {
        assert_eq!(app.get("/stored").await.status, 200);
    }
    limits.restart().await;
    becomes(&app, 200, true, true).await;
    app.answers("/limited", 200).await;

    default.kill();
    becomes(&app, 503, false, true).await;
    app.answers("/stored", 503).await;
    for _ in 0..100 {
        assert_eq!(app.get("/limited").await.status, 200);
    }
    default.restart().await;
    becomes(&app, 200, true, true).await;
    app.answers("/stored", 200).await;
    assert_eq!((app.restarts(), app.generation()), (0, 1));
    app.end().await;
}

#[tokio::test]
async fn endpoints_that_swallow_every_attempt_delay_no_other() {
    const SWALLOWING: usize = 8;
    let mut default = Server::start().await;
    let mut config = config(default.url());
    config.redis.connect_timeout = Duration::from_secs(30);
    let mut silent = Vec::new();
    for number in 0..SWALLOWING {
        let port = Port::reserve();
        silent.push(Listener::at(port.address(), Welcome::Silence).await);
        let mut elsewhere = config.redis.elsewhere(port.url());
        elsewhere.optional = true;
        config.endpoints.insert(format!("silent{number}"), elsewhere);
    }
    let app = App::start(config, routes()).await;
    app.answers("/stored", 200).await;
    eventually("every one of them has swallowed an attempt", async || {
        silent.iter().all(|listener| !listener.accepted().is_empty()).then_some(())
    })
    .await;

    default.kill();
    app.answers("/stored", 503).await;
    default.restart().await;
    app.answers("/stored", 200).await;
    app.answers("/ready", 200).await;
    assert_eq!((app.restarts(), app.generation()), (0, 1));
    app.end().await;
}

#[tokio::test]
async fn each_endpoint_is_optional_for_itself() {
    let (mut default, mut limits) = two().await;
    let mut config = config_of(&default, &limits);
    config.endpoints.get_mut("limits").unwrap().optional = true;
    let app = App::start(config, with_limits()).await;
    becomes(&app, 200, true, true).await;
    limits.kill();
    becomes(&app, 200, true, false).await;
    default.kill();
    becomes(&app, 503, false, false).await;
    limits.restart().await;
    becomes(&app, 503, false, true).await;
    app.end().await;
}

#[tokio::test]
async fn an_endpoint_that_comes_late_is_found() {
    let (default, mut limits) = two().await;
    limits.kill();
    let app = App::start(config_of(&default, &limits), with_limits()).await;
    becomes(&app, 503, true, false).await;
    app.answers("/stored", 200).await;
    limits.restart().await;
    becomes(&app, 200, true, true).await;
    app.answers("/limited", 200).await;
    assert_eq!(app.restarts(), 0);
    app.end().await;
}

#[cfg(feature = "chaos")]
#[tokio::test]
async fn a_fall_of_one_endpoints_actors_leaves_the_other_alone() {
    let (default, limits) = two().await;
    let app = App::start(config_of(&default, &limits), with_limits()).await;
    becomes(&app, 200, true, true).await;
    for id in ["pool-manager:limits", "health-monitor:limits"] {
        app.state.inject_panic(id).unwrap();
        eventually(&format!("{id} was restarted"), async || {
            let (_, state, restarts) = app.nodes().into_iter().find(|(known, ..)| known == id)?;
            (state == mainstay::actor::State::Up && restarts == 1).then_some(())
        })
        .await;
        assert_eq!(app.get("/stored").await.status, 200);
        app.answers("/limited", 200).await;
    }
    becomes(&app, 200, true, true).await;
    assert_eq!(app.restarts(), 2);
    assert_eq!(app.state.cache_of("limits").unwrap().status().generation, 1);
    app.end().await;
}

#[tokio::test]
async fn an_endpoint_that_nobody_knows_is_an_error_that_names_those_there_are() {
    let (default, limits) = two().await;
    let mut config = config_of(&default, &limits);
    config.endpoints.insert("audit".into(), config.redis.elsewhere(default.url()));
    let app = App::start(config, with_limits()).await;
    let error = app.state.cache_of("limit").unwrap_err();
    assert_eq!(error.outcome(), Some(Outcome::Bug));
    assert_eq!(error.to_string(), "no redis endpoint is called \"limit\"; known are audit, limits");
    let mainstay::Error::NoEndpoint(NoEndpoint { name, known }) = error else { panic!("{error}") };
    assert_eq!((name.as_str(), known), ("limit", vec!["audit".to_owned(), "limits".to_owned()]));
    let answer = app.get("/nowhere").await;
    assert!(answer.status == 500 && !answer.text.contains("limits"), "{answer:?}");
    app.end().await;
}

#[cfg(feature = "embedded")]
#[tokio::test]
async fn each_endpoint_may_have_an_embedded_server_of_its_own() {
    let mut config = config("embedded");
    config.endpoints.insert("limits".into(), config.redis.elsewhere("embedded"));
    let app = App::start(config, with_limits()).await;
    becomes(&app, 200, true, true).await;
    app.answers("/limited", 200).await;
    let pid = |id| app.state.tree().find(id)?.facts.get("pid")?.as_u64();
    let (default, limits) = (app.embedded_pid().unwrap(), pid("embedded-redis:limits").unwrap());
    assert_ne!(default, limits);
    let mut conn = app.state.cache().unwrap().get().await.unwrap();
    assert!(!conn.exists("limited").await.unwrap());
    drop(conn);
    app.end().await;
    for pid in [default, limits] {
        eventually("the server is gone", async || {
            (!crate::support::signal("-0", pid)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_tree_refuses_an_endpoint_that_cannot_be_used_by_its_name() {
    use mainstay_actors::redis;
    use mainstay_actors::tree::{Setup, StartError, Tree};

    let server = Server::start().await;
    let started = async |name: &str, config: redis::Config| {
        let mut setup = Setup::new("it");
        setup.redis.url = server.url();
        setup.endpoints.insert(name.to_owned(), config);
        Tree::start(setup).await
    };
    let wrong = redis::Config { max_connections: 0, ..redis::Config::default() };
    let Err(StartError::Endpoint { name, source }) = started("limits", wrong).await else {
        panic!("it should be refused")
    };
    assert_eq!(name, "limits");
    assert!(matches!(*source, StartError::Redis(redis::Error::Config(_))), "{source:?}");
    let error = started("No_name", redis::Config::default()).await.unwrap_err();
    assert!(matches!(error, StartError::Redis(redis::Error::Config(_))), "{error:?}");
}
