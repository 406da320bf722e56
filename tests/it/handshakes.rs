//! How a connection begins: which protocol, as whom, and without what.

use std::sync::Arc;
use std::time::Duration;

use mainstay_actors::redis::{CacheConn, Cause, Config, Endpoint, Script};
use mainstay_actors::subscriptions::Event;

use crate::support::{Keeper, Port, Proxy, Server, Weather, endpoint, eventually, field, tree};

fn at(url: String) -> Config {
    Config { url, lanes: Some(1), connect_timeout: Duration::from_secs(5), ..Config::default() }
}

/// What `CLIENT LIST` says of the connections that are ours, by their purpose.
async fn spoken(server: &Server) -> Vec<(String, String)> {
    let list: String = server.ask(&["CLIENT", "LIST"]).await;
    let purpose = |line| field(line, "name").split(':').nth(2).map(str::to_owned);
    let ours = list.lines().filter_map(|line| Some((purpose(line)?, field(line, "resp").into())));
    ours.collect()
}

async fn says_resp(server: &Server) -> bool {
    let list: String = server.ask(&["CLIENT", "LIST"]).await;
    !field(&list, "resp").is_empty()
}

/// A lease, a lane and a probe are there and are served.
async fn is_served(endpoint: &Arc<Endpoint>, what: &str) -> (CacheConn, CacheConn) {
    let mut lease = endpoint.lease().await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
    lease.set("key", "value").await.unwrap();
    let mut conn = eventually(what, async || endpoint.connection().await.ok()).await;
    assert_eq!(conn.get::<_, String>("key").await.unwrap(), "value", "{what}");
    endpoint.probe_connection().await.unwrap().ping().await.unwrap();
    (lease, conn)
}

/// A lease and every lane are there, and speak by this protocol.
async fn speaks(server: &Server, endpoint: &Arc<Endpoint>, protocol: &str, what: &str) {
    let _served = is_served(endpoint, what).await;
    if !says_resp(server).await {
        return; // It is older than Redis 7.
    }
    eventually(&format!("{what}: lanes of RESP{protocol}"), async || {
        let spoken = spoken(server).await;
        let has = |wanted: &str| spoken.iter().any(|(purpose, _)| purpose == wanted);
        let all = spoken.iter().all(|(_, spoken)| spoken == protocol);
        (all && ["lease", "lane", "bulk"].into_iter().all(has)).then_some(())
    })
    .await;
}

async fn cause(config: Config) -> Cause {
    endpoint(config).probe_connection().await.unwrap_err()
}

#[tokio::test]
async fn hello_is_a_question_that_may_be_refused_in_any_words() {
    for words in [
        "ERR unknown command `HELLO`, with args beginning with: ",
        "ERR unknown command 'HELLO'",
        "ERR unsupported command 'hello'",
        "ERR command not allowed",
        "ERR",
        "unsupported command 'hello'",
        "NOPROTO unsupported protocol version",
        "NOPERM this user has no permissions to run the 'hello' command",
        "NOAUTH Authentication required.",
    ] {
        let server = Server::start().await;
        let () = server.ask(&["ACL", "SETUSER", "shop", "on", ">sesame", "~*", "+@all"]).await;
        let proxy = Proxy::before(server.address()).await;
        let refused = proxy.on("HELLO").refuse(words);
        let endpoint = endpoint(at(proxy.url().replace("://", "://shop:sesame@")));
        let _keeper = Keeper::of(&endpoint);
        speaks(&server, &endpoint, "2", words).await;
        let met = refused.met();
        assert!(met > 0, "{words}");
        drop(endpoint.probe_connection().await.unwrap());
        assert_eq!(refused.met(), met, "an answer counts at once: {words}");
    }
}

#[tokio::test]
async fn every_kind_of_connection_works_in_either_protocol_and_says_which() {
    for protocol in ["3", "2"] {
        let server = Server::start().await;
        let proxy = Proxy::before(server.address()).await;
        if protocol == "2" {
            proxy.on("HELLO").refuse("ERR unknown command 'HELLO'");
        }
        let tree = tree::healthy(proxy.url(), |_| {}).await;
        let mut news = tree.subscriptions().subscribe("news").await.unwrap();
        let _: u64 = server.ask(&["PUBLISH", "news", "good"]).await;
        let Some(Event::Message(message)) = news.next().await else { panic!("RESP{protocol}") };
        assert_eq!(message.payload(), b"good", "RESP{protocol}");
        let mut lease = tree.cache().get().await.unwrap();
        lease.pin().await.unwrap();
        lease.set("key", "value").await.unwrap();
        if says_resp(&server).await {
            eventually(&format!("all speak RESP{protocol}"), async || {
                let spoken = spoken(&server).await;
                let has = |wanted: &str| spoken.iter().any(|(purpose, _)| purpose == wanted);
                let all = ["lane", "bulk", "lease", "probe", "subscriptions"].into_iter().all(has);
                (all && spoken.iter().all(|(_, spoken)| spoken == protocol)).then_some(())
            })
            .await;
        }
        let list: String = server.ask(&["CLIENT", "LIST"]).await;
        // Since Redis 7.2.
        if list.contains(" lib-name=") {
            let ours = list.lines().filter(|line| field(line, "name").starts_with("it:"));
            let libraries: Vec<_> = ours.map(|line| field(line, "lib-name")).collect();
            assert!(libraries.iter().all(|name| *name == "mainstay"), "{list}");
        }
        tree::end(tree).await;
    }
}

#[tokio::test]
async fn a_server_that_does_not_serve_now_is_not_asked_for_an_older_protocol() {
    let server = Server::start().await;
    for (words, wanted) in [
        ("ERR max number of clients reached", Cause::TooManyClients),
        ("LOADING Redis is loading the dataset in memory", Cause::Loading),
        ("WRONGPASS invalid username-password pair or user is disabled.", Cause::Auth),
        ("DENIED Redis is running in protected mode", Cause::Denied),
        ("BUSY Redis is busy running a script.", Cause::Busy),
        ("MASTERDOWN Link with MASTER is down", Cause::Down),
        ("NOAUTH HELLO must be called with the client already authenticated", Cause::NoPassword),
    ] {
        let proxy = Proxy::before(server.address()).await;
        proxy.on("HELLO").refuse(words);
        assert_eq!(cause(at(proxy.url())).await, wanted, "{words}");
        assert_eq!(proxy.accepted(), 1, "{words}");
    }
}

#[tokio::test]
async fn a_proxy_that_hangs_up_at_hello_is_spoken_to_in_resp2() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.address()).await;
    let hung_up = proxy.on("HELLO").hang_up();
    let endpoint = endpoint(at(proxy.url()));
    for _ in 0..2 {
        drop(endpoint.probe_connection().await.unwrap());
    }
    assert_eq!(hung_up.met(), 2, "once may be an accident");
    let _keeper = Keeper::of(&endpoint);
    speaks(&server, &endpoint, "2", "hung up").await;
    assert_eq!(hung_up.met(), 2, "and twice is not");
}

#[tokio::test]
async fn a_short_connect_timeout_leaves_time_for_the_older_protocol() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.address()).await;
    proxy.on("HELLO").hang_up();
    let connect_timeout = Duration::from_millis(100);
    let endpoint = endpoint(Config { connect_timeout, ..at(proxy.url()) });
    eventually("it is spoken to", async || endpoint.probe_connection().await.ok().map(drop)).await;
}

#[tokio::test]
async fn one_hangup_at_hello_is_an_accident() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.address()).await;
    let endpoint = endpoint(at(proxy.url()));
    for _ in 0..3 {
        let accident = proxy.on("HELLO").once().hang_up();
        let probe = endpoint.probe_connection().await.unwrap();
        assert_eq!(accident.met(), 1);
        drop(probe);
        drop(endpoint.probe_connection().await.unwrap());
    }
    let _keeper = Keeper::of(&endpoint);
    speaks(&server, &endpoint, "3", "after accidents").await;
}

#[tokio::test]
async fn resp3_is_asked_for_again_when_connections_are_recycled() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.address()).await;
    let refused = proxy.on("HELLO").refuse("ERR unknown command 'HELLO'");
    let recycle_timeout = Duration::from_millis(400);
    let endpoint = endpoint(Config { recycle_timeout, ..at(proxy.url()) });
    let _keeper = Keeper::of(&endpoint);
    drop(is_served(&endpoint, "in RESP2").await);
    if !says_resp(&server).await {
        return;
    }
    refused.lift();
    eventually("every connection speaks RESP3", async || {
        drop(endpoint.lease().await.ok()?);
        let spoken = spoken(&server).await;
        let has_lease = spoken.iter().any(|(purpose, _)| purpose == "lease");
        (has_lease && spoken.iter().all(|(_, protocol)| protocol == "3")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_a_server_hangs_up_at_and_we_can_do_without_is_left_out() {
    for command in ["CLIENT SETNAME", "CLIENT SETINFO", "CLIENT", "SCRIPT LOAD"] {
        let server = Server::start().await;
        let proxy = Proxy::before(server.address()).await;
        let hung_up = proxy.on(command).hang_up();
        let endpoint = endpoint(at(proxy.url()));
        let script = Script::new("return 1");
        {
            let mut lease = endpoint.lease().await.unwrap_or_else(|e| panic!("{command}: {e:?}"));
            let one: u64 = script.invoke(&mut lease).await.unwrap();
            assert_eq!(one, 1);
        }
        let _keeper = Keeper::of(&endpoint);
        let (_lease, mut conn) = is_served(&endpoint, command).await;
        let _: u64 = script.invoke(&mut conn).await.unwrap();
        eventually("both lanes are there", async || (endpoint.status().lanes == 2).then_some(()))
            .await;
        assert!(hung_up.met() > 0, "{command}");
        for _ in 0..3 {
            endpoint.probe_connection().await.unwrap().ping().await.unwrap();
        }
        let (met, accepted) = (hung_up.met(), proxy.accepted());
        for _ in 0..3 {
            endpoint.probe_connection().await.unwrap().ping().await.unwrap();
        }
        assert_eq!(hung_up.met(), met, "{command}: it is no longer sent");
        assert_eq!(proxy.accepted() - accepted, 3, "{command}: and costs no connection");
        if command != "CLIENT" && says_resp(&server).await && command != "CLIENT SETNAME" {
            assert!(spoken(&server).await.iter().all(|(_, protocol)| protocol == "3"), "{command}");
        }
    }
}

#[tokio::test]
async fn a_full_server_and_one_that_restarts_are_not_taken_for_old_ones() {
    let mut server = Server::start().await;
    let endpoint = endpoint(at(server.url()));
    let _keeper = Keeper::of(&endpoint);
    speaks(&server, &endpoint, "3", "at first").await;

    // Room for the lanes and for the one who asks.
    let () = server.ask(&["CONFIG", "SET", "maxclients", "3"]).await;
    for _ in 0..5 {
        let full = endpoint.probe_connection().await.unwrap_err();
        assert_eq!(full, Cause::TooManyClients);
    }
    // On a connection that it has already.
    let mut lane = endpoint.connection().await.unwrap();
    let room = ["SET", "maxclients", "100"];
    redis::cmd("CONFIG").arg(&room).exec_async(&mut *lane).await.unwrap();
    drop(lane);
    speaks(&server, &endpoint, "3", "after it was full").await;
    server.kill();
    server.restart().await;
    eventually("it is back", async || endpoint.lease().await.ok().map(drop)).await;
    speaks(&server, &endpoint, "3", "after it was full, and was restarted").await;
}

#[tokio::test]
async fn where_hello_and_resp2_both_fail_the_more_telling_cause_is_told() {
    let server = Server::start_configured(Port::reserve(), &["--requirepass", "right"]).await;
    let proxy = Proxy::before(server.address()).await;
    proxy.on("HELLO").hang_up();
    let told = cause(at(proxy.url().replace("://", "://:wrong@"))).await;
    assert_eq!(told, Cause::Auth, "what RESP2 was answered");
    assert_eq!(cause(at(proxy.url())).await, Cause::NoPassword);
    server.freeze();
    let silent = Config { connect_timeout: Duration::from_millis(700), ..at(proxy.url()) };
    assert_eq!(cause(silent).await, Cause::HandshakeClosed, "what HELLO was answered");
    proxy.set(Weather::Gone).await;
    assert_eq!(cause(at(proxy.url())).await, Cause::Refused);
}

/// An endpoint that logs in as `user`, on a server whose users were made by `rules`, by each protocol.
async fn as_user(user: &str, rules: &[&[&str]], check: impl AsyncFn(Arc<Endpoint>, &str)) {
    for protocol in ["3", "2"] {
        let server = Server::start().await;
        for rules in rules {
            let () = server.ask(&[&["ACL", "SETUSER"], *rules].concat()).await;
        }
        let proxy = Proxy::before(server.address()).await;
        if protocol == "2" {
            proxy.on("HELLO").refuse("ERR unknown command 'HELLO'");
        }
        let url = proxy.url().replace("://", &format!("://{user}@"));
        check(endpoint(at(url)), protocol).await;
    }
}

async fn whoami(endpoint: &Arc<Endpoint>) -> String {
    let mut lease = endpoint.lease().await.unwrap();
    redis::cmd("ACL").arg("WHOAMI").query_async(&mut *lease).await.unwrap()
}

#[tokio::test]
async fn a_user_without_a_password_is_logged_in_as_that_user() {
    let rules: &[&[&str]] = &[&["guest", "on", "nopass", "~*", "+@all"]];
    as_user("guest", rules, async |endpoint, protocol| {
        assert_eq!(whoami(&endpoint).await, "guest", "RESP{protocol}");
    })
    .await;
    // The empty password is one, too.
    as_user("guest:", rules, async |endpoint, protocol| {
        assert_eq!(whoami(&endpoint).await, "guest", "RESP{protocol}");
    })
    .await;
}

#[tokio::test]
async fn nobody_is_logged_in_as_default_who_asked_for_another_user() {
    for (user, rules) in [
        ("shop", &["shop", "on", ">sesame", "~*", "+@all"][..]),
        ("shop:wrong", &["shop", "on", ">sesame", "~*", "+@all"]),
        ("shop:sesame", &["shop", "off", ">sesame", "~*", "+@all"]),
        ("shop", &["shop", "off", "nopass", "~*", "+@all"]),
        ("nobody", &["shop", "on", "nopass"]),
    ] {
        as_user(user, &[rules], async |endpoint, protocol| {
            let refused = endpoint.probe_connection().await.unwrap_err();
            assert_eq!(refused, Cause::Auth, "{user} {rules:?} by RESP{protocol}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_password_alone_is_that_of_default_and_an_empty_login_is_none() {
    let protected: &[&[&str]] = &[&["default", "on", ">sesame"]];
    let server = Server::start().await;
    let proxy = Proxy::before(server.address()).await;
    let (hello, auth) = (proxy.on("HELLO").rewrite("%0\r\n"), proxy.on("AUTH").answer("+OK\r\n"));
    drop(endpoint(at(proxy.url().replace("://", "://:@"))).probe_connection().await.unwrap());
    assert_eq!((hello.met(), auth.met()), (1, 0));
    as_user(":sesame", protected, async |endpoint, _| {
        assert_eq!(whoami(&endpoint).await, "default");
    })
    .await;
    as_user(":", protected, async |endpoint, _| {
        assert_eq!(endpoint.probe_connection().await.unwrap_err(), Cause::NoPassword);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_knows_no_users_says_so() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.address()).await;
    proxy.on("HELLO").refuse("ERR unknown command 'HELLO'");
    let auth = proxy.on("AUTH").refuse("ERR wrong number of arguments for 'auth' command");
    let endpoint = endpoint(at(proxy.url().replace("://", "://shop:sesame@")));
    let refused = endpoint.probe_connection().await.unwrap_err();
    assert_eq!(refused, Cause::NoUsers);
    assert!(refused.to_string().contains("redis://:password@host"), "{refused}");
    assert_eq!(auth.met(), 1, "nobody else is tried");
}
