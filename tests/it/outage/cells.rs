//! Every cell of the table, on a real server and over HTTP.

use std::time::Duration;

use futures_util::future::{join, join_all};
use mainstay::actor::State as Doing;
use mainstay::cache::{GetHealth, GetPoolStatus, ProbeNow, RebuildPool, Script};
use mainstay::prelude::*;
use mainstay::{Config, Error};
use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use super::SLACK;
use super::table::{Answer, BLOCK, COLUMNS, Cell, HELD_UP, ROWS, Row, When};
use crate::support::{Answer as Got, App, Port, Server, config, eventually};

/// So long apart that a test ends between two probes.
const SELDOM: Duration = Duration::from_secs(600);
/// A fallen actor waits for a time between nothing and this: for longer than any test.
const FOR_EVER: Duration = Duration::from_secs(100 * 24 * 3600);
const BLOCKING: [&str; 2] = ["/blocking-read", "/blocking-write"];
/// What changes what others see is done last.
const LAST: [&str; 2] = ["/probe", "/rebuild"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_starts_without_redis_answers_as_documented() {
    let port = Port::reserve();
    let app = App::start(config(port.url()), routes()).await;
    hold(When::ColdStart, &app, async || {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_whose_redis_was_killed_answers_as_documented() {
    let mut server = Server::start().await;
    let app = ready(config(server.url())).await;
    hold(When::Away, &app, async || {
        both_block(&server).await;
        server.kill();
        breaks(&app).await;
    })
    .await;
}

// redis R2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_whose_redis_has_just_frozen_answers_as_documented() {
    let server = Server::start().await;
    let mut config = config(server.url());
    config.redis.probe_interval = SELDOM;
    let app = ready(config).await;
    hold(When::Frozen, &app, async || {
        both_block(&server).await;
        server.freeze();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_knows_that_its_redis_is_frozen_answers_as_documented() {
    let server = Server::start().await;
    let app = ready(config(server.url())).await;
    hold(When::FrozenAndNoticed, &app, async || {
        server.freeze();
        breaks(&app).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_without_its_pool_manager_answers_as_documented() {
    let server = Server::start().await;
    let app = ready(without_restarts(server.url())).await;
    hold(When::NoManager, &app, async || falls(&app, "pool-manager").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_without_its_health_monitor_answers_as_documented() {
    let server = Server::start().await;
    let mut config = without_restarts(server.url());
    config.redis.probe_interval = SELDOM;
    let app = ready(config).await;
    hold(When::NoMonitor, &app, async || falls(&app, "health-monitor").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_whose_verdict_is_stale_answers_as_documented() {
    let server = Server::start().await;
    let app = ready(without_restarts(server.url())).await;
    hold(When::Stale, &app, async || {
        falls(&app, "health-monitor").await;
        app.answers("/ready", 503).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_whose_redis_holds_back_writes_answers_as_documented() {
    let server = Server::start().await;
    let mut config = config(server.url());
    config.redis.lanes = Some(1);
    let app = ready(config).await;
    hold(When::WritesPaused, &app, async || {
        both_block(&server).await;
        let () = server.ask(&["CLIENT", "PAUSE", "60000", "WRITE"]).await;
        assert_eq!(app.get("/write").await.status, 504, "it waits on the lane");
    })
    .await;
    let () = server.ask(&["CLIENT", "UNPAUSE"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_whose_redis_takes_no_new_connection_answers_as_documented() {
    let server = Server::start().await;
    let app = ready(config(server.url())).await;
    hold(When::Full, &app, async || {
        let mut admin = admin(&server).await;
        let full = ["SET", "maxclients", "1"];
        let () = redis::cmd("CONFIG").arg(&full).query_async(&mut admin).await.unwrap();
        let list =
            redis::cmd("CLIENT").arg("LIST").query_async::<String>(&mut admin).await.unwrap();
        // The monitor notices by itself when it makes its next connection.
        let probe = list.lines().find(|line| line.contains(":probe:")).unwrap();
        let id = probe.split(' ').next().unwrap().trim_start_matches("id=");
        let kill = ["KILL", "ID", id];
        let _: u64 = redis::cmd("CLIENT").arg(&kill).query_async(&mut admin).await.unwrap();
        eventually("new connections fail", async || {
            app.get("/ready").await.text.contains("new connections fail").then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_held_up_answers_as_documented() {
    let server = Server::start().await;
    let app = ready(config(server.url())).await;
    hold(When::HeldUp, &app, async || {
        both_block(&server).await;
        let (tell, told) = std::sync::mpsc::channel();
        for _thread in 0..2 {
            let tell = tell.clone();
            tokio::spawn(async move {
                tell.send(()).unwrap();
                std::thread::sleep(HELD_UP);
            });
        }
        for _thread in 0..2 {
            told.recv().unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_that_are_lost_while_nobody_keeps_them_are_missed_and_leases_go_on() {
    let server = Server::start().await;
    let app = ready(without_restarts(server.url())).await;
    falls(&app, "pool-manager").await;
    let cache = app.state.cache().unwrap();
    let mut pinned = cache.get().await.unwrap();
    pinned.pin().await.unwrap();
    let lease: u64 = redis::cmd("CLIENT").arg("ID").query_async(&mut *pinned).await.unwrap();
    let list: String = server.ask(&["CLIENT", "LIST"]).await;
    for id in list.split_whitespace().filter_map(|word| word.strip_prefix("id=")) {
        if id != lease.to_string() {
            let _killed: u64 = server.ask(&["CLIENT", "KILL", "ID", id]).await;
        }
    }
    app.answers("/read", 503).await;
    pinned.set(KEY, "value").await.unwrap();
    let got = app.get("/read").await;
    got.is_unavailable();
    assert!(got.took < app.state.config().redis.connect_timeout + SLACK, "{got:?}");
}

/// Does everything that the table has a cell for, and compares.
async fn hold(when: When, app: &App, happen: impl AsyncFnOnce()) {
    let column = COLUMNS.iter().position(|one| *one == when).unwrap();
    let cases: Vec<(&Row, Cell)> = ROWS.iter().map(|row| (row, row.cells[column])).collect();
    let of = |paths: &[&str], is_in: bool| {
        let chosen = cases.iter().filter(|(row, _)| paths.contains(&row.path) == is_in);
        chosen.copied().collect::<Vec<_>>()
    };
    let begun = Instant::now();
    let blocking = async {
        let asked = of(&BLOCKING, true).into_iter().filter(|(_, cell)| cell.is_some());
        join_all(asked.map(async |(row, cell)| (row, cell, app.get(row.path).await))).await
    };
    let others = async {
        happen().await;
        let happened = Instant::now();
        let apart = [&BLOCKING[..], &LAST].concat();
        let asked = of(&apart, false).into_iter();
        let got = asked.map(async |(row, cell)| (row, cell, app.get(row.path).await));
        let mut got = join_all(got).await;
        for (row, cell) in of(&LAST, true) {
            got.push((row, cell, app.get(row.path).await));
        }
        (happened, got)
    };
    let (blocked, (happened, answered)) = join(blocking, others).await;
    for (row, cell, got) in answered {
        check(when, app, row, cell, &got, got.took);
    }
    for (row, cell, got) in blocked {
        // What blocks began before anything happened.
        check(when, app, row, cell, &got, got.took.saturating_sub(happened - begun));
    }
}

fn check(when: When, app: &App, row: &Row, cell: Cell, got: &Got, took: Duration) {
    let Some((answer, within)) = cell else { return };
    let about = format!("{}, {when:?}: wanted is {answer}, and it is {got:?}", row.what);
    let problem = |name: &str| {
        assert_eq!(got.json()["type"], format!("urn:mainstay:problem:{name}"), "{about}");
        got.status
    };
    match answer {
        Answer::Done => assert!(got.status == 200 && got.text != WITHOUT, "{about}"),
        Answer::Without => assert_eq!((got.status, got.text.as_str()), (200, WITHOUT), "{about}"),
        Answer::Reports { healthy } => {
            assert_eq!(got.status, 200, "{about}");
            assert_eq!(got.json()["healthy"], healthy, "{about}");
        }
        Answer::Ready => {
            assert_eq!((got.status, &got.json()["ready"]), (200, &true.into()), "{about}");
        }
        Answer::NotReady => {
            assert_eq!((got.status, &got.json()["ready"]), (503, &false.into()), "{about}");
        }
        Answer::Unavailable => {
            assert_eq!(problem("unavailable"), 503, "{about}");
            assert!(got.header("retry-after").is_some(), "{about}");
        }
        Answer::Deadline => assert_eq!(problem("deadline"), 504, "{about}"),
        Answer::OutcomeUnknown => assert_eq!(problem("outcome-unknown"), 504, "{about}"),
    }
    assert!(took < within.longest(app.state.config()) + SLACK, "{about}");
}

async fn ready(config: Config) -> App {
    let app = App::start(config, routes()).await;
    app.becomes_ready().await;
    app.answers("/read", 200).await;
    app
}

/// An actor that falls does not come back.
fn without_restarts(url: String) -> Config {
    let mut config = config(url);
    config.supervision.intensity = 1;
    config.supervision.within = FOR_EVER * 2;
    config.supervision.backoff_min = FOR_EVER;
    config.supervision.backoff_max = FOR_EVER;
    config
}

async fn falls(app: &App, id: &str) {
    app.state.inject_panic(id).unwrap();
    eventually(&format!("{id} is down"), async || {
        (app.state.tree().find(id).unwrap().state == Doing::Backoff).then_some(())
    })
    .await;
}

async fn both_block(server: &Server) {
    eventually("both block", async || {
        let clients: String = server.ask(&["INFO", "clients"]).await;
        clients.contains("blocked_clients:2\r").then_some(())
    })
    .await;
}

/// A connection that is there before the server is full.
async fn admin(server: &Server) -> MultiplexedConnection {
    let client = redis::Client::open(server.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

async fn breaks(app: &App) {
    eventually("the breaker is open", async || {
        let report = app.state.ask(GetHealth).await.unwrap();
        report.breaker_open.then_some(())
    })
    .await;
}

// --- what the service does ----------------------------------------------------------------------

const KEY: &str = "key";
const WITHOUT: &str = "without";

fn routes() -> Router<AppState> {
    Router::new()
        .route("/read", get(read))
        .route("/write", get(write))
        .route("/optional", get(optional))
        .route("/script", get(script))
        .route("/pinned", get(pinned))
        .route("/transaction", get(transaction))
        .route("/blocking-read", get(blocking_read))
        .route("/blocking-write", get(blocking_write))
        .route("/pool", get(async |state: State<AppState>| asked(state, GetPoolStatus).await))
        .route("/rebuild", get(async |state: State<AppState>| asked(state, RebuildPool).await))
        .route("/verdict", get(async |state: State<AppState>| asked(state, GetHealth).await))
        .route("/probe", get(async |state: State<AppState>| asked(state, ProbeNow).await))
}

async fn read(mut conn: CacheConn) -> Result<String> {
    let value: Option<String> = conn.get(KEY).await?;
    Ok(value.unwrap_or_default())
}

async fn write(mut conn: CacheConn) -> Result<()> {
    Ok(conn.set(KEY, "value").await?)
}

async fn optional(conn: Option<CacheConn>) -> String {
    let Some(mut conn) = conn else { return WITHOUT.to_owned() };
    match conn.get::<_, Option<String>>(KEY).await {
        Ok(value) => value.unwrap_or_default(),
        Err(_) => WITHOUT.to_owned(),
    }
}

async fn script(mut conn: CacheConn) -> Result<String> {
    Ok(Script::new("return redis.call('SET', KEYS[1], 'value').ok")
        .key(KEY)
        .invoke(&mut conn)
        .await?)
}

async fn pinned(mut conn: CacheConn) -> Result<String> {
    conn.pin().await?;
    read(conn).await
}

async fn transaction(mut conn: CacheConn) -> Result<()> {
    conn.transaction("watched", |tx| {
        Box::pin(async move {
            let count: Option<u64> = tx.get("watched").await?;
            tx.queue().set("watched", count.unwrap_or(0) + 1);
            tx.commit::<((),)>().await?;
            Ok::<_, Error>(())
        })
    })
    .await
}

async fn blocking_read(mut conn: CacheConn) -> Result<()> {
    let block = u64::try_from(BLOCK.as_millis()).unwrap();
    let mut command = redis::cmd("XREAD");
    command.arg("BLOCK").arg(block).arg("STREAMS").arg("stream").arg("$");
    Ok(command.query_async(&mut *conn).await?)
}

async fn blocking_write(mut conn: CacheConn) -> Result<()> {
    let mut command = redis::cmd("BLPOP");
    command.arg("list").arg(BLOCK.as_secs());
    Ok(command.query_async(&mut *conn).await?)
}

async fn asked<R>(State(state): State<AppState>, request: R) -> Result<Json<serde_json::Value>>
where
    R: mainstay::actor::Request<Reply: Serialize>,
{
    Ok(Json(serde_json::to_value(state.ask(request).await?)?))
}
