//! Subscriptions against a real server: they begin, survive and say what is missing.
#![cfg(feature = "cache")]
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

#[allow(
    dead_code,
    clippy::disallowed_methods,
    reason = "each test binary uses its own part of it, and the environment chooses the server"
)]
mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mainstay_actors::pool::RebuildPool;
use mainstay_actors::redis::{Cause, Config, Error as RedisError};
use mainstay_actors::subscriptions::{Error, Event, Gap, Subscription};
use mainstay_actors::tree::{Setup, Tree};
use mainstay_actors::{Outcome, deadline};
use support::{Relay, Server, eventually};
use tokio::time::{Instant, timeout};

const RESP2: &[&str] = &["--rename-command", "HELLO", ""];
const LONG: Duration = Duration::from_secs(10);
/// For asserting that nothing comes.
const MOMENT: Duration = Duration::from_millis(50);

async fn at(url: String) -> Tree {
    let mut setup = Setup::new("subscriptions-test");
    setup.redis = Config { url, ..Config::default() };
    let tree = Tree::start(setup).await.unwrap();
    becomes(&tree, true).await;
    tree
}

async fn becomes(tree: &Tree, healthy: bool) {
    let is = || tree.dependencies().iter().all(|dependency| dependency.healthy == healthy);
    eventually("redis is well, or not", async || is()).await;
}

fn fact(tree: &Tree, name: &str) -> serde_json::Value {
    tree.snapshot().find("subscriptions").unwrap().facts.get(name).cloned().unwrap_or_default()
}

async fn publish(server: &Server, channel: &str, text: &str) -> u64 {
    server.ask(&["PUBLISH", channel, text]).await
}

async fn next(subscription: &mut Subscription) -> Event {
    let event = timeout(LONG, subscription.next()).await;
    event.expect("an event within 10 s").expect("not the end")
}

async fn text(subscription: &mut Subscription) -> String {
    match next(subscription).await {
        Event::Message(message) => message.get().unwrap(),
        Event::Gap(gap) => panic!("{gap:?}"),
    }
}

async fn gap(subscription: &mut Subscription) -> Gap {
    match next(subscription).await {
        Event::Gap(gap) => gap,
        Event::Message(message) => panic!("{message:?}"),
    }
}

/// Reads a gap that a new connection has left, and then a message that is published after it.
async fn goes_on(subscription: &mut Subscription, server: &Server, channel: &str) {
    let gap = gap(subscription).await;
    assert!(gap.reconnected, "{gap:?}");
    publish(server, channel, "later").await;
    assert_eq!(text(subscription).await, "later");
}

async fn holders(server: &Server, channel: &str) -> u64 {
    let (_, holders): (String, u64) = server.ask(&["PUBSUB", "NUMSUB", channel]).await;
    holders
}

async fn connections(server: &Server) -> usize {
    let list: String = server.ask(&["CLIENT", "LIST"]).await;
    list.matches(":redis:subscriptions:").count()
}

async fn is_silent(subscription: &mut Subscription) -> bool {
    timeout(MOMENT, subscription.next()).await.is_err()
}

async fn messages_arrive_in_order(server: &Server) {
    let tree = at(server.url()).await;
    let cache = tree.subscriptions();
    let mut both = cache.subscribe(["a", "b", "a"]).await.unwrap();
    let mut one = cache.subscribe("b").await.unwrap();
    let mut all = cache.psubscribe(vec!["?".to_owned()]).await.unwrap();
    for number in 0..20 {
        publish(server, "a", &format!("a{number}")).await;
        publish(server, "b", &format!("b{number}")).await;
    }
    for number in 0..20 {
        for name in ["a", "b"] {
            let wanted = format!("{name}{number}");
            assert_eq!(text(&mut both).await, wanted);
            let Event::Message(message) = next(&mut all).await else { panic!("no gap") };
            assert_eq!((message.channel(), message.pattern()), (name, Some("?")));
            assert_eq!(message.payload(), wanted.as_bytes());
        }
        assert_eq!(text(&mut one).await, format!("b{number}"));
    }
    assert!(is_silent(&mut both).await && is_silent(&mut one).await && is_silent(&mut all).await);
    assert_eq!(fact(&tree, "subscriptions"), 3);
    assert_eq!(fact(&tree, "gaps"), 0);

    // The other holder of `b` keeps it.
    drop(both);
    eventually("a is left", async || holders(server, "a").await == 0).await;
    assert_eq!(holders(server, "b").await, 1);
    drop((one, all));
    eventually("b is left", async || holders(server, "b").await == 0).await;
    let patterns = async || server.ask::<u64>(&["PUBSUB", "NUMPAT"]).await == 0;
    eventually("the pattern is left", patterns).await;
    eventually("the connection is closed", async || fact(&tree, "connected") == false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_in_order_until_the_last_holder_leaves() {
    let server = Server::start(&[]).await;
    messages_arrive_in_order(&server).await;
    eventually("nothing is left", async || connections(&server).await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_resp3_is_subscribed_to_in_resp2() {
    let mut server = Server::start(RESP2).await;
    messages_arrive_in_order(&server).await;

    let tree = at(server.url()).await;
    let mut news = tree.subscriptions().subscribe("news").await.unwrap();
    server.kill();
    server.restart().await;
    goes_on(&mut news, &server, "news").await;
    server.freeze();
    eventually("it is noticed", async || fact(&tree, "connected") == false).await;
    server.thaw();
    goes_on(&mut news, &server, "news").await;
    assert!(is_silent(&mut news).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_subscriptions_share_one_connection_that_is_no_lease() {
    let server = Server::start(&[]).await;
    let tree = at(server.url()).await;
    let cache = tree.subscriptions();
    assert_eq!(connections(&server).await, 0);
    let mut all = Vec::new();
    for number in 0..50 {
        all.push(cache.subscribe(format!("channel-{number}")).await.unwrap());
    }
    assert_eq!(connections(&server).await, 1);
    assert_eq!(tree.cache().status().size, 0);
}

// redis R14
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_killed_is_subscribed_to_again_with_one_gap() {
    let mut server = Server::start(&[]).await;
    let tree = at(server.url()).await;
    let cache = tree.subscriptions();
    let mut news = cache.subscribe(["news", "sport"]).await.unwrap();
    let mut patterns = cache.psubscribe("n*").await.unwrap();
    publish(&server, "news", "before").await;
    // Read later: the gap is behind it.
    eventually("it is there", async || !is_silent(&mut patterns).await).await;
    for gaps in [2, 4] {
        server.kill();
        becomes(&tree, false).await;
        server.restart().await;
        eventually("both are subscribed to", async || fact(&tree, "gaps") == gaps).await;
    }
    assert_eq!(text(&mut news).await, "before");
    goes_on(&mut news, &server, "sport").await;
    goes_on(&mut patterns, &server, "news").await;
    assert_eq!(text(&mut news).await, "later");
    assert!(is_silent(&mut news).await && is_silent(&mut patterns).await);
    for child in &tree.snapshot().children {
        assert_eq!(child.restarts, 0, "{}", child.path);
    }
}

/// Publishes one number after the other until it is told to stop, and notes the last that was answered; `last` is the
/// last of all, from before it is sent.
async fn count(url: String, answered: &AtomicU64, stop: &AtomicBool, last: &AtomicU64) {
    let client = redis::Client::open(url).unwrap();
    let mut number = 0;
    loop {
        let Ok(mut publisher) = client.get_multiplexed_async_connection().await else { continue };
        loop {
            number += 1;
            let is_last = stop.load(Ordering::SeqCst);
            if is_last {
                last.store(number, Ordering::SeqCst);
            }
            let mut publish = redis::cmd("PUBLISH");
            let sent = publish.arg("numbers").arg(number).query_async::<u64>(&mut publisher).await;
            if sent.is_err() {
                break;
            }
            answered.store(number, Ordering::SeqCst);
            if is_last {
                return;
            }
        }
    }
}

/// Reads until `last`, and asserts that no number is missing but in a gap, as many as that says, and none that came
/// after the gap was read. Returns how often the connection was made anew.
async fn follow(mut numbers: Subscription, answered: &AtomicU64, last: &AtomicU64) -> u64 {
    let (mut seen, mut dropped, mut reconnected, mut gaps) = (0, 0, None, 0);
    let is_last = |number| (1..=number).contains(&last.load(Ordering::SeqCst));
    while !is_last(seen + dropped) {
        match next(&mut numbers).await {
            Event::Gap(gap) => {
                dropped += gap.dropped;
                if gap.reconnected {
                    reconnected = Some(answered.load(Ordering::SeqCst));
                    gaps += 1;
                }
            }
            Event::Message(message) => {
                let number: u64 = message.get().unwrap();
                match reconnected.take() {
                    // One may be on its way while the gap is read.
                    Some(answered) => assert!(seen + dropped < number && number <= answered + 2),
                    None if seen == 0 => {}
                    None => assert_eq!(number, seen + dropped + 1),
                }
                (seen, dropped) = (number, 0);
            }
        }
    }
    gaps
}

// redis R14
#[tokio::test(flavor = "multi_thread")]
async fn every_message_is_seen_or_lies_in_a_gap_whatever_becomes_of_the_connection() {
    const ROUNDS: u64 = 8;
    for arguments in [&[][..], RESP2] {
        let mut server = Server::start(arguments).await;
        let tree = at(server.url()).await;
        let numbers = tree.subscriptions().subscribe("numbers").await.unwrap();
        let patterns = tree.subscriptions().psubscribe("num*").await.unwrap();
        let (answered, last) = (AtomicU64::new(0), AtomicU64::new(0));
        let stop = AtomicBool::new(false);
        let url = server.url();
        let weather = async {
            for round in 0..ROUNDS {
                let gaps = 2 * (round + 1);
                match round % 4 {
                    0 => {
                        server.kill();
                        server.restart().await;
                    }
                    1 => drop(server.ask::<u64>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await),
                    2 => drop(tree.ask(RebuildPool).await.unwrap()),
                    _ => tree.system().restart("subscriptions").unwrap(),
                }
                eventually("both go on", async || fact(&tree, "gaps") == gaps).await;
                let begun = answered.load(Ordering::SeqCst);
                let goes_on = async || answered.load(Ordering::SeqCst) > begun + 50;
                eventually("more is published", goes_on).await;
            }
            stop.store(true, Ordering::SeqCst);
        };
        let ((), (), of_channel, of_pattern) = tokio::join!(
            weather,
            count(url, &answered, &stop, &last),
            follow(numbers, &answered, &last),
            follow(patterns, &answered, &last)
        );
        // Those between which a slow reader has no place for a message are one.
        assert!((1..=ROUNDS).contains(&of_channel), "{of_channel}");
        assert!((1..=ROUNDS).contains(&of_pattern), "{of_pattern}");
    }
}

// redis R14
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_fell_silent_is_noticed_and_replaced() {
    let server = Server::start(&[]).await;
    let relay = Relay::start(&server);
    let tree = at(relay.url.clone()).await;
    let mut news = tree.subscriptions().subscribe("news").await.unwrap();
    let begun = Instant::now();
    relay.silence();
    assert_eq!(publish(&server, "news", "lost").await, 1);
    goes_on(&mut news, &server, "news").await;
    // A heartbeat, the limit of a command, and as much again for a busy machine.
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_takes_long_to_arrive_is_no_silence() {
    const LARGE: usize = 16 << 20;
    for arguments in [&[][..], RESP2] {
        let server = Server::start(arguments).await;
        let relay = Relay::start_slow(&server);
        let tree = at(relay.url.clone()).await;
        let mut news = tree.subscriptions().subscribe("news").await.unwrap();
        let begun = Instant::now();
        publish(&server, "news", &"x".repeat(LARGE)).await;
        assert_eq!(text(&mut news).await.len(), LARGE);
        // A heartbeat and the limit of a command.
        assert!(begun.elapsed() > Duration::from_millis(1500), "{:?}", begun.elapsed());
        publish(&server, "news", "small").await;
        assert_eq!(text(&mut news).await, "small");
        assert_eq!(fact(&tree, "gaps"), 0);
    }
}

// redis R2
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_leaves_a_gap_and_costs_no_restart() {
    let server = Server::start(&[]).await;
    let tree = at(server.url()).await;
    let mut news = tree.subscriptions().subscribe("news").await.unwrap();
    server.freeze();
    eventually("it is noticed", async || fact(&tree, "connected") == false).await;
    server.thaw();
    goes_on(&mut news, &server, "news").await;
    assert!(is_silent(&mut news).await);
    assert_eq!(tree.snapshot().find("subscriptions").unwrap().restarts, 0);
}

// redis R14
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_told_what_it_missed_and_holds_up_nobody() {
    const PUBLISHED: u64 = 3000;
    let server = Server::start(&[]).await;
    let tree = at(server.url()).await;
    let mut slow = tree.subscriptions().subscribe("news").await.unwrap();
    let mut fast = tree.subscriptions().subscribe("news").await.unwrap();
    let client = redis::Client::open(server.url()).unwrap();
    let mut publisher = client.get_multiplexed_async_connection().await.unwrap();
    for first in (0..PUBLISHED).step_by(500) {
        let mut pipe = redis::pipe();
        for number in first..first + 500 {
            pipe.publish("news", number).ignore();
        }
        let () = pipe.query_async(&mut publisher).await.unwrap();
        for number in first..first + 500 {
            assert_eq!(text(&mut fast).await, number.to_string());
        }
    }
    for number in 0..1024 {
        assert_eq!(text(&mut slow).await, number.to_string());
    }
    let gap = gap(&mut slow).await;
    assert_eq!((gap.dropped, gap.reconnected), (PUBLISHED - 1024, false));
    publish(&server, "news", "later").await;
    assert_eq!(text(&mut slow).await, "later");
    eventually("it is published", async || fact(&tree, "dropped") == PUBLISHED - 1024).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_generation_is_followed_with_a_gap() {
    let server = Server::start(&[]).await;
    let tree = at(server.url()).await;
    let mut news = tree.subscriptions().subscribe("news").await.unwrap();
    tree.ask(RebuildPool).await.unwrap();
    goes_on(&mut news, &server, "news").await;
    assert!(is_silent(&mut news).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_that_was_replaced_while_connecting_is_followed_too() {
    let server = Server::start(&[]).await;
    let tree = at(server.url()).await;
    server.freeze();
    let replaced = async {
        eventually("it connects", async || fact(&tree, "subscriptions") == 1).await;
        eventually("some are replaced", async || tree.ask(RebuildPool).await.unwrap() > 4).await;
        server.thaw();
    };
    let (news, ()) = tokio::join!(tree.subscriptions().subscribe("news"), replaced);
    let mut news = news.unwrap();
    goes_on(&mut news, &server, "news").await;
    assert!(is_silent(&mut news).await);
}

// redis R6
#[tokio::test(flavor = "multi_thread")]
async fn no_subscription_begins_while_redis_is_away() {
    let mut server = Server::start(&[]).await;
    let tree = at(server.url()).await;
    let cache = tree.subscriptions();
    server.kill();
    let refused = timeout(LONG, cache.subscribe("news")).await.unwrap().unwrap_err();
    let Error::Redis(error) = &refused else { panic!("{refused:?}") };
    assert_eq!(error.cause(), Some(Cause::Refused));
    assert!(matches!(refused.outcome(), Outcome::Unavailable { .. }));
    eventually("the refusal is at once", async || {
        timeout(MOMENT, cache.subscribe("news")).await.is_ok_and(|refused| refused.is_err())
    })
    .await;
    eventually("nothing is left", async || fact(&tree, "subscriptions") == 0).await;
    server.restart().await;
    eventually("it begins", async || cache.subscribe("news").await.is_ok()).await;
}

// redis R2
#[tokio::test(flavor = "multi_thread")]
async fn subscribing_ends_by_the_requests_deadline_and_leaves_nothing() {
    let server = Server::start(&[]).await;
    let tree = at(server.url()).await;
    let held = tree.subscriptions().subscribe("held").await.unwrap();
    server.freeze();
    let begun = Instant::now();
    let soon = begun + Duration::from_millis(100);
    let refused = deadline::scope(soon, tree.subscriptions().subscribe("news")).await.unwrap_err();
    assert!(matches!(refused, Error::Redis(RedisError::Deadline { .. })), "{refused:?}");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    server.thaw();
    eventually("one is left", async || fact(&tree, "subscriptions") == 1).await;
    eventually("nothing is subscribed to", async || holders(&server, "news").await == 0).await;
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_not_permitted_is_refused_and_harms_no_other() {
    let server = Server::start(&[]).await;
    let rules = ["on", ">secret", "+@all", "~*", "resetchannels", "&news", "&sport"];
    let _: () = server.ask(&[&["ACL", "SETUSER", "guest"], &rules[..]].concat()).await;
    let tree = at(format!("{}?user=guest&pass=secret", server.url())).await;
    let cache = tree.subscriptions();
    let (news, secrets, sport) = tokio::join!(
        cache.subscribe("news"),
        cache.subscribe(["news", "secrets"]),
        cache.subscribe("sport")
    );
    let Err(Error::Redis(RedisError::Server { code })) = secrets else { panic!("{secrets:?}") };
    assert_eq!(&*code, "NOPERM");
    let (mut news, mut sport) = (news.unwrap(), sport.unwrap());
    publish(&server, "news", "new").await;
    publish(&server, "sport", "old").await;
    assert_eq!((text(&mut news).await, text(&mut sport).await), ("new".into(), "old".into()));

    // The server closes a connection whose subscriptions are no longer permitted.
    let _: () = server.ask(&["ACL", "SETUSER", "guest", "resetchannels", "&sport"]).await;
    goes_on(&mut sport, &server, "sport").await;
    publish(&server, "news", "lost").await;
    assert!(is_silent(&mut news).await);
    let _: () = server.ask(&["ACL", "SETUSER", "guest", "&news"]).await;
    goes_on(&mut news, &server, "news").await;
    assert!(is_silent(&mut news).await && is_silent(&mut sport).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_subscription_is_refused() {
    let server = Server::start(&[]).await;
    let tree = at(server.url()).await;
    let cache = tree.subscriptions();
    let many: Vec<_> = (0..1025).map(|number| number.to_string()).collect();
    let nothing: [&str; 0] = [];
    for refused in [
        cache.subscribe(nothing).await,
        cache.subscribe(many).await,
        cache.psubscribe("*".repeat(4097)).await,
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.outcome(), Outcome::Refused, "{refused}");
    }
    let mut all = Vec::new();
    for _ in 0..1024 {
        all.push(cache.subscribe("news").await.unwrap());
    }
    let refused = cache.subscribe("news").await.unwrap_err();
    assert!(matches!(refused, Error::TooMany { most: 1024, .. }), "{refused:?}");
    all.pop();
    all.push(cache.subscribe("news").await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_with_the_tree_after_what_waits_in_it() {
    let server = Server::start(&[]).await;
    let tree = at(server.url()).await;
    let mut news = tree.subscriptions().subscribe("news").await.unwrap();
    let mut witness = tree.subscriptions().subscribe("news").await.unwrap();
    publish(&server, "news", "last").await;
    assert_eq!(text(&mut witness).await, "last");
    assert!(tree.shutdown(LONG).await.is_clean());
    assert_eq!(text(&mut news).await, "last");
    assert!(news.next().await.is_none());
    assert_eq!(tree.subscriptions().subscribe("news").await.unwrap_err(), Error::Closed);
    eventually("the connection is closed", async || connections(&server).await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_with_a_tree_that_was_dropped_or_that_nobody_follows_in() {
    let server = Server::start(&[]).await;
    let tree = at(server.url()).await;
    let cache = tree.subscriptions().clone();
    let mut news = cache.subscribe("news").await.unwrap();
    drop(tree);
    assert!(timeout(LONG, news.next()).await.unwrap().is_none());
    assert_eq!(cache.subscribe("news").await.unwrap_err(), Error::Closed);

    let tree = at(server.url()).await;
    let mut news = tree.subscriptions().subscribe("news").await.unwrap();
    tree.system().remove("subscriptions").unwrap();
    let is_gone = async || connections(&server).await == 0;
    eventually("the connection is closed", is_gone).await;
    tree.shutdown(LONG).await;
    assert!(timeout(LONG, news.next()).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_that_was_asked_for_loses_no_subscription() {
    let server = Server::start(&[]).await;
    let tree = at(server.url()).await;
    let mut news = tree.subscriptions().subscribe("news").await.unwrap();
    tree.system().restart("subscriptions").unwrap();
    goes_on(&mut news, &server, "news").await;
    assert!(is_silent(&mut news).await);
}

#[cfg(feature = "chaos")]
#[tokio::test(flavor = "multi_thread")]
async fn a_fall_of_the_actor_loses_no_subscription_and_leaves_a_gap() {
    let server = Server::start(&[]).await;
    let tree = at(server.url()).await;
    let mut news = tree.subscriptions().subscribe("news").await.unwrap();
    publish(&server, "news", "before").await;
    for gaps in 1..=3 {
        let before = tree.snapshot().find("subscriptions").unwrap().restarts;
        tree.system().inject_panic("subscriptions").unwrap();
        eventually("another incarnation", async || {
            tree.snapshot().find("subscriptions").unwrap().restarts > before
        })
        .await;
        eventually("it is subscribed to", async || fact(&tree, "gaps") == gaps).await;
    }
    assert_eq!(text(&mut news).await, "before");
    goes_on(&mut news, &server, "news").await;
    assert!(is_silent(&mut news).await);
}
