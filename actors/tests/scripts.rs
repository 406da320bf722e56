//! What a script answers in the words of the server, and what the server answers instead of a script.

#![cfg(feature = "cache")]
#![expect(clippy::disallowed_methods, reason = "tests have no tree to run tasks in")]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use futures_util::FutureExt;
use mainstay_actors::Outcome;
use mainstay_actors::redis::{CacheConn, Cause, Error, Script, ServerState};

#[expect(dead_code, reason = "other tests use the rest of it")]
mod support;
use support::{Server, eventually, id, lanes, one_lane};

/// A script that counts its runs and then answers with this error.
fn answering(error: &str) -> Script {
    Script::new(format!("redis.call('INCR', KEYS[1]) return redis.error_reply('{error}')"))
}

async fn runs(conn: &mut CacheConn) -> u32 {
    conn.get::<_, Option<u32>>("runs").await.unwrap().unwrap_or(0)
}

#[tokio::test]
async fn a_script_that_speaks_like_the_server_has_run_once_and_costs_nobody_a_connection() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, one_lane()).await;
    let mut conn = endpoint.connection().await.unwrap();
    let before = id(&mut conn).await;
    let says = [
        "BUSY x",
        "LOADING x",
        "READONLY x",
        "OOM x",
        "MISCONF x",
        "NOREPLICAS x",
        "MASTERDOWN x",
        "CLUSTERDOWN x",
        "TRYAGAIN x",
        "NOAUTH x",
        "WRONGPASS x",
        "DENIED x",
        "NOPERM x",
        "NOSCRIPT x",
        "NOSCRIPT No matching script. Please use EVAL.",
        "NOSCRIPT No matching script.",
    ];
    for (done, says) in (1..).zip(says) {
        let error = answering(says).key("runs").invoke::<()>(&mut conn).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::OutcomeUnknown, "{says}: it has written");
        assert_eq!(runs(&mut conn).await, done, "{says}");
    }
    for word in ["QUEUED", "OK"] {
        let status = Script::new(format!("return redis.status_reply('{word}')"));
        assert_eq!(status.invoke::<String>(&mut conn).await.as_deref(), Ok(word));
    }
    assert_eq!(id(&mut endpoint.connection().await.unwrap()).await, before);
    assert!(endpoint.outdated().now_or_never().is_none(), "it asks for no new generation");
    for state in ServerState::ALL {
        assert_eq!(endpoint.health().refusals(state), 0, "{state}");
    }
}

#[tokio::test]
async fn a_script_of_the_redis_crate_is_loaded_and_runs_once() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, one_lane()).await;
    let mut conn = endpoint.connection().await.unwrap();
    let count = redis::Script::new("return redis.call('INCR', KEYS[1])");
    let counted: u32 = count.key("n").invoke_async(&mut *conn).await.unwrap();
    assert_eq!(counted, 1);
    let says = redis::Script::new(
        "redis.call('INCR', KEYS[1]) return redis.error_reply('NOSCRIPT of its own')",
    );
    let error = says.key("runs").invoke_async::<()>(&mut *conn).await.unwrap_err();
    assert_eq!(Error::from(error), Error::Partial { code: "NOSCRIPT".into() });
    assert_eq!(runs(&mut conn).await, 1);
}

#[tokio::test]
async fn in_a_pipeline_too_a_script_speaks_for_itself_only() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, one_lane()).await;
    let mut conn = endpoint.connection().await.unwrap();
    let before = id(&mut conn).await;
    for says in ["WRONGPASS x", "READONLY x", "NOAUTH x"] {
        for mut pipeline in [redis::pipe(), redis::pipe().atomic().clone()] {
            let script = format!("return redis.error_reply('{says}')");
            pipeline.cmd("EVAL").arg(&[&script, "0"]).incr("n", 1);
            let error = pipeline.exec_async(&mut *conn).await.unwrap_err();
            assert_eq!(Error::from(error).outcome(), Outcome::OutcomeUnknown, "{says}");
        }
    }
    assert_eq!(conn.get::<_, u32>("n").await, Ok(6));
    assert_eq!(id(&mut endpoint.connection().await.unwrap()).await, before);
    assert!(endpoint.outdated().now_or_never().is_none());
}

#[tokio::test]
async fn a_replica_that_refuses_a_scripts_write_is_asked_for_its_role() {
    let server = Server::start(&["--replicaof", "127.0.0.1", "1"]).await;
    let (endpoint, _keeper) = lanes(&server, one_lane()).await;
    let mut conn = endpoint.connection().await.unwrap();
    let writes = Script::new("return redis.call('SET', KEYS[1], 1)");
    let error = writes.key("key").invoke::<()>(&mut conn).await.unwrap_err();
    assert_eq!(error, Error::Partial { code: "READONLY".into() });
    assert_eq!(endpoint.health().refusals(ServerState::ReadOnly), 1);
    assert!(endpoint.outdated().now_or_never().is_some(), "a new generation is due");
    for mut pipeline in [redis::pipe(), redis::pipe().atomic().clone()] {
        pipeline.cmd("EVAL").arg(&["return redis.call('SET', KEYS[1], 1)", "1", "key"]);
        pipeline.exec_async(&mut *conn).await.unwrap_err();
        assert!(endpoint.outdated().now_or_never().is_some(), "in a pipeline, too");
    }
}

#[tokio::test]
async fn a_full_server_that_refuses_a_scripts_write_leaves_its_outcome_unknown_and_is_counted() {
    let server = Server::start(&["--maxmemory", "1"]).await;
    let (endpoint, _keeper) = lanes(&server, one_lane()).await;
    let mut conn = endpoint.connection().await.unwrap();
    let writes = Script::new("redis.call('PUBLISH', 'c', 1) return redis.call('SET', KEYS[1], 1)");
    let error = writes.key("key").invoke::<()>(&mut conn).await.unwrap_err();
    assert_eq!(error, Error::Partial { code: "OOM".into() });
    assert_eq!(endpoint.health().refusals(ServerState::Full), 1);
}

#[tokio::test]
async fn what_the_server_says_instead_of_running_a_script_is_known_not_to_have_run() {
    let server = Server::start(&["--busy-reply-threshold", "10"]).await;
    let (endpoint, _keeper) = lanes(&server, one_lane()).await;
    let mut conn = endpoint.connection().await.unwrap();
    let script = Script::new("return 1");
    assert_eq!(script.invoke::<u32>(&mut conn).await, Ok(1));
    let client = redis::Client::open(server.url()).unwrap();
    let mut elsewhere = client.get_multiplexed_async_connection().await.unwrap();
    let busy = tokio::spawn(async move {
        redis::cmd("EVAL").arg(&["while true do end", "0"]).exec_async(&mut elsewhere).await
    });
    eventually("it is busy", async || {
        let answer = script.invoke::<u32>(&mut conn).await;
        answer.is_err_and(|error| {
            assert!(matches!(error.outcome(), Outcome::Unavailable { .. }), "{error:?}");
            error.cause() == Some(Cause::Busy)
        })
    })
    .await;
    let _: () = server.ask(&["SCRIPT", "KILL"]).await;
    busy.await.unwrap().unwrap_err();
    let _: () = server.ask(&["ACL", "SETUSER", "default", "-evalsha"]).await;
    let error = script.invoke::<u32>(&mut conn).await.unwrap_err();
    assert_eq!(error, Error::Server { code: "NOPERM".into() });
}

#[tokio::test]
async fn a_script_that_the_server_has_lost_is_loaded_again_and_runs_once() {
    let server = Server::start(&[]).await;
    let (endpoint, _keeper) = lanes(&server, one_lane()).await;
    let mut conn = endpoint.connection().await.unwrap();
    // The word alone makes nobody doubt the server.
    let script = Script::new("return redis.call('INCR', KEYS[1]) -- NOSCRIPT");
    for done in 1..=3_u32 {
        assert_eq!(script.key("runs").invoke::<u32>(&mut conn).await, Ok(done));
        let _: () = server.ask(&["SCRIPT", "FLUSH"]).await;
    }
}
