use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

/// A server that ends with this value, or with this process, however that ends.
// Not a daemon, as redis-server-wrapper 0.5 starts: that outlives a killed test, and to end its group from outside takes a
// `kill -9 -<pid>`, by which the `kill` of procps 4.0.2 understands every process of the user.
#[derive(Debug)]
pub(super) struct Process {
    server: Child,
    leash: Child,
    /// Nothing is ever written: the system closes it when this process is gone, which is the message.
    _held: ChildStdin,
}

/// Becomes the server at a word from us, and not before there is a leash. Its arguments are the server's program, empty for
/// whichever there is, and the server's arguments.
const SERVER: &str = r#"
read -r _ || exit 0
program=$1; shift
[ -n "$program" ] || program=$(command -v redis-server || command -v valkey-server) || exit 127
exec "$program" "$@" </dev/null
"#;

/// Kills the server and removes its home when this process is gone. Its arguments are those two.
const LEASH: &str = r#"
trap '' HUP INT QUIT TERM
read -r _
kill -9 "$1"
rm -rf -- "$2"
"#;

impl Process {
    /// Starts `program`, or else the server that is on `PATH`. What it says goes to `log`.
    pub(super) fn start(
        home: &Path,
        program: Option<&OsStr>,
        arguments: &[OsString],
        log: &File,
    ) -> io::Result<Self> {
        let mut server = shell(SERVER)
            .arg(program.unwrap_or_default())
            .args(arguments)
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?)
            .spawn()?;
        let mut leash = shell(LEASH)
            .arg(server.id().to_string())
            .arg(home)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let held = leash.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let go = server.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let process = Self { server, leash, _held: held };
        { go }.write_all(b"go\n")?;
        Ok(process)
    }

    /// How the server ended, if it has.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.server.try_wait()
    }

    /// Sends the server a signal, by a name such as `STOP`.
    pub(super) fn signal(&self, name: &str) -> io::Result<ExitStatus> {
        shell(r#"kill -s "$1" "$2""#).args([name, &self.server.id().to_string()]).status()
    }
}

impl Drop for Process {
    /// Waits for the server's end: some milliseconds.
    fn drop(&mut self) {
        // The leash goes before the server's id may be given to another process.
        self.server.kill().ok(); // It may have ended by itself, as may the leash.
        self.leash.kill().ok();
        self.leash.wait().ok();
        self.server.wait().ok();
    }
}

/// In a process group of its own: a terminal's Ctrl-C is meant for the tests.
fn shell(script: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script, "mainstay-testing"]).stdin(Stdio::piped()).process_group(0);
    shell
}
