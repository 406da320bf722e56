//! The table of docs/redis.md: what a raw `redis::Value` holds with RESP3, and with RESP2.

use mainstay_actors::redis::Config;
use redis::Value;

use crate::support::{Keeper, Proxy, Server, endpoint, eventually};

const DOCUMENT: &str = include_str!("../../docs/redis.md");

const STORED: [&str; 6] = [
    "HSET hash f v",
    "SADD set a",
    "ZADD sorted 1.5 a",
    "GEOADD geo 1 2 place",
    "RPUSH list a",
    "SET float 1",
];

/// The command, and what is read by each protocol.
fn rows() -> Vec<[&'static str; 3]> {
    let heading = "| command | RESP3 | RESP2 |";
    let table = DOCUMENT.lines().skip_while(|line| *line != heading).skip(2);
    let cells = |line: &'static str| {
        let mut cells =
            line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`'));
        [(); 3].map(|()| cells.next().unwrap())
    };
    table.take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// The value's type and those of what it holds.
fn shape(value: &Value) -> String {
    let all = |values: &[Value]| values.iter().map(shape).collect::<Vec<_>>().join(", ");
    match value {
        Value::Nil => "Nil".to_owned(),
        Value::Int(_) => "Int".to_owned(),
        Value::BulkString(_) => "BulkString".to_owned(),
        Value::SimpleString(_) | Value::Okay => "SimpleString".to_owned(),
        Value::Double(_) => "Double".to_owned(),
        Value::Boolean(_) => "Boolean".to_owned(),
        Value::Array(values) => format!("Array[{}]", all(values)),
        Value::Set(values) => format!("Set[{}]", all(values)),
        Value::Map(pairs) => {
            let pair = |(key, value)| format!("{}: {}", shape(key), shape(value));
            let pairs = pairs.iter().map(|(key, value)| pair((key, value)));
            format!("Map[{}]", pairs.collect::<Vec<_>>().join(", "))
        }
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn the_page_shows_what_a_raw_value_holds_by_each_protocol() {
    let rows = rows();
    assert!(rows.len() >= 10, "{rows:?}");
    let server = Server::start().await;
    for words in STORED {
        let _: Value = server.ask(&words.split(' ').collect::<Vec<_>>()).await;
    }
    for protocol in [3, 2] {
        let proxy = Proxy::before(server.address()).await;
        if protocol == 2 {
            proxy.on("HELLO").refuse("ERR unknown command 'HELLO'");
        }
        let endpoint = endpoint(Config { url: proxy.url(), ..Config::default() });
        let _keeper = Keeper::of(&endpoint);
        let mut conn = eventually("a connection", async || endpoint.connection().await.ok()).await;
        for [asked, in_resp3, in_resp2] in &rows {
            let mut command = redis::Cmd::new();
            command.arg(asked.split(' ').collect::<Vec<_>>());
            let value: Value = command.query_async(&mut *conn).await.unwrap();
            let wanted = if protocol == 3 { in_resp3 } else { in_resp2 };
            assert_eq!(shape(&value), *wanted, "RESP{protocol}: {asked}");
        }
        // Types are the same by both.
        let hash: Vec<(String, String)> =
            redis::cmd("HGETALL").arg("hash").query_async(&mut *conn).await.unwrap();
        assert_eq!(hash, [("f".to_owned(), "v".to_owned())]);
        let sorted: Vec<(String, f64)> = redis::cmd("ZRANGE")
            .arg(&["sorted", "0", "-1", "WITHSCORES"])
            .query_async(&mut *conn)
            .await
            .unwrap();
        assert_eq!(sorted, [("a".to_owned(), 1.5)]);
        let score: f64 =
            redis::cmd("ZSCORE").arg(&["sorted", "a"]).query_async(&mut *conn).await.unwrap();
        assert!((score - 1.5).abs() < f64::EPSILON);
        let is_member: bool =
            redis::cmd("SISMEMBER").arg(&["set", "a"]).query_async(&mut *conn).await.unwrap();
        assert!(is_member);
    }
}
