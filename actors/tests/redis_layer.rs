//! Endpoints, leases and links against a real server.
#![cfg(feature = "cache")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests have no tree to run tasks in, and choose their server"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use mainstay_actors::cache::Cache;
use mainstay_actors::redis::{
    Breaker, CacheConn, Cause, Config, ConfigFile, Endpoint, Error, Reason, ServerState, Verdict,
};
use mainstay_actors::{Outcome, deadline};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

mod support;
use support::{Drops, Keeper, Proxy, Server, absent, endpoint, eventually, id, lanes};

// redis R7
#[tokio::test]
async fn leases_are_given_in_the_order_of_asking() {
    let server = Server::start(&[]).await;
    let endpoint = endpoint(Config { url: server.url(), max_connections: 1, ..Config::default() });
    let first = endpoint.lease().await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut callers = JoinSet::new();
    for number in 0..8 {
        let (endpoint, order) = (Arc::clone(&endpoint), Arc::clone(&order));
        let before = endpoint.status().waiting;
        let status = Arc::clone(&endpoint);
        callers.spawn(async move {
            let conn = endpoint.lease().await.unwrap();
            order.lock().unwrap().push(number);
            drop(conn);
        });
        eventually("the caller waits", async || status.status().waiting > before).await;
    }
    drop(first);
    callers.join_all().await;
    assert_eq!(*order.lock().unwrap(), (0..8).collect::<Vec<_>>());
}

// redis R1, R7, R22
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_callers_lose_no_permit_and_mix_no_replies() {
    const MOST: usize = 4;
    let server = Server::start(&[]).await;
    let config = Config {
        url: server.url(),
        max_connections: 4,
        command_timeout: SOON,
        ..Config::default()
    };
    let endpoint = endpoint(config);
    let mut callers = JoinSet::new();
    for caller in 0..16_u64 {
        let endpoint = Arc::clone(&endpoint);
        callers.spawn(async move {
            let mut answered = 0;
            for turn in 0..200_u64 {
                let value = format!("{caller}:{turn}");
                let work = async {
                    let mut conn = endpoint.lease().await.unwrap();
                    let echoed: String =
                        redis::cmd("ECHO").arg(&value).query_async(&mut *conn).await.unwrap();
                    assert_eq!(echoed, value);
                };
                let limit = Duration::from_micros(fastrand::u64(1..4000));
                answered += u32::from(timeout(limit, work).await.is_ok());
            }
            answered
        });
    }
    let (mut most, mut answered) = (0, 0);
    while !callers.is_empty() {
        most = most.max(endpoint.status().size);
        while let Some(caller) = callers.try_join_next() {
            answered += caller.unwrap();
        }
        tokio::task::yield_now().await;
    }
    assert!(answered > 0);
    assert!((1..=MOST).contains(&most), "{most} connections at once");
    // The server may still count one that was discarded a moment ago.
    eventually("the server has no more of them", async || server.leases().await <= MOST).await;
    let status = endpoint.status();
    assert_eq!((status.available, status.waiting), (MOST, 0));
    assert!(status.size <= MOST);
    let mut all = Vec::new();
    for _ in 0..MOST {
        all.push(timeout(SOON, endpoint.lease()).await.unwrap().unwrap());
    }
    assert_eq!(endpoint.status().available, 0);
    drop(all);
}

// redis R7
#[tokio::test]
async fn exhaustion_says_how_many_leases_there_are() {
    let server = Server::start(&[]).await;
    let connection_timeout = Duration::from_millis(50);
    let endpoint = endpoint(Config {
        url: server.url(),
        max_connections: 2,
        connection_timeout,
        ..Config::default()
    });
    let held = (endpoint.lease().await.unwrap(), endpoint.lease().await.unwrap());
    let error = endpoint.lease().await.unwrap_err();
    assert!(matches!(error, Error::Exhausted { max_connections: 2, .. }), "{error:?}");
    assert!(matches!(error.outcome(), Outcome::Overloaded { .. }));
    drop(held);
    endpoint.lease().await.unwrap();
}

// redis R6
#[tokio::test]
async fn a_wait_that_ends_says_why_connecting_fails() {
    let (endpoint, _home) =
        absent(Config { connection_timeout: Duration::from_millis(200), ..Config::default() });
    let error = endpoint.lease().await.unwrap_err();
    assert_eq!(error.cause(), Some(Cause::Refused));
    assert_eq!(endpoint.connect_failure(), Some(Cause::Refused));
    assert_eq!(endpoint.probe_connection().await.unwrap_err(), Cause::Refused);
    assert_eq!(endpoint.status().available, 50);
}

// redis R6
#[tokio::test]
async fn waiting_callers_fail_as_soon_as_the_verdict_says_so() {
    let (endpoint, _home) = absent(Config { max_connections: 1, ..Config::default() });
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..3 {
        let endpoint = Arc::clone(&endpoint);
        callers.spawn(async move { endpoint.lease().await.unwrap_err() });
    }
    eventually("the callers wait", async || endpoint.status().waiting == 3).await;
    endpoint.health().publish(opened(Cause::Refused));
    for error in callers.join_all().await {
        assert_eq!(error.cause(), Some(Cause::Refused));
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "not after the 30 s of connection_timeout");
    assert_eq!((endpoint.status().available, endpoint.status().waiting), (1, 0));
}

#[tokio::test]
async fn an_open_breaker_stops_commands_of_a_lease_that_is_out() {
    let server = Server::start(&[]).await;
    let endpoint = endpoint(Config { url: server.url(), ..Config::default() });
    let mut conn = endpoint.lease().await.unwrap();
    endpoint.health().publish(opened(Cause::Timeout));
    assert_eq!(conn.set("k", 1).await.unwrap_err().cause(), Some(Cause::Timeout));
    assert_eq!(endpoint.lease().await.unwrap_err().cause(), Some(Cause::Timeout));
    endpoint.health().publish(Verdict { healthy: true, ..Verdict::unknown() });
    assert!(!conn.exists("k").await.unwrap());
}

#[tokio::test]
async fn a_host_without_a_name_is_told_from_one_that_refuses() {
    let named = |url: &str| endpoint(Config { url: url.to_owned(), ..Config::default() });
    let nowhere = named("redis://no-such-host.invalid:6379").probe_connection().await.unwrap_err();
    // Where no resolver can be reached, none answers.
    assert!(matches!(nowhere, Cause::Dns | Cause::DnsTimeout), "{nowhere:?}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = named(&format!("redis://{free}")).probe_connection().await.unwrap_err();
    assert_eq!(refused, Cause::Refused);
}

#[tokio::test]
async fn a_listener_that_never_answers_is_given_up_after_connect_timeout() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let endpoint =
        endpoint(Config { url, connect_timeout: Duration::from_millis(50), ..Config::default() });
    assert_eq!(endpoint.probe_connection().await.unwrap_err(), Cause::Timeout);
}

// redis R5
#[tokio::test]
async fn a_corrected_password_file_heals_without_a_restart() {
    let server = Server::start(&["--requirepass", "right"]).await;
    let file = server.path("password");
    std::fs::write(&file, "wrong\n").unwrap();
    let config = Config {
        url: server.url(),
        password_file: Some(file.clone()),
        connect_timeout: Duration::from_secs(20),
        ..Config::default()
    };
    let endpoint = endpoint(config);
    assert_eq!(endpoint.probe_connection().await.unwrap_err(), Cause::Auth);
    let waiting = tokio::spawn({
        let endpoint = Arc::clone(&endpoint);
        async move { endpoint.lease().await }
    });
    std::fs::remove_file(&file).unwrap();
    let is_missing =
        |cause| matches!(cause, Cause::FileUnreadable { file: ConfigFile::Password, .. });
    eventually("the next attempt tells", async || {
        is_missing(endpoint.probe_connection().await.unwrap_err())
    })
    .await;
    assert!(endpoint.connect_failure().is_some_and(is_missing));
    std::fs::write(&file, "right\n").unwrap();
    let mut conn = timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap().unwrap();
    conn.set("k", "v").await.unwrap();
    assert_eq!(endpoint.connect_failure(), None);
}

#[tokio::test]
async fn a_password_file_without_a_password_is_its_own_cause() {
    let server = Server::start(&["--requirepass", "right"]).await;
    let pipe = server.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let large = server.path("large");
    std::fs::write(&large, "x".repeat(4097)).unwrap();
    let empty = server.path("empty");
    std::fs::write(&empty, "\n").unwrap();
    for file in [pipe, large, empty] {
        // The password of the url would be right.
        let url = format!("{}?pass=right", server.url());
        let config = Config { url, password_file: Some(file.clone()), ..Config::default() };
        let cause = endpoint(config).probe_connection().await.unwrap_err();
        assert_eq!(cause, Cause::PasswordFile, "{}", file.display());
    }
}

// redis R4
#[tokio::test]
async fn callers_that_wait_are_served_when_the_server_comes_back() {
    let mut server = Server::start(&[]).await;
    let endpoint =
        endpoint(Config { url: server.url(), connect_timeout: SOON, ..Config::default() });
    drop(endpoint.lease().await.unwrap());
    server.kill();
    let moment = Duration::from_millis(10);
    eventually("the death is known", async || timeout(moment, endpoint.lease()).await.is_err())
        .await;
    let mut callers = JoinSet::new();
    for number in 0..50 {
        let endpoint = Arc::clone(&endpoint);
        callers.spawn(async move { endpoint.lease().await?.set(number, "v").await });
    }
    eventually("connecting fails", async || endpoint.connect_failure() == Some(Cause::Refused))
        .await;
    server.restart().await;
    let begun = Instant::now();
    for answer in callers.join_all().await {
        answer.unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(endpoint.status().available, 50);
}

// redis R4
#[tokio::test]
async fn fifty_callers_attempt_no_more_than_ten_connections_a_second() {
    let (endpoint, home) = absent(Config::default());
    let listener = tokio::net::UnixListener::bind(home.path().join("absent.sock")).unwrap();
    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let endpoint = Arc::clone(&endpoint);
        callers.spawn(async move { endpoint.lease().await.map(drop) });
    }
    let mut attempts = 0;
    let two_seconds = Instant::now() + Duration::from_secs(2);
    while let Ok(accepted) = tokio::time::timeout_at(two_seconds, listener.accept()).await {
        drop(accepted.unwrap());
        attempts += 1;
    }
    assert!((2..=20).contains(&attempts), "{attempts} attempts in 2 s");
    assert_eq!(endpoint.connect_failure(), Some(Cause::HandshakeClosed));
}

// redis R4
#[tokio::test]
async fn a_proxy_that_drops_clients_after_the_handshake_is_connected_to_ten_times_a_second() {
    let server = Server::start(&[]).await;
    for drops in [Drops::AtTheFirstGet, Drops::AfterTheHandshake] {
        let proxy = Proxy::start(&server, drops);
        let endpoint = endpoint(Config { url: proxy.url.clone(), ..Config::default() });
        let mut callers = JoinSet::new();
        let two_seconds = Instant::now() + Duration::from_secs(2);
        for _ in 0..50 {
            let endpoint = Arc::clone(&endpoint);
            callers.spawn(deadline::scope(two_seconds, async move {
                while Instant::now() < two_seconds {
                    if let Ok(mut conn) = endpoint.lease().await {
                        conn.get::<_, Option<String>>("k").await.unwrap_err();
                    }
                }
            }));
        }
        eventually("the trouble is known", async || {
            endpoint.connect_failure() == Some(Cause::Closed)
        })
        .await;
        // What was under way when the first connection was lost: six attempts at once.
        let first = proxy.accepted();
        assert!(first <= 20, "{first} attempts at first");
        callers.join_all().await;
        let attempts = proxy.accepted() - first;
        assert!((2..=22).contains(&attempts), "{drops:?}: {attempts} attempts in 2 s");
    }
}

// redis R6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_without_a_connection_fail_with_the_cause_while_no_new_one_can_be_made() {
    let server = Server::start(&[]).await;
    let endpoint = endpoint(Config {
        url: server.url(),
        max_connections: 2,
        connect_timeout: Duration::from_millis(300),
        ..Config::default()
    });
    let mut held = endpoint.lease().await.unwrap();
    held.set("k", "v").await.unwrap();
    server.ask::<()>(&["CONFIG", "SET", "maxclients", "1"]).await;
    let begun = Instant::now();
    // One waits for a connection, and the other for a lease.
    let (one, other) = tokio::join!(endpoint.lease(), endpoint.lease());
    for error in [one.unwrap_err(), other.unwrap_err()] {
        let cause = error.cause();
        assert_eq!(cause, Some(Cause::TooManyClients), "{error:?}");
    }
    assert!(begun.elapsed() < SOON, "not after the 30 s of connection_timeout");
    drop(held);
    endpoint.lease().await.unwrap().set("k", "w").await.unwrap();
}

#[tokio::test]
async fn a_failed_login_is_tried_every_two_seconds_whoever_asks() {
    let server = Server::start(&[]).await;
    let url = format!("{}?user=nobody&pass=wrong", server.url());
    let connect_timeout = Duration::from_millis(300);
    let endpoint = endpoint(Config { url, connect_timeout, ..Config::default() });
    let connections = async || {
        let info: String = server.ask(&["INFO", "stats"]).await;
        let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.unwrap().parse::<u32>().unwrap()
    };
    let before = connections().await;
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(endpoint.probe_connection().await.unwrap_err(), Cause::Auth);
        let error = deadline::scope(begun + connect_timeout, endpoint.lease()).await.unwrap_err();
        assert!(matches!(error.outcome(), Outcome::Unavailable { .. } | Outcome::Deadline));
    }
    assert_eq!(endpoint.lease().await.unwrap_err().cause(), Some(Cause::Auth));
    let attempts = connections().await - before - 1;
    let most = 1 + begun.elapsed().as_secs() / 2;
    assert!(u64::from(attempts) <= most, "{attempts} attempts in {:?}", begun.elapsed());
}

// redis R4
#[tokio::test]
async fn probes_keep_the_pace_of_failing_attempts_and_still_get_their_turn() {
    let (endpoint, _home) = absent(Config::default());
    let begun = Instant::now();
    for _ in 0..4 {
        assert_eq!(endpoint.probe_connection().await.unwrap_err(), Cause::Refused);
    }
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let endpoint = Arc::clone(&endpoint);
        callers.spawn(async move { endpoint.lease().await.map(drop) });
    }
    eventually("the callers wait", async || endpoint.status().waiting == 50).await;
    let begun = Instant::now();
    assert_eq!(endpoint.probe_connection().await.unwrap_err(), Cause::Refused);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

// redis R7
#[tokio::test]
async fn a_caller_behind_too_many_others_is_refused_at_once() {
    let server = Server::start(&[]).await;
    let endpoint = endpoint(Config { url: server.url(), max_connections: 1, ..Config::default() });
    let held = endpoint.lease().await.unwrap();
    let mut callers = JoinSet::new();
    for _ in 0..1024 {
        let endpoint = Arc::clone(&endpoint);
        callers.spawn(async move { endpoint.lease().await.map(drop) });
    }
    eventually("the callers wait", async || endpoint.status().waiting == 1024).await;
    let error = endpoint.lease().await.unwrap_err();
    assert_eq!(error, Error::Exhausted { max_connections: 1, waited: Duration::ZERO });
    drop(held);
    for waited in callers.join_all().await {
        waited.unwrap();
    }
    endpoint.lease().await.unwrap();
}

#[tokio::test]
async fn idle_connections_that_the_server_closed_are_not_handed_out() {
    let mut server = Server::start(&[]).await;
    let endpoint = endpoint(Config { url: server.url(), ..Config::default() });
    let (one, two) = (endpoint.lease().await.unwrap(), endpoint.lease().await.unwrap());
    drop((one, two));
    assert_eq!(endpoint.status().size, 2);
    server.kill();
    server.restart().await;
    for _ in 0..3 {
        let mut conn = endpoint.lease().await.unwrap();
        conn.set("k", "v").await.unwrap();
    }
}

// redis R8, R9
#[tokio::test]
async fn a_cancelled_command_discards_its_connection() {
    let server = Server::start(&[]).await;
    let endpoint = endpoint(Config { url: server.url(), max_connections: 1, ..Config::default() });
    let mut conn = endpoint.lease().await.unwrap();
    let before = id(&mut conn).await;
    let pop = async {
        redis::cmd("BLPOP")
            .arg("l")
            .arg(30)
            .query_async::<Option<(String, String)>>(&mut *conn)
            .await
    };
    assert!(timeout(Duration::from_millis(20), pop).await.is_err());
    drop(conn);
    let mut conn = endpoint.lease().await.unwrap();
    assert_ne!(id(&mut conn).await, before);
    conn.set("k", "v").await.unwrap();
    assert_eq!(conn.get::<_, String>("k").await.unwrap(), "v");
    eventually("the old connection is gone", async || server.leases().await == 1).await;
}

// redis R9
#[tokio::test]
async fn a_connection_with_state_left_on_it_is_discarded() {
    let server = Server::start(&[]).await;
    let endpoint = endpoint(Config { url: server.url(), max_connections: 1, ..Config::default() });
    for words in [&["WATCH", "k"][..], &["MULTI"], &["SELECT", "3"], &["CLIENT", "NO-SUCH-THING"]] {
        let mut conn = endpoint.lease().await.unwrap();
        let before = id(&mut conn).await;
        // Refused by the server or not, it was sent.
        redis::cmd(words[0]).arg(&words[1..]).exec_async(&mut *conn).await.ok();
        drop(conn);
        assert_ne!(id(&mut endpoint.lease().await.unwrap()).await, before, "{words:?}");
    }
    let mut conn = endpoint.lease().await.unwrap();
    let before = id(&mut conn).await;
    conn.set("k", "v").await.unwrap();
    drop(conn);
    assert_eq!(id(&mut endpoint.lease().await.unwrap()).await, before);
}

#[tokio::test]
async fn what_would_harm_the_connection_is_never_sent() {
    let server = Server::start(&[]).await;
    let endpoint = endpoint(Config { url: server.url(), ..Config::default() });
    let mut conn = endpoint.lease().await.unwrap();
    let error = Error::from(redis::cmd("MONITOR").exec_async(&mut *conn).await.unwrap_err());
    assert!(matches!(error, Error::Refused { command: "MONITOR", .. }), "{error:?}");
    conn.set("k", "v").await.unwrap();
}

// redis R2, R10
#[tokio::test]
async fn a_write_without_a_reply_is_unknown_and_a_read_is_not() {
    let server = Server::start(&[]).await;
    let command_timeout = Duration::from_millis(100);
    let endpoint = endpoint(Config { url: server.url(), command_timeout, ..Config::default() });
    let mut writer = endpoint.lease().await.unwrap();
    let mut reader = endpoint.lease().await.unwrap();
    server.freeze();
    let begun = Instant::now();
    let (written, read) = tokio::join!(writer.set("k", "v"), reader.get::<_, Option<String>>("k"));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(written.unwrap_err(), Error::OutcomeUnknown { cause: Cause::Timeout });
    assert!(matches!(read.unwrap_err(), Error::Deadline { .. }));
    server.thaw();
    drop((writer, reader));
    let mut conn = endpoint.lease().await.unwrap();
    conn.set("k", "w").await.unwrap();
    assert_eq!(conn.get::<_, String>("k").await.unwrap(), "w");
}

#[tokio::test]
async fn a_reply_cut_off_by_the_servers_death_is_unknown_for_a_write_only() {
    let mut server = Server::start(&[]).await;
    let endpoint =
        endpoint(Config { url: server.url(), command_timeout: SOON, ..Config::default() });
    let mut writer = endpoint.lease().await.unwrap();
    let mut reader = endpoint.lease().await.unwrap();
    server.freeze();
    let (written, read, ()) =
        tokio::join!(writer.set("k", "v"), reader.get::<_, Option<String>>("k"), async {
            sleep(Duration::from_millis(20)).await;
            server.kill();
        });
    assert_eq!(written.unwrap_err(), Error::OutcomeUnknown { cause: Cause::Closed });
    assert_eq!(read.unwrap_err().cause(), Some(Cause::Closed));
    eventually("the death is known", async || {
        matches!(writer.set("k", "v").await, Err(Error::Unavailable { cause: Cause::Closed, .. }))
    })
    .await;
}

#[tokio::test]
async fn the_requests_deadline_ends_waits_and_commands() {
    let server = Server::start(&[]).await;
    let endpoint = endpoint(Config {
        url: server.url(),
        max_connections: 1,
        command_timeout: SOON,
        ..Config::default()
    });
    let mut conn = endpoint.lease().await.unwrap();
    let soon = || Instant::now() + Duration::from_millis(50);
    let begun = Instant::now();
    let error = deadline::scope(soon(), endpoint.lease()).await.unwrap_err();
    assert!(matches!(error, Error::Exhausted { .. }), "{error:?}");
    let pop = async {
        redis::cmd("BLPOP")
            .arg("l")
            .arg(0)
            .query_async::<Option<(String, String)>>(&mut *conn)
            .await
    };
    let error = Error::from(deadline::scope(soon(), pop).await.unwrap_err());
    assert_eq!(error.outcome(), Outcome::OutcomeUnknown);
    assert!(begun.elapsed() < Duration::from_secs(2));
    let error = deadline::scope(Instant::now(), conn.set("k", "v")).await.unwrap_err();
    assert_eq!(error, Error::Deadline { waited: Duration::ZERO });
    drop(conn);
    assert!(!endpoint.lease().await.unwrap().exists("k").await.unwrap());
}

// redis R8
#[tokio::test]
async fn a_blocking_command_has_its_own_time() {
    let server = Server::start(&[]).await;
    let command_timeout = Duration::from_millis(50);
    let endpoint = endpoint(Config { url: server.url(), command_timeout, ..Config::default() });
    let mut conn = endpoint.lease().await.unwrap();
    let before = id(&mut conn).await;
    let popped: Option<(String, String)> =
        redis::cmd("BLPOP").arg("l").arg("0.3").query_async(&mut *conn).await.unwrap();
    assert_eq!(popped, None);
    drop(conn);
    assert_eq!(id(&mut endpoint.lease().await.unwrap()).await, before);
}

// redis R21
#[tokio::test]
async fn a_replaced_generation_leaves_no_connection() {
    let server = Server::start(&[]).await;
    let endpoint = endpoint(Config { url: server.url(), ..Config::default() });
    let (mut held, idle) = (endpoint.lease().await.unwrap(), endpoint.lease().await.unwrap());
    drop(idle);
    assert_eq!(endpoint.status().size, 2);
    let old = endpoint.publish(endpoint.build_generation(Reason::Requested)).unwrap();
    eventually("its idle connection is gone", async || server.leases().await == 1).await;
    held.set("k", "v").await.unwrap();
    assert!(timeout(Duration::from_millis(20), old.drained()).await.is_err());
    drop(held);
    timeout(SOON, old.drained()).await.unwrap();
    eventually("its leased connection is gone", async || server.leases().await == 0).await;
    let status = endpoint.status();
    assert_eq!((status.size, status.generation, status.rebuilds), (0, 2, 1));
    endpoint.lease().await.unwrap().set("k", "v").await.unwrap();
}

// redis R21
#[tokio::test]
async fn a_cut_generation_ends_even_a_command_that_blocks_for_ever() {
    let server = Server::start(&[]).await;
    let endpoint = endpoint(Config { url: server.url(), ..Config::default() });
    let mut conn = endpoint.lease().await.unwrap();
    let blocked = tokio::spawn(async move {
        let error = redis::cmd("BLPOP").arg("l").arg(0).exec_async(&mut *conn).await.unwrap_err();
        (Error::from(error), conn.set("k", "v").await.unwrap_err())
    });
    eventually("it blocks", async || {
        server.ask::<String>(&["CLIENT", "LIST"]).await.contains("cmd=blpop")
    })
    .await;
    let old = endpoint.close().unwrap();
    old.cut();
    let (cut, next) = timeout(SOON, blocked).await.unwrap().unwrap();
    assert_eq!(cut, Error::OutcomeUnknown { cause: Cause::Replaced });
    assert_eq!(next.cause(), Some(Cause::Replaced));
    timeout(SOON, old.drained()).await.unwrap();
    assert_eq!(endpoint.lease().await.unwrap_err(), Error::NotBuilt);
    eventually("nothing is left", async || server.leases().await == 0).await;
}

#[tokio::test]
async fn a_closed_generation_stops_connecting() {
    let (endpoint, home) =
        absent(Config { connection_timeout: Duration::from_millis(50), ..Config::default() });
    endpoint.lease().await.unwrap_err();
    drop(endpoint.close());
    let listener = tokio::net::UnixListener::bind(home.path().join("absent.sock")).unwrap();
    // Longer than any pause between two attempts.
    assert!(timeout(Duration::from_secs(1), listener.accept()).await.is_err());
}

// redis R11
#[tokio::test]
async fn a_read_only_answer_asks_for_a_new_generation_and_costs_no_connection() {
    let server = Server::start(&[]).await;
    let endpoint = endpoint(Config { url: server.url(), max_connections: 1, ..Config::default() });
    let mut conn = endpoint.lease().await.unwrap();
    let before = id(&mut conn).await;
    server.ask::<()>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    for _ in 0..3 {
        assert_eq!(conn.set("k", "v").await.unwrap_err().cause(), Some(Cause::ReadOnly));
        drop(conn);
        conn = endpoint.lease().await.unwrap();
        assert_eq!(id(&mut conn).await, before);
    }
    timeout(SOON, endpoint.outdated()).await.unwrap();
    drop(conn);
    endpoint.publish(endpoint.build_generation(Reason::ReadOnly));
    assert_ne!(id(&mut endpoint.lease().await.unwrap()).await, before);
}

#[tokio::test]
async fn a_server_busy_with_a_script_is_unavailable_to_callers_and_probes() {
    let server = Server::start(&["--busy-reply-threshold", "50"]).await;
    let endpoint =
        endpoint(Config { url: server.url(), command_timeout: SOON, ..Config::default() });
    let mut conn = endpoint.lease().await.unwrap();
    let mut probe = endpoint.probe_connection().await.unwrap();
    let client = redis::Client::open(server.url()).unwrap();
    let mut elsewhere = client.get_multiplexed_async_connection().await.unwrap();
    let busy = tokio::spawn(async move {
        redis::cmd("EVAL")
            .arg("while true do end")
            .arg(0)
            .exec_async(&mut elsewhere)
            .await
            .unwrap_err();
    });
    eventually("it is busy", async || {
        conn.get::<_, Option<String>>("k").await.is_err_and(|error| {
            assert!(matches!(error.outcome(), Outcome::Unavailable { .. }), "{error:?}");
            error.cause() == Some(Cause::Busy)
        })
    })
    .await;
    assert_eq!(probe.ping().await.unwrap_err(), Cause::Busy);
    redis::cmd("SCRIPT").arg("KILL").exec_async(&mut *conn).await.unwrap();
    busy.await.unwrap();
    conn.set("k", "v").await.unwrap();
    probe.ping().await.unwrap();
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let error = conn.set("k", "v").await.unwrap_err();
    assert!(matches!(error.outcome(), Outcome::Overloaded { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_without_resp3_is_spoken_to_in_resp2() {
    let server = Server::start(&["--rename-command", "HELLO", ""]).await;
    let endpoint = endpoint(Config { url: server.url(), ..Config::default() });
    let mut conn = endpoint.lease().await.unwrap();
    conn.set("k", "v").await.unwrap();
    assert_eq!(conn.get::<_, String>("k").await.unwrap(), "v");
}

// redis R2
#[tokio::test]
async fn one_dead_connection_speaks_for_its_idle_siblings() {
    let server = Server::start(&["--rename-command", "HELLO", ""]).await;
    let connection_timeout = Duration::from_millis(700);
    let endpoint = endpoint(Config { url: server.url(), connection_timeout, ..Config::default() });
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(endpoint.lease().await.unwrap());
    }
    drop(held);
    // On RESP2 a connection is trusted for a second after its last reply.
    sleep(Duration::from_millis(1100)).await;
    server.freeze();
    // 6 round trips of 250 ms would not fit.
    let error = endpoint.lease().await.unwrap_err();
    assert!(
        matches!(error.outcome(), Outcome::Deadline | Outcome::Unavailable { .. }),
        "{error:?}"
    );
    assert_eq!(endpoint.status().size, 0);
    server.thaw();
    eventually("it serves again", async || endpoint.lease().await.is_ok()).await;
}

// redis R2
#[tokio::test]
async fn a_callers_own_haste_speaks_for_no_other_connection() {
    let server = Server::start(&["--rename-command", "HELLO", ""]).await;
    let endpoint = endpoint(Config { url: server.url(), probe_timeout: SOON, ..Config::default() });
    let mut held = Vec::new();
    let mut before = Vec::new();
    for _ in 0..4 {
        held.push(endpoint.lease().await.unwrap());
    }
    for conn in &mut held {
        before.push(id(conn).await);
    }
    drop(held);
    // On RESP2 a connection is trusted for a second after its last reply.
    sleep(Duration::from_millis(1100)).await;
    server.freeze();
    let haste = Instant::now() + Duration::from_millis(20);
    let error = deadline::scope(haste, endpoint.lease()).await.unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error:?}");
    server.thaw();
    let mut kept = 0;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut conn = endpoint.lease().await.unwrap();
        kept += usize::from(before.contains(&id(&mut conn).await));
        held.push(conn);
    }
    assert_eq!(kept, 3, "only the one that was asked is gone");
}

#[tokio::test]
async fn a_connection_past_its_age_is_replaced_between_commands() {
    let server = Server::start(&[]).await;
    let recycle_timeout = Duration::from_millis(20);
    let endpoint = endpoint(Config {
        url: server.url(),
        max_connections: 1,
        recycle_timeout,
        ..Config::default()
    });
    let mut conn = endpoint.lease().await.unwrap();
    let first = id(&mut conn).await;
    sleep(recycle_timeout * 2).await;
    assert_eq!(id(&mut conn).await, first);
    drop(conn);
    assert_ne!(id(&mut endpoint.lease().await.unwrap()).await, first);
}

#[tokio::test]
async fn a_success_is_noted_for_the_veto() {
    let server = Server::start(&[]).await;
    let endpoint = endpoint(Config { url: server.url(), ..Config::default() });
    let mut conn = endpoint.lease().await.unwrap();
    let asked = endpoint.health().mark();
    assert!(!endpoint.health().succeeded_since(asked));
    conn.set("k", "v").await.unwrap();
    assert!(endpoint.health().succeeded_since(asked));
    let mut probe = endpoint.probe_connection().await.unwrap();
    assert!(probe.ping().await.unwrap() < SOON);
}

#[tokio::test]
async fn a_time_to_live_in_the_past_sends_nothing() {
    let server = Server::start(&[]).await;
    let endpoint = endpoint(Config { url: server.url(), ..Config::default() });
    let mut conn = endpoint.lease().await.unwrap();
    let passed: isize = -20;
    assert_eq!(conn.set_ex("k", "v", passed.cast_unsigned()).await, Err(Error::Ttl { given: -20 }));
    assert_eq!(conn.set_ex("k", "v", 0).await, Err(Error::Ttl { given: 0 }));
    assert_eq!(conn.expire("k", Duration::ZERO).await, Err(Error::Ttl { given: 0 }));
    assert!(!conn.exists("k").await.unwrap());
    conn.set_ex("k", "v", Duration::from_millis(90_500)).await.unwrap();
    assert!((90_000..=90_500).contains(&server.ask::<i64>(&["PTTL", "k"]).await));
    assert!(conn.expire("k", 10).await.unwrap());
    assert!((9_000..=10_000).contains(&server.ask::<i64>(&["PTTL", "k"]).await));
}

/// How often the server was asked about a command.
async fn questions(server: &Server) -> usize {
    let stats: String = server.ask(&["INFO", "commandstats"]).await;
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_command|info:calls="));
    line.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn the_server_is_asked_about_a_strange_command_on_a_lease_too_but_not_inside_a_transaction() {
    let server = Server::start(&[]).await;
    let endpoint = endpoint(Config { url: server.url(), ..Config::default() });
    let strange = async |conn: &mut CacheConn| {
        redis::cmd("NO.SUCH").exec_async(&mut **conn).await.unwrap_err();
    };
    let mut conn = endpoint.lease().await.unwrap();
    redis::cmd("MULTI").exec_async(&mut *conn).await.unwrap();
    strange(&mut conn).await;
    assert_eq!(questions(&server).await, 0);
    drop(conn);
    for _ in 0..3 {
        strange(&mut endpoint.lease().await.unwrap()).await;
        assert_eq!(questions(&server).await, 1, "once is enough");
    }
}

// What an old generation's server says is no news of the new one's.
#[tokio::test]
async fn a_lease_of_an_old_generation_says_nothing_of_the_server_of_now() {
    let server = Server::start(&[]).await;
    let endpoint = endpoint(Config { url: server.url(), ..Config::default() });
    let mut old = endpoint.lease().await.unwrap();
    old.set("key", 1).await.unwrap();
    endpoint.publish(endpoint.build_generation(Reason::Requested));
    let mut new = endpoint.lease().await.unwrap();
    let mark = endpoint.health().mark();
    old.set("key", 2).await.unwrap();
    assert!(!endpoint.health().succeeded_since(mark), "it does not keep the breaker closed");

    let _: () = server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    old.set("key", 3).await.unwrap_err();
    assert_eq!(endpoint.health().refusals(ServerState::Full), 0);
    let _: () = server.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;

    let _: () = server.ask(&["REPLICAOF", "127.0.0.1", "1"]).await;
    assert_eq!(old.set("key", 4).await.unwrap_err().cause(), Some(Cause::ReadOnly));
    assert!(endpoint.outdated().now_or_never().is_none(), "it asks for no new generation");
    assert_eq!(new.set("key", 4).await.unwrap_err().cause(), Some(Cause::ReadOnly));
    endpoint.outdated().await;
}

#[tokio::test]
async fn the_servers_objections_keep_the_connection() {
    let server = Server::start(&[]).await;
    let endpoint = endpoint(Config { url: server.url(), max_connections: 1, ..Config::default() });
    let mut conn = endpoint.lease().await.unwrap();
    let before = id(&mut conn).await;
    conn.set("k", "words").await.unwrap();
    assert_eq!(conn.incr::<_, _, i64>("k", 1).await.unwrap_err().outcome(), Outcome::Bug);
    let error = redis::cmd("LPUSH").arg("k").arg(1).exec_async(&mut *conn).await.unwrap_err();
    assert_eq!(Error::from(error), Error::Server { code: "WRONGTYPE".into() });
    let transaction =
        redis::pipe().atomic().set("a", 1).cmd("NO.SUCH").exec_async(&mut *conn).await;
    assert!(matches!(Error::from(transaction.unwrap_err()), Error::Server { .. }));
    assert_eq!(conn.get::<_, i64>("k").await, Err(Error::Value));
    assert_eq!(id(&mut conn).await, before);
    redis::pipe().atomic().set("a", 1).exec_async(&mut *conn).await.unwrap();
    drop(conn);
    let mut conn = endpoint.lease().await.unwrap();
    assert_ne!(id(&mut conn).await, before, "NO.SUCH might have left anything behind");
}

mod the_samples_of_the_page {
    use super::*;

    async fn cache() -> (Server, Cache, Keeper) {
        let server = Server::start(&[]).await;
        let (endpoint, keeper) = lanes(&server, Config::default()).await;
        (server, Cache::new(endpoint), keeper)
    }

    #[tokio::test]
    async fn compile_without_the_redis_crates_trait() -> Result<(), Error> {
        let (_server, cache, _keeper) = cache().await;
        let mut conn = cache.get().await?;
        let cache_key = format!("user:{}", 7);
        assert!(conn.get::<_, String>(&cache_key).await.is_err());
        let serialized = String::from("{}");
        conn.set_ex(&cache_key, serialized, 300).await?;
        assert_eq!(conn.get::<_, String>(&cache_key).await?, "{}");
        #[expect(clippy::cast_possible_truncation, reason = "the page has it so")]
        let ttl = (1_000_i64 - 10) as usize;
        conn.set_ex(&format!("revoked:{}", "id"), "revoked", ttl).await?;
        conn.set("key", "value").await?;
        conn.del(&cache_key).await?;
        let hits: u64 = conn.incr("hits", 1).await?;
        assert_eq!(hits, 1);
        if let Ok(cached) = conn.get::<_, String>("key").await {
            assert_eq!(cached, "value");
        }
        let missing: Option<String> = conn.get(&cache_key).await?;
        assert_eq!(missing, None);
        Ok(())
    }

    #[tokio::test]
    async fn compile_with_the_redis_crates_trait() -> Result<(), Error> {
        use redis::{AsyncCommands, pipe};
        let (_server, cache, _keeper) = cache().await;
        let mut conn = cache.get().await?;
        let cache_key = format!("user:{}", 7);
        conn.set_ex(&cache_key, "1", 300).await?;
        assert_eq!(conn.get::<_, String>(&cache_key).await?, "1");
        conn.del(&cache_key).await?;
        let hits: u64 = conn.incr("hits", 1).await?;
        assert_eq!(hits, 1);
        let length: usize = conn.rpush("list", &["a", "b"]).await?;
        assert_eq!(length, 2);
        for key in ["key1", "key2", "key3"] {
            conn.set(key, key).await?;
        }
        let results: Vec<String> =
            pipe().get("key1").get("key2").get("key3").query_async(&mut *conn).await?;
        assert_eq!(results, ["key1", "key2", "key3"]);
        let summed: i64 =
            redis::Script::new("return ARGV[1] + 1").arg(1).invoke_async(&mut *conn).await?;
        assert_eq!(summed, 2);
        Ok(())
    }

    #[tokio::test]
    async fn show_the_statistics_of_the_pool() -> Result<(), Error> {
        use mainstay_actors::cache::PoolStats;
        let (_server, cache, _keeper) = cache().await;
        let mut conn = cache.get().await?;
        redis::cmd("WATCH").arg("k").exec_async(&mut *conn).await?;
        let stats = PoolStats {
            max_size: cache.status().max_size,
            size: cache.status().size,
            available: cache.status().available,
        };
        assert_eq!(stats, PoolStats { max_size: 50, size: 1, available: 49 });
        assert_eq!(stats, PoolStats::from(cache.status()));
        Ok(())
    }

    #[test]
    fn run_in_handlers_that_move_between_threads() {
        fn sendable<T: Send>(_: &T) {}
        async fn handler(mut conn: CacheConn) -> Result<(), Error> {
            conn.set_ex(String::from("k"), "v", 1).await?;
            redis::pipe().get("k").exec_async(&mut *conn).await?;
            Ok(())
        }
        fn shown<T: std::fmt::Debug + Send + Sync>() {}
        shown::<CacheConn>();
        shown::<Endpoint>();
        sendable(&async |conn| handler(conn).await);
    }
}

fn opened(cause: Cause) -> Verdict {
    let now = Instant::now();
    let breaker = Breaker::Open { cause, since: now, retry_after: Duration::from_secs(1) };
    Verdict { breaker, cause: Some(cause), ..Verdict::unknown() }
}

const SOON: Duration = Duration::from_secs(5);
