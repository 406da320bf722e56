//! Every future of the public API can be spawned.

use std::time::Duration;

use mainstay::prelude::*;
use mainstay::{Bound, Config, Service};

fn spawns<T>(_future: impl Future<Output = T> + Send + 'static) {}

/// Compiled, and never called.
#[allow(dead_code, reason = "that it compiles is the test")]
fn every_future_can_be_spawned(service: fn() -> Service, bound: Bound, state: AppState) {
    spawns(AppState::start(Config::default()));
    spawns(service().serve());
    spawns(service().bind());
    spawns(service().into_router());
    spawns(bound.serve());
    spawns(state.draining());
    let own = state.clone();
    spawns(async move { own.shutdown(Duration::ZERO).await });
    spawns(async move { state.ask(mainstay::actor::GetTree).await });
}

#[cfg(feature = "cache")]
#[allow(dead_code, reason = "that it compiles is the test")]
fn every_future_of_the_cache_can_be_spawned(cache: mainstay::Cache, mut conn: CacheConn) {
    let other = cache.clone();
    spawns(async move { cache.get().await });
    spawns(async move { other.subscribe(["topic"]).await });
    spawns(async move {
        let _: Option<String> = conn.get("key").await?;
        conn.set_ex("key", 1, 60).await?;
        conn.transaction("key", |tx| Box::pin(async move { tx.commit::<()>().await })).await
    });
}

#[cfg(feature = "testing")]
#[allow(dead_code, reason = "that it compiles is the test")]
fn every_future_of_the_tests_can_be_spawned(address: std::net::SocketAddr) {
    use mainstay::testing::{Proxy, Redis};
    spawns(Redis::start());
    spawns(Proxy::before(address));
}
