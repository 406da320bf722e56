//! What a second runtime reads once the one that started the service has ended, without a shutdown.

use std::time::Duration;

use mainstay::actor::State as Doing;
use mainstay::cache::{Error, ProbeNow};
use mainstay::prelude::*;
use mainstay_actors::Outcome;

use crate::support::{Server, config, eventually, within};

/// What a machine that is busy with other tests may add to a bound.
const SLACK: Duration = Duration::from_secs(1);

fn is_unavailable(error: &Error) -> bool {
    matches!(error.outcome(), Outcome::Unavailable { .. })
}

#[tokio::test]
async fn whatever_a_second_runtime_asks_after_the_end_of_the_first_is_refused_in_time() {
    let server = Server::start().await;
    let mut config = config(server.url());
    config.redis.connection_timeout = Duration::from_secs(2);
    let connection_timeout = config.redis.connection_timeout;
    let first = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let state = AppState::start(config).await.unwrap();
            let cache = state.cache().unwrap();
            let mut conn = eventually("a connection", async || cache.get().await.ok()).await;
            eventually("a write", async || conn.set("key", "old").await.ok()).await;
            let mut pinned = cache.get().await.unwrap();
            pinned.pin().await.unwrap();
            let subscription = cache.subscribe("news").await.unwrap();
            (state, conn, pinned, subscription)
        })
    });
    let (state, mut conn, mut pinned, mut subscription) = first.join().unwrap();

    assert_eq!(state.tree().state, Doing::Down);
    let over = async || subscription.next().await.is_none().then_some(());
    within(SLACK, "the end of a subscription", over).await;
    let limit = connection_timeout + SLACK;
    let read = async || conn.get::<_, Option<String>>("key").await.err();
    assert!(is_unavailable(&within(limit, "a read", read).await));
    let write = async || conn.set("key", "new").await.err();
    assert!(is_unavailable(&within(limit, "a write", write).await));
    let read = async || pinned.get::<_, Option<String>>("key").await.err();
    assert!(is_unavailable(&within(limit, "a read on a lease", read).await));
    let cache = state.cache().unwrap();
    let began = async || cache.get().await.err();
    within(limit, "a connection", began).await;
    let subscribed = async || cache.subscribe("other").await.err();
    within(SLACK, "a subscription", subscribed).await;
    let asked = async || state.ask(ProbeNow).await.err();
    within(SLACK, "a question", asked).await;
    assert_eq!(server.ask::<String>(&["GET", "key"]).await, "old", "nothing was done");

    let ended = async || Some(state.shutdown(Duration::from_secs(1)).await);
    within(SLACK * 2, "the end", ended).await;
}
