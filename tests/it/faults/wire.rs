//! Replies that are odd, one too many, one too few, or large: they are their caller's affair, and nobody else's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mainstay_actors::redis::{CacheConn, Config, Endpoint, Error, Unreadable};
use redis::{Cmd, Value, cmd};
use tokio::task::JoinSet;

use super::address;
use crate::support::{Keeper, Server, endpoint, eventually};
use mainstay::testing::Port;

/// A server with `DEBUG`, and an endpoint with one lane.
struct Ground {
    server: Server,
    endpoint: Arc<Endpoint>,
    _keeper: Keeper,
}

/// Others on the same lane, who ask without pause and accept nothing but their own values.
struct Neighbours {
    tasks: JoinSet<u64>,
    enough: Arc<AtomicBool>,
}

impl Ground {
    async fn new() -> Self {
        let arguments = ["--enable-debug-command", "yes"];
        let server = Server::start_configured(Port::reserve(), &arguments).await;
        let endpoint = endpoint(Config {
            url: server.url(),
            lanes: Some(1),
            command_timeout: Duration::from_secs(10),
            ..Config::default()
        });
        let keeper = Keeper::of(&endpoint);
        eventually("every lane is there", async || {
            (endpoint.status().lanes == endpoint.lane_slots()).then_some(())
        })
        .await;
        Self { server, endpoint, _keeper: keeper }
    }

    async fn conn(&self) -> CacheConn {
        self.endpoint.connection().await.unwrap()
    }

    fn neighbours(&self) -> Neighbours {
        let enough = Arc::<AtomicBool>::default();
        let mut tasks = JoinSet::new();
        for number in 0..8 {
            let (endpoint, enough) = (Arc::clone(&self.endpoint), Arc::clone(&enough));
            tasks.spawn(async move {
                let mut conn = endpoint.connection().await.unwrap();
                let key = format!("neighbour:{number}");
                conn.set(&key, number).await.unwrap();
                let mut answered = 0;
                while !enough.load(Ordering::Relaxed) {
                    assert_eq!(conn.get::<_, u64>(&key).await.unwrap(), number);
                    answered += 1;
                }
                answered
            });
        }
        Neighbours { tasks, enough }
    }
}

impl Neighbours {
    /// Each of them had nothing but answers, and had some.
    async fn end(self) {
        self.enough.store(true, Ordering::Relaxed);
        for answered in self.tasks.join_all().await {
            assert!(answered > 0);
        }
    }
}

async fn ask(conn: &mut CacheConn, command: &Cmd) -> Result<Value, Error> {
    command.query_async(&mut **conn).await.map_err(Error::from)
}

fn eval(script: &str, argument: &[u8]) -> Cmd {
    cmd("EVAL").arg(script).arg(0).arg(argument).take()
}

fn nested(depth: usize) -> Cmd {
    eval(&format!("local t = 1 for _ = 1, {depth} do t = {{t}} end return t"), b"")
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + depth(&values[0]),
        _ => 0,
    }
}

fn refused(code: &str) -> Result<Value, Error> {
    Err(Error::Server { code: code.into() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_in_any_bytes_and_any_form_is_its_callers_own_affair() {
    let ground = Ground::new().await;
    let neighbours = ground.neighbours();
    let mut conn = ground.conn().await;
    let lane = address(&mut conn).await;
    let bytes = b"\xff\xfe";
    for _ in 0..20 {
        let status = ask(&mut conn, &eval("return {ok=ARGV[1]}", bytes)).await;
        assert_eq!(status, Ok(Value::SimpleString("\u{fffd}\u{fffd}".into())));
        let error = ask(&mut conn, &eval("return {err=ARGV[1]}", bytes)).await;
        assert_eq!(error, refused("ERR"));
        let error = ask(&mut conn, &eval("return {err='MINE ' .. ARGV[1]}", bytes)).await;
        assert_eq!(error, refused("MINE"));

        let object = cmd("OBJECT").arg(bytes).arg("k").take();
        assert_eq!(ask(&mut conn, &object).await, refused("ERR"));
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(bytes).arg("c").arg("STREAMS").arg("s").arg(">");
        assert_eq!(ask(&mut conn, &read).await, refused("NOGROUP"));
        let pending = cmd("XPENDING").arg(b"stream\xff").arg("g").take();
        assert_eq!(ask(&mut conn, &pending).await, refused("NOGROUP"));
        let value = ask(&mut conn, &cmd("ECHO").arg(bytes).take()).await;
        assert_eq!(value, Ok(Value::BulkString(bytes.to_vec())));

        for levels in [99, 100, 101, 128] {
            let value = ask(&mut conn, &nested(levels)).await.unwrap();
            assert_eq!(depth(&value), levels);
        }
        let deep = ask(&mut conn, &nested(200)).await;
        assert_eq!(deep, Err(Error::Unreadable { why: Unreadable::TooDeep }));

        let mut pipeline = redis::pipe();
        pipeline.add_command(cmd("SET").arg("k").arg("v").take());
        pipeline.add_command(eval("return {ok=ARGV[1]}", bytes));
        pipeline.add_command(cmd("GET").arg("k").take());
        let values: Vec<Value> = pipeline.query_async(&mut *conn).await.unwrap();
        assert_eq!(values[2], Value::BulkString(b"v".to_vec()));
        let values: Vec<Value> = pipeline.atomic().query_async(&mut *conn).await.unwrap();
        assert_eq!(values[2], Value::BulkString(b"v".to_vec()));
    }
    assert_eq!(address(&mut conn).await, lane, "all of it went over the lane, which still serves");
    neighbours.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_may_count_otherwise_has_a_connection_of_its_own() {
    let ground = Ground::new().await;
    let neighbours = ground.neighbours();
    let lane = address(&mut ground.conn().await).await;
    let push = cmd("DEBUG").arg("PROTOCOL").arg("push").take();
    for is_atomic in [true, false] {
        let mut conn = ground.conn().await;
        let mut pipeline = redis::pipe();
        if is_atomic {
            pipeline.atomic();
        }
        pipeline.add_command(push.clone());
        pipeline.cmd("SET").arg("k").arg("v");
        let replied: Result<Vec<Value>, _> = pipeline.query_async(&mut *conn).await;
        // Whatever came of it, the next command does not read its replies.
        let found = conn.get::<_, String>("k").await;
        assert!(found.is_err() || found.as_deref() == Ok("v"), "{replied:?}, then {found:?}");
    }
    let mut conn = ground.conn().await;
    ask(&mut conn, &push).await.unwrap();
    let own = address(&mut conn).await;
    assert_ne!(own, lane);
    drop(conn);
    eventually("the connection is closed", async || {
        (!ground.server.clients("lease").await.contains(&own)).then_some(())
    })
    .await;
    assert_eq!(address(&mut ground.conn().await).await, lane);
    neighbours.end().await;
}

// redis R16
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_megabytes_end_no_connection() {
    const LARGE: usize = 100 << 20;
    let ground = Ground::new().await;
    let neighbours = ground.neighbours();
    let mut conn = ground.conn().await;
    let lane = address(&mut conn).await;
    let value = vec![b'x'; LARGE];
    conn.set("large", &value).await.unwrap();
    assert_eq!(address(&mut conn).await, lane, "only the large command went elsewhere");
    assert!(conn.get::<_, Vec<u8>>("large").await.unwrap() == value);
    let script = "return {ARGV[1], 1, redis.call('GET', 'large')}";
    let list = ask(&mut conn, &eval(script, b"a")).await.unwrap();
    let Value::Array(list) = list else { panic!("a list") };
    assert_eq!(list[1], Value::Int(1));
    assert_eq!(address(&mut conn).await, lane);
    neighbours.end().await;
    assert!(ground.endpoint.status().large_values >= 2, "the replies");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_command_overtakes_no_write_in_doubt() {
    let ground = super::Ground::new(1, Duration::from_millis(300)).await;
    let mut conn = ground.conn().await;
    let lane = address(&mut conn).await;
    let held = super::Weather::HeldAfter(super::Way::ToServer, 0);
    assert!(ground.proxy.set_for(lane, held));
    let large = vec![b'x'; 100_000];
    conn.set("k", "late").await.unwrap_err();
    conn.set("k", &large).await.unwrap_err();
    assert_eq!(ground.server.ask::<Option<String>>(&["GET", "k"]).await, None);
    assert!(ground.proxy.set_for(lane, super::Weather::Fair));
    let last = eventually("both have arrived", async || {
        let found = ground.server.ask::<Option<String>>(&["GET", "k"]).await?;
        (found.len() == large.len()).then_some(found)
    })
    .await;
    assert_eq!(last.len(), large.len());
}
