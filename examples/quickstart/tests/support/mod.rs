//! The program in a directory of its own, and what a user does with it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Client, Method, header};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// What a busy machine may add to any time that is promised.
pub(crate) const SLACK: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(10);

/// Where the program runs: its current directory, with one for short-lived files in it.
pub(crate) struct Place {
    directory: TempDir,
    runs: AtomicUsize,
}

impl Place {
    pub(crate) fn new() -> Self {
        // Not where TMPDIR says: a socket's path must be short.
        let directory = tempfile::Builder::new().prefix("quickstart-").tempdir_in("/tmp").unwrap();
        fs::create_dir(directory.path().join("tmp")).unwrap();
        Self { directory, runs: AtomicUsize::new(0) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The directories of embedded servers, with those that were left behind.
    pub(crate) fn homes(&self) -> Vec<PathBuf> {
        fs::read_dir(self.path("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// Started, and ready.
    pub(crate) async fn start(&self, variables: &[(&str, &str)]) -> Quickstart {
        let quickstart = self.start_without_redis(variables).await;
        eventually("ready", async || quickstart.get("/ready").await.status == 200).await;
        quickstart
    }

    /// Started, and listening.
    pub(crate) async fn start_without_redis(&self, variables: &[(&str, &str)]) -> Quickstart {
        let mut quickstart = self.spawn(variables);
        eventually("the address is printed", async || {
            assert_eq!(quickstart.try_wait(), None, "{}", quickstart.stderr());
            let text = quickstart.stdout();
            let address =
                text.split_once("listens on ").and_then(|(_, rest)| rest.split_once(". "));
            address.is_some_and(|(address, _)| {
                address.clone_into(&mut quickstart.url);
                true
            })
        })
        .await;
        quickstart
    }

    pub(crate) fn spawn(&self, variables: &[(&str, &str)]) -> Quickstart {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let (stdout, stderr) =
            (self.path(&format!("stdout-{run}")), self.path(&format!("stderr-{run}")));
        let child = self
            .command(variables)
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        Quickstart { child, stdout, stderr, url: String::new(), client: client() }
    }

    /// Nothing of the caller's environment but the way to programs.
    pub(crate) fn command(&self, variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quickstart"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("TMPDIR", self.path("tmp"))
            .env("ACTON_SERVICE_PORT", "0")
            .envs(variables.iter().copied())
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }
}

pub(crate) fn client() -> Client {
    Client::builder().no_proxy().timeout(SOON).build().unwrap()
}

/// The program while it runs. Killed when dropped.
pub(crate) struct Quickstart {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    pub(crate) url: String,
    pub(crate) client: Client,
}

impl Quickstart {
    pub(crate) fn host(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        kill(signal, self.child.id());
    }

    pub(crate) fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for the end, and gives the exit code: `None` after a signal.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the program ends", async || {
            status = self.try_wait();
            status.is_some()
        })
        .await;
        status.unwrap().code()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &str) -> Answer {
        self.send(Method::PUT, path, Some(body)).await
    }

    async fn send(&self, method: Method, path: &str, json: Option<&str>) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(json) = json {
            request =
                request.header(header::CONTENT_TYPE, "application/json").body(json.to_owned());
        }
        Answer::of(request).await
    }

    pub(crate) async fn tree(&self) -> Value {
        self.get("/api/v1/tree").await.json()
    }

    /// The embedded server's process id, while there is a server.
    pub(crate) async fn pid(&self) -> Option<u32> {
        let tree = self.tree().await;
        let pid = find(&tree, "embedded-redis").expect("an embedded server")["pid"].as_u64();
        pid.map(|pid| pid.try_into().unwrap())
    }

    pub(crate) async fn is_hit(&self, id: u32) -> bool {
        let answer = self.get(&format!("/api/v1/users/{id}")).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.header("x-cache") == Some("hit")
    }
}

impl Drop for Quickstart {
    fn drop(&mut self) {
        self.child.kill().ok(); // It may be gone already.
        self.child.wait().ok();
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: header::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: response.text().await.unwrap() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    /// The `type` and the `detail` of RFC 9457 problem details with this status.
    pub(crate) fn problem(&self, status: u16) -> (String, String) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], status);
        let text = |key: &str| problem[key].as_str().unwrap().to_owned();
        (text("type"), text("detail"))
    }
}

/// The actor of this id, wherever it is in the tree.
pub(crate) fn find<'a>(tree: &'a Value, id: &str) -> Option<&'a Value> {
    if tree["id"] == id {
        return Some(tree);
    }
    tree["children"].as_array()?.iter().find_map(|child| find(child, id))
}

/// How often anything in the tree was restarted.
pub(crate) fn restarts(tree: &Value) -> u64 {
    let below: u64 = tree["children"].as_array().into_iter().flatten().map(restarts).sum();
    tree["restarts"].as_u64().unwrap() + below
}

/// A Redis that the test starts itself. Killed when dropped.
pub(crate) struct Redis(Child);

impl Redis {
    pub(crate) fn start(socket: &Path) -> Self {
        let program =
            std::env::var_os("MAINSTAY_TEST_SERVER").unwrap_or_else(|| "redis-server".into());
        let child = Command::new(program)
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(socket)
            .arg("--dir")
            .arg(socket.parent().unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the tests need a redis-server");
        Self(child)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.0.kill().ok(); // It may be gone already.
        self.0.wait().ok();
    }
}

pub(crate) fn kill(signal: &str, pid: u32) {
    let status = Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill {signal} {pid}");
}

/// The embedded server, and the shells that watch over it: they share a process group.
pub(crate) struct Group(u32);

impl Group {
    pub(crate) fn of(pid: u32) -> Self {
        let all = processes();
        let (_, group) = all.iter().find(|(known, _)| *known == pid).expect("it is alive");
        Self(*group)
    }

    /// Those that are alive. A zombie is not: who reaps an orphan is not the program's to say.
    pub(crate) fn alive(&self) -> Vec<u32> {
        processes().into_iter().filter(|(_, group)| *group == self.0).map(|(pid, _)| pid).collect()
    }
}

/// Each process that lives, with its group.
fn processes() -> Vec<(u32, u32)> {
    let output = Command::new("ps").args(["-A", "-o", "pid=,pgid=,stat="]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    words
        .filter(|words| !words[2].starts_with('Z'))
        .map(|words| (words[0].parse().unwrap(), words[1].parse().unwrap()))
        .collect()
}

pub(crate) async fn eventually(what: &str, is_so: impl AsyncFnMut() -> bool) {
    within(SOON, what, is_so).await;
}

/// Waits for a condition; the test fails if it has not come true in time.
pub(crate) async fn within(limit: Duration, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
