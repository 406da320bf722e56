//! A host's name is given another address while the server at the old one lives.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mainstay_actors::pool::RebuildPool;
use mainstay_actors::subscriptions::Event;
use mainstay_actors::tree::Tree;

use mainstay_actors::redis::{Cause, Config};

use crate::support::{Listener, Port, Server, Welcome, endpoint, eventually, field, tree};

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

const ALL: [&str; 4] = ["lane", "bulk", "probe", "subscriptions"];

/// The connections of ours for each of these purposes are there, and all are at `address`.
async fn all_are_at(server: &Server, address: &str, purposes: &[&str]) {
    eventually(&format!("all are at {address}"), async || {
        let list: String = server.ask(&["CLIENT", "LIST"]).await;
        let ours: Vec<_> = list.lines().filter(|line| line.contains(" name=it:")).collect();
        let has = |what: &str| ours.iter().any(|line| line.contains(&format!(":{what}:")));
        let is_there = |line: &&str| line.contains(&format!(" laddr={address}:"));
        (purposes.iter().all(|&purpose| has(purpose)) && ours.iter().all(is_there)).then_some(())
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
    all_are_at(&server, "127.0.0.1", &ALL).await;

    leads_to(&table, "127.0.0.2");
    let mut pinned = tree.cache().get().await.unwrap();
    pinned.pin().await.unwrap();
    drop(pinned);
    all_are_at(&server, "127.0.0.2", &ALL).await;
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
    all_are_at(&server, "127.0.0.1", &ALL).await;
    leads_to(&table, "127.0.0.2");
    tree.ask(RebuildPool).await.unwrap();
    all_are_at(&server, "127.0.0.2", &ALL).await;
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
    all_are_at(&server, here, &ALL).await;
    assert_eq!(tree.cache().status().rebuilds, 0);
    for _ in 0..3 {
        tree.ask(RebuildPool).await.unwrap();
        all_are_at(&server, here, &ALL).await;
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

/// Gives `name` two addresses, and returns them in the order in which the resolver names them.
fn two_addresses(table: &Path, name: &str, port: u16) -> [SocketAddr; 2] {
    std::fs::write(table, format!("127.0.0.1 {name}\n127.0.0.2 {name}\n")).unwrap();
    let found: Vec<_> = (name, port).to_socket_addrs().unwrap().collect();
    found.try_into().unwrap()
}

/// A server at `address`.
async fn server_at(address: SocketAddr, arguments: &[&str]) -> Server {
    let (host, number) = (address.ip().to_string(), address.port().to_string());
    let at = ["--port", &number, "--bind", &host];
    Server::start_with(Port::reserve(), &[&at, arguments].concat()).await
}

fn named(name: &str, port: u16) -> Config {
    let url = format!("redis://{name}:{port}");
    Config { url, connect_timeout: Duration::from_secs(5), ..Config::default() }
}

#[tokio::test]
async fn a_name_is_ready_by_its_second_address_where_the_first_closes_or_is_silent() {
    let this = "names::a_name_is_ready_by_its_second_address_where_the_first_closes_or_is_silent";
    let Some(table) = table_of_names(this) else { return };
    for welcome in [Welcome::Reset, Welcome::Silence] {
        let port = Port::reserve().address().port();
        let [first, second] = two_addresses(&table, NAME, port);
        let listener = Listener::at(first, welcome).await;
        let server = server_at(second, &[]).await;
        let url = format!("redis://{NAME}:{port}");
        let tree = tree::healthy(url, |config| config.connect_timeout = SOON).await;
        assert!(!listener.accepted().is_empty(), "{welcome:?}: the first one was tried");
        all_are_at(&server, &second.ip().to_string(), &["lane", "bulk", "probe"]).await;
        let asked = listener.accepted().len();
        tree.cache().get().await.unwrap().pin().await.unwrap();
        assert_eq!(listener.accepted().len(), asked, "{welcome:?}: the one that answered is first");
        assert_eq!(tree.cache().status().rebuilds, 0);
        tree::end(tree).await;
    }
}

#[tokio::test]
async fn a_name_is_ready_by_its_second_address_where_the_first_does_not_serve() {
    let this = "names::a_name_is_ready_by_its_second_address_where_the_first_does_not_serve";
    let Some(table) = table_of_names(this) else { return };
    let port = Port::reserve().address().port();
    let [first, second] = two_addresses(&table, NAME, port);
    let _refuses = server_at(first, &["--requirepass", "sesame"]).await;
    let _serves = server_at(second, &[]).await;
    endpoint(named(NAME, port)).probe_connection().await.unwrap().ping().await.unwrap();
}

#[tokio::test]
async fn of_two_addresses_that_fail_the_more_telling_cause_is_told() {
    let this = "names::of_two_addresses_that_fail_the_more_telling_cause_is_told";
    let Some(table) = table_of_names(this) else { return };
    for server_is_first in [true, false] {
        for other in [None, Some(Welcome::Reset), Some(Welcome::Silence)] {
            let port = Port::reserve().address().port();
            let mut both = two_addresses(&table, NAME, port);
            if !server_is_first {
                both.reverse();
            }
            let _server = server_at(both[0], &["--requirepass", "sesame"]).await;
            let _other = match other {
                Some(welcome) => Some(Listener::at(both[1], welcome).await),
                None => None,
            };
            let connect_timeout = Duration::from_secs(1);
            let endpoint = endpoint(Config { connect_timeout, ..named(NAME, port) });
            let told = endpoint.probe_connection().await.unwrap_err();
            assert_eq!(told, Cause::NoPassword, "{server_is_first} {other:?}");
        }
    }
}

const SOON: Duration = Duration::from_secs(5);

#[cfg(feature = "tls")]
mod tls {
    use mainstay_actors::redis::{Config, Tls};

    use super::{NAME, named, table_of_names, two_addresses};
    use crate::support::{Authority, Listener, Port, Server, Welcome, endpoint};

    #[tokio::test]
    async fn the_tls_handshake_is_part_of_the_race() {
        let this = "names::tls::the_tls_handshake_is_part_of_the_race";
        let Some(table) = table_of_names(this) else { return };
        let (authority, home) = (Authority::new(), tempfile::tempdir().unwrap());
        authority.certify_another(home.path());
        std::fs::write(home.path().join("ca.pem"), authority.pem()).unwrap();
        let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
        for welcome in [Welcome::Reset, Welcome::Silence] {
            let number = Port::reserve().address().port();
            let [first, second] = two_addresses(&table, "other.example", number);
            let _listener = Listener::at(first, welcome).await;
            let (port, host) = (number.to_string(), second.ip().to_string());
            let (cert, key) = (path("cert.pem"), path("key.pem"));
            let arguments = [
                ["--tls-port", &port],
                ["--bind", &host],
                ["--tls-cert-file", &cert],
                ["--tls-key-file", &key],
                ["--tls-ca-cert-file", &cert],
                ["--tls-auth-clients", "no"],
            ];
            let _server = Server::start_with(Port::reserve(), arguments.as_flattened()).await;
            let tls = Tls { ca_file: Some(home.path().join("ca.pem")), ..Tls::default() };
            let url = format!("rediss://other.example:{number}");
            let endpoint = endpoint(Config { url, tls, ..named(NAME, number) });
            endpoint.probe_connection().await.unwrap().ping().await.unwrap();
        }
    }
}
