//! How many connections there are at most.
#![cfg(feature = "cache")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests have no tree to run tasks in, and choose their server"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Duration;

use mainstay_actors::redis::{Config, Reason};
use tokio::task::JoinSet;
use tokio::time::sleep;

#[expect(dead_code, reason = "other tests use the rest of it")]
mod support;
use support::{Keeper, Server, endpoint, eventually};

async fn connections_at(server: &Server) -> usize {
    let list: String = server.ask(&["CLIENT", "LIST"]).await;
    list.split_whitespace().filter(|word| word.starts_with("name=mainstay")).count()
}

#[tokio::test]
async fn generations_in_quick_succession_keep_within_the_most_connections() {
    let server = Server::start(&[]).await;
    let config = Config {
        url: server.url(),
        lanes: Some(1),
        max_connections: 1,
        command_timeout: Duration::from_secs(1),
        ..Config::default()
    };
    let most = config.most_connections();
    let endpoint = endpoint(config);
    let _keeper = Keeper::of(&endpoint);
    eventually("there are lanes", async || endpoint.status().lanes == 2).await;
    let _: () = server.ask(&["CLIENT", "PAUSE", "60000", "WRITE"]).await;
    let mut writes = JoinSet::new();
    for number in 0..10_usize {
        let mut conn = endpoint.connection().await.unwrap();
        let mut bulk = endpoint.connection().await.unwrap().bulk().await.unwrap();
        writes.spawn(async move { conn.set("key", number).await });
        writes.spawn(async move { bulk.set("key", number).await });
        endpoint.publish(endpoint.build_generation(Reason::Requested));
        for _look in 0..10 {
            let found = connections_at(&server).await;
            assert!(found <= most, "{found} connections, at most {most} were promised");
            sleep(Duration::from_millis(10)).await;
        }
    }
    let _: () = server.ask(&["CLIENT", "UNPAUSE"]).await;
    eventually("all others are closed", async || connections_at(&server).await == 2).await;
}
