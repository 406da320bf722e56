//! The system calls of this process for a GET of one task, counted by strace.
//!
//! `/proc/<pid>/io` does not count what goes through `recv(2)` and `send(2)`. A child that does twice
//! as many GETs is compared with one that does them once, so what starts and ends it cancels out.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::paths::{Path, config, tree};
use crate::work::Work;

const GETS: usize = 2_000;
const LONGEST: Duration = Duration::from_secs(120);
/// No probe in the time of a child: what it sends is not of a GET.
const NEVER: Duration = Duration::from_secs(3600);

/// Calls for each GET.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Calls {
    /// That send to a socket.
    pub(crate) writes: f64,
    /// That receive from a socket, in vain ones included.
    pub(crate) reads: f64,
    /// All others: waiting for sockets, waking threads, time.
    pub(crate) other: f64,
}

/// What the child does: so many GETs by one task, as in `redis-path --count 2000 --path bare --url redis://..`.
pub(crate) async fn child(gets: usize, name: &str, url: &str) {
    let work = Work::gets_in_all(1, gets);
    if name == "cacheconn" {
        let mut config = config(url, None);
        config.probe_interval = NEVER;
        let tree = tree(config).await;
        work.run(&Path::CacheConn(tree.cache())).await;
        tree.shutdown(crate::PATIENCE).await;
    } else {
        work.run(&Path::bare(url, false).await).await;
    }
}

/// Calls of the path called `name` for each GET, or why they were not counted.
pub(crate) async fn per_get(name: &str, url: &str) -> Result<Calls, String> {
    let once = traced(GETS, name, url).await?;
    let twice = traced(2 * GETS, name, url).await?;
    let each = |twice: f64, once: f64| (twice - once) / float(GETS);
    Ok(Calls {
        writes: each(twice.writes, once.writes),
        reads: each(twice.reads, once.reads),
        other: each(twice.other, once.other),
    })
}

async fn traced(gets: usize, name: &str, url: &str) -> Result<Calls, String> {
    let trace = Trace::new()?;
    let this = std::env::current_exe().map_err(|cause| format!("who am I: {cause}"))?;
    let run = Command::new("strace")
        // Descriptors with what they are: a write to an eventfd wakes a thread and sends nothing.
        .args(["-f", "-y", "-qq", "-s", "0", "-e", "signal=none", "-o"])
        .arg(&trace.file)
        .arg(this)
        .args(["--count", &gets.to_string(), "--path", name, "--url", url])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match timeout(LONGEST, run).await {
        Ok(Ok(output)) => output,
        Ok(Err(cause)) => {
            return Err(format!(
                "strace does not start ({cause}); on Debian: apt-get install strace"
            ));
        }
        Err(_) => return Err(format!("strace was not done within {LONGEST:?}")),
    };
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "strace failed, {}: {}; a container has to allow ptrace (docker run --cap-add SYS_PTRACE)",
            output.status,
            text.lines().next_back().unwrap_or("it says nothing")
        ));
    }
    let text =
        std::fs::read(&trace.file).map_err(|cause| format!("{}: {cause}", trace.file.display()))?;
    Ok(counted(&String::from_utf8_lossy(&text)))
}

/// A file that is gone when it is dropped, in a directory that nobody else can write to.
struct Trace {
    directory: PathBuf,
    file: PathBuf,
}

impl Trace {
    fn new() -> Result<Self, String> {
        let name = format!("redis-path-{}-{:016x}", std::process::id(), fastrand::u64(..));
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory)
            .map_err(|cause| format!("{}: {cause}", directory.display()))?;
        Ok(Self { file: directory.join("trace"), directory })
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.directory).ok(); // The system clears its temporary files.
    }
}

/// Of lines such as `4711 recvfrom(9<TCP:[..]>, ""..., 8192, 0, NULL, NULL) = 26`.
fn counted(trace: &str) -> Calls {
    let mut calls = Calls::default();
    for line in trace.lines() {
        let line = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        // The second half of a call that another thread's came between, or the end of a thread.
        let Some((name, rest)) = line.split_once('(').filter(|_| !line.starts_with('<')) else {
            continue;
        };
        let is_socket = rest.split_once('<').is_some_and(|(descriptor, of)| {
            descriptor.bytes().all(|byte| byte.is_ascii_digit())
                && (of.starts_with("socket:") || of.starts_with("TCP"))
        });
        match name {
            "write" | "writev" | "sendto" | "sendmsg" if is_socket => calls.writes += 1.0,
            "read" | "readv" | "recvfrom" | "recvmsg" if is_socket => calls.reads += 1.0,
            _ => calls.other += 1.0,
        }
    }
    calls
}

#[expect(clippy::cast_precision_loss, reason = "nobody waits for 2^52 GETs")]
fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_through_a_socket_is_told_from_what_wakes_a_thread() {
        let trace = r#"81 sendto(9<socket:[4711]>, ""..., 34, MSG_NOSIGNAL, NULL, 0) = 34
81 epoll_wait(5<anon_inode:[eventpoll]>,  <unfinished ...>
82 write(7<anon_inode:[eventfd]>, ""..., 8) = 8
82 recvfrom(9<socket:[4711]>,  <unfinished ...>
81 <... epoll_wait resumed>[{events=EPOLLIN, data=1}], 1024, -1) = 1
82 <... recvfrom resumed>""..., 8192, 0, NULL, NULL) = 26
82 recvfrom(9<TCP:[127.0.0.1:40000->127.0.0.1:6379]>, 0x1, 8192, 0, NULL, NULL) = -1 EAGAIN
82 writev(9<socket:[4711]>, [{iov_base=""..., iov_len=3}], 1) = 3
82 futex(0x55, FUTEX_WAKE_PRIVATE, 1) = 1
82 +++ exited with 0 +++
"#;
        assert_eq!(counted(trace), Calls { writes: 2.0, reads: 2.0, other: 3.0 });
    }
}
