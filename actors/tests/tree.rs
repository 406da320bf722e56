//! The tree over an embedded server: it starts, falls and gets up.
#![cfg(feature = "embedded")]
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::time::Duration;

use mainstay_actors::health::ProbeNow;
use mainstay_actors::pool::{GetPoolStatus, RebuildPool};
use mainstay_actors::tree::{Setup, Tree};
use tokio::time::{Instant, sleep};

async fn embedded() -> Tree {
    let mut setup = Setup::new("tree-test");
    setup.redis.url = "embedded".into();
    Tree::start(setup).await.unwrap()
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
