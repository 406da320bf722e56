//! Lanes and transactions where a server is lost, replaced or read-only.
#![cfg(feature = "cache")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests have no tree to run tasks in, and choose their server"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mainstay_actors::deadline;
use mainstay_actors::redis::{CacheConn, Cause, Config, Endpoint, Error, Reason};
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

#[expect(dead_code, reason = "other tests use the rest of it")]
mod support;
use support::{Keeper, Relay, Server, endpoint, eventually, lanes};

const SOON: Duration = Duration::from_secs(5);

/// How many lanes the server has.
async fn lanes_at(server: &Server) -> usize {
    let list: String = server.ask(&["CLIENT", "LIST"]).await;
    let is_lane = |word: &&str| {
        word.starts_with("name=") && (word.contains(":lane:") || word.contains(":bulk:"))
    };
    list.split_whitespace().filter(is_lane).count()
}

#[tokio::test]
async fn a_lane_that_was_replaced_counts_until_its_last_reply_is_here() {
    let server = Server::start(&[]).await;
    let config = Config { lanes: Some(1), command_timeout: SOON, ..Config::default() };
    let (endpoint, _keeper) = lanes(&server, config).await;
    let mut conn = endpoint.connection().await.unwrap();
    let _: () = server.ask(&["CLIENT", "PAUSE", "60000", "WRITE"]).await;
    let write = tokio::spawn(async move { conn.set("key", 1).await });
    eventually("the write is under way", async || {
        let list: String = server.ask(&["CLIENT", "LIST"]).await;
        list.contains("cmd=set")
    })
    .await;

    endpoint.publish(endpoint.build_generation(Reason::Requested));
    eventually("the lanes are replaced", async || lanes_at(&server).await == 3).await;
    eventually("all of them are published", async || endpoint.status().lanes >= 2).await;
    assert_eq!((lanes_at(&server).await, endpoint.status().lanes), (3, 3));

    let _: () = server.ask(&["CLIENT", "UNPAUSE"]).await;
    timeout(SOON, write).await.unwrap().unwrap().unwrap();
    eventually("the old lane is gone", async || {
        lanes_at(&server).await == 2 && endpoint.status().lanes == 2
    })
    .await;
}

// redis R11
#[tokio::test]
async fn a_transaction_that_a_read_only_server_refuses_asks_for_a_new_generation() {
    let server = Server::start(&["--replicaof", "127.0.0.1", "1"]).await;
    let config = Config { lanes: Some(1), command_timeout: SOON, ..Config::default() };
    let (endpoint, _keeper) = lanes(&server, config).await;
    let mut conn = endpoint.connection().await.unwrap();
    let result: Result<(), Error> = conn
        .transaction(&["key"], |tx| {
            Box::pin(async move {
                tx.queue().set("key", 1);
                tx.commit().await
            })
        })
        .await;
    assert_eq!(result.unwrap_err().cause(), Some(Cause::ReadOnly));
    timeout(SOON, endpoint.outdated()).await.expect("the answer is noticed");
}

async fn is_answered(conn: Result<CacheConn, Error>) -> bool {
    match conn {
        Ok(mut conn) => conn.get::<_, Option<String>>("key").await.is_ok(),
        Err(_) => false,
    }
}

// redis R4
#[tokio::test]
async fn many_lanes_that_are_lost_at_once_do_not_hold_up_the_first_to_come_back() {
    let mut server = Server::start(&[]).await;
    let config = Config { lanes: Some(64), command_timeout: SOON, ..Config::default() };
    let (endpoint, _keeper) = lanes(&server, config).await;

    server.kill();
    eventually("connecting fails", async || endpoint.connect_failure().is_some()).await;
    server.restart().await;
    let listening = Instant::now();
    while !is_answered(endpoint.connection().await).await {
        assert!(listening.elapsed() < Duration::from_secs(2), "no lane came back");
    }
}

// redis R4
#[tokio::test]
async fn the_lane_for_large_values_does_not_come_back_after_all_others() {
    let server = Server::start(&[]).await;
    let config = Config { lanes: Some(64), command_timeout: SOON, ..Config::default() };
    let (endpoint, _keeper) = lanes(&server, config).await;
    let _: u32 = server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    eventually("the lanes are lost", async || endpoint.status().lanes < 32).await;

    let lost = Instant::now();
    while !is_answered(bulk(&endpoint).await).await {
        assert!(lost.elapsed() < Duration::from_secs(2), "it did not come back");
    }
}

async fn bulk(endpoint: &Arc<Endpoint>) -> Result<CacheConn, Error> {
    endpoint.connection().await?.bulk().await
}

// redis R12
#[tokio::test]
async fn a_wait_for_a_server_that_loads_does_not_outlast_the_deadline_and_says_why() {
    let slowly = ["--key-load-delay", "300", "--loading-process-events-interval-bytes", "1024"];
    let mut server = Server::start(&slowly).await;
    let fill = "for number = 1, 10000 do redis.call('SET', 'key:' .. number, number) end";
    let _: () = server.ask(&["EVAL", fill, "0"]).await;
    let _: () = server.ask(&["SAVE"]).await;
    server.kill();
    server.restart().await;

    let config = Config { lanes: Some(1), command_timeout: SOON, ..Config::default() };
    let (endpoint, _keeper) = lanes(&server, config).await;
    let mut conn = endpoint.connection().await.unwrap();
    // Shorter than the pause between two tries. A machine that is busy may miss it, but not each time.
    eventually("the deadline is kept and the reason known", async || {
        let deadline = Instant::now() + Duration::from_millis(40);
        let found = deadline::scope(deadline, conn.get::<_, Option<u32>>("key:1")).await;
        found.unwrap_err().cause() == Some(Cause::Loading)
    })
    .await;
}

#[tokio::test]
async fn a_command_that_fails_in_a_commit_undoes_no_other() {
    let server = Server::start(&[]).await;
    let config = Config { lanes: Some(1), ..Config::default() };
    let (endpoint, _keeper) = lanes(&server, config).await;
    let mut conn = endpoint.connection().await.unwrap();
    let _: () = server.ask(&["RPUSH", "list", "1"]).await;
    let result: Result<(), Error> = conn
        .transaction(&["key"], |tx| {
            Box::pin(async move {
                tx.queue().set("key", 1).incr("list", 1);
                tx.commit().await
            })
        })
        .await;
    assert_eq!(result.unwrap_err(), Error::Server { code: "WRONGTYPE".into() });
    assert_eq!(conn.get::<_, Option<u32>>("key").await.unwrap(), Some(1));
}

async fn connections_at(server: &Server) -> usize {
    let list: String = server.ask(&["CLIENT", "LIST"]).await;
    list.split_whitespace().filter(|word| word.starts_with("name=mainstay")).count()
}

#[tokio::test]
async fn generations_in_quick_succession_keep_within_the_most_connections() {
    let server = Server::start(&[]).await;
    let config = Config {
        url: server.url(),
        lanes: Some(1),
        max_connections: 1,
        command_timeout: Duration::from_secs(1),
        ..Config::default()
    };
    let most = config.most_connections();
    let endpoint = endpoint(config);
    let _keeper = Keeper::of(&endpoint);
    eventually("there are lanes", async || endpoint.status().lanes == 2).await;
    let _: () = server.ask(&["CLIENT", "PAUSE", "60000", "WRITE"]).await;
    let mut writes = JoinSet::new();
    for number in 0..10_usize {
        let mut conn = endpoint.connection().await.unwrap();
        let mut bulk = endpoint.connection().await.unwrap().bulk().await.unwrap();
        writes.spawn(async move { conn.set("key", number).await });
        writes.spawn(async move { bulk.set("key", number).await });
        endpoint.publish(endpoint.build_generation(Reason::Requested));
        for _look in 0..10 {
            let found = connections_at(&server).await;
            assert!(found <= most, "{found} connections, at most {most} were promised");
            sleep(Duration::from_millis(10)).await;
        }
    }
    let _: () = server.ask(&["CLIENT", "UNPAUSE"]).await;
    eventually("all others are closed", async || connections_at(&server).await == 2).await;
}

// redis R3, R24
#[tokio::test]
async fn a_silent_lane_is_kept_until_there_is_another() {
    let server = Server::start(&[]).await;
    let relay = Relay::start(&server);
    let endpoint = endpoint(Config {
        url: relay.url.clone(),
        lanes: Some(1),
        command_timeout: Duration::from_millis(100),
        recycle_timeout: Duration::from_millis(300),
        ..Config::default()
    });
    let _keeper = Keeper::of(&endpoint);
    eventually("there are lanes", async || endpoint.status().lanes == 2).await;
    let mut admin = admin(&server).await;
    requires(&mut admin, "changed").await;
    let refused = Some(Cause::NoPassword);
    eventually("no lane can be replaced", async || endpoint.connect_failure() == refused).await;
    let mut conn = endpoint.connection().await.unwrap();
    conn.set("key", 1).await.unwrap();

    relay.silence();
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        let mut conn = endpoint.connection().await.expect("the lane may be heard again");
        let found = conn.get::<_, Option<u64>>("key").await;
        assert!(matches!(found, Err(Error::Deadline { .. })), "{found:?}");
    }
    requires(&mut admin, "").await;
    eventually("another lane serves", async || {
        let mut conn = endpoint.connection().await.unwrap();
        conn.get::<_, Option<u64>>("key").await == Ok(Some(1))
    })
    .await;
}

async fn requires(admin: &mut MultiplexedConnection, password: &str) {
    let set = ["SET", "requirepass", password];
    let () = redis::cmd("CONFIG").arg(&set).query_async(admin).await.unwrap();
}

/// A connection that stays logged in.
async fn admin(server: &Server) -> MultiplexedConnection {
    let client = redis::Client::open(server.url()).unwrap();
    let unlimited = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&unlimited).await.unwrap()
}

/// The server's numbers of the connections that are lanes.
async fn lane_ids(admin: &mut MultiplexedConnection) -> BTreeSet<u64> {
    let list: String = redis::cmd("CLIENT").arg("LIST").query_async(admin).await.unwrap();
    let lanes = list.lines().filter(|line| line.contains(":lane:"));
    lanes.map(|line| line[3..line.find(' ').unwrap()].parse().unwrap()).collect()
}

/// A connection on each lane. Lanes are chosen by thread.
async fn on_each_lane(endpoint: &Arc<Endpoint>, count: usize) -> Vec<CacheConn> {
    let (mut conns, mut met) = (Vec::new(), BTreeSet::new());
    while conns.len() < count {
        let (endpoint, runtime) = (Arc::clone(endpoint), tokio::runtime::Handle::current());
        let elsewhere = std::thread::spawn(move || runtime.block_on(endpoint.connection()));
        let mut conn = elsewhere.join().unwrap().unwrap();
        if met.insert(support::id(&mut conn).await) {
            conns.push(conn);
        }
    }
    conns
}

/// A server with four lanes to it, whose commands are soon given up.
struct FourLanes {
    server: Server,
    endpoint: Arc<Endpoint>,
    admin: MultiplexedConnection,
    /// The numbers of the lanes at the beginning.
    before: BTreeSet<u64>,
    _keeper: Keeper,
}

impl FourLanes {
    async fn start() -> Self {
        let server = Server::start(&[]).await;
        let command_timeout = Duration::from_millis(100);
        let config = Config { lanes: Some(4), command_timeout, ..Config::default() };
        let (endpoint, keeper) = lanes(&server, config).await;
        let mut admin = admin(&server).await;
        let before = lane_ids(&mut admin).await;
        Self { server, endpoint, admin, before, _keeper: keeper }
    }
}

async fn serves(endpoint: &Arc<Endpoint>) {
    let write = async || endpoint.connection().await.unwrap().set("key", 1).await.is_ok();
    eventually("it serves", write).await;
}

/// Callers without a pause.
fn readers(endpoint: &Arc<Endpoint>, count: usize) -> JoinSet<()> {
    let reader = |endpoint: Arc<Endpoint>| async move {
        loop {
            let Ok(mut conn) = endpoint.connection().await else { continue };
            conn.get::<_, Option<String>>("key").await.ok();
        }
    };
    (0..count).map(|_| reader(Arc::clone(endpoint))).collect()
}

// redis R3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standstill_that_costs_commands_their_time_costs_no_lane() {
    let FourLanes { server, endpoint, mut admin, before, _keeper } = FourLanes::start().await;
    let _readers = readers(&endpoint, 64);
    for _ in 0..3 {
        server.freeze();
        // Longer than a command, shorter than a stall.
        sleep(Duration::from_millis(600)).await;
        server.thaw();
        serves(&endpoint).await;
    }
    assert_eq!(lane_ids(&mut admin).await, before);
}

// redis R3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_that_stall_together_are_kept_when_the_server_is_heard_again() {
    let FourLanes { server, endpoint, mut admin, before, _keeper } = FourLanes::start().await;
    let _readers = readers(&endpoint, 64);
    server.freeze();
    // All of them have stalled, and the first one's successor is being made.
    sleep(Duration::from_secs(3)).await;
    server.thaw();
    serves(&endpoint).await;
    // Longer than it takes to make a lane for each, if that were done.
    let settled = Instant::now() + Duration::from_millis(500);
    while Instant::now() < settled {
        let after = lane_ids(&mut admin).await;
        let kept = before.intersection(&after).count();
        assert!(kept >= before.len() - 1, "of {before:?} there are {after:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

// redis R3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_behind_paused_writes_are_replaced_one_at_a_time() {
    let FourLanes { server: _server, endpoint, mut admin, before, _keeper } =
        FourLanes::start().await;
    let pause = ["PAUSE", "60000", "WRITE"];
    let () = redis::cmd("CLIENT").arg(&pause).query_async(&mut admin).await.unwrap();
    // Each of them has a write that waits.
    let writing: JoinSet<_> = on_each_lane(&endpoint, before.len())
        .await
        .into_iter()
        .map(|mut conn| async move { conn.set("key", 1).await })
        .collect();
    for written in writing.join_all().await {
        assert!(matches!(written, Err(Error::OutcomeUnknown { .. })), "{written:?}");
    }
    let mut most = 0;
    eventually("every lane was replaced", async || {
        let now = lane_ids(&mut admin).await;
        most = most.max(now.len());
        now.is_disjoint(&before) && now.len() == before.len()
    })
    .await;
    // The old one finishes what is under way, and so does the one before it.
    assert!(most <= before.len() + 2, "{most} at once");
    let () = redis::cmd("CLIENT").arg("UNPAUSE").query_async(&mut admin).await.unwrap();
}

#[tokio::test]
async fn a_generation_that_was_closed_and_not_replaced_gets_no_lanes_and_holds_up_nothing() {
    let server = Server::start(&[]).await;
    let config = Config { url: server.url(), lanes: Some(1), ..Config::default() };
    let endpoint = endpoint(config);
    let _keeper = Keeper::of(&endpoint);
    eventually("there are lanes", async || endpoint.status().lanes == 2).await;

    endpoint.generation().unwrap().close();
    tokio::task::yield_now().await;
    endpoint.publish(endpoint.build_generation(Reason::Requested));
    eventually("there are lanes again", async || endpoint.status().lanes == 2).await;
    endpoint.connection().await.unwrap().set("key", 1).await.unwrap();
}

#[tokio::test]
async fn an_attempt_that_hangs_is_begun_again_once_a_probe_is_answered() {
    let server = Server::start(&[]).await;
    let socket = server.path("late.sock");
    let config = Config {
        url: format!("unix://{}", socket.display()),
        connect_timeout: Duration::from_secs(60),
        lanes: Some(1),
        ..Config::default()
    };
    let endpoint = endpoint(config);
    let _keeper = Keeper::of(&endpoint);
    eventually("connecting fails", async || endpoint.connect_failure() == Some(Cause::Refused))
        .await;
    let (_relay, _deaf) = Relay::start_deaf(&server, socket).await;

    let mut probe = endpoint.probe_connection().await.unwrap();
    probe.ping().await.unwrap();
    let write = async { endpoint.connection().await?.set("key", 1).await };
    timeout(SOON, write).await.expect("whoever knows of the answer is served").unwrap();
}
