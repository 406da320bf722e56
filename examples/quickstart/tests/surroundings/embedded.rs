//! The embedded server will not stay up.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use crate::support::{Place, SLACK, eventually, kill, within};

#[tokio::test]
async fn a_server_that_will_not_start_is_no_line_for_each_attempt() {
    let place = Place::new();
    let (bin, starts, broken) = (place.path("bin"), place.path("starts"), place.path("broken"));
    fs::create_dir(&bin).unwrap();
    let real = Command::new("sh").args(["-c", "command -v redis-server"]).output().unwrap();
    let script = format!(
        "#!/bin/sh\necho start >>{}\n[ ! -e {} ] || exit 1\nexec {} \"$@\"\n",
        starts.display(),
        broken.display(),
        String::from_utf8(real.stdout).unwrap().trim(),
    );
    let program = bin.join("redis-server");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o700)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());

    let quickstart = place.start(&[("PATH", &path)]).await;
    let lines = |of: &str| {
        let text = quickstart.stdout();
        text.lines().filter(|line| line.contains(of)).map(str::to_owned).collect::<Vec<_>>()
    };
    let count = |of: &str| lines(of).len();
    assert_eq!(count("embedded redis started"), 1);
    fs::write(&broken, "").unwrap();
    let begun = fs::read_to_string(&starts).unwrap().lines().count();
    kill("-9", quickstart.pid().await.unwrap());
    eventually("four attempts", async || {
        fs::read_to_string(&starts).unwrap().lines().count() >= begun + 4
    })
    .await;
    assert!(count("embedded redis ended") <= 1, "{:#?}", lines("embedded redis"));
    assert_eq!(count("embedded redis did not start"), 1, "{:#?}", lines("embedded redis"));

    fs::remove_file(&broken).unwrap();
    // After at most 5 s comes the next attempt, and after one more it has run well.
    let limit = Duration::from_secs(6) + 2 * SLACK;
    within(limit, "it runs again", async || count("embedded redis runs again") == 1).await;
    eventually("ready", async || quickstart.get("/ready").await.status == 200).await;
    let told = lines("embedded redis");
    let pid = quickstart.pid().await.unwrap();
    let is_whole =
        |line: &String| line.contains("failures=") && line.contains(&format!("pid={pid}"));
    assert!(told.iter().any(is_whole), "{told:#?}");
    assert!(told.len() <= 4, "started, ended, did not start, runs again: {told:#?}");
}
