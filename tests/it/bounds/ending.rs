//! A tree ends while its lanes are in use.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use mainstay_actors::redis::Error;

use super::SLACK;
use crate::support::{Server, eventually, tree};

// redis R21
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_tree_leaves_no_connection_though_callers_still_hold_theirs() {
    let server = Server::start().await;
    let tree = tree::healthy(server.url(), |_| {}).await;
    let cache = tree.cache();
    let mut callers = JoinSet::new();
    for caller in 0..64 {
        let cache = cache.clone();
        callers.spawn(async move {
            let mut conn = cache.get().await.unwrap();
            if caller % 4 == 0 {
                conn.pin().await.unwrap();
            }
            let failed = loop {
                if let Err(error) = conn.incr::<_, _, u64>("sum", 1).await {
                    break error;
                }
            };
            // A place on a lane is no connection, and may be kept.
            ((caller % 4 != 0).then_some(conn), failed)
        });
    }
    let under_load =
        async || (server.ask::<Option<u64>>(&["GET", "sum"]).await > Some(500)).then_some(());
    eventually("the lanes are in use", under_load).await;

    let begun = Instant::now();
    assert!(tree.shutdown(Duration::from_secs(10)).await.is_clean());
    assert!(begun.elapsed() < Duration::from_millis(500) + SLACK, "{:?}", begun.elapsed());
    let ended = timeout(Duration::from_secs(10), callers.join_all()).await;
    let ended = ended.expect("every caller gets to know");
    for (_, failed) in &ended {
        let is_typed = matches!(
            failed,
            Error::NotBuilt | Error::Unavailable { .. } | Error::OutcomeUnknown { .. }
        );
        assert!(is_typed, "{failed:?}");
    }
    assert!(matches!(cache.get().await, Err(Error::NotBuilt | Error::Unavailable { .. })));
    eventually("no connection is left", async || {
        server.client_names().await.is_empty().then_some(())
    })
    .await;
    let status = cache.status();
    assert_eq!((status.lanes, status.control), (0, 0), "{status:?}");
    drop(ended);
    tree::has_all_leases(&cache).await;
    assert_eq!(cache.status().size, 0);
}
