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

/// A redis-server that lives no longer than this value, nor than this process, however that ends.
///
/// Dropping it kills the server; there is nothing on disk to be saved.
#[derive(Debug)]
pub struct Server {
    pid: u32,
    guard: Child,
    /// Nothing is ever written: closing it, by us or by the system after our death, is the message.
    leash: Option<ChildStdin>,
}

/// The shell between us and the server. Its arguments are the log's path and the server's command line.
///
/// A watcher waits for the end of our pipe and is there before the server is. It has the guard kill the server, so
/// that the guard reaps it; where the guard is gone, it kills the process group that all of them share. The last
/// signal is for the `sleep` of a watcher that was killed in it.
///
/// Without a parent, a group with a stopped process in it is sent SIGHUP by the system (POSIX, `_exit`): that must not
/// end those who watch.
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
    /// Starts `program` on the socket of `home`. The server may need some milliseconds more until it listens.
    /// *Cancel safety*: when dropped, no server is left.
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
            // Closing the pipe is the orderly end. Killing the guard would leave nobody to reap the server.
            .kill_on_drop(false)
            // A terminal's Ctrl-C is meant for the service, which ends the server when it is done with it.
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

    /// Ends when the server has, and says how. *Cancel safety*: may be dropped and waited for again.
    ///
    /// # Errors
    /// What the system said when it could not wait.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        // `Child::wait` closes the pipe that it still holds; ours was taken out, so waiting ends nothing.
        let status = self.guard.wait().await;
        // If it was the guard that ended, the watcher now ends the server.
        self.leash = None;
        status
    }

    /// Kills the server and ends when it is gone. *Cancel safety*: when dropped, the server still ends.
    ///
    /// # Errors
    /// What the system said when it could not wait.
    pub async fn stop(mut self) -> io::Result<ExitStatus> {
        self.leash = None;
        self.wait().await
    }
}

const START_LIMIT: Duration = Duration::from_secs(5);
