use std::ffi::OsString;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::FromRedisValue;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use super::process::Process;
use super::wait::SOON;
use super::{Port, Proxy};

/// A redis-server of a test's own, on a free port of loopback and in a directory of its own. It saves nothing.
///
/// It ends with this value: also when the test panics, and when the process is killed. Dropping it takes some milliseconds,
/// and blocks the thread for as long.
#[derive(Debug)]
pub struct Redis {
    process: Mutex<Option<Process>>,
    home: TempDir,
    port: Port,
    program: Option<PathBuf>,
    arguments: Vec<OsString>,
}

/// How a [`Redis`] is started.
#[derive(Debug, Default)]
#[must_use]
pub struct RedisBuilder {
    program: Option<PathBuf>,
    arguments: Vec<OsString>,
    port: Option<Port>,
}

impl RedisBuilder {
    /// The server to start. Default redis-server, else valkey-server, of `PATH`.
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = Some(path.into());
        self
    }

    /// Further arguments, such as `["--requirepass", "secret"]`. They count more than our own.
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// The port to listen on. Default any free one.
    pub fn port(mut self, port: Port) -> Self {
        self.port = Some(port);
        self
    }

    /// Starts the server, and waits until it listens.
    ///
    /// # Panics
    /// If there is no server on `PATH`, or if it ends or does not listen within 10 s: with what it said.
    pub async fn start(self) -> Redis {
        let Self { program, arguments, port } = self;
        let is_given = port.is_some();
        let home = TempDir::with_prefix("mainstay-testing-")
            .unwrap_or_else(|error| panic!("no temporary directory for a redis-server: {error}"));
        let port = port.unwrap_or_else(Port::reserve);
        let mut redis = Redis { process: Mutex::default(), home, port, program, arguments };
        for _ in 0..MOST_LOST_PORTS {
            match redis.try_start().await {
                // Somebody who knows nothing of our lock was faster.
                Err(Failure::PortIsTaken(_)) if !is_given => redis.port = Port::reserve(),
                result => {
                    result.unwrap_or_else(|failure| failure.panic());
                    return redis;
                }
            }
        }
        panic!("lost {MOST_LOST_PORTS} ports to other processes");
    }
}

const MOST_LOST_PORTS: usize = 10;

impl Redis {
    /// Starts a server of `PATH`, and waits until it listens: some tens of milliseconds.
    ///
    /// # Panics
    /// As [`RedisBuilder::start`].
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Another program, further arguments, or a certain port.
    pub fn builder() -> RedisBuilder {
        RedisBuilder::default()
    }

    /// `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        self.port.url()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The unix socket on which it listens as well.
    pub fn socket(&self) -> PathBuf {
        self.home.path().join("redis.sock")
    }

    /// A proxy before it, with fair weather.
    pub async fn proxy(&self) -> Proxy {
        Proxy::before(self.address()).await
    }

    /// Asks it for something, on a connection of its own that passes by every proxy.
    ///
    /// # Panics
    /// If it does not answer within 10 s, or not with a `T`.
    pub async fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        let asked = async {
            let client = ::redis::Client::open(format!("unix://{}", self.socket().display()))?;
            let mut connection = client.get_multiplexed_async_connection().await?;
            let mut question = ::redis::Cmd::new();
            question.arg(command);
            question.query_async(&mut connection).await
        };
        let answered: ::redis::RedisResult<T> = timeout(SOON, asked).await.unwrap_or_else(|_| {
            panic!("the redis-server does not answer {command:?} within {SOON:?}")
        });
        answered.unwrap_or_else(|error| panic!("the redis-server answers {command:?}: {error}"))
    }

    /// Has it answer nobody until it is thawed. Its connections stay, and the system accepts new ones for it.
    ///
    /// # Panics
    /// If it has been stopped.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Has it go on where it was frozen.
    ///
    /// # Panics
    /// If it has been stopped.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Kills it, as a crash would: its connections are reset, and nothing listens.
    pub fn stop(&self) {
        *self.process() = None;
    }

    /// Starts it again, stopped or not, on the same port. It is empty, unless its arguments had it save something.
    ///
    /// # Panics
    /// As [`RedisBuilder::start`].
    pub async fn start_again(&self) {
        self.stop();
        self.try_start().await.unwrap_or_else(|failure| failure.panic());
    }

    async fn try_start(&self) -> Result<(), Failure> {
        let path = self.home.path();
        let log = path.join("redis.log");
        let mut arguments: Vec<OsString> = vec!["--port".into()];
        arguments.push(self.address().port().to_string().into());
        arguments
            .extend(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"].map(Into::into));
        arguments.extend(["--dir".into(), path.into()]);
        arguments.extend(["--unixsocket".into(), self.socket().into()]);
        arguments.extend(self.arguments.iter().cloned());
        let program = self.program.as_deref().map(Path::as_os_str);
        let started =
            File::create(&log).and_then(|log| Process::start(path, program, &arguments, &log));
        let process =
            started.unwrap_or_else(|error| panic!("cannot start a redis-server: {error}"));
        *self.process() = Some(process);

        let end = Instant::now() + SOON;
        while UnixStream::connect(self.socket()).is_err() {
            let ended = self.process().as_mut().and_then(|process| process.ended().ok().flatten());
            let said = || fs::read_to_string(&log).unwrap_or_default();
            match ended {
                Some(status) => return Err(Failure::of(status, said())),
                None if Instant::now() > end => return Err(Failure::Silence(said())),
                None => sleep(Duration::from_millis(1)).await,
            }
        }
        Ok(())
    }

    fn signal(&self, name: &str) {
        let process = self.process();
        let process = process.as_ref().expect("it was stopped: start_again() comes first");
        let sent = process.signal(name).is_ok_and(|status| status.success());
        assert!(sent, "the redis-server has ended by itself");
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a server does not listen, with what it said.
#[derive(Debug)]
enum Failure {
    NotThere,
    PortIsTaken(String),
    Ended(ExitStatus, String),
    Silence(String),
}

impl Failure {
    fn of(status: ExitStatus, said: String) -> Self {
        match status.code() {
            Some(127) if said.is_empty() => Self::NotThere,
            _ if said.contains("Address already in use") => Self::PortIsTaken(said),
            _ => Self::Ended(status, said),
        }
    }

    fn panic(self) -> ! {
        match self {
            Self::NotThere => panic!(
                "no redis-server on PATH: apt-get install redis-server, brew install redis, or name one by \
                 Redis::builder().program(\"/path/to/redis-server\")"
            ),
            Self::PortIsTaken(said) => {
                panic!("the port of the redis-server is taken; it said:\n{said}")
            }
            Self::Ended(status, said) => {
                panic!("the redis-server ended ({status}); it said:\n{said}")
            }
            Self::Silence(said) => {
                panic!("the redis-server does not listen after {SOON:?}; it said:\n{said}")
            }
        }
    }
}
