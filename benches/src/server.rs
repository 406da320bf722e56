//! A private redis-server on a free port of the loopback.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Ends when it is dropped, and with this process, however that ends.
#[derive(Debug)]
pub struct Server {
    guard: Child,
    port: u16,
}

/// Kills the server as soon as our end of the pipe is closed, by us or by the system after our death.
const GUARD: &str = r#"exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
read -r _ <&3
kill -9 "$server"
wait "$server"
"#;

impl Server {
    /// Started, and listening. It keeps nothing on disk.
    pub async fn start() -> Self {
        let port = free_port();
        let guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "guard", "redis-server", "--bind", "127.0.0.1"])
            .args(["--port", &port.to_string(), "--save", "", "--appendonly", "no"])
            // A terminal's Ctrl-C is meant for us; the guard learns of our end by the pipe.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("every system has a shell");
        let server = Self { guard, port };
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(Instant::now() < deadline, "is redis-server installed?");
            sleep(Duration::from_millis(5)).await;
        }
        server
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where it is, on the loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it by SIGKILL.
    pub fn kill(&mut self) {
        drop(self.guard.stdin.take());
        self.guard.wait().ok(); // It may have been waited for already.
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Free a moment ago, which is the best that can be known.
fn free_port() -> u16 {
    TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("the loopback has a free port")
        .port()
}

const START_LIMIT: Duration = Duration::from_secs(5);
