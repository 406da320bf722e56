//! Where Redis can be: on a unix socket, or embedded.

use std::net::{Ipv6Addr, TcpListener};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{App, Port, Server, config, eventually, routes};

#[tokio::test]
async fn a_redis_on_a_unix_socket_serves_falls_and_returns() {
    let mut server = Server::start().await;
    let app = App::start(config(server.unix_url()), routes()).await;
    app.becomes_ready().await;
    assert_eq!(app.get("/stored").await.status, 200);
    server.kill();
    app.answers("/ready", 503).await;
    app.get("/stored").await.is_unavailable();
    server.restart().await;
    app.becomes_ready().await;
    app.answers("/stored", 200).await;
    app.end().await;
}

#[tokio::test]
async fn a_service_listens_and_reaches_its_redis_by_both_kinds_of_addresses() {
    if TcpListener::bind("[::1]:0").is_err() {
        return; // This machine has no IPv6.
    }
    let port = Port::reserve();
    let number = port.address().port().to_string();
    let server = Server::start_with(port, &["--port", &number, "--bind", "::1"]).await;
    let mut config = config(format!("redis://[::1]:{number}"));
    config.service.bind = Ipv6Addr::UNSPECIFIED.into();
    let app = App::start(config, routes()).await;
    let port = app.url().rsplit_once(':').unwrap().1.trim_end_matches('/').parse::<u16>().unwrap();
    for host in ["[::1]", "127.0.0.1"] {
        let status = async || {
            let mut client = TcpStream::connect(format!("{host}:{port}")).await.ok()?;
            let request =
                format!("GET /stored HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
            client.write_all(request.as_bytes()).await.ok()?;
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.ok()?;
            answer.starts_with("HTTP/1.1 200").then_some(())
        };
        eventually(host, status).await;
    }
    drop(app);
    drop(server);
}

#[cfg(feature = "embedded")]
mod embedded {
    use mainstay::prelude::*;

    use crate::support::{App, config, eventually, signal};

    /// `/write/{value}` and `/read`.
    fn routes() -> Router<AppState> {
        async fn write(mut conn: CacheConn, Path(value): Path<String>) -> Result<()> {
            Ok(conn.set("key", value).await?)
        }
        async fn read(mut conn: CacheConn) -> Result<String> {
            Ok(conn.get::<_, Option<String>>("key").await?.unwrap_or_default())
        }
        Router::new().route("/write/{value}", get(write)).route("/read", get(read))
    }

    async fn started() -> App {
        let app = App::start(config("embedded"), routes()).await;
        app.becomes_ready().await;
        app
    }

    #[tokio::test]
    async fn two_services_in_one_process_have_each_a_redis_of_their_own() {
        let (one, other) = (started().await, started().await);
        let (first, second) = (one.embedded_pid().unwrap(), other.embedded_pid().unwrap());
        assert_ne!(first, second);
        assert_eq!(one.get("/write/mine").await.status, 200);
        assert_eq!(other.get("/read").await.text, "");
        assert_eq!(one.get("/read").await.text, "mine");

        one.end().await;
        eventually("the server of the one is gone", async || (!signal("-0", first)).then_some(()))
            .await;
        assert!(other.is_ready().await, "the other one is not concerned");
        assert_eq!(other.get("/write/theirs").await.status, 200);
        assert_eq!(other.get("/read").await.text, "theirs");
        other.end().await;
        eventually("the server of the other is gone", async || {
            (!signal("-0", second)).then_some(())
        })
        .await;
    }
}
