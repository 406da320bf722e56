//! The tree over a server, embedded or not: it starts, falls and gets up.
#![cfg(feature = "embedded")]
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

#[allow(
    dead_code,
    clippy::disallowed_methods,
    reason = "each test binary uses its own part of it, and the environment chooses the server"
)]
mod support;

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use mainstay_actors::deadline;
use mainstay_actors::health::{GetHealth, ProbeNow};
use mainstay_actors::pool::{GetPoolStatus, RebuildPool};
use mainstay_actors::redis::{Cause, Config, Error};
use mainstay_actors::tree::{Setup, StartError, Tree};
use tokio::time::{Instant, sleep};

async fn embedded() -> Tree {
    let mut setup = Setup::new("tree-test");
    setup.redis.url = "embedded".into();
    Tree::start(setup).await.unwrap()
}

async fn at(url: String, configure: impl FnOnce(&mut Config)) -> Tree {
    let mut setup = Setup::new("tree-test");
    setup.redis.url = url;
    configure(&mut setup.redis);
    let tree = Tree::start(setup).await.unwrap();
    eventually("redis answers", async || is_healthy(&tree).then_some(())).await;
    tree
}

fn is_healthy(tree: &Tree) -> bool {
    tree.dependencies().iter().all(|dependency| dependency.healthy)
}

async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn set_works(tree: &Tree) -> Option<()> {
    let mut connection = tree.cache().get().await.ok()?;
    connection.set_ex("key", "value", 60).await.ok()
}

fn pid(tree: &Tree) -> Option<u64> {
    tree.snapshot().find("embedded-redis")?.facts.get("pid")?.as_u64()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_serves_from_its_embedded_server() {
    let tree = embedded().await;
    eventually("a value is stored", async || set_works(&tree).await).await;
    let report = tree.ask(ProbeNow).await.unwrap();
    assert!(report.healthy, "{report:?}");
    assert_eq!(tree.ask(GetPoolStatus).await.unwrap().generation, 1);
    assert_eq!(tree.ask(RebuildPool).await.unwrap(), 2);
    assert!(set_works(&tree).await.is_some());
    assert!(tree.shutdown(Duration::from_secs(5)).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_embedded_server_is_back_without_spending_a_restart() {
    let tree = embedded().await;
    eventually("a value is stored", async || set_works(&tree).await).await;
    let first = pid(&tree).unwrap();
    std::process::Command::new("kill").args(["-9", &first.to_string()]).status().unwrap();
    eventually("another server", async || pid(&tree).filter(|pid| *pid != first)).await;
    eventually("a value is stored again", async || set_works(&tree).await).await;
    for child in &tree.snapshot().children {
        assert_eq!(child.restarts, 0, "{}", child.path);
    }
    assert!(tree.shutdown(Duration::from_secs(5)).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_never_comes_back_holds_up_no_rebuild() {
    let server = support::Server::start(&[]).await;
    let drain_timeout = Duration::from_millis(100);
    let tree = at(server.url(), |redis| redis.drain_timeout = drain_timeout).await;
    let mut held = tree.cache().get().await.unwrap();
    held.pin().await.unwrap();
    for generation in 2..=4 {
        assert_eq!(tree.ask(RebuildPool).await.unwrap(), generation);
    }
    let replaced = held.get::<_, Option<String>>("key").await;
    assert_eq!(replaced.unwrap_err().cause(), Some(Cause::Replaced));
    assert!(set_works(&tree).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_more_connections_is_healthy_for_those_it_has() {
    let server = support::Server::start(&[]).await;
    let tree = at(server.url(), |_| ()).await;
    let mut held = tree.cache().get().await.unwrap();
    let () = redis::cmd("CONFIG")
        .arg(&["SET", "maxclients", "1"])
        .query_async(&mut *held)
        .await
        .unwrap();
    // It needs a connection that cannot be made.
    let soon = Instant::now() + Duration::from_secs(1);
    let mut other = tree.cache().get().await.unwrap();
    let refused = deadline::scope(soon, other.pin()).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused:?}");
    for _ in 0..3 {
        let report = tree.ask(ProbeNow).await.unwrap();
        assert!(report.healthy, "its lanes serve: {report:?}");
        assert!(report.message.starts_with("connected, but new connections fail: "), "{report:?}");
        assert!(!report.breaker_open, "it would cut off the one that has a connection");
    }
    assert_eq!(held.get::<_, Option<String>>("key").await, Ok(None));
    // With room for one more nothing is wrong, though nobody asked anything of it.
    let () = redis::cmd("CONFIG")
        .arg(&["SET", "maxclients", "100"])
        .query_async(&mut *held)
        .await
        .unwrap();
    eventually("new connections are made", async || (!is_limited(&tree)).then_some(())).await;
}

/// Whether it says that only those who have a connection are served.
fn is_limited(tree: &Tree) -> bool {
    let dependencies = tree.dependencies();
    let [redis] = &dependencies[..] else { panic!("{dependencies:?}") };
    redis.healthy && redis.message.contains("but new connections fail")
}

/// The number that the server has given to a connection of that name.
fn id_of(clients: &str, name: &str) -> Option<String> {
    let line = clients.lines().find(|line| line.contains(name))?;
    Some(line.strip_prefix("id=")?.split(' ').next()?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_serve_on_while_a_full_server_has_no_room_for_the_probe() {
    let server = support::Server::start(&[]).await;
    let probe_interval = Duration::from_millis(50);
    let tree = at(server.url(), |redis| redis.probe_interval = probe_interval).await;
    let mut control = fill(&server, &[":probe:"]).await;
    eventually("new connections fail", async || is_limited(&tree).then_some(())).await;

    // Nobody sends a command in the first half, so that lanes are heard of once a second.
    let begun = Instant::now();
    while begun.elapsed() < 60 * probe_interval {
        let report = tree.ask(GetHealth).await.unwrap();
        assert!(!report.breaker_open, "after {:?}: {report:?}", begun.elapsed());
        if begun.elapsed() > 30 * probe_interval {
            assert!(set_works(&tree).await.is_some(), "after {:?}", begun.elapsed());
        }
        sleep(Duration::from_millis(5)).await;
    }
    assert!(is_limited(&tree), "it was full all the while");

    server.freeze();
    let open = async || tree.ask(GetHealth).await.unwrap().breaker_open.then_some(());
    eventually("the breaker opens once no lane is answered", open).await;
    server.thaw();
    let roomy = ["SET", "maxclients", "100"];
    let () = redis::cmd("CONFIG").arg(&roomy).query_async(&mut control).await.unwrap();
    eventually("a value is stored again", async || set_works(&tree).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_that_leaves_us_the_probe_alone_is_not_waited_for() {
    let server = support::Server::start(&[]).await;
    let tree = at(server.url(), |_| ()).await;
    let mut pinned = tree.cache().get().await.unwrap();
    pinned.pin().await.unwrap();
    drop(pinned);
    assert_eq!(tree.cache().status().size, 1, "it is idle");
    let _room = fill(&server, &[":lane:", ":bulk:", ":lease:"]).await;
    let open = async || tree.ask(GetHealth).await.unwrap().breaker_open.then_some(());
    eventually("the breaker opens", open).await;
}

// A place on the lane for large values is had by way of another lane.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_that_leaves_us_the_lane_for_large_values_alone_is_not_waited_for() {
    for alone in [&[":lane:"][..], &[":lane:", ":probe:"]] {
        let server = support::Server::start(&[]).await;
        let tree = at(server.url(), |_| ()).await;
        let _room = fill(&server, alone).await;
        let open = async || tree.ask(GetHealth).await.unwrap().breaker_open.then_some(());
        eventually("the breaker opens", open).await;
    }
}

/// Lets the server take no more connections, closes ours of such names, and returns the one that is left to ask it.
async fn fill(server: &support::Server, closed: &[&str]) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(server.url()).unwrap();
    let mut control = client.get_multiplexed_async_connection().await.unwrap();
    let full = ["SET", "maxclients", "1"];
    let () = redis::cmd("CONFIG").arg(&full).query_async(&mut control).await.unwrap();
    for name in closed {
        let clients: String =
            redis::cmd("CLIENT").arg("LIST").query_async(&mut control).await.unwrap();
        for client in clients.lines().filter(|line| line.contains(name)) {
            let kill = ["KILL", "ID", &id_of(client, name).unwrap()];
            let () = redis::cmd("CLIENT").arg(&kill).query_async(&mut control).await.unwrap();
        }
    }
    control
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_was_changed_shows_before_anyone_needs_a_connection() {
    let server = support::Server::start(&["--requirepass", "one"]).await;
    let recycle_timeout = Duration::from_millis(300);
    let url = format!("{}?pass=one", server.url());
    let tree = at(url, |redis| redis.recycle_timeout = recycle_timeout).await;
    let mut conn = tree.cache().get().await.unwrap();
    let () = redis::cmd("CONFIG")
        .arg(&["SET", "requirepass", "two"])
        .query_async(&mut *conn)
        .await
        .unwrap();
    eventually("new connections fail", async || is_limited(&tree).then_some(())).await;
    // Whoever needs a new connection hears why there is none; the ones that are shared still serve.
    let refused =
        async || conn.pin().await.err().filter(|error| error.cause() == Some(Cause::Auth));
    eventually("a connection is refused", refused).await;
    assert!(set_works(&tree).await.is_some());
    assert!(!tree.ask(GetHealth).await.unwrap().breaker_open);
}

// redis R4
#[tokio::test(flavor = "multi_thread")]
async fn asking_for_probes_does_not_storm_a_server_that_hangs_up() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("redis.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let mut setup = Setup::new("tree-test");
    setup.redis.url = format!("unix://{}", path.display());
    let tree = Tree::start(setup).await.unwrap();
    let end = Instant::now() + Duration::from_secs(2);
    let asking = async || {
        while Instant::now() < end {
            assert!(!tree.ask(ProbeNow).await.unwrap().healthy);
        }
    };
    let count = async {
        let mut connects = 0;
        while let Ok(accepted) = tokio::time::timeout_at(end, listener.accept()).await {
            drop(accepted.unwrap());
            connects += 1;
        }
        connects
    };
    let (connects, (), ()) = tokio::join!(count, asking(), asking());
    assert!((2..=20).contains(&connects), "{connects} connects in 2 s");
}

// redis R4
#[tokio::test(flavor = "multi_thread")]
async fn many_endpoints_that_are_away_connect_no_faster_than_one() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("redis.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let mut setup = Setup::new("tree-test");
    setup.redis.url = format!("unix://{}", path.display());
    setup.redis.lanes = Some(1);
    for name in ["a", "b", "c", "d"] {
        setup.endpoints.insert(name.into(), setup.redis.clone());
    }
    let begun = Instant::now();
    let tree = Tree::start(setup).await.unwrap();
    let end = Instant::now() + Duration::from_secs(2);
    let mut connects = 0;
    while let Ok(accepted) = tokio::time::timeout_at(end, listener.accept()).await {
        drop(accepted.unwrap());
        connects += 1;
        // However late a busy machine accepts it: it was made between the beginning and now.
        let elapsed = begun.elapsed();
        // A probe and two lanes of each that do not know better yet, then ten a second of all together.
        let most = 5 * 3 + 1 + elapsed.as_millis() / 100;
        assert!(connects <= most, "{connects} connects in {elapsed:?}");
    }
    assert!(connects >= 5, "{connects} connects in 2 s");
    assert!(tree.dependencies().iter().all(|dependency| !dependency.healthy));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_comes_back_in_time_while_three_others_hang() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("redis.sock");
    // Whoever connects waits for an answer that never comes.
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut server = support::Server::start(&[]).await;
    let mut setup = Setup::new("tree-test");
    setup.redis.url = server.url();
    for name in ["a", "b", "c"] {
        let silent = setup.redis.elsewhere(format!("unix://{}", path.display()));
        setup.endpoints.insert(name.into(), silent);
    }
    let tree = Tree::start(setup).await.unwrap();
    eventually("a value is stored", async || set_works(&tree).await).await;
    let silent = || {
        let all = tree.dependencies();
        all.iter().filter(|seen| seen.message.starts_with("no answer in time")).count()
    };
    eventually("three are known to hang", async || (silent() == 3).then_some(())).await;
    server.kill();
    eventually("it is away", async || set_works(&tree).await.is_none().then_some(())).await;
    server.restart().await;
    let begun = Instant::now();
    eventually("a value is stored again", async || set_works(&tree).await).await;
    // One second, and one more for a machine that is busy with other tests.
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(silent(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_connect_timeout_keeps_no_breaker_closed() {
    let server = support::Server::start(&[]).await;
    let connect_timeout = Duration::from_secs(60);
    let tree = at(server.url(), |redis| redis.connect_timeout = connect_timeout).await;
    server.freeze();
    let open = async || tree.ask(GetHealth).await.unwrap().breaker_open.then_some(());
    eventually("the breaker opens", open).await;
    server.thaw();
    eventually("it is healthy again", async || is_healthy(&tree).then_some(())).await;
    assert!(set_works(&tree).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_over_a_server_that_does_not_run_does_not_start_and_says_why() {
    let place = tempfile::tempdir().unwrap();
    let mut setup = Setup::new("tree-test");
    setup.redis.url = "embedded".into();
    setup.temp_dir = place.path().to_owned();
    setup.search_path = program(place.path(), "echo broken >&2; exit 1");
    let StartError::Embedded(error) = Tree::start(setup).await.unwrap_err() else {
        panic!("must be the server's")
    };
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("exit status: 1") && source.contains("broken"), "{error}: {source}");
    let left: Vec<_> = place.path().read_dir().unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(left.len(), 1, "only the program: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_will_not_stay_up_is_started_ever_less_often() {
    let place = tempfile::tempdir().unwrap();
    let starts = place.path().join("starts");
    let real = mainstay_actors::embedded::locate(&Setup::new("").search_path).unwrap();
    let mut setup = Setup::new("tree-test");
    setup.redis.url = "embedded".into();
    setup.temp_dir = place.path().to_owned();
    // Runs once. From then on it ends at once, and takes the socket that the first one left with it.
    setup.search_path = program(
        place.path(),
        &format!(
            "date +%s%3N >>{starts}\n\
             [ $(wc -l <{starts}) -gt 1 ] || exec {real} \"$@\"\n\
             rm -f {home}/*/redis.sock; exit 1",
            starts = starts.display(),
            real = real.display(),
            home = place.path().display(),
        ),
    );
    let tree = Tree::start(setup).await.unwrap();
    let first = pid(&tree).unwrap();
    std::process::Command::new("kill").args(["-9", &first.to_string()]).status().unwrap();
    let begun_ms = eventually("four more starts", async || {
        let text = std::fs::read_to_string(&starts).unwrap();
        let times: Vec<u64> = text.lines().map_while(|line| line.parse().ok()).collect();
        (times.len() >= 5).then_some(times)
    })
    .await;
    let pauses_ms: Vec<_> = begun_ms[1..].windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses_ms[2] >= pauses_ms[0] + 400, "{pauses_ms:?}");
    assert!(tree.shutdown(Duration::from_secs(5)).await.is_clean());
}

/// A search path with nothing on it but a redis-server of this text.
fn program(place: &Path, text: &str) -> OsString {
    use std::os::unix::fs::PermissionsExt;

    let directory = place.join("bin");
    std::fs::create_dir(&directory).unwrap();
    let path = directory.join("redis-server");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
    directory.into()
}
