//! What the log and `/ready` say of a Redis that is not as it should be: one line, with what to check.

use std::fmt::Write;

use mainstay::Config;
use mainstay::cache::GetHealth;
use mainstay_actors::redis::{Cause, ServerState};
use tokio::net::TcpListener;
use tracing::Level;

use crate::support::{App, Listener, Log, Port, Server, Welcome, config, eventually, routes};

/// What is where the url says, and what it is found to be. Of two causes chance decides.
const FOUND: [(&str, &[Cause]); 7] = [
    ("nothing", &[Cause::Refused]),
    ("a server of another kind, such as one for HTTP", &[Cause::Protocol]),
    ("something that accepts and never answers", &[Cause::Timeout]),
    ("a Redis that wants a password, and none is given", &[Cause::NoPassword]),
    ("a Redis that wants another password or user", &[Cause::Auth]),
    ("the port for TLS, spoken to without", &[Cause::HandshakeClosed]),
    ("a port without TLS, spoken to with it (`rediss://`)", &[Cause::NotTls, Cause::TlsTimeout]),
];

const PASSWORD: &str = "sesame";

/// Starts a service with what `FOUND` has at `row`, and reads what it says.
async fn says(row: usize, config: Config) {
    let (what, causes) = FOUND[row];
    let log = Log::here();
    let app = App::start(config, routes()).await;
    let message = eventually("a probe has failed", async || {
        let ready = app.get("/ready").await;
        assert_eq!(ready.status, 503, "{ready:?}");
        let message = ready.json()["dependencies"]["redis"]["message"].as_str()?.to_owned();
        (message != "no probe has ended yet").then_some(message)
    })
    .await;
    assert!(causes.iter().any(|cause| message == cause.to_string()), "{what}: {message}");
    for _ in 0..20 {
        let stored = app.get("/stored").await;
        stored.is_unavailable();
        assert!(!stored.text.contains(PASSWORD), "{stored:?}");
    }
    let (address, lines) = (app.state.config().redis.url.clone(), log.lines(Level::WARN));
    let [line] = lines.as_slice() else { panic!("{what}: not one line but {lines:#?}") };
    let host = address.rsplit(['@', '/']).next().expect("a part at least");
    let begins = "WARN redis does not answer endpoint=\"redis\" address=redis";
    assert!(line.starts_with(begins) && line.contains(host), "{what}: {line}");
    let ends = |cause: &Cause| line.ends_with(&format!(" cause={cause} "));
    assert!(causes.iter().any(ends), "{what}: {line}");
    let all = format!("{message} {:#?}", log.lines(Level::TRACE));
    assert!(!all.contains(PASSWORD), "{all}");
    app.end().await;
}

#[tokio::test]
async fn nobody_listens() {
    says(0, config(Port::reserve().url())).await;
}

#[tokio::test]
async fn a_server_for_http_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let pages = mainstay::axum::Router::new();
    let serving = tokio::spawn(async move { mainstay::axum::serve(listener, pages).await });
    says(1, config(url)).await;
    serving.abort();
}

#[tokio::test]
async fn something_listens_and_never_answers() {
    let port = Port::reserve();
    let _silent = Listener::at(port.address(), Welcome::Silence).await;
    says(2, config(port.url())).await;
}

#[tokio::test]
async fn a_password_is_missing_or_wrong() {
    let server = Server::start_configured(Port::reserve(), &["--requirepass", "right"]).await;
    says(3, config(server.url())).await;
    let host = server.address();
    for login in [format!(":{PASSWORD}"), format!("nobody:{PASSWORD}")] {
        says(4, config(format!("redis://{login}@{host}"))).await;
    }
}

#[cfg(feature = "tls")]
mod tls {
    use super::{FOUND, Port, Server, config, says};
    use crate::support::Authority;

    #[tokio::test]
    async fn the_port_for_tls_is_spoken_to_without() {
        let (authority, home) = (Authority::new(), tempfile::tempdir().unwrap());
        authority.certify(home.path());
        let server = Server::start_with_tls(home.path(), None).await;
        assert!(FOUND[5].0.contains("without"));
        says(5, config(server.url())).await;
    }

    #[tokio::test]
    async fn a_port_without_tls_is_spoken_to_with_it() {
        let server = Server::start_on(Port::reserve()).await;
        says(6, config(server.tls_url())).await;
    }
}

/// A service that is ready, though writes are refused for `condition`; `mended` makes them possible again.
async fn refuses(condition: ServerState, server: &Server, mended: &[&str]) {
    let log = Log::here();
    let app = App::start(config(server.url()), routes()).await;
    app.becomes_ready().await;
    assert_eq!(log.lines(Level::WARN), [""; 0]);
    let line = format!("WARN redis refuses commands endpoint=\"redis\" condition={condition} ");
    let message = format!("connected, but {condition}");
    eventually("the condition is told", async || {
        let stored = app.get("/stored").await;
        assert_eq!(stored.status, 503, "{stored:?}");
        assert!(stored.header("retry-after").is_some(), "{stored:?}");
        let ready = app.get("/ready").await;
        assert_eq!(ready.status, 200, "a service that reads is ready: {ready:?}");
        (ready.json()["dependencies"]["redis"]["message"] == *message).then_some(())
    })
    .await;
    let health = app.state.ask(GetHealth).await.unwrap();
    assert_eq!((health.healthy, health.message), (true, message));
    for _ in 0..20 {
        assert_eq!(app.get("/stored").await.status, 503);
    }
    assert_eq!(log.lines(Level::WARN), [line.as_str()]);

    let () = server.ask(mended).await;
    app.answers("/stored", 200).await;
    assert_eq!(log.lines(Level::WARN), [line.as_str()], "one line, however many were refused");
    app.end().await;
}

#[tokio::test]
async fn a_full_redis_refuses_writes_in_one_line() {
    let server = Server::start_configured(Port::reserve(), &["--maxmemory", "1"]).await;
    refuses(ServerState::Full, &server, &["CONFIG", "SET", "maxmemory", "0"]).await;
}

#[tokio::test]
async fn a_replica_refuses_writes_in_one_line() {
    let primary = Server::start().await;
    let port = primary.address().port().to_string();
    let replica =
        Server::start_configured(Port::reserve(), &["--replicaof", "127.0.0.1", &port]).await;
    refuses(ServerState::ReadOnly, &replica, &["REPLICAOF", "NO", "ONE"]).await;
}

#[tokio::test]
async fn a_redis_that_cannot_save_refuses_writes_in_one_line() {
    let server = Server::start().await;
    let () = server.ask(&["CONFIG", "SET", "save", "3600 1000000"]).await;
    // What is saved cannot take the place of a directory. The server has answered, so it looks for no such file any more.
    std::fs::create_dir(server.path("dump.rdb")).unwrap();
    let _: String = server.ask(&["BGSAVE"]).await;
    eventually("saving has failed", async || {
        let info: String = server.ask(&["INFO", "persistence"]).await;
        info.contains("rdb_last_bgsave_status:err").then_some(())
    })
    .await;
    let mended = ["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"];
    refuses(ServerState::Unsaved, &server, &mended).await;
}

#[tokio::test]
async fn a_redis_without_its_replicas_refuses_writes_in_one_line() {
    let port = Port::reserve();
    let server = Server::start_configured(port, &["--min-replicas-to-write", "1"]).await;
    let mended = ["CONFIG", "SET", "min-replicas-to-write", "0"];
    refuses(ServerState::FewReplicas, &server, &mended).await;
}

#[test]
fn the_documentation_has_each_of_these_lines() {
    let mut table =
        "| where the url leads | `cause` in the log, `message` in `/ready` |\n|---|---|\n"
            .to_owned();
    for (what, causes) in FOUND {
        for cause in causes {
            writeln!(table, "| {what} | {cause} |").unwrap();
        }
    }
    let mut conditions =
        "| `condition` in the log, behind `connected, but` in `/ready` |\n|---|\n".to_owned();
    // That one makes a service not ready.
    for condition in ServerState::ALL.iter().filter(|&&state| state != ServerState::ClusterNode) {
        writeln!(conditions, "| {condition} |").unwrap();
    }
    let document = include_str!("../../docs/outages.md");
    let holds = document.contains(&table) && document.contains(&conditions);
    assert!(holds, "docs/outages.md must hold these tables:\n{table}\n{conditions}");
}
