//! Callers who do not stop asking for a Redis that is away.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_actors::cache::Cache;
use mainstay_actors::redis::Error;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

use crate::support::{Listener, Server, Welcome, figures, tree};

/// What was seen while Redis was away.
#[derive(Debug)]
pub(crate) struct Down {
    pub(crate) calls: usize,
    /// How long calls took that were made when the outage was known.
    pub(crate) took: Vec<Duration>,
    /// When connections were attempted, from the begin of the outage.
    pub(crate) connects: Vec<Duration>,
    pub(crate) time: Duration,
    pub(crate) grown_bytes: u64,
}

impl Down {
    /// The most connections that may have been attempted: ten a second while attempts fail, and at first the six that
    /// pass the gate at once, the probe, and the one at either end of a second.
    pub(crate) fn most_connects(&self) -> usize {
        usize::try_from(self.time.as_secs()).unwrap() * 10 + 10 + FIRST
    }
}

const FIRST: usize = 6 + 1 + 2;
/// An outage is known when two probes have failed.
const KNOWN: Duration = Duration::from_secs(2);
/// As many callers as there are leases hold a place on a lane when Redis goes, and want a lease.
const HOLDERS: usize = 50;

/// Makes `rate` calls a second for `time`, in which a listener stands where Redis was. Redis comes back afterwards and
/// must be found again.
pub(crate) async fn calls_while_down(rate: u32, time: Duration, welcome: Welcome) -> Down {
    let mut server = Server::start().await;
    let tree = tree::healthy(server.url(), |_| {}).await;
    let cache = tree.cache();
    let mut held = Vec::new();
    for _ in 0..HOLDERS {
        held.push(cache.get().await.unwrap());
    }
    server.kill();
    let begun = Instant::now();
    let listener = Listener::at(server.address(), welcome).await;
    let mut holders = JoinSet::new();
    for mut conn in held {
        holders.spawn(async move {
            while begun.elapsed() < time {
                conn.pin().await.unwrap_err();
                sleep(Duration::from_millis(5)).await;
            }
        });
    }
    let (calls, took, grown_bytes) = calls(&cache, rate, begun, time).await;
    holders.join_all().await;
    let time = begun.elapsed();
    let connects = listener.accepted().iter().map(|at| at.duration_since(begun)).collect();
    drop(listener);

    server.restart().await;
    tree::served(&cache).await;
    tree::has_all_leases(&cache).await;
    tree::end(tree).await;
    Down { calls, took, connects, time, grown_bytes }
}

async fn calls(
    cache: &Cache,
    rate: u32,
    begun: Instant,
    time: Duration,
) -> (usize, Vec<Duration>, u64) {
    let took = Arc::new(Mutex::new(Vec::with_capacity(1 << 20)));
    let mut ticks = interval(TICK);
    let mut calls = JoinSet::new();
    let (mut made, mut before, mut most) = (0, None, 0);
    while begun.elapsed() < time {
        ticks.tick().await;
        for _ in 0..rate / TICKS {
            let (cache, took) = (cache.clone(), Arc::clone(&took));
            calls.spawn(async move {
                let sent = Instant::now();
                fails(&cache).await;
                if sent.duration_since(begun) > KNOWN {
                    took.lock().unwrap().push(sent.elapsed());
                }
            });
            made += 1;
        }
        while calls.try_join_next().is_some() {}
        // What the first calls need is not growth.
        if begun.elapsed() > KNOWN / 2 {
            let now = figures::resident_bytes();
            most = now.max(most);
            before.get_or_insert(now);
        }
    }
    calls.join_all().await;
    let took = std::mem::take(&mut *took.lock().unwrap());
    (made, took, most - before.unwrap_or(most))
}

async fn fails(cache: &Cache) {
    let failed = match cache.get().await {
        Ok(mut conn) => conn.get::<_, Option<String>>("key").await.unwrap_err(),
        Err(error) => error,
    };
    let is_right = matches!(failed, Error::Unavailable { .. } | Error::Deadline { .. });
    assert!(is_right, "{failed:?}");
}

const TICK: Duration = Duration::from_millis(10);
const TICKS: u32 = 100;
