//! What the helpers of a service's tests promise.

mod rules;
mod sample;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::FutureExt;
use mainstay::prelude::*;
use mainstay::testing::{App, Port, Proxy, Redis, Weather, eventually, within};

use crate::support::{Server, source::workspace};

/// What the test says that is to fail there.
async fn panics<T>(test: impl Future<Output = T>) -> String {
    let Err(panic) = AssertUnwindSafe(test).catch_unwind().await else {
        panic!("it was to panic, and did not")
    };
    let said = panic.downcast::<String>();
    said.map_or_else(|said| (*said.downcast::<&str>().unwrap()).to_owned(), |said| *said)
}

#[test]
fn the_page_shows_the_tests_that_run_here() {
    let page = std::fs::read_to_string(workspace().join("docs/testing.md")).unwrap();
    assert!(page.contains(&format!("```rust\n{}```\n", include_str!("sample.rs"))));
}

#[tokio::test]
async fn a_server_and_its_files_are_gone_with_its_handle_also_when_the_test_panics() {
    let mut home = PathBuf::new();
    let mut address = None;
    let said = panics(async {
        let server = Server::start().await;
        server.freeze(); // One that is stopped cannot be asked to end.
        home = server.path("");
        address = Some(server.address());
        assert!(home.exists() && TcpStream::connect(server.address()).is_ok());
        panic!("as a test does");
    });
    assert_eq!(said.await, "as a test does");
    assert!(!home.exists());
    assert!(TcpStream::connect(address.unwrap()).is_err());
}

/// Set for a process of its own in which a test runs once more.
const INNER: &str = "MAINSTAY_TEST_INNER";

fn is_inner() -> bool {
    std::env::var_os(INNER).is_some()
}

/// Runs a test of this file in a process of its own.
fn inner(name: &str) -> Command {
    let mut inner = Command::new(std::env::current_exe().unwrap());
    inner.args([&format!("testing::{name}"), "--exact", "--nocapture"]).env(INNER, "yes");
    inner.stdout(Stdio::null()).stderr(Stdio::piped());
    inner
}

#[tokio::test]
async fn a_server_and_its_files_are_gone_when_the_process_of_its_test_is_killed() {
    if is_inner() {
        let server = Server::start().await;
        eprintln!("started {} {}", server.address(), server.path("").display());
        server.freeze();
        std::future::pending::<()>().await;
    }
    let name = "a_server_and_its_files_are_gone_when_the_process_of_its_test_is_killed";
    let mut inner = inner(name).spawn().unwrap();
    let mut lines = BufReader::new(inner.stderr.take().unwrap()).lines().map(Result::unwrap);
    let started = lines.find(|line| line.starts_with("started ")).unwrap();
    let [_, address, home] = started.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{started}")
    };
    let (address, home): (SocketAddr, PathBuf) = (address.parse().unwrap(), home.into());
    assert!(home.exists() && TcpStream::connect(address).is_ok());
    inner.kill().unwrap();
    inner.wait().unwrap();
    eventually("the server and its files are gone", async || {
        (!home.exists() && TcpStream::connect(address).is_err()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn where_there_is_no_server_the_next_step_is_named() {
    if is_inner() {
        Redis::start().await;
    }
    let name = "where_there_is_no_server_the_next_step_is_named";
    let output = inner(name).env("PATH", "/nowhere").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("apt-get install redis-server"), "{said}");
}

#[tokio::test]
async fn a_server_starts_again_on_its_port_and_is_empty() {
    let server = Server::start().await;
    let url = server.url();
    let () = server.ask(&["SET", "key", "value"]).await;
    server.stop();
    assert!(TcpStream::connect(server.address()).is_err());
    server.start_again().await;
    assert_eq!(server.url(), url);
    assert_eq!(server.ask::<Option<String>>(&["GET", "key"]).await, None);
    server.freeze();
    server.start_again().await;
    let answer: String = server.ask(&["PING"]).await;
    assert_eq!(answer, "PONG", "one that was frozen is replaced");
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() {
    let program = "/nowhere/redis-server";
    let said = panics(Redis::builder().program(program).start()).await;
    assert!(said.contains("the redis-server ended") && said.contains(program), "{said}");
    let said = panics(Server::start_configured(Port::reserve(), &["--no-such-setting", "1"])).await;
    assert!(said.contains("no-such-setting"), "{said}");
    let port = Port::reserve();
    let _other = TcpListener::bind(port.address()).unwrap();
    let said = panics(Server::start_on(port)).await;
    assert!(said.starts_with("the port of the redis-server is taken"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_servers_start_at_once_and_none_is_anothers() {
    let servers = futures_util::future::join_all((0..8).map(|_| Server::start())).await;
    for (number, server) in servers.iter().enumerate() {
        let client = redis::Client::open(server.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut set = redis::cmd("SET");
        let () = set.arg("number").arg(number).query_async(&mut connection).await.unwrap();
    }
    for (number, server) in servers.iter().enumerate() {
        assert_eq!(server.ask::<usize>(&["GET", "number"]).await, number);
    }
}

#[tokio::test]
async fn who_waits_in_vain_is_told_for_what_and_by_whom() {
    let app = App::start(Port::reserve().url(), |service| service).await;
    let said = panics(app.wait_ready_within(Duration::from_millis(100))).await;
    assert!(said.contains("/ready says 503") && said.contains("\"ready\":false"), "{said}");
    let never = within(Duration::from_millis(20), "the moon", async || None);
    let said: String = panics::<()>(never).await;
    assert!(said.starts_with("not within 20ms: the moon (waited for at "), "{said}");
    assert!(said.contains("testing"), "{said}");
}

#[tokio::test]
async fn an_app_sends_what_a_client_may_send_and_ends_with_its_handle() {
    async fn echo(Json(body): Json<serde_json::Value>) -> Json<serde_json::Value> {
        Json(body)
    }
    let port = Port::reserve();
    let own = mainstay::Config::default(); // Would listen on 8080 of every address.
    let app = App::start(port.url(), |service| {
        service.with_config(own).with_routes(Router::new().route("/echo", post(echo).put(echo)))
    })
    .await;
    assert!(app.address().ip().is_loopback() && app.address().port() != 8080);
    let body = serde_json::json!({"name": "Ada"});
    assert_eq!(app.post("/echo", &body).await.json(), body);
    let request = mainstay::axum::http::Request::put("/echo?a=b")
        .header("content-type", "application/json")
        .body(r#"{"name":"Ada"}"#.into())
        .unwrap();
    assert_eq!(app.send(request).await.parse::<serde_json::Value>(), body);

    let address = app.address();
    drop(app);
    eventually("nothing listens", async || TcpStream::connect(address).is_err().then_some(()))
        .await;
}

#[tokio::test]
async fn an_app_whose_end_was_seen_may_be_ended_like_any_other() {
    let mut app = App::start(Port::reserve().url(), |service| service).await;
    app.ask_to_end();
    app.served(Duration::from_secs(30)).await.unwrap();
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_weather_counts_for_connections_that_exist_and_for_new_ones() {
    let server = Server::start().await;
    let proxy = server.proxy().await;
    let ping = async |limit| {
        let client = redis::Client::open(proxy.url()).unwrap();
        let asked = async {
            let mut connection = client.get_multiplexed_async_connection().await?;
            redis::cmd("PING").query_async::<String>(&mut connection).await
        };
        tokio::time::timeout(Duration::from_millis(limit), asked).await
    };
    assert_eq!(ping(10_000).await.unwrap().unwrap(), "PONG");
    proxy.set(Weather::Silent).await;
    ping(50).await.unwrap_err();
    for weather in [Weather::Cut, Weather::Gone] {
        proxy.set(weather).await;
        ping(10_000).await.unwrap().unwrap_err();
    }
    proxy.set(Weather::Fair).await;
    assert_eq!(ping(10_000).await.unwrap().unwrap(), "PONG");

    let address = proxy.address();
    let kept = redis::Client::open(proxy.url()).unwrap();
    let mut kept = kept.get_multiplexed_async_connection().await.unwrap();
    drop(proxy);
    redis::cmd("PING").query_async::<String>(&mut kept).await.unwrap_err();
    eventually("nothing listens", async || TcpStream::connect(address).is_err().then_some(()))
        .await;
    drop(Proxy::before(server.address()).await);
}
