//! Messages to actors: those of the house through the state, a service's own through `Recipient`.

use std::time::Duration;

use mainstay::actor::{
    Actor, BoxError, Cx, GetTree, Notice, Reply, Request, Server, State as Doing,
};
use mainstay::cache::{GetHealth, GetPoolStatus, ProbeNow, RebuildPool};
use mainstay::prelude::*;
use tracing::Level;

use crate::support::{App, Count, Log, Server as Redis, config, counter, eventually, routes};

async fn started(server: &Redis) -> App {
    let describe = |builder: ServiceBuilder| builder.with_actor(counter()).with_routes(routes());
    let app = App::start_with(config(server.url()), describe).await;
    app.becomes_ready().await;
    app
}

#[tokio::test]
async fn the_pool_and_the_health_monitor_answer_questions() {
    let mut server = Redis::start().await;
    let app = started(&server).await;
    let cache = app.state.cache().unwrap();
    let mut held = cache.get().await.unwrap();
    held.pin().await.unwrap();
    let status = app.state.ask(GetPoolStatus).await.unwrap();
    assert_eq!(status, cache.status());
    assert_eq!((status.max_size, status.available, status.size), (50, 49, 1), "{status:?}");
    assert_eq!((status.generation, status.rebuilds, status.waiting), (1, 0, 0), "{status:?}");
    assert!(status.lanes >= 2 && status.control >= 1, "{status:?}");
    drop(held);

    let report = app.state.ask(GetHealth).await.unwrap();
    assert!(report.healthy && !report.breaker_open, "{report:?}");
    assert_eq!(report.message, "connected");
    server.kill();
    // Each is a probe that was sent after the kill; the second failure opens the breaker.
    assert!(!app.state.ask(ProbeNow).await.unwrap().healthy);
    let report = app.state.ask(ProbeNow).await.unwrap();
    assert!(!report.healthy && report.breaker_open, "{report:?}");
    assert!(app.state.ask(GetHealth).await.unwrap().breaker_open);
    server.restart().await;
    let report = app.state.ask(ProbeNow).await.unwrap();
    assert!(report.healthy && !report.breaker_open, "a probe of one's own heals: {report:?}");
    app.end().await;
}

#[tokio::test]
async fn the_tree_shows_every_actor_with_its_facts() {
    let server = Redis::start().await;
    let app = started(&server).await;
    let tree = app.state.ask(GetTree).await.unwrap();
    assert_eq!(tree.id, "mainstay");
    let ids: Vec<_> = tree.children.iter().map(|child| child.id.as_str()).collect();
    assert_eq!(ids, ["pool-manager", "health-monitor", "nursery", "subscriptions", "application"]);
    assert_eq!(tree.find("counter").unwrap().path, "mainstay/application/counter");
    for child in &tree.children {
        assert_eq!(
            (child.state, child.incarnation, child.restarts),
            (Doing::Up, 1, 0),
            "{child:?}"
        );
    }
    let shown = app.get("/tree").await.json();
    let pool = &shown["children"][0];
    assert_eq!((&pool["generation"], &pool["rebuilds"]), (&1.into(), &0.into()), "{pool}");
    assert!(pool["last_rebuild_reason"].is_null() && pool["restarts"] == 0, "{pool}");
    let health = &shown["children"][1];
    assert_eq!((&health["healthy"], &health["breaker"]), (&true.into(), &"closed".into()));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuilt_pool_leaves_requests_in_flight_alone_and_takes_every_old_connection_with_it() {
    let server = Redis::start().await;
    let app = started(&server).await;
    let cache = app.state.cache().unwrap();
    let ids = async || -> Vec<u64> {
        let list: String = server.ask(&["CLIENT", "LIST"]).await;
        let ours = [":lease:", ":lane:", ":bulk:"];
        let callers = list.lines().filter(|line| ours.iter().any(|part| line.contains(part)));
        callers.map(|line| line[3..].split(' ').next().unwrap().parse().unwrap()).collect()
    };
    let mut idle = cache.get().await.unwrap();
    let mut flying = cache.get().await.unwrap();
    idle.pin().await.unwrap();
    flying.pin().await.unwrap();
    drop(idle);
    let old = ids().await;
    let lanes = cache.status().lanes;
    assert_eq!(old.len(), 2 + lanes, "{old:?}");
    // Under way from before the rebuild until after it.
    let popped = tokio::spawn(async move {
        redis::cmd("BLPOP").arg("list").arg(10).query_async::<(String, String)>(&mut *flying).await
    });
    eventually("the client is blocked", async || {
        let info: String = server.ask(&["INFO", "clients"]).await;
        info.contains("blocked_clients:1").then_some(())
    })
    .await;

    assert_eq!(app.state.ask(RebuildPool).await.unwrap(), 2);
    app.answers("/stored", 200).await;
    let status = app.state.ask(GetPoolStatus).await.unwrap();
    assert_eq!((status.generation, status.rebuilds), (2, 1), "{status:?}");
    assert_eq!(status.available, status.max_size - 1, "the old lease still counts: {status:?}");
    let _: u64 = server.ask(&["RPUSH", "list", "late"]).await;
    let (_, value) = popped.await.unwrap().unwrap();
    assert_eq!(value, "late", "a request in flight is unharmed");
    eventually("the old connections are gone", async || {
        let now = ids().await;
        (!now.is_empty() && now.iter().all(|id| !old.contains(id))).then_some(())
    })
    .await;
    app.has_all_leases().await;

    let pool = app.state.tree().find("pool-manager").unwrap().clone();
    assert_eq!(pool.facts["last_rebuild_reason"], "requested");
    assert_eq!((&pool.facts["generation"], pool.restarts), (&2.into(), 0));
    app.end().await;
}

#[tokio::test]
async fn a_handler_reaches_the_services_own_actor_by_the_type_of_a_message() {
    let server = Redis::start().await;
    let app = started(&server).await;
    for wanted in ["1", "2", "3"] {
        assert_eq!(app.get("/count").await.text, wanted);
    }
    assert_eq!(app.state.ask(Count).await.unwrap(), 4);
    assert_eq!(app.get("/reset").await.status, 202);
    // Messages of one sender arrive in order, and so does the one after the reset.
    assert_eq!(app.get("/count").await.text, "1");
    app.end().await;
}

struct Nobodys;
impl Request for Nobodys {
    type Reply = ();
}
struct Unheard;
impl Notice for Unheard {}

#[tokio::test]
async fn a_message_that_nobody_takes_is_500_and_the_log_names_it() {
    async fn ask(nobody: Recipient<Nobodys>) -> Result<()> {
        Ok(nobody.ask(Nobodys).await?)
    }
    async fn tell(State(state): State<AppState>) -> Result<()> {
        Ok(state.tell(Unheard)?)
    }
    let log = Log::here();
    let server = Redis::start().await;
    let routes = Router::new().route("/ask", get(ask)).route("/tell", get(tell));
    let app = App::start(config(server.url()), routes).await;
    for (path, message) in [("/ask", "Nobodys"), ("/tell", "Unheard")] {
        log.clear();
        let answer = app.get(path).await;
        assert_eq!(answer.status, 500, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert!(!answer.text.contains(message), "the client learns nothing of it: {answer:?}");
        let errors = log.lines(Level::ERROR);
        let lines: Vec<_> = errors.iter().filter(|line| line.contains(message)).collect();
        assert_eq!(lines.len(), 1, "{errors:#?}");
        assert!(lines[0].contains(".accepts(..)"), "it says what to do: {lines:?}");
        let id = answer.json()["request_id"].as_str().unwrap().to_owned();
        assert!(lines[0].contains(&id), "it says in which request: {lines:?}");
    }
    app.end().await;
}

/// Takes the message and never answers.
struct Mute;

enum Asked {
    Nobodys(Nobodys, Reply<()>),
}

impl Server for Mute {
    type Message = Asked;
    type State = Vec<Reply<()>>;

    async fn init(&self, _cx: &Cx<Asked>) -> Result<Self::State, BoxError> {
        Ok(Vec::new())
    }

    async fn handle(
        &self,
        _cx: &Cx<Asked>,
        Asked::Nobodys(Nobodys, reply): Asked,
        kept: &mut Self::State,
    ) -> Result<(), BoxError> {
        kept.push(reply);
        Ok(())
    }
}

#[tokio::test]
async fn an_ask_ends_with_the_request_that_asks() {
    async fn ask(mute: Recipient<Nobodys>) -> Result<()> {
        Ok(mute.ask(Nobodys).await?)
    }
    let redis = Redis::start().await;
    let mut config = config(redis.url());
    config.service.request_timeout = Duration::from_millis(300);
    let app = App::start_with(config, |builder| {
        builder
            .with_actor(Actor::new("mute", || Mute).accepts(Asked::Nobodys))
            .with_routes(Router::new().route("/ask", get(ask)))
    })
    .await;
    let answer = app.get("/ask").await;
    assert_eq!(answer.status, 504, "{answer:?}");
    assert!(answer.took < Duration::from_secs(3), "long before ask_timeout: {answer:?}");
    app.end().await;
}
