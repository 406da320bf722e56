//! Lanes and what leaves them, against a real server.
#![cfg(feature = "cache")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests have no tree to run tasks in, and choose their server"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mainstay_actors::redis::{
    Breaker, CacheConn, Cause, Config, Endpoint, Error, Script, ServerState, Verdict,
};
use mainstay_actors::{Outcome, deadline};
use redis::AsyncCommands;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

#[expect(dead_code, reason = "other tests use the rest of it")]
mod support;
use support::{Server, eventually, id, lanes};

const SOON: Duration = Duration::from_secs(5);

/// What a machine that is busy with other tests may add to a bound.
const SLACK: Duration = Duration::from_secs(1);

fn patient() -> Config {
    Config { lanes: Some(2), command_timeout: SOON, ..Config::default() }
}

/// A connection on each ordinary lane. Lanes are chosen by thread.
async fn on_each_lane(endpoint: &Arc<Endpoint>) -> Vec<CacheConn> {
    let (mut conns, mut met) = (Vec::new(), Vec::new());
    while conns.len() < endpoint.lane_slots() - 1 {
        let (endpoint, runtime) = (Arc::clone(endpoint), tokio::runtime::Handle::current());
        let elsewhere = std::thread::spawn(move || runtime.block_on(endpoint.connection()));
        let mut conn = elsewhere.join().unwrap().unwrap();
        let lane = id(&mut conn).await;
        if !met.contains(&lane) {
            met.push(lane);
            conns.push(conn);
        }
    }
    conns
}

/// How often the server has executed `command`.
async fn calls(server: &Server, command: &str) -> u64 {
    let stats: String = server.ask(&["INFO", "commandstats"]).await;
    let name = format!("cmdstat_{command}:calls=");
    let line = stats.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

#[derive(Default)]
struct Met {
    answered: u64,
    lost: Vec<(bool, Error)>,
    wrong: u64,
}

/// Writes and reads on one place until it is enough, many commands at once on each lane.
async fn ask_on(mut conn: CacheConn, caller: u64, enough: Arc<AtomicBool>) -> Met {
    let mut met = Met::default();
    while !enough.load(Ordering::Relaxed) {
        let value = format!("{caller}:{}", met.answered);
        let is_write = met.answered % 2 == 0;
        let asked: Result<String, Error> = if is_write {
            let mut command = redis::cmd("SET");
            command.arg(caller).arg(&value).arg("GET");
            match command.query_async::<Option<String>>(&mut *conn).await {
                Ok(_) => Ok(value.clone()),
                Err(error) => Err(error.into()),
            }
        } else {
            redis::cmd("ECHO").arg(&value).query_async(&mut *conn).await.map_err(Error::from)
        };
        match asked {
            Ok(echoed) => met.wrong += u64::from(echoed != value),
            Err(error) => met.lost.push((is_write, error)),
        }
        if met.lost.len() > 3 {
            break;
        }
        met.answered += 1;
    }
    met
}

const BUSY_FOR_50_MS: &str = "
    local begun = redis.call('TIME')
    repeat local now = redis.call('TIME')
    until (now[1] - begun[1]) * 1000000 + now[2] - begun[2] > 50000";

// redis R3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_is_killed_loses_what_is_under_way_on_it_and_nothing_else() {
    const EACH: usize = 16;
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, patient()).await;
    let enough = Arc::<AtomicBool>::default();
    let mut on_lane = [JoinSet::new(), JoinSet::new()];
    let mut ids = Vec::new();
    for conn in &mut on_each_lane(&endpoint).await {
        ids.push(id(conn).await);
    }
    let mut caller = 0;
    while on_lane.iter().any(|callers| callers.len() < EACH) {
        for mut conn in on_each_lane(&endpoint).await {
            let lane = id(&mut conn).await;
            let at = ids.iter().position(|one| *one == lane).unwrap();
            caller += 1;
            on_lane[at].spawn(ask_on(conn, caller, Arc::clone(&enough)));
        }
    }
    let [killed, other] = on_lane;
    let sent = calls(&server, "set").await;
    eventually("they are busy", async || calls(&server, "set").await > sent + 500).await;
    // What comes while the server is busy is under way when the lane is killed.
    let client = redis::Client::open(server.url()).unwrap();
    let mut direct = client.get_multiplexed_async_connection().await.unwrap();
    let mut kill = redis::pipe();
    kill.cmd("EVAL").arg(BUSY_FOR_50_MS).arg(0).ignore();
    kill.cmd("CLIENT").arg("KILL").arg("ID").arg(ids[0]);
    let (count,): (u64,) = kill.query_async(&mut direct).await.unwrap();
    assert_eq!(count, 1);
    eventually("there are two lanes again", async || {
        endpoint.status().lanes == endpoint.lane_slots()
    })
    .await;
    let sent = calls(&server, "set").await;
    eventually("they are busy", async || calls(&server, "set").await > sent + 500).await;
    enough.store(true, Ordering::Relaxed);
    for met in other.join_all().await {
        assert_eq!((met.wrong, met.lost), (0, Vec::new()), "the other lane");
    }
    let mut lost = 0;
    for met in killed.join_all().await {
        assert_eq!(met.wrong, 0);
        let mut losses = met.lost.iter();
        match losses.next() {
            None => {}
            // A place whose write is lost cannot promise any order, and says so to the end.
            Some((true, error)) => {
                assert_eq!(*error, Error::OutcomeUnknown { cause: Cause::Closed });
                assert!(losses.all(|(_, e)| matches!(e, Error::OutcomeUnknown { .. })));
                lost += 1;
            }
            Some((false, error)) => {
                assert!(
                    matches!(error, Error::Unavailable { cause: Cause::Closed, .. }),
                    "{error:?}"
                );
                assert_eq!(losses.next(), None, "the next one goes to another lane");
                lost += 1;
            }
        }
    }
    assert!((1..=EACH).contains(&lost), "{lost} of {EACH} callers had a command under way");
}

// redis R9
#[tokio::test]
async fn a_selected_database_is_nobody_elses() {
    let server = Server::start(&[]).await;
    let config = Config { max_connections: 1, ..patient() };
    let (endpoint, _keeper) = lanes(&server, config).await;
    let mut before = endpoint.connection().await.unwrap();
    before.set("where", 0).await.unwrap();
    for number in 1..4 {
        let mut conn = endpoint.connection().await.unwrap();
        redis::cmd("SELECT").arg(number).exec_async(&mut *conn).await.unwrap();
        conn.set("where", number).await.unwrap();
        assert_eq!(before.get::<_, u64>("where").await.unwrap(), 0);
        assert_eq!(conn.get::<_, u64>("where").await.unwrap(), number);
        let mut after = endpoint.connection().await.unwrap();
        assert_eq!(after.get::<_, u64>("where").await.unwrap(), 0);
        drop(conn);
        after.pin().await.unwrap();
        assert_eq!(after.get::<_, u64>("where").await.unwrap(), 0);
    }
}

// redis R9
#[tokio::test]
async fn state_that_is_dropped_midway_is_seen_by_nobody_on_lanes_or_leases() {
    let server = Server::start(&[]).await;
    let config = Config { max_connections: 1, lanes: Some(1), ..patient() };
    let (endpoint, _keeper) = lanes(&server, config).await;
    for words in [&["WATCH", "k"][..], &["MULTI"], &["SELECT", "3"]] {
        let mut conn = endpoint.connection().await.unwrap();
        let lane = id(&mut conn).await;
        redis::cmd(words[0]).arg(&words[1..]).exec_async(&mut *conn).await.unwrap();
        if words == ["MULTI"] {
            let queued: redis::Value =
                redis::cmd("SET").arg("k").arg("queued").query_async(&mut *conn).await.unwrap();
            assert_eq!(queued, redis::Value::SimpleString("QUEUED".into()));
        }
        drop(conn);
        for is_pinned in [false, true] {
            let mut next = endpoint.connection().await.unwrap();
            if is_pinned {
                next.pin().await.unwrap();
            } else {
                assert_eq!(id(&mut next).await, lane);
            }
            next.set("k", "mine").await.unwrap();
            assert_eq!(next.get::<_, String>("k").await.unwrap(), "mine", "after {words:?}");
            let ran = redis::pipe().atomic().get("k").query_async::<(String,)>(&mut *next).await;
            assert_eq!(ran.unwrap(), ("mine".into(),));
        }
        assert_eq!(server.ask::<String>(&["GET", "k"]).await, "mine");
    }
    eventually("one lease is left", async || server.leases().await == 1).await;
}

// redis R8
#[tokio::test]
async fn a_command_that_blocks_takes_its_time_and_nobody_elses() {
    let command_timeout = Duration::from_millis(500);
    let server = Server::start(&[]).await;
    let config = Config { lanes: Some(1), command_timeout, ..Config::default() };
    let (endpoint, _keeper) = lanes(&server, config).await;
    let mut blocked = endpoint.connection().await.unwrap();
    let begun = Instant::now();
    let blocking = tokio::spawn(async move {
        let popped: Result<Option<(String, String)>, _> =
            redis::cmd("BLPOP").arg("l").arg(2).query_async(&mut *blocked).await;
        (popped, blocked)
    });
    let mut conn = endpoint.connection().await.unwrap();
    eventually("it blocks", async || {
        server.ask::<String>(&["CLIENT", "LIST"]).await.contains("cmd=blpop")
    })
    .await;
    let mut slowest = Duration::ZERO;
    while !blocking.is_finished() {
        let asked = Instant::now();
        conn.set("k", "v").await.unwrap();
        slowest = slowest.max(asked.elapsed());
    }
    let (popped, mut blocked) = blocking.await.unwrap();
    assert_eq!(popped.unwrap(), None);
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(slowest < command_timeout, "{slowest:?}");
    blocked.set("k", "v").await.unwrap();
}

// redis R8
#[tokio::test]
async fn a_cancelled_command_that_blocks_holds_up_no_later_lease() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, Config { max_connections: 1, ..patient() }).await;
    for _ in 0..3 {
        let mut conn = endpoint.connection().await.unwrap();
        let pop = async {
            redis::cmd("BLPOP").arg("l").arg(30).exec_async(&mut *conn).await.unwrap();
        };
        tokio::select! {
            () = pop => panic!("there is nothing to pop"),
            () = eventually("it blocks", async || {
                server.ask::<String>(&["CLIENT", "LIST"]).await.contains("cmd=blpop")
            }) => {}
        }
        drop(conn);
        let begun = Instant::now();
        let mut next = endpoint.lease().await.unwrap();
        next.set("k", "v").await.unwrap();
        assert!(begun.elapsed() < SLACK, "{:?}", begun.elapsed());
        drop(next);
        eventually("nothing blocks any more", async || {
            !server.ask::<String>(&["CLIENT", "LIST"]).await.contains("cmd=blpop")
        })
        .await;
    }
}

// redis R13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_the_server_loses_under_load_fail_nobody_and_are_sent_once_each_time() {
    const FLUSHES: u64 = 20;
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, patient()).await;
    let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    let (enough, called) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let mut callers = JoinSet::new();
    for caller in 0..16 {
        let (endpoint, script) = (Arc::clone(&endpoint), script.clone());
        let (enough, called) = (Arc::clone(&enough), Arc::clone(&called));
        callers.spawn(async move {
            let mut sum = 0;
            while !enough.load(Ordering::Relaxed) {
                let mut conn = endpoint.connection().await.unwrap();
                sum += 1;
                let now: u64 = script.key(caller).arg(1).invoke(&mut conn).await.unwrap();
                assert_eq!(now, sum, "each call ran once");
                called.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for _ in 0..FLUSHES {
        let before = called.load(Ordering::Relaxed);
        eventually("calls", async || called.load(Ordering::Relaxed) > before + 100).await;
        server.ask::<()>(&["SCRIPT", "FLUSH"]).await;
    }
    let before = called.load(Ordering::Relaxed);
    eventually("calls", async || called.load(Ordering::Relaxed) > before + 100).await;
    enough.store(true, Ordering::Relaxed);
    callers.join_all().await;
    let sent = calls(&server, "eval").await;
    // Once at first, and once for each time that it was lost.
    assert!((FLUSHES / 2..=FLUSHES + 1).contains(&sent), "sent {sent} times");
}

async fn add(conn: &mut CacheConn, key: &str) -> Result<u64, Error> {
    conn.transaction(&[key], |tx| {
        Box::pin(async move {
            let now = tx.get::<_, Option<u64>>(key).await?.unwrap_or(0);
            tx.queue().set(key, now + 1).ignore();
            tx.commit::<()>().await?;
            Ok(now + 1)
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_update_is_lost_between_transactions_that_contend() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, Config { max_connections: 8, ..patient() }).await;
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let endpoint = Arc::clone(&endpoint);
        callers.spawn(async move {
            let (mut added, mut gave_up) = (0, 0);
            let mut conn = endpoint.connection().await.unwrap();
            for _ in 0..50 {
                match add(&mut conn, "sum").await {
                    Ok(_) => added += 1,
                    Err(Error::Conflict { attempts: 32 }) => gave_up += 1,
                    Err(error) => panic!("{error:?}"),
                }
            }
            (added, gave_up)
        });
    }
    let sums: Vec<(u64, u64)> = callers.join_all().await;
    let added: u64 = sums.iter().map(|(added, _)| added).sum();
    let gave_up: u64 = sums.iter().map(|(_, gave_up)| gave_up).sum();
    assert_eq!(added + gave_up, 400);
    assert!(added > 300, "{added} of 400");
    assert_eq!(server.ask::<u64>(&["GET", "sum"]).await, added);
    let before = server.leases().await;
    // Their connections are as good as new.
    let mut conn = endpoint.connection().await.unwrap();
    assert_eq!(add(&mut conn, "sum").await.unwrap(), added + 1);
    assert_eq!(server.leases().await, before);
}

#[tokio::test]
async fn a_transaction_that_is_given_up_watches_nothing_and_keeps_its_connection() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, Config { max_connections: 1, ..patient() }).await;
    let mut conn = endpoint.lease().await.unwrap();
    let lease = id(&mut conn).await;
    let given_up = conn.transaction(&["k"], |_| Box::pin(async { Ok::<_, Error>(7) })).await;
    assert_eq!(given_up, Ok(7));
    let failed = conn
        .transaction(&["k"], |tx| {
            Box::pin(async {
                tx.queue().set("k", "never");
                Err::<(), _>(Error::Value)
            })
        })
        .await;
    assert_eq!(failed, Err(Error::Value));
    let empty = conn.transaction(&["k"], |tx| Box::pin(async { tx.commit::<()>().await })).await;
    assert_eq!(empty, Ok(()));
    drop(conn);
    server.ask::<()>(&["SET", "k", "others"]).await;
    let mut conn = endpoint.lease().await.unwrap();
    assert_eq!(id(&mut conn).await, lease);
    // A watch that was left would make this fail.
    let ran = redis::pipe().atomic().get("k").query_async::<(String,)>(&mut *conn).await;
    assert_eq!(ran.unwrap(), ("others".into(),));
}

#[tokio::test]
async fn a_transaction_that_is_always_disturbed_ends_after_32_attempts_and_writes_nothing() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, Config { max_connections: 1, ..patient() }).await;
    let other = Arc::new(tokio::sync::Semaphore::new(1));
    let attempts = Arc::<AtomicU64>::default();
    let mut conn = endpoint.connection().await.unwrap();
    let result: Result<(), Error> = conn
        .transaction(&["k"], |tx| {
            let (endpoint, other) = (Arc::clone(&endpoint), Arc::clone(&other));
            let attempts = Arc::clone(&attempts);
            Box::pin(async move {
                let number = attempts.fetch_add(1, Ordering::Relaxed);
                let _turn = other.acquire().await.unwrap();
                endpoint.connection().await?.set("k", number).await?;
                tx.queue().set("k", "never");
                tx.commit().await
            })
        })
        .await;
    assert_eq!(result, Err(Error::Conflict { attempts: 32 }));
    assert_eq!(attempts.load(Ordering::Relaxed), 32);
    assert_eq!(conn.get::<_, u64>("k").await.unwrap(), 31);
    drop(conn);
    let mut conn = endpoint.lease().await.unwrap();
    assert_eq!(add(&mut conn, "k").await.unwrap(), 32);
}

#[tokio::test]
async fn a_transaction_that_is_dropped_midway_writes_nothing_and_leaves_no_connection() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, Config { max_connections: 1, ..patient() }).await;
    let mut conn = endpoint.lease().await.unwrap();
    let lease = id(&mut conn).await;
    let reached = tokio::sync::Notify::new();
    let midway = conn.transaction(&["k"], |tx| {
        let reached = &reached;
        Box::pin(async move {
            tx.queue().set("k", "never");
            reached.notify_one();
            std::future::pending::<Result<(), Error>>().await
        })
    });
    tokio::select! {
        _ = midway => panic!("it never ends"),
        () = reached.notified() => {}
    }
    drop(conn);
    let mut conn = endpoint.lease().await.unwrap();
    assert_ne!(id(&mut conn).await, lease, "the old one watches a key");
    assert!(!conn.exists("k").await.unwrap());
}

// redis R2, R10
#[tokio::test]
async fn a_transaction_whose_server_stands_still_ends_in_time_and_is_unknown_once_it_commits() {
    let command_timeout = Duration::from_millis(100);
    let server = Server::start(&[]).await;
    let config = Config { max_connections: 1, command_timeout, ..Config::default() };
    let (endpoint, _keeper) = lanes(&server, config).await;
    for commits in [false, true] {
        let mut conn = endpoint.lease().await.unwrap();
        let lease = id(&mut conn).await;
        let begun = Instant::now();
        let server_stops = &server;
        let result: Result<(), Error> = conn
            .transaction(&["k"], |tx| {
                Box::pin(async move {
                    tx.get::<_, Option<u64>>("k").await?;
                    server_stops.freeze();
                    if !commits {
                        return tx.get::<_, Option<u64>>("k").await.map(drop);
                    }
                    tx.queue().set("k", 1);
                    tx.commit().await
                })
            })
            .await;
        // The way back, UNWATCH, may take its time once more.
        assert!(begun.elapsed() < 3 * command_timeout + SLACK, "{:?}", begun.elapsed());
        match (commits, result.unwrap_err()) {
            (false, Error::Deadline { .. })
            | (true, Error::OutcomeUnknown { cause: Cause::Timeout }) => {}
            (_, error) => panic!("{error:?}"),
        }
        server.thaw();
        drop(conn);
        let mut conn = endpoint.lease().await.unwrap();
        assert_ne!(id(&mut conn).await, lease);
    }
    // It was sent, and was executed when the server went on.
    eventually("the commit", async || server.ask::<Option<u64>>(&["GET", "k"]).await == Some(1))
        .await;
}

#[tokio::test]
async fn wait_counts_for_writes_of_its_own_connection_only() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, patient()).await;
    let wait = || redis::cmd("WAIT").arg(1).arg(50).take();
    let is_refused = |error| matches!(Error::from(error), Error::Refused { command: "WAIT", .. });
    let mut conn = endpoint.connection().await.unwrap();
    conn.set("k", "on a lane").await.unwrap();
    assert!(is_refused(wait().exec_async(&mut *conn).await.unwrap_err()));
    conn.pin().await.unwrap();
    assert!(is_refused(wait().exec_async(&mut *conn).await.unwrap_err()), "nothing was written");
    conn.get::<_, String>("k").await.unwrap();
    assert!(is_refused(wait().exec_async(&mut *conn).await.unwrap_err()), "only read");
    conn.set("k", "on its own").await.unwrap();
    assert_eq!(wait().query_async::<u64>(&mut *conn).await.unwrap(), 0);
    // As one: the pipeline takes a connection of its own.
    let mut fresh = endpoint.connection().await.unwrap();
    let replies = redis::pipe()
        .set("k", "v")
        .ignore()
        .cmd("WAIT")
        .arg(0)
        .arg(50)
        .query_async::<(u64,)>(&mut *fresh)
        .await;
    assert_eq!(replies.unwrap(), (0,));
    let first = redis::pipe()
        .cmd("WAIT")
        .arg(0)
        .arg(50)
        .set("k", "v")
        .exec_async(&mut *endpoint.connection().await.unwrap())
        .await;
    assert!(is_refused(first.unwrap_err()));
}

// redis R16
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_value_on_the_bulk_lane_holds_up_no_small_command() {
    const LARGE: usize = 10 << 20;
    let server = Server::start(&[]).await;
    let config = Config { lanes: Some(1), ..patient() };
    let (endpoint, _keeper) = lanes(&server, config).await;
    let mut small = endpoint.connection().await.unwrap();
    let lane = id(&mut small).await;
    let large = endpoint.connection().await.unwrap();
    let mut large = large.bulk().await.unwrap();
    assert_ne!(id(&mut large).await, lane);
    let enough = Arc::<AtomicBool>::default();
    let moving = tokio::spawn({
        let enough = Arc::clone(&enough);
        async move {
            let (value, mut moved) = (vec![b'x'; LARGE], 0);
            while !enough.load(Ordering::Relaxed) {
                large.set("large", &value).await.unwrap();
                assert_eq!(large.get::<_, Vec<u8>>("large").await.unwrap().len(), LARGE);
                moved += 1;
            }
            moved
        }
    });
    let mut times = Vec::new();
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        let asked = Instant::now();
        small.set("small", "v").await.unwrap();
        times.push(asked.elapsed());
    }
    enough.store(true, Ordering::Relaxed);
    let moved = moving.await.unwrap();
    times.sort();
    let middle = times[times.len() / 2];
    assert!(moved >= 2, "{moved} large values each way");
    // Many small ones went by for each large one.
    assert!(times.len() > 20 * moved, "{} small ones, {moved} large ones", times.len());
    assert!(middle < Duration::from_millis(20), "{middle:?}");
}

#[tokio::test]
async fn the_requests_deadline_ends_commands_on_a_lane_and_the_wait_for_one() {
    let mut server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, patient()).await;
    let mut conn = endpoint.connection().await.unwrap();
    let soon = || Instant::now() + Duration::from_millis(50);
    server.freeze();
    let begun = Instant::now();
    let error = deadline::scope(soon(), conn.get::<_, Option<String>>("k")).await.unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error:?}");
    let error = deadline::scope(soon(), conn.set("k", "v")).await.unwrap_err();
    assert_eq!(error, Error::OutcomeUnknown { cause: Cause::Timeout });
    let error = deadline::scope(Instant::now(), conn.set("k", "v")).await.unwrap_err();
    assert_eq!(error, Error::Deadline { waited: Duration::ZERO }, "nothing was sent");
    assert!(begun.elapsed() < SLACK, "{:?}", begun.elapsed());
    server.kill();
    eventually("no lane is left", async || {
        timeout(Duration::ZERO, endpoint.connection()).await.is_err()
    })
    .await;
    let begun = Instant::now();
    deadline::scope(soon(), endpoint.connection()).await.unwrap_err();
    assert!(begun.elapsed() < SLACK, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_lane_that_reaches_its_age_is_replaced_with_no_command_lost() {
    let server = Server::start(&[]).await;
    let recycle_timeout = Duration::from_millis(50);
    let config =
        Config { recycle_timeout, lanes: Some(1), command_timeout: SOON, ..Config::default() };
    let (endpoint, _keeper) = lanes(&server, config).await;
    let mut conn = endpoint.connection().await.unwrap();
    let mut met = std::collections::BTreeSet::new();
    let mut turn = 0_u64;
    while met.len() < 10 {
        turn += 1;
        assert_eq!(conn.incr::<_, _, u64>("turn", 1).await.unwrap(), turn);
        met.insert(id(&mut conn).await);
    }
    let most = endpoint.config().most_connections();
    assert!(endpoint.status().lanes <= most, "{:?}", endpoint.status());
    let length: usize = conn.rpush("l", "v").await.unwrap();
    assert_eq!(length, 1);
}

#[tokio::test]
async fn a_caller_who_tries_again_and_again_lets_others_have_the_thread() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, patient()).await;
    let mut conn = endpoint.connection().await.unwrap();
    let breaker = Breaker::Open {
        cause: Cause::Refused,
        since: Instant::now(),
        retry_after: Duration::from_secs(1),
    };
    let away = Verdict { breaker, cause: Some(Cause::Refused), ..Verdict::unknown() };
    endpoint.health().publish(away);
    // On this one thread the other task runs only if the first one lets it.
    let other = tokio::spawn(async {});
    while !other.is_finished() {
        conn.get::<_, Option<String>>("k").await.unwrap_err();
    }
    let other = tokio::spawn(async {});
    while !other.is_finished() {
        endpoint.connection().await.unwrap_err();
    }
}

// redis R10
#[tokio::test]
async fn a_pipeline_of_which_a_part_was_carried_out_must_not_be_repeated() {
    let server = Server::start(&["--maxmemory", "1"]).await;
    let (endpoint, _keeper) = lanes(&server, patient()).await;
    let mut conn = endpoint.connection().await.unwrap();
    let mut pipeline = redis::pipe();
    pipeline.del("n").set("n", 1);
    let error = Error::from(pipeline.exec_async(&mut *conn).await.unwrap_err());
    assert_eq!(error, Error::Partial { code: "OOM".into() });
    assert_eq!(error.outcome(), Outcome::OutcomeUnknown);
    let whole = Error::from(pipeline.atomic().exec_async(&mut *conn).await.unwrap_err());
    assert!(matches!(whole.outcome(), Outcome::Overloaded { .. }), "nothing was done: {whole:?}");
}

// redis R12
#[tokio::test]
async fn a_script_that_says_loading_itself_runs_once() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, patient()).await;
    let mut conn = endpoint.connection().await.unwrap();
    let script =
        Script::new("redis.call('INCR', KEYS[1]) return redis.error_reply('LOADING of a kind')");
    script.key("runs").invoke::<()>(&mut conn).await.unwrap_err();
    assert_eq!(conn.get::<_, u64>("runs").await, Ok(1));
}

#[tokio::test]
async fn a_lane_that_nobody_uses_speaks_for_its_server_too() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, patient()).await;
    let mark = endpoint.health().mark();
    eventually("a heartbeat was answered", async || endpoint.health().succeeded_since(mark)).await;
}

// redis R10
#[tokio::test]
async fn a_pipeline_whose_first_command_is_refused_may_have_done_the_others() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, patient()).await;
    let mut conn = endpoint.connection().await.unwrap();
    let _: () = conn.rpush("jobs", "first").await.unwrap();
    let _: () = server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let mut pipeline = redis::pipe();
    pipeline.rpush("taken", "first").lpop("jobs", None);
    let error = Error::from(pipeline.exec_async(&mut *conn).await.unwrap_err());
    assert_eq!(error, Error::Partial { code: "OOM".into() });
    assert_eq!(error.outcome(), Outcome::OutcomeUnknown);
    assert_eq!(conn.llen::<_, usize>("jobs").await, Ok(0), "it was done");

    let alone = conn.rpush::<_, _, ()>("taken", "first").await.unwrap_err();
    assert!(matches!(Error::from(alone).outcome(), Outcome::Overloaded { .. }));
}

// redis R10
#[tokio::test]
async fn a_pipeline_that_a_replica_refuses_may_have_published_already() {
    let server = Server::start(&["--replicaof", "127.0.0.1", "1"]).await;
    let (endpoint, _keeper) = lanes(&server, patient()).await;
    let mut conn = endpoint.connection().await.unwrap();
    let mut pipeline = redis::pipe();
    pipeline.set("key", 1).publish("news", 1);
    let error = Error::from(pipeline.exec_async(&mut *conn).await.unwrap_err());
    assert_eq!(error, Error::Partial { code: "READONLY".into() });
    assert_eq!(calls(&server, "publish").await, 1);
}

#[tokio::test]
async fn a_transaction_whose_end_is_refused_did_nothing_and_says_why() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, patient()).await;
    let mut conn = endpoint.connection().await.unwrap();
    let _: () = server.ask(&["ACL", "SETUSER", "default", "-exec"]).await;
    let mut pipeline = redis::pipe();
    let error = pipeline.atomic().incr("n", 1).exec_async(&mut *conn).await.unwrap_err();
    assert_eq!(Error::from(error), Error::Server { code: "NOPERM".into() });
    assert_eq!(conn.get::<_, Option<u32>>("n").await, Ok(None));
}

#[tokio::test]
async fn a_transaction_whose_begin_is_refused_is_done_command_by_command_and_unknown() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, patient()).await;
    let mut conn = endpoint.connection().await.unwrap();
    let _: () = server.ask(&["ACL", "SETUSER", "default", "-multi"]).await;
    let mut pipeline = redis::pipe();
    let error = pipeline.atomic().incr("n", 1).exec_async(&mut *conn).await.unwrap_err();
    assert_eq!(Error::from(error).outcome(), Outcome::OutcomeUnknown);
    let n: u32 = server.ask(&["GET", "n"]).await;
    assert_eq!(n, 1, "it was done");

    let mut conn = endpoint.lease().await.unwrap();
    let result: Result<(), Error> = conn
        .transaction("n", |tx| {
            Box::pin(async move {
                tx.queue().incr("n", 1);
                tx.commit().await
            })
        })
        .await;
    assert_eq!(result.unwrap_err().outcome(), Outcome::OutcomeUnknown);
    drop(conn);
    eventually("nothing is watched any more", async || {
        let clients: String = server.ask(&["CLIENT", "LIST"]).await;
        let was_released = |line: &str| !line.contains(":lease:") || line.contains("cmd=unwatch");
        clients.lines().all(was_released)
    })
    .await;
}

#[tokio::test]
async fn a_server_that_knows_no_transactions_leaves_a_pipelines_outcome_unknown() {
    let server = Server::start(&["--rename-command", "MULTI", ""]).await;
    let (endpoint, _keeper) = lanes(&server, patient()).await;
    let mut conn = endpoint.connection().await.unwrap();
    let mut pipeline = redis::pipe();
    let error = pipeline.atomic().incr("n", 1).exec_async(&mut *conn).await.unwrap_err();
    assert_eq!(Error::from(error).outcome(), Outcome::OutcomeUnknown);
    let n: u32 = server.ask(&["GET", "n"]).await;
    assert_eq!(n, 1, "it was done");
}

#[tokio::test]
async fn a_server_that_is_full_only_at_the_end_of_a_transaction_counts_as_full() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, patient()).await;
    let mut conn = endpoint.lease().await.unwrap();
    let _: () = redis::cmd("MULTI").query_async(&mut *conn).await.unwrap();
    let _: () = redis::cmd("SET").arg(&["key", "1"]).query_async(&mut *conn).await.unwrap();
    let _: () = server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let exec = redis::cmd("EXEC").query_async::<()>(&mut *conn).await.unwrap_err();
    assert!(matches!(Error::from(exec).outcome(), Outcome::Overloaded { .. }));
    assert_eq!(endpoint.health().refusals(ServerState::Full), 1);
}

// redis R10
#[tokio::test]
async fn a_script_that_is_refused_amid_an_exec_by_hand_says_nothing_of_the_other_commands() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, patient()).await;
    let mut conn = endpoint.lease().await.unwrap();
    let _: () = conn.rpush("jobs", "first").await.unwrap();
    let queued: [&[&str]; 3] = [
        &["MULTI"],
        &["LPOP", "jobs"],
        &["EVAL", "return redis.call('SET', KEYS[1], 1)", "1", "taken"],
    ];
    for words in queued {
        let _: () = redis::cmd(words[0]).arg(&words[1..]).query_async(&mut *conn).await.unwrap();
    }
    let _: () = server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let error = redis::cmd("EXEC").query_async::<()>(&mut *conn).await.unwrap_err();
    assert_eq!(Error::from(error), Error::Partial { code: "OOM".into() });
    assert_eq!(conn.llen::<_, usize>("jobs").await, Ok(0), "it was done");
}

// redis R10
#[tokio::test]
async fn a_scripts_own_denied_says_nothing_of_the_commands_beside_it() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, patient()).await;
    let mut conn = endpoint.connection().await.unwrap();
    let mut pipeline = redis::pipe();
    let denies = "return redis.error_reply('DENIED not on a Sunday')";
    pipeline.cmd("EVAL").arg(&[denies, "0"]).incr("n", 1);
    let error = Error::from(pipeline.exec_async(&mut *conn).await.unwrap_err());
    assert_eq!(error, Error::Partial { code: "DENIED".into() });
    assert_eq!(conn.get::<_, u32>("n").await, Ok(1), "it was done");
}
