//! A host's name is given another address while the old one still answers.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::{Port, Server, tree, within};

const NAME: &str = "moving.test";
const AGE: Duration = Duration::from_secs(2);

/// The argument that has this program be the inner one.
pub(crate) const INNER: &str = "moved-name";
/// Gives the inner program a table of names of its own, where the system lets it.
const OUTER: &str = r#"mount --bind "$1" /etc/hosts && exec "$2" "$3" "$1""#;

/// From the change, the time until every connection goes to the new address. `None` where the system lets nobody
/// have a table of names of one's own.
pub(crate) fn moved_name() -> Option<Duration> {
    let home = tempfile::tempdir().unwrap();
    let table = home.path().join("hosts");
    write(&table, "127.0.0.1");
    let program = std::env::current_exe().unwrap();
    let is_let = Command::new("unshare").args(["-Urm", "true"]).output();
    is_let.ok().filter(|output| output.status.success())?;
    let mut inner = Command::new("unshare");
    inner.args(["-Urm", "sh", "-c", OUTER, "sh"]).arg(&table).arg(program).arg(INNER);
    let output = inner.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    Some(Duration::from_millis(said.trim().parse().unwrap()))
}

/// Prints the time in milliseconds. One server stands for both: it says at which of its addresses a client is.
pub(crate) async fn inner(table: &Path) {
    let server =
        Server::start_configured(Port::reserve(), &["--bind", "127.0.0.1", "127.0.0.2"]).await;
    let url = format!("redis://{NAME}:{}", server.address().port());
    let tree = tree::healthy(url, |config| config.recycle_timeout = AGE).await;
    let cache = tree.cache();
    let are_at = async |address: &str| {
        // One that is idle is replaced when it is wanted.
        cache.get().await.unwrap().pin().await.unwrap();
        let list: String = server.ask(&["CLIENT", "LIST"]).await;
        let mut ours = list.lines().filter(|line| line.contains(" name=it:"));
        ours.all(|line| line.contains(&format!(" laddr={address}:"))).then_some(())
    };
    within(AGE, "all are at the old address", async || are_at("127.0.0.1").await).await;
    write(table, "127.0.0.2");
    let begun = Instant::now();
    within(10 * AGE, "all are at the new address", async || are_at("127.0.0.2").await).await;
    println!("{}", begun.elapsed().as_millis());
    tree::end(tree).await;
}

/// In place: the table that is mounted stays the same file.
fn write(table: &Path, address: &str) {
    std::fs::write(table, format!("{address} {NAME}\n")).unwrap();
}
