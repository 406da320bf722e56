//! Nobody answers, all of them or one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use mainstay_actors::Outcome;
use mainstay_actors::redis::{CacheConn, Cause, Config, Endpoint, Error, Script};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{Ground, HEARTBEAT, SLACK, STALL, address};
use crate::support::{Keeper, Proxy, Server, Way, Weather, endpoint, eventually, within};

const DEADLINE: Duration = Duration::from_millis(300);

/// Asks in each way that there is. Every call ends in its time.
async fn ask_in_each_way(endpoint: &Arc<Endpoint>) -> Vec<Result<(), Error>> {
    let script = Script::new("return 1");
    let ways: [for<'c> fn(&'c mut CacheConn, &'c Script) -> Asked<'c>; 6] = [
        |conn, _| Box::pin(async { conn.set("k", "v").await }),
        |conn, _| Box::pin(async { conn.get::<_, Option<String>>("k").await.map(drop) }),
        |conn, _| Box::pin(async { Ok(redis::pipe().incr("n", 1).exec_async(&mut **conn).await?) }),
        |conn, _| {
            Box::pin(async {
                conn.pin().await?;
                conn.set("k", "v").await
            })
        },
        |conn, script| Box::pin(async { script.invoke(conn).await }),
        |conn, _| {
            Box::pin(async {
                conn.transaction(&["k"], |tx| {
                    Box::pin(async {
                        tx.queue().set("k", "v");
                        tx.commit().await
                    })
                })
                .await
            })
        },
    ];
    let asked = ways.map(|way| {
        let script = &script;
        async move {
            let begun = Instant::now();
            let result = match endpoint.connection().await {
                Ok(mut conn) => way(&mut conn, script).await,
                Err(error) => Err(error),
            };
            // A lease is tested before it is used, and a transaction asks more than once.
            let took = begun.elapsed();
            assert!(took < 2 * DEADLINE + SLACK, "{result:?} after {took:?}");
            result
        }
    });
    join_all(asked).await
}

type Asked<'c> = BoxFuture<'c, Result<(), Error>>;

fn is_silence(result: &Result<(), Error>) -> bool {
    result.as_ref().is_err_and(|error| {
        matches!(
            error.outcome(),
            Outcome::Deadline | Outcome::OutcomeUnknown | Outcome::Unavailable { .. }
        )
    })
}

// redis R2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_holds_up_no_call_and_serves_again_at_once() {
    let ground = Ground::new(2, DEADLINE).await;
    for result in ask_in_each_way(&ground.endpoint).await {
        result.unwrap();
    }
    for _ in 0..2 {
        ground.server.freeze();
        for result in ask_in_each_way(&ground.endpoint).await {
            assert!(is_silence(&result), "{result:?}");
        }
        ground.server.thaw();
        within(HEARTBEAT + SLACK, "service after the standstill", async || {
            ask_in_each_way(&ground.endpoint).await.iter().all(Result::is_ok).then_some(())
        })
        .await;
    }
}

/// Asks without pause, and wants each answer.
fn undisturbed(mut conn: CacheConn, enough: &Arc<AtomicBool>) -> impl Future<Output = u64> + use<> {
    let enough = Arc::clone(enough);
    async move {
        let mut answered = 0;
        while !enough.load(Ordering::Relaxed) {
            conn.set("other", answered).await.unwrap();
            assert_eq!(conn.get::<_, u64>("other").await.unwrap(), answered);
            answered += 1;
        }
        answered
    }
}

// redis R3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_lane_that_goes_silent_is_replaced_and_the_other_one_notices_nothing() {
    let ground = Ground::new(2, DEADLINE).await;
    let [mut one, mut other] = <[CacheConn; 2]>::try_from(ground.conns().await).unwrap();
    let (lane, fine) = (address(&mut one).await, address(&mut other).await);
    let enough = Arc::<AtomicBool>::default();
    let others = tokio::spawn(undisturbed(other, &enough));
    assert!(ground.proxy.set_for(lane, Weather::Silent));
    let begun = Instant::now();
    within(HEARTBEAT + DEADLINE + STALL + SLACK, "another lane", async || {
        let asked = Instant::now();
        let found = one.get::<_, Option<String>>("k").await;
        assert!(asked.elapsed() < DEADLINE + SLACK, "{:?}", asked.elapsed());
        assert!(
            matches!(found, Ok(None) | Err(Error::Deadline { .. } | Error::Unavailable { .. })),
            "{found:?}"
        );
        found.ok()
    })
    .await;
    assert!(begun.elapsed() >= DEADLINE, "it was silent");
    enough.store(true, Ordering::Relaxed);
    assert!(others.await.unwrap() > 0);
    assert!(ground.proxy.open().contains(&fine), "the other one was left alone");
}

// redis R3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_lane_that_goes_silent_is_replaced_before_anyone_asks_it() {
    let ground = Ground::new(2, DEADLINE).await;
    let [mut one, mut other] = <[CacheConn; 2]>::try_from(ground.conns().await).unwrap();
    let (lane, fine) = (address(&mut one).await, address(&mut other).await);
    let enough = Arc::<AtomicBool>::default();
    let others = tokio::spawn(undisturbed(other, &enough));
    assert!(ground.proxy.set_for(lane, Weather::Silent));
    within(HEARTBEAT + DEADLINE + STALL + SLACK, "another lane", async || {
        ground.server.clients("lane").await.iter().find(|at| ![lane, fine].contains(at)).copied()
    })
    .await;
    within(SLACK, "a place on it", async || one.get::<_, Option<String>>("k").await.ok()).await;
    enough.store(true, Ordering::Relaxed);
    assert!(others.await.unwrap() > 0);
}

// redis R3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_firewall_that_forgets_every_connection_is_noticed_within_heartbeat_and_stall() {
    let ground = Ground::new(2, DEADLINE).await;
    ask_in_each_way(&ground.endpoint).await;
    let before = ground.proxy.accepted();
    ground.proxy.set_for_open(Weather::Silent);
    within(HEARTBEAT + DEADLINE + STALL + SLACK, "service on new connections", async || {
        ask_in_each_way(&ground.endpoint).await.iter().all(Result::is_ok).then_some(())
    })
    .await;
    assert!(ground.proxy.accepted() > before);
}

#[tokio::test]
async fn a_lane_that_is_closed_one_way_is_lost_at_once() {
    let ground = Ground::new(1, Duration::from_secs(10)).await;
    for way in [Way::ToClient, Way::ToServer] {
        let mut conn = ground.conn().await;
        let lane = address(&mut conn).await;
        assert!(ground.proxy.set_for(lane, Weather::HalfClosed(way)));
        within(SLACK, "service on another lane", async || {
            let found = conn.get::<_, Option<String>>("k").await;
            let is_loss = matches!(found, Err(Error::Unavailable { cause: Cause::Closed, .. }));
            assert!(is_loss || found == Ok(None), "{found:?}");
            (found.is_ok() && address(&mut conn).await != lane).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_reply_that_stops_midway_ends_with_the_deadline_and_reaches_nobody_else() {
    let ground = Ground::new(1, DEADLINE).await;
    let mut conn = ground.conn().await;
    conn.set("k", "v".repeat(10_000)).await.unwrap();
    let lane = address(&mut conn).await;
    assert!(ground.proxy.set_for(lane, Weather::HeldAfter(Way::ToClient, 5000)));
    let begun = Instant::now();
    let error = conn.get::<_, String>("k").await.unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error:?}");
    assert!(begun.elapsed() < DEADLINE + SLACK, "{:?}", begun.elapsed());
    ground.proxy.set_for(lane, Weather::Fair);
    within(HEARTBEAT + DEADLINE + SLACK, "service", async || {
        let echoed = redis::cmd("ECHO").arg("mine").query_async::<String>(&mut *conn).await.ok()?;
        assert_eq!(echoed, "mine");
        Some(())
    })
    .await;
}

// redis R6
#[tokio::test]
async fn without_a_lane_callers_are_told_why_within_a_quarter_of_a_second() {
    let ground = Ground::new(2, Duration::from_secs(5)).await;
    for (weather, wanted) in
        [(Weather::Gone, Cause::Refused), (Weather::Cut, Cause::HandshakeClosed)]
    {
        ground.proxy.set(weather).await;
        eventually("the cause is known", async || {
            (ground.endpoint.connect_failure() == Some(wanted)
                && ground.endpoint.status().lanes == 0)
                .then_some(())
        })
        .await;
        let mut callers = JoinSet::new();
        for _ in 0..20 {
            let endpoint = Arc::clone(&ground.endpoint);
            callers.spawn(async move {
                let begun = Instant::now();
                let error = endpoint.connection().await.unwrap_err();
                (error, begun.elapsed())
            });
        }
        for (error, took) in callers.join_all().await {
            assert!(
                matches!(error, Error::Unavailable { cause, .. } if cause == wanted),
                "{error:?}"
            );
            assert!(took < Duration::from_millis(250) + SLACK, "{took:?}");
        }
        ground.proxy.set(Weather::Fair).await;
        eventually("service", async || ground.endpoint.connection().await.ok()).await;
    }
}

// redis R4
#[tokio::test]
async fn lanes_and_callers_together_connect_no_more_than_ten_times_a_second() {
    let ground = Ground::new(4, Duration::from_secs(5)).await;
    ground.proxy.set(Weather::Cut).await;
    eventually("the cause is known", async || {
        ground.endpoint.connect_failure().filter(|_| ground.endpoint.status().lanes == 0)
    })
    .await;
    let mut callers = JoinSet::new();
    let enough = Arc::<AtomicBool>::default();
    for number in 0..50 {
        let (endpoint, enough) = (Arc::clone(&ground.endpoint), Arc::clone(&enough));
        callers.spawn(async move {
            while !enough.load(Ordering::Relaxed) {
                if number % 2 == 0 {
                    endpoint.connection().await.unwrap_err();
                } else {
                    endpoint.lease().await.unwrap_err();
                }
            }
        });
    }
    // What was under way when the connections were lost: six attempts at once, and a turn for each lane.
    let two_seconds = Instant::now() + Duration::from_secs(2);
    let first = ground.proxy.accepted();
    sleep_until(two_seconds).await;
    let attempts = ground.proxy.accepted() - first;
    let seconds = 2 + two_seconds.elapsed().as_secs();
    enough.store(true, Ordering::Relaxed);
    assert!(attempts >= 2, "{attempts}");
    assert!(u64::try_from(attempts).unwrap() <= 10 * seconds + 12, "{attempts} in {seconds} s");
    ground.proxy.set(Weather::Fair).await;
    callers.abort_all();
    eventually("service", async || ground.endpoint.connection().await.ok()).await;
}

// redis R27
#[tokio::test]
async fn a_connection_may_take_far_longer_to_be_made_than_a_command() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.address()).await;
    let far = Duration::from_millis(400);
    proxy.set(Weather::Distant(far)).await;
    let (url, command_timeout) = (proxy.url(), Duration::from_millis(100));
    let connect_timeout = Duration::from_secs(5);
    let endpoint = endpoint(Config { url, command_timeout, connect_timeout, ..Config::default() });
    let _keeper = Keeper::of(&endpoint);
    let begun = Instant::now();
    let mut conn = endpoint.connection().await.unwrap();
    conn.set("k", "v").await.unwrap();
    conn.pin().await.unwrap();
    conn.set("k", "v").await.unwrap();
    assert!(begun.elapsed() >= 2 * far, "a lane and a lease were made");
}

// redis R3, R27
#[tokio::test]
async fn a_lane_that_took_long_to_be_made_is_not_given_up_for_those_who_waited_for_it() {
    let ground = Ground::new(1, Duration::from_millis(100)).await;
    let mut conns = Vec::new();
    for _ in 0..10 {
        conns.push(ground.conn().await);
    }
    ground.proxy.set_for_new(Weather::Distant(Duration::from_millis(400))).await;
    ground.proxy.set_for_open(Weather::Cut);
    eventually("no lane is left", async || (ground.endpoint.status().lanes == 0).then_some(()))
        .await;
    let before = ground.proxy.accepted();
    for found in join_all(conns.iter_mut().map(|conn| conn.get::<_, Option<String>>("k"))).await {
        assert_eq!(found, Ok(None));
    }
    let lanes = ground.endpoint.lane_slots();
    assert!(ground.proxy.accepted() <= before + lanes, "each was made once");
}
