//! A redis-server of each test's own, and an endpoint on it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_actors::redis::{Address, CacheConn, Config, Endpoint, Pace, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

#[allow(dead_code, reason = "each test binary uses its own part of it")]
mod relay;
#[allow(unused_imports, reason = "as above")]
pub(crate) use relay::Relay;

/// Ends with the test, whatever becomes of it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    arguments: Vec<String>,
    home: tempfile::TempDir,
}

impl Server {
    /// Started, and answering.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let child = spawn(home.path(), &arguments);
        let server = Self { child, arguments, home };
        server.listens().await;
        server
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home.path().join("redis.sock")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) async fn restart(&mut self) {
        self.child = spawn(self.home.path(), &self.arguments);
        self.listens().await;
    }

    /// The connections whose name says that they are leases.
    pub(crate) async fn leases(&self) -> usize {
        self.names().await.iter().filter(|name| name.contains(":lease:")).count()
    }

    /// Asks on a connection of its own.
    pub(crate) async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut connection).await.unwrap()
    }

    async fn names(&self) -> Vec<String> {
        let list: String = self.ask(&["CLIENT", "LIST"]).await;
        list.split_whitespace()
            .filter(|word| word.starts_with("name="))
            .map(str::to_owned)
            .collect()
    }

    async fn listens(&self) {
        let socket = self.socket();
        eventually("the server listens", async || UnixStream::connect(&socket).await.is_ok()).await;
    }

    fn signal(&self, signal: &str) {
        let status =
            Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok(); // It may be gone already.
        self.child.wait().ok();
    }
}

/// When a [`Proxy`] drops a client.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Drops {
    AtTheFirstGet,
    AfterTheHandshake,
}

/// Stands between an endpoint and its server, and shakes hands with everyone.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) url: String,
    accepted: Arc<AtomicUsize>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub(crate) fn start(server: &Server, drops: Drops) -> Self {
        let socket = server.path(&format!("{drops:?}.sock"));
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let (counter, upstream) = (Arc::clone(&accepted), server.socket());
        let accepting = tokio::spawn(async move {
            let mut clients = tokio::task::JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::Relaxed);
                clients.spawn(relay(client, upstream.clone(), drops));
            }
        });
        Self { url: format!("unix://{}", socket.display()), accepted, accepting }
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn relay(mut client: UnixStream, upstream: PathBuf, drops: Drops) -> std::io::Result<()> {
    let mut server = UnixStream::connect(upstream).await?;
    let (mut asked, mut answered) = ([0; 4096], [0; 4096]);
    let mut is_named = false;
    loop {
        tokio::select! {
            len_bytes = client.read(&mut asked) => {
                let asked = &asked[..len_bytes?];
                let holds = |word: &[u8]| asked.windows(word.len()).any(|part| part == word);
                if asked.is_empty() || holds(b"GET\r\n") {
                    return Ok(());
                }
                is_named |= holds(b"SETNAME");
                server.write_all(asked).await?;
            }
            len_bytes = server.read(&mut answered) => {
                client.write_all(&answered[..len_bytes?]).await?;
                if is_named && matches!(drops, Drops::AfterTheHandshake) {
                    return Ok(());
                }
            }
        }
    }
}

fn spawn(home: &Path, arguments: &[String]) -> Child {
    let program = std::env::var_os("MAINSTAY_TEST_SERVER").unwrap_or_else(|| "redis-server".into());
    Command::new(program)
        .args(["--port", "0", "--save", "", "--appendonly", "no", "--dir"])
        .arg(home)
        .arg("--unixsocket")
        .arg(home.join("redis.sock"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("the tests need a redis-server")
}

/// An endpoint with a generation in use.
pub(crate) fn endpoint(config: Config) -> Arc<Endpoint> {
    let endpoint = Endpoint::new("main", config, Arc::new(Pace::new())).unwrap();
    endpoint.publish(endpoint.build_generation(Reason::Start));
    Arc::new(endpoint)
}

/// Keeps the lanes of an endpoint, as the pool manager does, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Keeper {
    _kept: tokio::task::JoinSet<()>,
}

impl Keeper {
    pub(crate) fn of(endpoint: &Arc<Endpoint>) -> Self {
        let mut kept = tokio::task::JoinSet::new();
        for place in 0..endpoint.lane_slots() {
            let endpoint = Arc::clone(endpoint);
            kept.spawn(async move {
                loop {
                    endpoint.keep_lane(place).await;
                }
            });
        }
        Self { _kept: kept }
    }
}

/// One lane, which all callers share.
#[allow(dead_code, reason = "each test binary uses its own part of it")]
pub(crate) fn one_lane() -> Config {
    Config { lanes: Some(1), command_timeout: Duration::from_secs(2), ..Config::default() }
}

/// An endpoint at `server` with every lane in use.
pub(crate) async fn lanes(server: &Server, config: Config) -> (Arc<Endpoint>, Keeper) {
    let endpoint = endpoint(Config { url: server.url(), ..config });
    let keeper = Keeper::of(&endpoint);
    let all = endpoint.lane_slots();
    eventually("every lane is there", async || endpoint.status().lanes == all).await;
    (endpoint, keeper)
}

/// An endpoint at a socket that nothing listens on.
pub(crate) fn absent(config: Config) -> (Arc<Endpoint>, tempfile::TempDir) {
    let home = tempfile::tempdir().unwrap();
    let address = Address::unix(home.path().join("absent.sock"));
    let endpoint = Endpoint::at("main", config, address, Arc::new(Pace::new())).unwrap();
    endpoint.publish(endpoint.build_generation(Reason::Start));
    (Arc::new(endpoint), home)
}

/// The server's own number for a connection.
pub(crate) async fn id(conn: &mut CacheConn) -> u64 {
    redis::cmd("CLIENT").arg("ID").query_async(&mut **conn).await.unwrap()
}

/// Waits for a condition; the test fails if it has not come true after 5 s.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !is_so().await {
        assert!(Instant::now() < deadline, "not in 5 s: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
