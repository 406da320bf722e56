//! The resolver or a file does not answer.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use tokio::time::Instant;

use hanging::Hanging;

use super::{LIMIT, SHUTDOWN_TIMEOUT};
use crate::support::{Place, Quickstart, SLACK, eventually};

#[path = "../../../../tests/it/support/hanging.rs"]
mod hanging;

/// How long connecting has gone on, at several attempts a second, when hanging threads are counted.
const ATTEMPTS: Duration = Duration::from_secs(3);

/// Ends the program, which keeps the times that it promises although calls of the system hang.
async fn ends_in_time(mut quickstart: Quickstart) {
    let begun = Instant::now();
    quickstart.signal("-TERM");
    assert_eq!(quickstart.ended().await, Some(0), "{}", quickstart.stderr());
    let took = begun.elapsed();
    assert!(took < LIMIT + SLACK, "it took {took:?} to end");
}

/// `/ready` says this of Redis.
async fn is_told(quickstart: &Quickstart, message: &str) {
    eventually(&format!("/ready says {message:?}"), async || {
        quickstart.get("/ready").await.body.contains(message)
    })
    .await;
}

/// The threads of the program that wait for the system.
fn waiting(quickstart: &Quickstart) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", quickstart.id())).unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(name).filter(|name| name.trim_end() == "mainstay-wait").count()
}

/// glibc reads the file that `HOSTALIASES` names when it looks up a name without a dot, and waits for whoever writes
/// into this one: as for a server of names that does not answer, and in a process without any rights.
#[cfg(target_env = "gnu")]
#[tokio::test]
async fn a_resolver_that_does_not_answer_holds_up_no_end() {
    let place = Place::new();
    let aliases = place.path("aliases");
    let made = Command::new("mkfifo").arg(&aliases).status().unwrap();
    assert!(made.success());
    let quickstart = place
        .start_without_redis(&[
            SHUTDOWN_TIMEOUT,
            ("HOSTALIASES", aliases.to_str().unwrap()),
            ("ACTON_REDIS_URL", "redis://nowhere:6379"),
        ])
        .await;
    is_told(&quickstart, "no answer of the resolver in time").await;
    let until = Instant::now() + ATTEMPTS;
    while Instant::now() < until {
        assert_eq!(quickstart.get("/health").await.status, 200);
        assert!(waiting(&quickstart) <= 1, "a name is looked up once at a time");
    }
    ends_in_time(quickstart).await;
}

#[tokio::test]
async fn a_password_file_that_hangs_holds_up_no_end() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let file = place.path("password");
    std::fs::write(&file, "sesame").unwrap();
    let Some(_hanging) = Hanging::file(&file) else { return };
    let variables = [
        SHUTDOWN_TIMEOUT,
        ("ACTON_REDIS_URL", &url),
        ("ACTON_REDIS_PASSWORD_FILE", file.to_str().unwrap()),
    ];
    let quickstart = place.start_without_redis(&variables).await;
    is_told(&quickstart, "password_file could not be read in time").await;
    assert!(waiting(&quickstart) <= 1, "a file is read once at a time");
    ends_in_time(quickstart).await;
}
