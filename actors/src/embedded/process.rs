use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use super::{Error, Home};

/// A redis-server that ends with this value, and with this process, however the process ends.
///
/// Dropping it kills the server, which keeps nothing on disk.
#[derive(Debug)]
pub struct Server {
    pid: u32,
    guard: Child,
    /// The guard ends the server when this pipe is closed: by us, or by the system when our process ends. Nothing is
    /// ever written to it.
    leash: Option<ChildStdin>,
}

/// The shell between us and the server. Its arguments are the log's path and the server's command line.
///
/// A watcher starts before the server and waits until our pipe is closed. Then it has the guard kill the server, so
/// that the guard reaps it; if the guard has ended, the watcher kills the process group that all of them share. The
/// last signal is for the `sleep` of a watcher that was killed while it slept.
///
/// The system sends SIGHUP to a group that has lost its parent and holds a stopped process (POSIX, `_exit`). That must
/// not end the guard or the watcher.
const GUARD: &str = r#"
trap '' HUP
log=$1; shift
exec 3<&0 </dev/null
server= stopping=
trap 'stopping=1; [ -z "$server" ] || kill -9 "$server"' TERM
( trap - TERM; read -r _ <&3
  kill -TERM "$$" || kill -9 "-$$"
  sleep 0.2; kill -9 "-$$" ) >/dev/null 2>&1 &
watcher=$!
"$@" 3<&- >>"$log" 2>&1 &
server=$!
exec 3<&-
[ -z "$stopping" ] || kill -9 "$server"
echo "$server"
exec >/dev/null 2>&1
wait "$server"; status=$?
[ -z "$stopping" ] || wait "$server"
server=
kill -9 "$watcher"
wait "$watcher"
trap '' TERM
kill -TERM "-$$"
exit "$status"
"#;

/// Finds a server program on `search_path`, the value of `PATH`: redis-server, else valkey-server. Does a little
/// file IO.
///
/// # Errors
/// [`Error::NotInstalled`], which says what to install.
pub fn locate(search_path: &OsStr) -> Result<PathBuf, Error> {
    let directories: Vec<_> = std::env::split_paths(search_path).collect();
    ["redis-server", "valkey-server"]
        .iter()
        .flat_map(|program| directories.iter().map(move |directory| directory.join(program)))
        .find(|program| is_executable(program))
        .ok_or(Error::NotInstalled)
}

fn is_executable(program: &Path) -> bool {
    program
        .metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

impl Server {
    /// Starts `program` on the socket of `home`. The server may need some more milliseconds until it listens. *Cancel
    /// safety*: when dropped, no server is left running.
    ///
    /// # Errors
    /// [`Error::Start`].
    pub async fn start(home: &Home, program: &Path) -> Result<Self, Error> {
        let started = timeout(START_LIMIT, Self::spawn(home, program)).await;
        started
            .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|source| Error::Start { program: program.to_owned(), source })
    }

    async fn spawn(home: &Home, program: &Path) -> io::Result<Self> {
        let mut guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "mainstay-embedded"])
            .arg(home.log_path())
            .arg(program)
            .args(["--port", "0", "--unixsocketperm", "700", "--daemonize", "no"])
            .args(["--save", "", "--appendonly", "no", "--loglevel", "warning"])
            .arg("--unixsocket")
            .arg(home.socket_path())
            .arg("--dir")
            .arg(home.path())
            // Closing the pipe ends the server in order. Killing the guard would leave no process to reap the server.
            .kill_on_drop(false)
            // Ctrl-C in a terminal must reach only the service, which ends the server after its last use.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let leash = guard.stdin.take();
        let stdout = guard.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await?;
        let pid = line.trim().parse().map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        Ok(Self { pid, guard, leash })
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until the server ends, and returns its status. Cancel safe: it may be called again.
    ///
    /// # Errors
    /// The error of the system if it could not wait.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        // `Child::wait` closes the pipe that it still holds. Ours was taken out, so waiting does not end the server.
        let status = self.guard.wait().await;
        // If only the guard has ended, this makes the watcher end the server.
        self.leash = None;
        status
    }

    /// Kills the server and waits until it has ended. *Cancel safety*: when dropped, the server still ends.
    ///
    /// # Errors
    /// The error of the system if it could not wait.
    pub async fn stop(mut self) -> io::Result<ExitStatus> {
        self.leash = None;
        self.wait().await
    }
}

const START_LIMIT: Duration = Duration::from_secs(5);
