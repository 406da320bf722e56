use std::io::{BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::redis::{Address, Config, Endpoint, Pace};

#[tokio::test]
async fn a_private_server_answers_on_its_socket_alone() {
    let temp = tempfile::tempdir().unwrap();
    let home = Home::create(temp.path()).unwrap();
    let mut server = Server::start(&home, &program()).await.unwrap();
    ready(&home).await;
    assert!(is_alive(server.pid()));
    assert_eq!(home.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert!(
        timeout(Duration::from_millis(50), server.wait()).await.is_err(),
        "waiting must not end the server"
    );
    assert!(is_alive(server.pid()));
    let pid = server.pid();
    server.stop().await.unwrap();
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn a_killed_server_is_noticed_and_another_takes_its_socket() {
    let temp = tempfile::tempdir().unwrap();
    let home = Home::create(temp.path()).unwrap();
    let mut server = Server::start(&home, &program()).await.unwrap();
    ready(&home).await;
    kill("-9", server.pid());
    let status =
        timeout(Duration::from_secs(2), server.wait()).await.expect("must be noticed").unwrap();
    assert_eq!(status.code(), Some(128 + 9));
    let next = Server::start(&home, &program()).await.unwrap();
    ready(&home).await;
    assert_ne!(next.pid(), server.pid());
    next.stop().await.unwrap();
}

#[tokio::test]
async fn a_dropped_server_ends() {
    let temp = tempfile::tempdir().unwrap();
    let home = Home::create(temp.path()).unwrap();
    let server = Server::start(&home, &program()).await.unwrap();
    ready(&home).await;
    let pid = server.pid();
    drop(server);
    eventually("the server ends", || !is_alive(pid)).await;
}

#[tokio::test]
async fn the_death_of_the_shell_between_ends_the_server() {
    let temp = tempfile::tempdir().unwrap();
    let home = Home::create(temp.path()).unwrap();
    let mut server = Server::start(&home, &program()).await.unwrap();
    ready(&home).await;
    let pid = server.pid();
    kill("-9", parent_of(pid));
    let status =
        timeout(Duration::from_secs(2), server.wait()).await.expect("must be noticed").unwrap();
    assert_eq!(status.code(), None);
    eventually("the server ends", || !is_alive(pid)).await;
}

#[tokio::test]
async fn a_stopped_process_leaves_no_zombie() {
    let temp = tempfile::tempdir().unwrap();
    let home = Home::create(temp.path()).unwrap();
    let server = Server::start(&home, &program()).await.unwrap();
    let (pid, guard) = (server.pid(), parent_of(server.pid()));
    server.stop().await.unwrap();
    assert_eq!((state_of(pid), state_of(guard)), (None, None));
}

#[tokio::test]
async fn a_killed_parent_leaves_no_server_and_its_directory_is_reclaimed() {
    be_the_parent_if_asked().await;
    let temp = tempfile::tempdir().unwrap();
    let name = "embedded::tests::a_killed_parent_leaves_no_server_and_its_directory_is_reclaimed";
    let (mut parent, pid, left) = parent(name, temp.path());

    parent.kill().unwrap();
    parent.wait().unwrap();
    eventually("the server ends", || !is_alive(pid)).await;

    assert!(left.exists());
    let _home = Home::create(temp.path()).unwrap();
    assert!(!left.exists());
}

#[tokio::test]
async fn a_killed_parent_leaves_no_server_that_was_stopped() {
    be_the_parent_if_asked().await;
    let temp = tempfile::tempdir().unwrap();
    let name = "embedded::tests::a_killed_parent_leaves_no_server_that_was_stopped";
    let (mut parent, pid, _left) = parent(name, temp.path());
    let guard = parent_of(pid);
    kill("-STOP", pid);
    eventually("the server is stopped", || state_of(pid) == Some('T')).await;

    parent.kill().unwrap();
    parent.wait().unwrap();
    eventually("the server ends", || !is_alive(pid)).await;
    eventually("the shell between ends", || !is_alive(guard)).await;
}

#[test]
fn a_directory_that_someone_holds_is_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    let held = Home::create(temp.path()).unwrap();
    let other = Home::create(temp.path()).unwrap();
    assert!(held.path().exists() && other.path().exists());
    let gone = held.path().to_owned();
    drop(held);
    assert!(!gone.exists() && other.path().exists());
}

#[test]
fn a_directory_whose_maker_died_is_removed_once_it_is_old() {
    let temp = tempfile::tempdir().unwrap();
    let hidden = |name: &str| {
        let path = temp.path().join(format!(".mainstay-embedded-{name}"));
        std::fs::create_dir(&path).unwrap();
        path
    };
    let (old, new) = (hidden("old"), hidden("new"));
    std::fs::write(old.join("lock"), "").unwrap();
    let then = SystemTime::now() - Duration::from_secs(61);
    std::fs::File::open(&old).unwrap().set_modified(then).unwrap();
    let _home = Home::create(temp.path()).unwrap();
    assert!(!old.exists());
    assert!(new.exists(), "its maker may be about to lock it");
}

#[test]
fn a_directory_that_lost_its_lock_is_removed_unless_its_process_makes_it_again() {
    let temp = tempfile::tempdir().unwrap();
    let without_lock = |name: &str| {
        let path = temp.path().join(format!("mainstay-embedded-{name}"));
        std::fs::create_dir(&path).unwrap();
        path
    };
    let (old, new) = (without_lock("old"), without_lock("new"));
    let then = SystemTime::now() - Duration::from_secs(61);
    std::fs::File::open(&old).unwrap().set_modified(then).unwrap();
    let _home = Home::create(temp.path()).unwrap();
    assert!(!old.exists());
    assert!(new.exists(), "its process looks after it each 250 ms");
}

#[test]
fn a_directory_that_is_no_longer_ours_is_not_removed() {
    let temp = tempfile::tempdir().unwrap();
    let home = Home::create(temp.path()).unwrap();
    let path = home.path().to_owned();
    std::fs::rename(&path, temp.path().join("elsewhere")).unwrap();
    std::fs::create_dir(&path).unwrap();
    drop(home);
    assert!(path.exists());
}

#[test]
fn a_long_temporary_directory_gives_way_to_a_short_one() {
    let temp = tempfile::tempdir().unwrap();
    let long = temp.path().join("x".repeat(90));
    std::fs::DirBuilder::new().mode(0o700).create(&long).unwrap();
    let home = Home::create(&long).unwrap();
    assert!(home.socket_path().as_os_str().len() <= 100);
    assert!(home.path().exists());
}

#[test]
fn a_missing_server_names_the_package() {
    let empty = tempfile::tempdir().unwrap();
    let message = locate(empty.path().as_os_str()).unwrap_err().to_string();
    assert!(message.contains("install") && message.contains("redis-server"), "{message}");
    assert!(matches!(locate("".as_ref()), Err(Error::NotInstalled)));
}

#[tokio::test]
async fn a_program_that_is_no_server_ends_with_its_status() {
    let temp = tempfile::tempdir().unwrap();
    let home = Home::create(temp.path()).unwrap();
    let mut server = Server::start(&home, Path::new("/bin/false")).await.unwrap();
    let status =
        timeout(Duration::from_secs(2), server.wait()).await.expect("must be noticed").unwrap();
    assert_eq!(status.code(), Some(1));
}

#[tokio::test]
async fn a_server_that_ends_before_it_listens_did_not_start() {
    let temp = tempfile::tempdir().unwrap();
    let broken = script(temp.path(), "echo first; echo broken >&2; exit 3");
    let nest = Nest::new(Home::create(temp.path()).unwrap(), broken.clone());
    // The socket of one that was killed.
    drop(std::os::unix::net::UnixListener::bind(nest.socket_path()).unwrap());
    let error = nest.start(true).await.unwrap_err();
    let Error::Start { program, source } = error else { panic!("{error}") };
    assert_eq!(program, broken);
    let said = source.to_string();
    assert!(said.contains("exit status: 3") && said.contains("broken"), "{said}");
    assert_eq!(nest.pid(), None);
}

#[tokio::test]
async fn a_server_lives_from_the_moment_that_it_listens() {
    let temp = tempfile::tempdir().unwrap();
    let real = program();
    let slow = script(temp.path(), &format!("sleep 0.5; exec {} \"$@\"", real.display()));
    let nest = Arc::new(Nest::new(Home::create(temp.path()).unwrap(), slow));
    nest.start(true).await.unwrap();
    kill("-9", nest.pid().unwrap());
    let ended = nest.borrow().wait().await.unwrap();
    assert!(ended.lived < Duration::from_millis(500), "{ended:?}");
}

fn script(directory: &Path, text: &str) -> PathBuf {
    let path = directory.join("script");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
    path
}

const ROLE: &str = "MAINSTAY_TEST_PARENT_IN";

/// Runs the test `name` a second time, as the parent that is killed. Says its server and that one's directory.
fn parent(name: &str, temp: &Path) -> (Child, u32, PathBuf) {
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ROLE, temp)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let line = lines
        .map_while(Result::ok)
        .find(|line| line.starts_with("server "))
        .expect("the parent starts one");
    let words: Vec<_> = line.split(' ').collect();
    let (pid, home) = (words[1].parse().unwrap(), PathBuf::from(words[2]));
    assert!(is_alive(pid));
    (parent, pid, home)
}

/// Never returns in the second run of a test.
async fn be_the_parent_if_asked() {
    #[expect(clippy::disallowed_methods, reason = "tells the second run of a test what it is")]
    let Some(temp) = std::env::var_os(ROLE) else { return };
    let home = Home::create(Path::new(&temp)).unwrap();
    let server = Server::start(&home, &program()).await.unwrap();
    ready(&home).await;
    println!("\nserver {} {}", server.pid(), home.path().display());
    std::future::pending::<()>().await;
}

fn program() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "tests choose the server they run against")]
    match std::env::var_os("MAINSTAY_TEST_SERVER") {
        Some(program) => program.into(),
        None => locate(&std::env::var_os("PATH").unwrap_or_default())
            .expect("the tests need a redis-server"),
    }
}

async fn ready(home: &Home) {
    let address = Address::unix(home.socket_path());
    let endpoint = Endpoint::at("test", Config::default(), address, Pace::new().into()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        if let Ok(mut probe) = endpoint.probe_connection().await
            && probe.ping().await.is_ok()
        {
            return;
        }
        assert!(Instant::now() < deadline, "the server does not answer");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(3);
    while !is_so() {
        assert!(Instant::now() < deadline, "not in 3 s: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

fn kill(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

/// A zombie is not alive: who reaps an orphan is not ours to say.
fn is_alive(pid: u32) -> bool {
    state_of(pid).is_some_and(|state| state != 'Z')
}

fn state_of(pid: u32) -> Option<char> {
    ps(pid, "stat=")?.chars().next()
}

fn parent_of(pid: u32) -> u32 {
    ps(pid, "ppid=").unwrap().parse().unwrap()
}

fn ps(pid: u32, column: &str) -> Option<String> {
    let output = Command::new("ps").args(["-o", column, "-p", &pid.to_string()]).output().unwrap();
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
        .filter(|text| !text.is_empty())
}
