//! Those who wait for a lease while lanes carry everyone else.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_actors::cache::Cache;
use mainstay_actors::redis::Error;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::SLACK;
use crate::support::soak::cancelled_waits;
use crate::support::{Server, eventually, figures, tree};

/// Callers on lanes, who ask without pause until this is dropped.
fn riders(cache: &Cache) -> JoinSet<()> {
    let rider = |cache: Cache| async move {
        let mut conn = cache.get().await.unwrap();
        loop {
            conn.incr::<_, _, u64>("ridden", 1).await.unwrap();
        }
    };
    (0..16).map(|_| rider(cache.clone())).collect()
}

// redis R7
#[tokio::test]
async fn whoever_asks_first_is_served_first_whatever_the_lanes_carry() {
    const CALLERS: usize = 200;
    let server = Server::start().await;
    let tree = tree::healthy(server.url(), |config| {
        config.max_connections = 1;
        config.command_timeout = Duration::from_secs(5);
    })
    .await;
    let cache = tree.cache();
    let riders = riders(&cache);
    let mut first = cache.get().await.unwrap();
    first.pin().await.unwrap();
    let order = Arc::<Mutex<Vec<usize>>>::default();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (cache, order) = (cache.clone(), Arc::clone(&order));
        callers.spawn(async move {
            let mut conn = cache.get().await.unwrap();
            conn.pin().await.unwrap();
            order.lock().unwrap().push(caller);
            conn.set("held", caller).await.unwrap();
        });
        eventually("it stands in line", async || {
            (tree.cache().status().waiting == caller + 1).then_some(())
        })
        .await;
    }
    drop(first);
    callers.join_all().await;
    assert_eq!(*order.lock().unwrap(), (0..CALLERS).collect::<Vec<_>>());
    drop(riders);
    tree::has_all_leases(&cache).await;
    tree::end(tree).await;
}

// redis R7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_longer_than_those_before_them_hold() {
    const LEASES: u32 = 4;
    const CALLERS: u32 = 200;
    const HELD: Duration = Duration::from_millis(5);
    let server = Server::start().await;
    let tree = tree::healthy(server.url(), |config| {
        config.max_connections = LEASES;
        config.command_timeout = Duration::from_secs(5);
    })
    .await;
    let riders = riders(&tree.cache());
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let cache = tree.cache();
        callers.spawn(async move {
            let mut conn = cache.get().await.unwrap();
            let asked = Instant::now();
            conn.pin().await.unwrap();
            let waited = asked.elapsed();
            sleep(HELD).await;
            waited
        });
    }
    let mut waits = callers.join_all().await;
    let last = figures::quantile(&mut waits, 0.99);
    let fair = HELD * CALLERS / LEASES;
    assert!(last >= fair / 2, "there was a queue: {last:?}");
    assert!(last < fair * 4 + SLACK, "{last:?} where {fair:?} would be fair");
    drop(riders);
    tree::has_all_leases(&tree.cache()).await;
    tree::end(tree).await;
}

// redis R7
#[tokio::test]
async fn a_wait_ends_with_its_time_while_lanes_serve() {
    let patience = Duration::from_millis(300);
    let server = Server::start().await;
    let tree = tree::healthy(server.url(), |config| {
        config.max_connections = 2;
        config.connection_timeout = patience;
    })
    .await;
    let cache = tree.cache();
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut conn = cache.get().await.unwrap();
        conn.pin().await.unwrap();
        held.push(conn);
    }
    let waiters = (0..50).map(|_| async {
        let mut conn = cache.get().await.unwrap();
        let asked = Instant::now();
        let refused = conn.pin().await.unwrap_err();
        let waited = asked.elapsed();
        assert!(matches!(refused, Error::Exhausted { max_connections: 2, .. }), "{refused:?}");
        assert!(waited >= patience && waited < patience + SLACK, "{waited:?}");
        // Whoever gets no lease still has a place on the lane.
        conn.set("key", "value").await.unwrap();
    });
    futures_util::future::join_all(waiters).await;
    assert!(tree::is_healthy(&tree), "to be in full use is no outage");
    drop(held);
    tree::has_all_leases(&cache).await;
    tree::end(tree).await;
}

// redis R22
#[tokio::test]
async fn the_status_is_exact_however_many_give_up_waiting() {
    for seed in 1..=4 {
        cancelled_waits(seed, 500).await;
    }
}
