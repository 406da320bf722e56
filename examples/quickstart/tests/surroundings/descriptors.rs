//! The program may open no further file or socket.

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::support::{Place, Quickstart, SLACK, eventually, within};

const BEGINS: &str = "cannot accept";
const ENDS: &str = "accepts connections again";
/// After so long without a failure it accepts again.
const QUIET: Duration = Duration::from_secs(5);
/// How long connections wait that cannot be accepted: for many attempts.
const SHORTAGE: Duration = Duration::from_millis(1500);

/// Lets the program have a few descriptors more than it has.
fn limit(program: &Quickstart) {
    let is_open = |number: &usize| {
        std::fs::symlink_metadata(format!("/proc/{}/fd/{number}", program.id())).is_ok()
    };
    // The system gives the lowest number that is free.
    let most = (0..1024).find(|number| !is_open(number)).unwrap() + 4;
    let status = Command::new("prlimit")
        .arg(format!("--pid={}", program.id()))
        .arg(format!("--nofile={most}:{most}"))
        .status()
        .expect("the tests need prlimit");
    assert!(status.success());
}

fn lines(program: &Quickstart, of: &str) -> Vec<String> {
    program.stdout().lines().filter(|line| line.contains(of)).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_shortage_of_descriptors_is_one_line_when_it_begins_and_one_when_it_ends() {
    let place = Place::new();
    let program = place.start(&[]).await;
    limit(&program);
    let connect = |_| TcpStream::connect(program.host()).unwrap();
    let clients: Vec<_> = (0..16).map(connect).collect();
    eventually("it is told", async || !lines(&program, BEGINS).is_empty()).await;
    let until = Instant::now() + SHORTAGE;
    while Instant::now() < until {
        let told = lines(&program, BEGINS);
        assert_eq!(told.len(), 1, "{told:#?}");
        assert!(told[0].contains("check the limit on open files"), "{told:#?}");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(lines(&program, ENDS), [""; 0]);
    drop(clients);
    // As before: requests are answered.
    eventually("it answers", async || program.get("/api/v1/users/1").await.status == 200).await;
    within(QUIET + 2 * SLACK, "the end is told", async || !lines(&program, ENDS).is_empty()).await;
    let (begins, ends) = (lines(&program, BEGINS), lines(&program, ENDS));
    assert_eq!((begins.len(), ends.len()), (1, 1), "{begins:#?} {ends:#?}");
    let failures = ends[0].split("failures=").nth(1).and_then(|rest| rest.split(' ').next());
    let failures: u32 = failures.unwrap().parse().unwrap();
    assert!(failures > 3 && ends[0].contains("lasted="), "{ends:#?}");
}
