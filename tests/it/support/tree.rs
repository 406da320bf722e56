//! A service's tree without its face, for what is asked of it more often than HTTP could carry.

use std::time::Duration;

use mainstay_actors::cache::Cache;
use mainstay_actors::redis::Config;
use mainstay_actors::tree::{Setup, Tree};

use super::eventually;

/// A tree whose Redis is at `url`; it has been reached.
pub(crate) async fn healthy(url: String, configure: impl FnOnce(&mut Config)) -> Tree {
    let tree = started(url, configure).await;
    eventually("redis is healthy", async || is_healthy(&tree).then_some(())).await;
    served(&tree.cache()).await;
    tree
}

/// The same, whether or not there is a Redis.
pub(crate) async fn started(url: String, configure: impl FnOnce(&mut Config)) -> Tree {
    let mut setup = Setup::new("it");
    setup.redis.url = url;
    configure(&mut setup.redis);
    Tree::start(setup).await.unwrap()
}

pub(crate) fn is_healthy(tree: &Tree) -> bool {
    tree.dependencies()[0].healthy
}

/// Waits until a command is answered.
pub(crate) async fn served(cache: &Cache) {
    eventually("a command is answered", async || is_served(cache).await.then_some(())).await;
}

pub(crate) async fn is_served(cache: &Cache) -> bool {
    let Ok(mut conn) = cache.get().await else { return false };
    conn.get::<_, Option<String>>("served").await.is_ok()
}

/// Every lease is back, nobody waits for one, and no more are open than may be.
pub(crate) async fn has_all_leases(cache: &Cache) {
    eventually("every lease is back", async || {
        let status = cache.status();
        assert!(status.size <= status.max_size, "{status:?}");
        (status.available == status.max_size && status.waiting == 0).then_some(())
    })
    .await;
}

pub(crate) async fn end(tree: Tree) {
    assert!(tree.shutdown(Duration::from_secs(10)).await.is_clean());
}
