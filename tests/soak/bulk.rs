//! Small commands beside large values.

use std::time::Duration;

use mainstay_actors::cache::Cache;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{Server, figures, tree};

/// The time that 99 of 100 small commands did not exceed.
#[derive(Debug)]
pub(crate) struct Beside {
    /// With nothing beside them.
    pub(crate) nothing: Duration,
    /// With large values on their own lane.
    pub(crate) bulk: Duration,
    /// With large values on the same lane.
    pub(crate) ordinary: Duration,
}

const LARGE_BYTES: usize = 10 << 20;
const CALLERS: usize = 8;

/// Measures small commands for `time` each with nothing beside them, beside large values on the lane for those, and
/// beside large values on the ordinary one.
pub(crate) async fn small_beside_large(time: Duration) -> Beside {
    let server = Server::start().await;
    let tree = tree::healthy(server.url(), |config| {
        config.lanes = Some(1);
        // Several large values may be before a command.
        config.command_timeout = Duration::from_secs(10);
    })
    .await;
    let cache = tree.cache();
    let nothing = small(&cache, time).await;
    let on_bulk = large(&cache, true);
    let bulk = small(&cache, time).await;
    drop(on_bulk);
    let on_ordinary = large(&cache, false);
    let ordinary = small(&cache, time).await;
    drop(on_ordinary);
    tree::served(&cache).await;
    tree::end(tree).await;
    Beside { nothing, bulk, ordinary }
}

async fn small(cache: &Cache, time: Duration) -> Duration {
    let end = Instant::now() + time;
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let cache = cache.clone();
        callers.spawn(async move {
            let (mut conn, mut took) = (cache.get().await.unwrap(), Vec::new());
            while Instant::now() < end {
                let begun = Instant::now();
                conn.get::<_, Option<String>>("small").await.unwrap();
                took.push(begun.elapsed());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            took
        });
    }
    let mut took = callers.join_all().await.concat();
    figures::quantile(&mut took, 0.99)
}

/// Writes and reads a large value without pause, until this is dropped.
fn large(cache: &Cache, has_its_lane: bool) -> JoinSet<()> {
    let cache = cache.clone();
    let endless = async move {
        let value = vec![b'x'; LARGE_BYTES];
        let mut conn = cache.get().await.unwrap();
        if has_its_lane {
            conn = conn.bulk().await.unwrap();
        }
        loop {
            conn.set("large", &value).await.unwrap();
            let read: Vec<u8> = conn.get("large").await.unwrap();
            assert_eq!(read.len(), LARGE_BYTES);
        }
    };
    std::iter::once(endless).collect()
}
