//! The embedded server whose files somebody removes, replaces or closes off: a cleaner of /tmp, or a hand.
#![cfg(feature = "embedded")]
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_actors::embedded::Home;
use mainstay_actors::tree::{Setup, Tree};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// A tree, with the directory of its server below one of the test's own.
struct Started {
    tree: Tree,
    home: PathBuf,
    first: u64,
    temp: TempDir,
}

impl Started {
    async fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let tree = tree_in(temp.path()).await;
        let home = homes_in(temp.path()).pop().unwrap();
        let first = eventually("a server", async || pid(&tree)).await;
        eventually("a value is stored", async || stores(&tree).await).await;
        Self { tree, home, first, temp }
    }

    fn socket(&self) -> PathBuf {
        self.home.join("redis.sock")
    }

    /// Another server listens at the same path, and callers reach it, on connections that exist and on new ones.
    async fn has_another_server(&self, why: &str) {
        let told = Instant::now();
        let second =
            eventually(why, async || pid(&self.tree).filter(|pid| *pid != self.first)).await;
        eventually("a value is stored again", async || stores(&self.tree).await).await;
        let mut pinned = self.tree.cache().get().await.unwrap();
        eventually("a new connection", async || pinned.pin().await.ok()).await;
        assert!(told.elapsed() < Duration::from_secs(1 + 1), "{why}: {:?}", told.elapsed());
        assert!(is_alive(second) && !is_alive(self.first), "{why}: one server, and not two");
        self.is_in_order(why);
    }

    /// It is the server that it was, and the files are as they were.
    async fn has_the_same_server(&self, why: &str) {
        eventually(why, async || is_private(&self.home).then_some(())).await;
        assert_eq!(pid(&self.tree), Some(self.first), "{why}");
        assert!(stores(&self.tree).await.is_some(), "{why}");
        self.is_in_order(why);
    }

    fn is_in_order(&self, why: &str) {
        assert!(is_private(&self.home), "{why}");
        assert!(fs::symlink_metadata(self.socket()).unwrap().file_type().is_socket(), "{why}");
        assert_eq!(
            homes_in(self.temp.path()),
            std::slice::from_ref(&self.home),
            "{why}: nothing is left over"
        );
        for child in &self.tree.snapshot().children {
            assert_eq!(child.restarts, 0, "{why}: {}", child.path);
        }
    }

    async fn end(self) {
        let Self { tree, home, temp: _temp, .. } = self;
        assert!(tree.shutdown(Duration::from_secs(5)).await.is_clean());
        drop(tree);
        eventually("its directory goes with it", async || (!home.exists()).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cleaner_removes_or_somebody_replaces_is_made_again() {
    type Damage = fn(&Started);
    let damages: [(&str, Damage); 7] = [
        ("the socket is removed", |it| fs::remove_file(it.socket()).unwrap()),
        ("the directory is removed", |it| fs::remove_dir_all(&it.home).unwrap()),
        ("everything is removed, with what it stood in", |it| {
            fs::remove_dir_all(it.temp.path()).unwrap();
        }),
        ("the socket is replaced by another file", |it| {
            fs::remove_file(it.socket()).unwrap();
            fs::write(it.socket(), "no socket").unwrap();
        }),
        ("the socket is replaced by another socket", |it| {
            fs::remove_file(it.socket()).unwrap();
            drop(UnixListener::bind(it.socket()).unwrap());
        }),
        ("the socket is replaced by a directory", |it| {
            fs::remove_file(it.socket()).unwrap();
            fs::create_dir_all(it.socket().join("deep")).unwrap();
        }),
        ("the directory is replaced by another", |it| {
            fs::rename(&it.home, it.temp.path().join("elsewhere")).unwrap();
            fs::create_dir_all(it.home.join("deep")).unwrap();
            drop(UnixListener::bind(it.socket()).unwrap());
        }),
    ];
    for (what, damage) in damages {
        let started = Started::new().await;
        damage(&started);
        started.has_another_server(what).await;
        started.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_place_of_the_directory_is_removed_and_what_it_names_is_left_alone() {
    let started = Started::new().await;
    let (elsewhere, kept) = (tempfile::tempdir().unwrap(), "kept");
    fs::write(elsewhere.path().join(kept), "").unwrap();
    fs::remove_dir_all(&started.home).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), &started.home).unwrap();
    started.has_another_server("the directory is replaced by a link").await;
    assert!(elsewhere.path().join(kept).exists());
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
    started.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_put_right_in_place_costs_no_data() {
    let started = Started::new().await;
    for mode in [0o000, 0o500, 0o777] {
        fs::set_permissions(&started.home, PermissionsExt::from_mode(mode)).unwrap();
        started.has_the_same_server("the directory's permissions change").await;
    }
    fs::set_permissions(started.socket(), PermissionsExt::from_mode(0o000)).unwrap();
    let mode = || fs::symlink_metadata(started.socket()).unwrap().mode() & 0o777;
    eventually("the socket is open again", async || (mode() == 0o700).then_some(())).await;

    for damage in [
        |lock: &Path| fs::remove_file(lock),
        |lock: &Path| {
            fs::remove_file(lock)?;
            fs::write(lock, "")
        },
    ] {
        damage(&started.home.join("lock")).unwrap();
        let held = || fs::File::open(started.home.join("lock")).ok()?.try_lock().err();
        eventually("the lock is held again", async || held()).await;
        // What looks for the directories of processes that have ended leaves it alone.
        drop(Home::create(started.temp.path()).unwrap());
        started.has_the_same_server("the lock is removed").await;
    }
    started.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_lose_and_reclaim_each_their_own() {
    let one = Started::new().await;
    let other = tree_in(one.temp.path()).await;
    let its = pid(&other);
    for _ in 0..3 {
        let before = pid(&one.tree);
        fs::remove_dir_all(&one.home).unwrap();
        // Looks for what is left over while the one makes its directory again.
        let again = async || {
            drop(Home::create(one.temp.path()).unwrap());
            pid(&one.tree).filter(|pid| Some(*pid) != before)
        };
        eventually("another server", again).await;
        eventually("a value is stored again", async || stores(&one.tree).await).await;
    }
    assert_eq!(pid(&other), its, "the other one is not concerned");
    assert!(stores(&other).await.is_some());
    assert_eq!(homes_in(one.temp.path()).len(), 2);
    assert!(other.shutdown(Duration::from_secs(5)).await.is_clean());
    one.end().await;
}

/// systemd-tmpfiles takes this very lock before it cleans a directory, and skips one that is locked (tmpfiles.d(5)).
#[tokio::test(flavor = "multi_thread")]
async fn a_cleaner_that_honours_locks_leaves_the_directory_alone() {
    let started = Started::new().await;
    assert!(fs::File::open(&started.home).unwrap().try_lock().is_err());
    fs::remove_dir_all(&started.home).unwrap();
    started.has_another_server("the directory is removed").await;
    assert!(fs::File::open(&started.home).unwrap().try_lock().is_err());
    started.end().await;
}

async fn tree_in(temp: &Path) -> Tree {
    let mut setup = Setup::new("embedded-test");
    setup.redis.url = "embedded".into();
    setup.temp_dir = temp.to_owned();
    Tree::start(setup).await.unwrap()
}

fn homes_in(temp: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(temp).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_string_lossy().contains("mainstay-embedded-")).collect()
}

fn is_private(home: &Path) -> bool {
    fs::symlink_metadata(home)
        .is_ok_and(|home| home.is_dir() && home.permissions().mode() & 0o777 == 0o700)
}

async fn stores(tree: &Tree) -> Option<()> {
    let mut connection = tree.cache().get().await.ok()?;
    connection.set_ex("key", "value", 60).await.ok()
}

fn pid(tree: &Tree) -> Option<u64> {
    tree.snapshot().find("embedded-redis")?.facts.get("pid")?.as_u64()
}

fn is_alive(pid: u64) -> bool {
    std::process::Command::new("kill").args(["-0", &pid.to_string()]).status().unwrap().success()
}

async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
