//! A host's name is given another address while the server at the old one lives.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mainstay_actors::pool::RebuildPool;
use mainstay_actors::subscriptions::Event;
use mainstay_actors::tree::Tree;

use crate::support::{Port, Server, eventually, field, tree};

const NAME: &str = "moving.test";
/// Holds the path of the table of names, in the process that has one of its own.
const TABLE: &str = "MAINSTAY_TEST_TABLE_OF_NAMES";
/// Runs this program with a table of names of its own, where the system lets it.
const OUTER: &str = r#"mount --bind "$1" /etc/hosts && shift && exec "$@""#;

/// The path of the table of names, in the process that has one; otherwise runs the test called `test` in such a process,
/// and returns `None`.
fn table_of_names(test: &str) -> Option<PathBuf> {
    if let Some(table) = std::env::var_os(TABLE) {
        return Some(table.into());
    }
    let is_let = Command::new("unshare").args(["-Urm", "true"]).output();
    if !is_let.is_ok_and(|output| output.status.success()) {
        #[expect(clippy::print_stderr, reason = "whoever runs the tests is to know")]
        {
            eprintln!("{test}: this system gives nobody a table of names of one's own");
        }
        return None;
    }
    let home = tempfile::tempdir().unwrap();
    let table = home.path().join("hosts");
    leads_to(&table, "127.0.0.1");
    let mut inner = Command::new("unshare");
    inner.args(["-Urm", "sh", "-c", OUTER, "sh"]).arg(&table).arg(std::env::current_exe().unwrap());
    let output = inner.args(["--exact", test, "--nocapture"]).env(TABLE, &table).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
    None
}

/// In place: the table that is mounted stays the same file.
fn leads_to(table: &Path, address: &str) {
    std::fs::write(table, format!("{address} {NAME}\n")).unwrap();
}

/// One server stands for both: it says at which of its addresses a client is.
async fn server() -> Server {
    Server::start_configured(Port::reserve(), &["--bind", "127.0.0.1", "127.0.0.2"]).await
}

/// The connections of ours for each purpose are all at `address`.
async fn all_are_at(server: &Server, address: &str) {
    eventually(&format!("all are at {address}"), async || {
        let list: String = server.ask(&["CLIENT", "LIST"]).await;
        let ours: Vec<_> = list.lines().filter(|line| line.contains(" name=it:")).collect();
        let all = ["lane", "bulk", "probe", "subscriptions"];
        let has = |what: &str| ours.iter().any(|line| line.contains(&format!(":{what}:")));
        let is_there = |line: &&str| line.contains(&format!(" laddr={address}:"));
        (all.into_iter().all(has) && ours.iter().all(is_there)).then_some(())
    })
    .await;
}

async fn tree_at(server: &Server) -> Tree {
    let url = format!("redis://{NAME}:{}", server.address().port());
    tree::healthy(url, |config| config.probe_interval = Duration::from_millis(100)).await
}

// redis R25
#[tokio::test]
async fn a_name_that_moves_is_followed_by_every_connection_once_one_has_noticed() {
    let this = "names::a_name_that_moves_is_followed_by_every_connection_once_one_has_noticed";
    let Some(table) = table_of_names(this) else { return };
    let server = server().await;
    let tree = tree_at(&server).await;
    let mut news = tree.subscriptions().subscribe("news").await.unwrap();
    all_are_at(&server, "127.0.0.1").await;

    leads_to(&table, "127.0.0.2");
    let mut pinned = tree.cache().get().await.unwrap();
    pinned.pin().await.unwrap();
    drop(pinned);
    all_are_at(&server, "127.0.0.2").await;
    assert_eq!(tree.cache().status().generation, 2);
    assert!(tree.dependencies().iter().all(|dependency| dependency.healthy));
    assert!(matches!(news.next().await, Some(Event::Gap(_))));
    tree::end(tree).await;
}

#[tokio::test]
async fn a_rebuilt_pool_takes_the_probe_and_the_subscriptions_with_it() {
    let this = "names::a_rebuilt_pool_takes_the_probe_and_the_subscriptions_with_it";
    let Some(table) = table_of_names(this) else { return };
    let server = server().await;
    let tree = tree_at(&server).await;
    let _news = tree.subscriptions().subscribe("news").await.unwrap();
    all_are_at(&server, "127.0.0.1").await;
    leads_to(&table, "127.0.0.2");
    tree.ask(RebuildPool).await.unwrap();
    all_are_at(&server, "127.0.0.2").await;
    tree::end(tree).await;
}

#[tokio::test]
async fn a_name_with_several_addresses_is_no_name_that_moves() {
    let this = "names::a_name_with_several_addresses_is_no_name_that_moves";
    let Some(table) = table_of_names(this) else { return };
    let server = server().await;
    let both = format!("127.0.0.1 {NAME}\n127.0.0.2 {NAME}\n");
    std::fs::write(&table, &both).unwrap();
    let tree = tree_at(&server).await;
    let _news = tree.subscriptions().subscribe("news").await.unwrap();
    let lanes = server.clients("lane").await;
    let list: String = server.ask(&["CLIENT", "LIST"]).await;
    let lane = list.lines().find(|line| line.contains(&format!(" addr={} ", lanes[0]))).unwrap();
    let here = field(lane, "laddr").rsplit_once(':').unwrap().0;
    all_are_at(&server, here).await;
    assert_eq!(tree.cache().status().rebuilds, 0);
    for _ in 0..3 {
        tree.ask(RebuildPool).await.unwrap();
        all_are_at(&server, here).await;
    }
    assert_eq!(tree.cache().status().rebuilds, 3);
    tree::end(tree).await;
}

// redis R25
#[tokio::test]
async fn a_server_that_freezes_is_left_for_another_one_that_its_name_has() {
    let this = "names::a_server_that_freezes_is_left_for_another_one_that_its_name_has";
    let Some(table) = table_of_names(this) else { return };
    let both = format!("127.0.0.1 {NAME}\n127.0.0.2 {NAME}\n");
    std::fs::write(&table, &both).unwrap();
    let port = Port::reserve();
    let number = port.address().port().to_string();
    let second = ["--port", number.as_str(), "--bind", "127.0.0.2"];
    let servers = [
        Server::start_configured(port, &["--bind", "127.0.0.1"]).await,
        Server::start_with(Port::reserve(), &second).await,
    ];
    let url = format!("redis://{NAME}:{number}");
    let tree =
        tree::healthy(url, |config| config.connect_timeout = Duration::from_millis(300)).await;
    let cache = tree.cache();
    cache.get().await.unwrap().set("key", "at the first").await.unwrap();
    let value = async || cache.get().await.ok()?.get::<_, Option<String>>("key").await.ok();
    let first = usize::from(servers[1].ask::<bool>(&["EXISTS", "key"]).await);
    servers[first].freeze();
    eventually("the other one is asked", async || value().await?.is_none().then_some(())).await;
    eventually("it is healthy", async || {
        tree.dependencies().iter().all(|dependency| dependency.healthy).then_some(())
    })
    .await;
    servers[first].thaw();
    assert_eq!(value().await, Some(None), "and is asked from then on");
    tree::end(tree).await;
}
