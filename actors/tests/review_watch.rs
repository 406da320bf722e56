//! Lanes that are due for replacement, and whose successors cannot be made.
#![cfg(feature = "cache")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests have no tree to run tasks in, and choose their server"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Duration;

use mainstay_actors::redis::{Cause, Config, Reason};

#[expect(dead_code, reason = "other tests use the rest of it")]
mod support;
use support::{Keeper, Relay, Server, endpoint, eventually};

// redis R3, R24
#[tokio::test]
async fn a_lane_past_its_age_that_falls_silent_is_given_up_though_there_is_no_other() {
    let server = Server::start(&[]).await;
    let relay = Relay::start(&server);
    let endpoint = endpoint(Config {
        url: relay.url.clone(),
        lanes: Some(1),
        recycle_timeout: Duration::from_millis(300),
        ..Config::default()
    });
    let _keeper = Keeper::of(&endpoint);
    eventually("there are lanes", async || endpoint.status().lanes == 2).await;
    let _: () = server.ask(&["CONFIG", "SET", "requirepass", "changed"]).await;
    eventually("no lane can be replaced", async || endpoint.trouble() == Some(Cause::Auth)).await;
    let mut conn = endpoint.connection().await.unwrap();
    conn.set("key", 1).await.unwrap();

    relay.silence();
    eventually("the lane is given up", async || {
        endpoint.connection().await.is_err_and(|error| error.cause() == Some(Cause::Auth))
    })
    .await;
}

#[tokio::test]
async fn a_generation_that_was_closed_and_not_replaced_gets_no_lanes_and_holds_up_nothing() {
    let server = Server::start(&[]).await;
    let config = Config { url: server.url(), lanes: Some(1), ..Config::default() };
    let endpoint = endpoint(config);
    let _keeper = Keeper::of(&endpoint);
    eventually("there are lanes", async || endpoint.status().lanes == 2).await;

    endpoint.generation().unwrap().close();
    tokio::task::yield_now().await;
    endpoint.publish(endpoint.build_generation(Reason::Requested));
    eventually("there are lanes again", async || endpoint.status().lanes == 2).await;
    endpoint.connection().await.unwrap().set("key", 1).await.unwrap();
}
