//! What a transaction leaves behind, in its answer and on its connection.

#![cfg(feature = "cache")]
#![expect(clippy::disallowed_methods, reason = "tests have no tree to run tasks in")]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use mainstay_actors::Outcome;
use mainstay_actors::redis::{Config, Error, Session};
use redis::AsyncCommands;

#[expect(dead_code, reason = "other tests use the rest of it")]
mod support;
use support::{Server, endpoint, eventually, id, lanes, one_lane};

async fn atomic_incr(conn: &mut Session) -> Result<(), Error> {
    Ok(redis::pipe().atomic().incr("n", 1).exec_async(conn).await?)
}

async fn loads(server: &Server) -> bool {
    let info: String = server.ask(&["INFO", "persistence"]).await;
    info.lines().any(|line| line == "loading:1")
}

#[tokio::test]
async fn a_lane_that_may_still_be_inside_a_transaction_carries_no_other_callers_command() {
    let server = Server::start(&["--rename-command", "EXEC", ""]).await;
    let (endpoint, _keeper) = lanes(&server, one_lane()).await;
    let mut conn = endpoint.connection().await.unwrap();
    let error = atomic_incr(&mut conn).await.unwrap_err();
    assert_eq!(error, Error::Server { code: "ERR".into() }, "nothing was done");
    for n in 0..20 {
        let mut other = endpoint.connection().await.unwrap();
        other.set("key", n).await.unwrap();
        assert_eq!(other.get::<_, u32>("key").await, Ok(n));
    }
    assert_eq!(conn.get::<_, Option<u32>>("n").await, Ok(None));
}

#[tokio::test]
async fn what_was_sent_behind_an_unfinished_transaction_is_not_called_done() {
    let server = Server::start(&["--rename-command", "EXEC", ""]).await;
    let (endpoint, _keeper) = lanes(&server, one_lane()).await;
    let mut first = endpoint.connection().await.unwrap();
    let mut second = endpoint.connection().await.unwrap();
    let mut third = endpoint.connection().await.unwrap();
    // All three go out in one write.
    let (failed, written, read) = tokio::join!(
        atomic_incr(&mut first),
        second.set("key", "new"),
        third.get::<_, Option<String>>("key"),
    );
    failed.unwrap_err();
    let is_there: bool = server.ask(&["EXISTS", "key"]).await;
    match written {
        Ok(()) => assert!(is_there, "it was told that it is there"),
        Err(error) => assert_eq!(error.outcome(), Outcome::OutcomeUnknown),
    }
    match read {
        Ok(found) => assert_eq!(found.as_deref(), is_there.then_some("new")),
        Err(error) => assert!(matches!(error.outcome(), Outcome::Unavailable { .. }), "{error}"),
    }
}

#[tokio::test]
async fn a_lease_that_may_still_be_inside_a_transaction_is_not_handed_on() {
    let server = Server::start(&["--rename-command", "EXEC", ""]).await;
    let config = Config { max_connections: 1, url: server.url(), ..one_lane() };
    let endpoint = endpoint(config);
    let mut conn = endpoint.lease().await.unwrap();
    let before = id(&mut conn).await;
    atomic_incr(&mut conn).await.unwrap_err();
    drop(conn);
    let mut next = endpoint.lease().await.unwrap();
    assert_ne!(id(&mut next).await, before);
    next.set("key", 1).await.unwrap();
    assert_eq!(server.ask::<u32>(&["GET", "key"]).await, 1);
}

#[tokio::test]
async fn a_transaction_whose_begin_is_refused_costs_its_neighbours_no_lane() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, one_lane()).await;
    let mut conn = endpoint.connection().await.unwrap();
    let before = id(&mut conn).await;
    let _: () = server.ask(&["ACL", "SETUSER", "default", "-multi"]).await;
    for done in 1..=5 {
        let error = atomic_incr(&mut conn).await.unwrap_err();
        assert_eq!(error, Error::Partial { code: "NOPERM".into() });
        assert_eq!(
            conn.get::<_, u32>("n").await,
            Ok(done),
            "it was done, outside of a transaction"
        );
    }
    assert_eq!(id(&mut endpoint.connection().await.unwrap()).await, before);
}

#[tokio::test]
async fn a_script_in_a_transaction_that_could_not_begin_speaks_for_itself_only() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, one_lane()).await;
    let mut conn = endpoint.connection().await.unwrap();
    let before = id(&mut conn).await;
    let _: () = server.ask(&["ACL", "SETUSER", "default", "-multi"]).await;
    let mut pipeline = redis::pipe();
    let says = "return redis.error_reply('WRONGPASS x')";
    pipeline.atomic().cmd("EVAL").arg(&[says, "0"]).incr("n", 1);
    let error = pipeline.exec_async(&mut *conn).await.unwrap_err();
    assert_eq!(Error::from(error), Error::Partial { code: "NOPERM".into() });
    assert_eq!(id(&mut endpoint.connection().await.unwrap()).await, before);
}

#[tokio::test]
async fn a_server_that_knows_no_transactions_costs_no_lane_either() {
    let server =
        Server::start(&["--rename-command", "MULTI", "", "--rename-command", "EXEC", ""]).await;
    let (endpoint, _keeper) = lanes(&server, one_lane()).await;
    let mut conn = endpoint.connection().await.unwrap();
    let before = id(&mut conn).await;
    let error = atomic_incr(&mut conn).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::OutcomeUnknown, "it was done, outside of a transaction");
    assert_eq!(conn.get::<_, u32>("n").await, Ok(1));
    assert_eq!(id(&mut conn).await, before);
}

#[tokio::test]
async fn a_transaction_that_the_server_ended_by_itself_keeps_its_lane() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, one_lane()).await;
    let mut conn = endpoint.connection().await.unwrap();
    let before = id(&mut conn).await;
    let mut pipeline = redis::pipe();
    // The server refuses to queue it, and discards the rest.
    let error = pipeline.atomic().set("n", 1).cmd("GET").exec_async(&mut *conn).await.unwrap_err();
    assert_eq!(Error::from(error), Error::Server { code: "ERR".into() });
    assert_eq!(conn.get::<_, Option<u32>>("n").await, Ok(None));
    let _: () = server.ask(&["ACL", "SETUSER", "default", "-exec"]).await;
    let error = atomic_incr(&mut conn).await.unwrap_err();
    assert_eq!(error, Error::Server { code: "NOPERM".into() });
    assert_eq!(id(&mut conn).await, before);
}

#[tokio::test]
async fn a_transaction_by_hand_in_one_pipeline_is_executed_and_said_to_be() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, one_lane()).await;
    let mut conn = endpoint.connection().await.unwrap();
    let mut pipeline = redis::pipe();
    pipeline.cmd("MULTI").ignore().incr("n", 1).ignore().cmd("EXEC");
    let done: (Vec<u32>,) = pipeline.query_async(&mut *conn).await.unwrap();
    assert_eq!(done.0, [1]);
}

#[tokio::test]
async fn a_lease_that_still_watches_is_not_handed_on() {
    let server = Server::start(&[]).await;
    let config = Config { max_connections: 1, url: server.url(), ..one_lane() };
    let endpoint = endpoint(config);
    let _: () = server.ask(&["ACL", "SETUSER", "default", "-multi", "-incrby"]).await;
    let mut conn = endpoint.lease().await.unwrap();
    let result: Result<(), Error> = conn
        .transaction("n", |tx| {
            Box::pin(async move {
                tx.queue().incr("n", 1);
                tx.commit().await
            })
        })
        .await;
    assert_eq!(result, Err(Error::Server { code: "NOPERM".into() }), "nothing was done");
    drop(conn);
    let _: () = server.ask(&["ACL", "SETUSER", "default", "+@all"]).await;
    let mut next = endpoint.lease().await.unwrap();
    let _: () = server.ask(&["SET", "n", "7"]).await;
    atomic_incr(&mut next).await.unwrap();
    assert_eq!(server.ask::<u32>(&["GET", "n"]).await, 8, "nobody watches n any more");
}

#[tokio::test]
async fn a_pipeline_without_commands_is_refused() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, one_lane()).await;
    for mut conn in [endpoint.connection().await.unwrap(), endpoint.lease().await.unwrap()] {
        for pipeline in [&mut redis::pipe(), redis::pipe().atomic()] {
            let error = pipeline.query_async::<Vec<u32>>(&mut *conn).await.unwrap_err();
            assert!(matches!(Error::from(error), Error::Refused { .. }));
        }
    }
}

#[tokio::test]
async fn a_transaction_by_hand_that_met_a_loading_server_is_not_sent_again_and_says_why() {
    let slowly = ["--key-load-delay", "300", "--loading-process-events-interval-bytes", "1024"];
    let server = Server::start(&["--save", "", "--enable-debug-command", "yes"]).await;
    let (endpoint, _keeper) = lanes(&server, one_lane()).await;
    for pair in slowly.chunks(2) {
        let name = pair[0].trim_start_matches("--");
        let _: () = server.ask(&["CONFIG", "SET", name, pair[1]]).await;
    }
    let mut fill = redis::pipe();
    for n in 0..5_000 {
        fill.set(format!("filler:{n}"), "x".repeat(100)).ignore();
    }
    let mut filler = endpoint.lease().await.unwrap();
    fill.exec_async(&mut *filler).await.unwrap();
    let mut conn = endpoint.lease().await.unwrap();
    let _: () = redis::cmd("MULTI").query_async(&mut *conn).await.unwrap();
    let url = server.url();
    let reload = tokio::spawn(async move {
        let client = redis::Client::open(url).unwrap();
        let mut own = client.get_multiplexed_async_connection().await.unwrap();
        redis::cmd("DEBUG").arg("RELOAD").exec_async(&mut own).await
    });
    eventually("the server loads", async || loads(&server).await).await;
    let queued = conn.rpush::<_, _, ()>("jobs", "one").await.unwrap_err();
    assert!(matches!(Error::from(queued).outcome(), Outcome::Unavailable { .. }));
    reload.abort();
    eventually("the server has loaded", async || !loads(&server).await).await;
    // Queued like any other command, and no sign that the transaction has not failed.
    let script = ["return 1", "0"];
    let queued: String = redis::cmd("EVAL").arg(&script).query_async(&mut *conn).await.unwrap();
    assert_eq!(queued, "QUEUED");
    let exec = redis::cmd("EXEC").query_async::<()>(&mut *conn).await.unwrap_err();
    let exec = Error::from(exec);
    assert!(matches!(exec.outcome(), Outcome::Unavailable { .. }), "repeating helps: {exec:?}");
    assert!(!server.ask::<bool>(&["EXISTS", "jobs"]).await);
}
