//! Callers who give up waiting for a lease.

use futures_util::poll;
use mainstay_actors::cache::Cache;
use mainstay_actors::redis::{CacheConn, Error};
use std::pin::Pin;
use std::task::Poll;

use crate::support::{Server, eventually, tree};

const LEASES: u32 = 4;
const MOST_WAITING: usize = 32;

type Wait = Pin<Box<dyn Future<Output = Result<CacheConn, Error>> + Send>>;

/// Makes `count` callers wait for a lease and cancels most of them, at moments that `seed` decides. What the status
/// says must be so whenever everything has come to rest, and at the end nothing may be missing.
pub(crate) async fn cancelled_waits(seed: u64, count: usize) {
    let server = Server::start().await;
    let tree = tree::healthy(server.url(), |config| config.max_connections = LEASES).await;
    let cache = tree.cache();
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut waits, mut held) = (Vec::<Wait>::new(), Vec::new());
    let mut begun = 0;
    while begun < count {
        match random.u8(..8) {
            0..=3 if waits.len() < MOST_WAITING => {
                waits.push(pinned(cache.clone()));
                begun += 1;
            }
            4 | 5 if !waits.is_empty() => {
                // Wherever it stands: in line, before a connection that is being made, or not yet begun.
                drop(waits.swap_remove(random.usize(..waits.len())));
            }
            6 if !held.is_empty() => drop(held.swap_remove(random.usize(..held.len()))),
            _ => look(&mut waits, &mut held).await,
        }
        if begun % 64 == 0 {
            is_exact(&cache, &mut waits, &mut held).await;
        }
    }
    is_exact(&cache, &mut waits, &mut held).await;
    drop((waits, held));
    tree::has_all_leases(&cache).await;
    assert!(tree::is_served(&cache).await);
    tree::end(tree).await;
}

fn pinned(cache: Cache) -> Wait {
    Box::pin(async move {
        let mut conn = cache.get().await?;
        conn.pin().await?;
        Ok(conn)
    })
}

/// Lets every wait go on as far as it can at present.
async fn look(waits: &mut Vec<Wait>, held: &mut Vec<CacheConn>) {
    let mut left = Vec::new();
    for mut wait in waits.drain(..) {
        match poll!(&mut wait) {
            Poll::Ready(conn) => held.push(conn.unwrap()),
            Poll::Pending => left.push(wait),
        }
    }
    *waits = left;
    tokio::task::yield_now().await;
}

/// All leases are out or nobody waits, and the status says so.
async fn is_exact(cache: &Cache, waits: &mut Vec<Wait>, held: &mut Vec<CacheConn>) {
    let most = usize::try_from(LEASES).unwrap();
    let wanted = waits.len() + held.len();
    eventually("all have leases, or wait, as many as there are", async || {
        look(waits, held).await;
        (held.len() == wanted.min(most)).then_some(())
    })
    .await;
    let status = cache.status();
    assert_eq!(status.available, most - held.len(), "{status:?}");
    assert_eq!(status.waiting, waits.len(), "{status:?}");
    assert!(status.size >= held.len() && status.size <= most, "{status:?}");
}
