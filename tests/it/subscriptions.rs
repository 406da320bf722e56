//! Subscriptions in a service: how they end, and what is logged of them.

use std::time::Duration;

use mainstay::cache::Event;
use mainstay::prelude::*;
use tracing::Level;

use crate::support::{App, Log, Server, config, eventually};

#[tokio::test]
async fn whoever_reads_a_subscription_comes_to_an_end_with_the_service() {
    let server = Server::start().await;
    let app = App::start(config(server.url()), Router::new()).await;
    app.becomes_ready().await;
    let mut news = app.state.cache().unwrap().subscribe("news").await.unwrap();
    let reading = tokio::spawn(async move {
        let mut sum = 0;
        while let Some(event) = news.next().await {
            let Event::Message(message) = event else { continue };
            sum += message.get::<i64>().unwrap();
        }
        sum
    });
    for number in 1..=3 {
        assert_eq!(server.ask::<u64>(&["PUBLISH", "news", &number.to_string()]).await, 1);
    }
    // What the server sent before this answer is here after it.
    app.state.ask(mainstay::cache::ProbeNow).await.unwrap();
    app.end().await;
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), reading).await.unwrap().unwrap(), 6);
}

#[tokio::test]
async fn the_name_of_a_channel_cannot_forge_a_line_of_the_log() {
    const NAME: &str = "news\nERROR forged";
    let log = Log::here();
    let server = Server::start().await;
    let rules = ["on", ">secret", "+@all", "~*", "resetchannels", "&*"];
    let _: () = server.ask(&[&["ACL", "SETUSER", "guest"], &rules[..]].concat()).await;
    let url = server.url().replace("://", "://guest:secret@");
    let app = App::start(config(url), Router::new()).await;
    app.becomes_ready().await;
    let _kept = app.state.cache().unwrap().subscribe(NAME).await.unwrap();
    let _: () = server.ask(&["ACL", "SETUSER", "guest", "resetchannels"]).await;
    let line = eventually("the refusal is logged", async || {
        let lines = log.lines(Level::WARN);
        lines.into_iter().find(|line| line.contains("no longer permits a subscription"))
    })
    .await;
    assert!(!line.contains('\n') && line.contains("forged"), "{line:?}");
    app.end().await;
}
