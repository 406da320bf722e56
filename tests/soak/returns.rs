//! Redis goes in one way or another, and comes back. Each of these says how long that took to be noticed by callers.

use std::time::Duration;

use mainstay::prelude::*;
use mainstay_actors::cache::Cache;
use mainstay_actors::deadline;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::support::{App, Port, Proxy, Server, Weather, config, eventually, tree, within};

/// What callers noticed of a server that stood still.
#[derive(Debug)]
pub(crate) struct Standstill {
    /// The longest that a call took beyond its deadline.
    pub(crate) overrun: Duration,
    /// From the thaw until every caller was served again.
    pub(crate) recovery: Duration,
}

const CALLERS: usize = 16;
const DEADLINE: Duration = Duration::from_millis(300);
/// Longer than anything here should take, shorter than a run of hours.
const NEVER: Duration = Duration::from_secs(60);

/// Freezes a server for `time` while callers ask without pause.
pub(crate) async fn standstill(time: Duration) -> Standstill {
    let server = Server::start().await;
    let tree = tree::healthy(server.url(), |_| {}).await;
    let cache = tree.cache();
    let thaw = Instant::now() + time;
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let cache = cache.clone();
        callers.spawn(async move {
            let mut longest = Duration::ZERO;
            loop {
                let begun = Instant::now();
                let is_served = deadline::scope(begun + DEADLINE, tree::is_served(&cache)).await;
                longest = longest.max(begun.elapsed());
                if is_served && begun > thaw {
                    return (longest, thaw.elapsed());
                }
                // A refusal is immediate; the next call is not.
                sleep(Duration::from_millis(1)).await;
            }
        });
    }
    server.freeze();
    sleep_until(thaw).await;
    server.thaw();
    let seen = callers.join_all().await;
    tree::end(tree).await;
    let longest = seen.iter().map(|(longest, _)| *longest).max().unwrap();
    let recovery = seen.iter().map(|(_, recovery)| *recovery).max().unwrap();
    Standstill { overrun: longest.saturating_sub(DEADLINE), recovery }
}

/// Has the network forget the connections of a tree that nobody uses; the time until each has been replaced.
pub(crate) async fn silence() -> Duration {
    const LANES: u32 = 1;
    // Those of the lanes, that for large values, the probe's.
    let all = usize::try_from(LANES).unwrap() + 2;
    let server = Server::start().await;
    let proxy = Proxy::before(server.address()).await;
    let tree = tree::healthy(proxy.url(), |config| config.lanes = Some(LANES)).await;
    assert_eq!(proxy.accepted(), all);
    proxy.set_for_open(Weather::Silent);
    let begun = Instant::now();
    within(NEVER, "every connection is replaced", async || {
        (proxy.accepted() >= 2 * all).then_some(())
    })
    .await;
    let replaced = begun.elapsed();
    tree::served(&tree.cache()).await;
    tree::end(tree).await;
    replaced
}

/// Kills a server and starts it again after `time`; from when it listens, the time until a command is answered.
pub(crate) async fn restart(time: Duration) -> Duration {
    let mut server = Server::start().await;
    let tree = tree::healthy(server.url(), |_| {}).await;
    server.kill();
    sleep(time).await;
    server.restart().await;
    let recovery = until_served(&tree.cache()).await;
    tree::end(tree).await;
    recovery
}

/// A service has a wrong password for `time`; from when that is corrected, the time until a command is answered.
pub(crate) async fn wrong_password(time: Duration) -> Duration {
    let server = Server::start().await;
    let file = server.path("password");
    std::fs::write(&file, "wrong").unwrap();
    let _: () = server.ask(&["CONFIG", "SET", "requirepass", "right"]).await;
    let path = file.clone();
    let tree = tree::started(server.url(), |config| config.password_file = Some(path)).await;
    let cache = tree.cache();
    let end = Instant::now() + time;
    while Instant::now() < end {
        assert!(!tree::is_served(&cache).await);
        sleep(Duration::from_millis(1)).await;
    }
    std::fs::write(&file, "right").unwrap();
    let recovery = until_served(&cache).await;
    tree::end(tree).await;
    recovery
}

/// A service is up for `time` before its Redis is; from when that listens, the time until the service is ready.
pub(crate) async fn late_start(time: Duration) -> Duration {
    let port = Port::reserve();
    let app = App::start(config(port.url()), Router::new()).await;
    let end = Instant::now() + time;
    while Instant::now() < end {
        assert!(!app.is_ready().await);
        sleep(Duration::from_millis(10)).await;
    }
    let server = Server::start_on(port).await;
    let begun = Instant::now();
    let ready = async || app.is_ready().await.then_some(());
    within(NEVER, "the service is ready", ready).await;
    let recovery = begun.elapsed();
    assert_eq!((app.restarts(), app.generation()), (0, 1));
    app.end().await;
    eventually("it has left the server", async || {
        server.client_names().await.is_empty().then_some(())
    })
    .await;
    recovery
}

async fn until_served(cache: &Cache) -> Duration {
    let begun = Instant::now();
    let served = async || tree::is_served(cache).await.then_some(());
    within(NEVER, "a command is answered", served).await;
    begun.elapsed()
}
