//! What docs/redis.md says: where a command goes, which connections there are, what a service needs of a server.

use mainstay::actor::State as Doing;
use mainstay::cache::{self, RebuildPool, Script};
use mainstay::prelude::*;
use tracing::Level;

use crate::support::{App, Log, Port, Server, config, eventually};

const DOCUMENT: &str = include_str!("../../docs/redis.md");

/// What may be lacking, and what is logged of it.
const RESP3: &str = "redis has no RESP3, so RESP2 is spoken";
const SETNAME: &str = "redis refuses CLIENT SETNAME";
const LOAD: &str = "redis refuses SCRIPT LOAD";
const INFO: &str = "redis refuses COMMAND INFO";

/// A command that we do not know.
const STRANGE: [&str; 3] = ["--rename-command", "STRLEN", "LENGTH"];

/// The user of docs/redis.md.
fn least_user() -> Vec<&'static str> {
    let line = DOCUMENT.lines().find(|line| line.starts_with("ACL SETUSER shop ")).unwrap();
    line.split(' ').collect()
}

async fn server(arguments: &[&str]) -> Server {
    let port = Port::reserve();
    let number = port.address().port().to_string();
    Server::start_with(port, &[&["--port", &number], &STRANGE[..], arguments].concat()).await
}

/// All of ours once, with every right that it needs or without.
async fn does_everything(app: &App) -> Result<()> {
    app.becomes_ready().await;
    let cache = app.state.cache()?;
    let mut conn = cache.get().await?;
    let key = "shop:key";
    conn.set(key, 1).await?;
    conn.set_ex(key, 1, 60).await?;
    assert!(conn.exists(key).await? && conn.expire(key, 60).await?);
    assert_eq!(conn.incr::<_, _, u64>(key, 1).await?, 2);
    assert_eq!(conn.get::<_, u64>(key).await?, 2);
    assert_eq!(redis::cmd("LENGTH").arg(key).query_async::<u64>(&mut *conn).await?, 1);
    drop(conn);

    let mut conn = cache.get().await?;
    conn.transaction(key, |tx| {
        Box::pin(async move {
            tx.get::<_, u64>(key).await?;
            // Without a commit, so that it has to be ended.
            Ok::<_, Error>(())
        })
    })
    .await?;
    conn.transaction(key, |tx| {
        Box::pin(async move {
            tx.queue().incr(key, 1).ignore();
            Ok::<_, Error>(tx.commit::<()>().await?)
        })
    })
    .await?;
    assert_eq!(conn.del(key).await?, 1);
    drop(conn);

    let script = Script::new("return redis.call('INCRBY', KEYS[1], 2)");
    for _ in 0..2 {
        let mut conn = cache.get().await?;
        script.key(key).invoke::<u64>(&mut conn).await?;
    }
    // New lanes load what was called.
    app.state.ask(RebuildPool).await?;
    eventually("the lanes are new", async || {
        let replaced =
            app.state.tree().find("pool-manager")?.facts.get("lanes_replaced")?.as_u64()?;
        (replaced >= 2).then_some(())
    })
    .await;
    let mut conn = cache.get().await?;
    script.key(key).invoke::<u64>(&mut conn).await?;
    conn.pin().await?;
    assert_eq!(conn.get::<_, u64>(key).await?, 6);
    conn.del(key).await?;
    assert!(app.is_ready().await);
    assert_eq!(app.restarts(), 0);
    assert_eq!(app.state.tree().state, Doing::Up);
    Ok(())
}

/// The lines that say what is lacking.
fn lacking(log: &Log) -> Vec<String> {
    let lines = log.lines(Level::INFO);
    lines
        .into_iter()
        .filter(|l| l.contains("redis has no") || l.contains("redis refuses"))
        .collect()
}

/// It does everything, and says in a line each what it does without.
async fn does_without(url: String, without: &[&str]) {
    let log = Log::here();
    let app = App::start(config(url), Router::new()).await;
    does_everything(&app).await.unwrap();
    let lines = lacking(&log);
    assert_eq!(lines.len(), without.len(), "{lines:#?}");
    for lack in without {
        assert!(lines.iter().any(|line| line.contains(lack)), "{lack}: {lines:#?}");
    }
    app.end().await;
}

async fn as_user(changes: &[&str], without: &[&str]) -> Server {
    let server = server(&[]).await;
    let rights = [&least_user()[..], &["+strlen"], changes].concat();
    server.ask::<()>(&rights).await;
    let url = server.url().replace("redis://", "redis://shop:secret@");
    does_without(url, without).await;
    server
}

#[tokio::test]
async fn the_least_rights_of_the_documentation_are_enough_for_everything() {
    let server = as_user(&[], &[]).await;
    let refused: redis::Value = server.ask(&["ACL", "LOG"]).await;
    // Servers since 7.2 know this one, and a user of an older one cannot be given it.
    let shown = format!("{refused:?}");
    let refusals = shown.matches("\"toplevel\"").count();
    assert_eq!(refusals, shown.matches("\"client|setinfo\"").count(), "{shown}");
}

#[tokio::test]
async fn a_user_without_the_rights_of_our_own_commands_can_do_everything_else() {
    as_user(&["-ping", "-unwatch"], &[]).await;
    as_user(&["-client|setname"], &[SETNAME]).await;
    as_user(&["-command|info"], &[INFO]).await;
    as_user(&["-script|load"], &[LOAD]).await;
}

#[tokio::test]
async fn a_server_without_newer_commands_is_used_without_them_and_a_line_says_so() {
    for (command, lack) in
        [("HELLO", RESP3), ("CLIENT", SETNAME), ("COMMAND", INFO), ("SCRIPT", LOAD)]
    {
        let server = server(&["--rename-command", command, ""]).await;
        does_without(server.url(), &[lack]).await;
    }
}

#[tokio::test]
async fn a_database_of_its_own_needs_the_right_to_select_it() {
    let server = server(&[]).await;
    server.ask::<()>(&least_user()).await;
    let url = format!("{}/3", server.url().replace("redis://", "redis://shop:secret@"));
    let app = App::start(config(url), Router::new()).await;
    let message = eventually("the cause is known", async || {
        let ready = app.get("/ready").await.json();
        let message = ready["dependencies"]["redis"]["message"].as_str()?.to_owned();
        (message != "no probe has ended yet").then_some(message)
    })
    .await;
    assert!(message.contains("that the user may SELECT"), "{message}");
    server.ask::<()>(&["ACL", "SETUSER", "shop", "+select"]).await;
    app.becomes_ready().await;
}

/// The commands in a column of that row of a table in the documentation which begins so.
fn commands(row: &str, column: usize) -> Vec<&'static str> {
    let line = DOCUMENT.lines().find(|line| line.starts_with(row)).unwrap();
    let cell = line.split('|').nth(column).unwrap();
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted.filter(|words| words.chars().all(|c| !c.is_lowercase())).collect()
}

/// Sends a command without more arguments, and says what came of it and whether it took a lease.
async fn sent(app: &App, words: &str) -> (Result<redis::Value, cache::Error>, bool) {
    let cache = app.state.cache().unwrap();
    let mut conn = cache.get().await.unwrap();
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    let reply = command.arg(words.collect::<Vec<_>>()).query_async(&mut *conn).await;
    let status = cache.status();
    (reply.map_err(cache::Error::from), status.available < status.max_size)
}

#[tokio::test]
async fn each_command_of_the_documentation_goes_where_it_says() {
    let server = Server::start().await;
    let app = App::start(config(server.url()), Router::new()).await;
    app.becomes_ready().await;
    let mut count = 0;
    let rows = [
        ("| ordinary |", false),
        ("| a connection of its own |", true),
        ("| | what leaves state behind", true),
    ];
    for (row, pins) in rows {
        for words in commands(row, 2) {
            let (_reply, has_pinned) = sent(&app, words).await;
            assert_eq!(has_pinned, pins, "{words}");
            count += 1;
        }
    }
    let refused = DOCUMENT.split("| refused | instead |").nth(1).unwrap().lines().skip(2);
    let rows = refused.take_while(|line| line.starts_with('|')).map(|row| commands(row, 1));
    for words in rows.flatten().chain(commands("| `WAIT`", 1)) {
        let (reply, has_pinned) = sent(&app, words).await;
        assert!(matches!(reply, Err(cache::Error::Refused { .. })), "{words}: {reply:?}");
        assert!(!has_pinned, "{words}");
        count += 1;
    }
    assert!(count > 40, "hardly any command was found: {count}");
}

#[tokio::test]
async fn connections_are_called_and_counted_as_documented() {
    let server = Server::start().await;
    let config = config(server.url());
    let (lanes, most) = (config.redis.lane_count(), config.redis.most_connections());
    let sum = usize::try_from(config.redis.max_connections).unwrap() + 2 * (lanes + 1) + 3;
    assert_eq!(most, sum);
    let app = App::start(config, Router::new()).await;
    app.becomes_ready().await;
    let mut conn = app.state.cache().unwrap().get().await.unwrap();
    conn.pin().await.unwrap();
    for (purpose, wanted) in [("lane", lanes), ("bulk", 1), ("lease", 1), ("probe", 1)] {
        let name = format!("it:redis:{purpose}:{}", std::process::id());
        eventually(&name, async || {
            let names = server.client_names().await;
            (names.iter().filter(|one| **one == name).count() == wanted).then_some(())
        })
        .await;
        assert!(DOCUMENT.contains(&format!("| `<service>:redis:{purpose}:<pid>` |")), "{purpose}");
    }
}
