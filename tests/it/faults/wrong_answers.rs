//! Single commands that a proxy in between refuses, or answers with something else than the server did.

use std::time::Duration;

use mainstay_actors::Outcome;
use mainstay_actors::redis::{CacheConn, Error};

use super::Ground;
use crate::support::{App, Proxy, Server, config, eventually, routes};

async fn atomic_incr(conn: &mut CacheConn) -> Result<(), Error> {
    Ok(redis::pipe().atomic().incr("n", 1).exec_async(&mut **conn).await?)
}

#[tokio::test]
async fn whatever_a_proxy_answers_to_exec_no_neighbour_is_told_of_a_write_that_was_only_queued() {
    let ground = Ground::new(1, Duration::from_secs(5)).await;
    let answers = [
        "-NOPERM this user has no permissions to run the 'exec' command\r\n",
        "-ERR unknown command 'EXEC'\r\n",
        "-ERR proxy: transactions are not supported\r\n",
        "-EXECABORT Transaction discarded because of previous errors.\r\n",
        "*1\r\n:1\r\n",
        "*0\r\n",
        "*-1\r\n",
        "_\r\n",
        "+OK\r\n",
        "+QUEUED\r\n",
        ":1\r\n",
    ];
    for (round, answer) in answers.into_iter().enumerate() {
        let refused = ground.proxy.on("EXEC").once().answer(answer);
        let mut conn = ground.conn().await;
        let told = atomic_incr(&mut conn).await;
        assert_eq!(refused.met(), 1, "{answer:?}");
        let is_executed = ground.server.ask::<Option<usize>>(&["GET", "n"]).await.is_some();
        assert!(!is_executed, "{answer:?}");
        // These say that something, or nothing, was executed: no caller could know better.
        if !answer.starts_with(['*', '_']) {
            told.unwrap_err();
        }
        let mut done = 0;
        eventually("neighbours are served again", async || {
            let mut other = ground.conn().await;
            let value = round * 1000 + done;
            done += 1;
            match other.set("key", value).await {
                Ok(()) => {
                    let stored: Option<usize> = ground.server.ask(&["GET", "key"]).await;
                    assert_eq!(stored, Some(value), "{answer:?}: it was told that it is there");
                    assert_eq!(other.get::<_, usize>("key").await, Ok(value), "{answer:?}");
                    Some(())
                }
                Err(error) => {
                    let outcome = error.outcome();
                    let is_honest =
                        matches!(outcome, Outcome::OutcomeUnknown | Outcome::Unavailable { .. });
                    assert!(is_honest, "{answer:?}: {error}");
                    None
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_reply_that_cannot_be_understood_reaches_none_of_its_neighbours() {
    let ground = Ground::new(1, Duration::from_secs(2)).await;
    let deep = [&b"*1\r\n".repeat(200)[..], b":1\r\n"].concat();
    let replies: [&[u8]; 10] = [
        b"-ERR \xff\xfe\r\n",
        b"+\xff\xfe\r\n",
        b"+QUEUED\r\n",
        b"?what\r\n",
        b":many\r\n",
        b"$-2\r\n",
        b"*1\r\n?\r\n",
        b"(\xff\r\n",
        b"=3\r\nabc\r\n",
        &deep,
    ];
    for reply in replies {
        let shown = String::from_utf8_lossy(&reply[..reply.len().min(20)]).into_owned();
        let met = ground.proxy.on("GET").once().answer(reply);
        let mut asking = ground.conn().await;
        let neighbours = (0..20).map(async |number| {
            let mut conn = ground.conn().await;
            let text = format!("{shown}:{number}");
            let echo = redis::cmd("ECHO").arg(&text).take();
            match echo.query_async::<String>(&mut *conn).await {
                Ok(heard) => assert_eq!(heard, text),
                Err(error) => {
                    let error = Error::from(error);
                    let outcome = error.outcome();
                    let is_honest = matches!(
                        outcome,
                        Outcome::OutcomeUnknown | Outcome::Unavailable { .. } | Outcome::Deadline
                    );
                    assert!(is_honest, "{shown:?}: {error}");
                }
            }
        });
        let (_, _) = tokio::join!(
            asking.get::<_, Option<String>>("key"),
            futures_util::future::join_all(neighbours)
        );
        assert_eq!(met.met(), 1, "{shown:?}");
        eventually("a neighbour is served", async || {
            let mut conn = ground.conn().await;
            (conn.get::<_, Option<String>>("key").await == Ok(None)).then_some(())
        })
        .await;
    }
}

/// What `/ready` says once it says something.
async fn ready(command: &str, error: &str) -> (u16, String) {
    let server = Server::start().await;
    let proxy = Proxy::before(server.address()).await;
    let refused = proxy.on(command).refuse(error);
    let app = App::start(config(proxy.url()), routes()).await;
    let said = eventually("a probe has ended", async || {
        let ready = app.get("/ready").await;
        let message = ready.json()["dependencies"]["redis"]["message"].as_str().unwrap().to_owned();
        (message != "no probe has ended yet").then_some((ready.status, message))
    })
    .await;
    assert!(refused.met() > 0, "{command}");
    if said.0 == 200 {
        app.answers("/stored", 200).await;
    }
    assert_eq!(app.restarts(), 0, "{command} {error}");
    app.end().await;
    said
}

#[tokio::test]
async fn a_proxy_that_refuses_what_we_can_do_without_is_ready() {
    for (command, error) in [
        ("HELLO", "ERR unknown command 'HELLO'"),
        ("HELLO", "ERR proxy: command not supported"),
        ("HELLO", "ERR unsupported command: HELLO"),
        ("HELLO", "NOPERM this user has no permissions to run the 'hello' command"),
        ("HELLO", "NOPROTO unsupported protocol version"),
        ("CLIENT", "ERR unknown command 'CLIENT'"),
        ("CLIENT SETNAME", "NOPERM not you"),
        ("CLIENT SETNAME", "ERR proxy: not supported"),
        ("PING", "NOPERM not you"),
        ("PING", "ERR unknown command 'PING'"),
    ] {
        let (status, message) = ready(command, error).await;
        assert_eq!((status, &*message), (200, "connected"), "{command} {error}");
    }
}

#[tokio::test]
async fn what_ready_says_names_what_a_proxy_says_of_the_server() {
    for (command, error, wanted) in [
        ("HELLO", "LOADING Redis is loading the dataset in memory", "loading its data"),
        ("HELLO", "ERR max number of clients reached", "too many clients; check its maxclients"),
        ("HELLO", "WRONGPASS invalid username-password pair", "check user and password"),
        ("PING", "LOADING Redis is loading the dataset in memory", "loading its data"),
        ("PING", "BUSY Redis is busy running a script.", "check SCRIPT KILL"),
        ("PING", "READONLY You can't write against a read only replica.", "is the primary"),
        ("PING", "NOAUTH Authentication required.", "check user and password"),
    ] {
        let (status, message) = ready(command, error).await;
        assert_eq!(status, 503, "{command} {error}: {message}");
        assert!(message.contains(wanted), "{command} {error}: {message}");
    }
}
