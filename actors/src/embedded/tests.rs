use std::io::{BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::redis::{Address, Config, ConnectGate, Endpoint};

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
    let (pid, keeper) = (server.pid(), parent_of(server.pid()));
    server.stop().await.unwrap();
    assert_eq!((state_of(pid), state_of(keeper)), (None, None));
}

/// Runs itself a second time as the parent that is killed.
#[tokio::test]
async fn a_killed_parent_leaves_no_server_and_its_directory_is_reclaimed() {
    const ROLE: &str = "MAINSTAY_TEST_PARENT_IN";
    #[expect(
        clippy::disallowed_methods,
        reason = "tells the second run of this test that it is the parent"
    )]
    let role = std::env::var_os(ROLE);
    if let Some(temp) = role {
        let home = Home::create(Path::new(&temp)).unwrap();
        let server = Server::start(&home, &program()).await.unwrap();
        ready(&home).await;
        println!("\nserver {} {}", server.pid(), home.path().display());
        std::future::pending::<()>().await;
    }

    let temp = tempfile::tempdir().unwrap();
    let name = "embedded::tests::a_killed_parent_leaves_no_server_and_its_directory_is_reclaimed";
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ROLE, temp.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let line = lines
        .map_while(Result::ok)
        .find(|line| line.starts_with("server "))
        .expect("the parent starts one");
    let words: Vec<_> = line.split(' ').collect();
    let (pid, left): (u32, _) = (words[1].parse().unwrap(), PathBuf::from(words[2]));
    assert!(is_alive(pid));

    parent.kill().unwrap();
    parent.wait().unwrap();
    eventually("the server ends", || !is_alive(pid)).await;

    assert!(left.exists());
    let _home = Home::create(temp.path()).unwrap();
    assert!(!left.exists());
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
    let endpoint =
        Endpoint::at("test", Config::default(), address, ConnectGate::new().into()).unwrap();
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
