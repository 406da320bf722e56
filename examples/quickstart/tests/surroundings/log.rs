//! Nobody reads what the program writes, as while a log driver hangs.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{LIMIT, SHUTDOWN_TIMEOUT};
use crate::support::{Answer, Place, SLACK, client, eventually, find, kill, restarts};

const ACCESS_LOG: (&str, &str) = ("ACTON_SERVICE_ACCESS_LOG", "true");
/// More than a pipe and the lines that wait for it can hold.
const MANY: usize = 12_000;
const ACCESS: &str = "mainstay::access";
const LOST: &str = "log lines were lost";

/// A pipe that takes nothing more.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    // Opened anew, the pipe is made non-blocking for this one writer only.
    let filled = Command::new("dd")
        .args(["if=/dev/zero", "of=/proc/self/fd/1", "bs=4096", "oflag=nonblock"])
        .stdout(writer.try_clone().unwrap())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!filled.success(), "it ends when the pipe takes no more");
    (reader, writer)
}

/// The program, at an address that it need not print. Killed when dropped.
struct Mute {
    child: Child,
    host: String,
}

impl Mute {
    fn start(
        place: &Place,
        variables: &[(&str, &str)],
        streams: impl FnOnce(&mut Command),
    ) -> Self {
        let port = crate::free_port();
        let mut command = place.command(variables);
        streams(command.env("ACTON_SERVICE_PORT", &port));
        Self { child: command.spawn().unwrap(), host: format!("127.0.0.1:{port}") }
    }

    async fn get(&self, path: &str) -> Answer {
        Answer::of(client().get(format!("http://{}{path}", self.host))).await
    }

    async fn becomes_ready(&self) {
        let url = format!("http://{}/ready", self.host);
        eventually("ready", async || {
            client().get(&url).send().await.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
    }

    /// Sends many requests on one connection, each with its line in the log. All are answered.
    async fn answers(&self, requests: usize) {
        let mut stream = TcpStream::connect(&self.host).await.unwrap();
        let (mut answers, mut sender) = stream.split();
        let send = async {
            let request = "GET /nowhere HTTP/1.1\r\nhost: test\r\n\r\n".repeat(requests - 1);
            sender.write_all(request.as_bytes()).await.unwrap();
            let last = "GET /nowhere HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
            sender.write_all(last.as_bytes()).await.unwrap();
        };
        let mut received = Vec::new();
        let both = async { tokio::join!(send, answers.read_to_end(&mut received)) };
        let ((), read) = tokio::time::timeout(30 * SLACK, both).await.expect("all are answered");
        read.unwrap();
        let answered = String::from_utf8(received).unwrap().matches("HTTP/1.1 404").count();
        assert_eq!(answered, requests);
    }

    async fn ends_in_time(&mut self) {
        let begun = Instant::now();
        kill("-TERM", self.child.id());
        let mut status = None;
        eventually("the program ends", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        let took = begun.elapsed();
        assert!(took < LIMIT + SLACK, "it took {took:?} to end");
        assert_eq!(status.unwrap().code(), Some(0));
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        self.child.kill().ok(); // It may be gone already.
        self.child.wait().ok();
    }
}

/// Reads a pipe to its end, in the background.
struct Reading(Arc<Mutex<Vec<u8>>>, thread::JoinHandle<()>);

impl Reading {
    fn of(mut reader: PipeReader) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let read = Arc::clone(&text);
        let thread = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = reader.read(&mut buffer) {
                read.lock().unwrap().extend_from_slice(&buffer[..len]);
            }
        });
        Self(text, thread)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn ended(self) -> String {
        self.1.join().unwrap();
        String::from_utf8(Arc::into_inner(self.0).unwrap().into_inner().unwrap()).unwrap()
    }
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_no_request_and_no_end() {
    let place = Place::new();
    let (_unread, full) = full_pipe();
    let variables = [ACCESS_LOG, SHUTDOWN_TIMEOUT];
    let mut program = Mute::start(&place, &variables, |command| {
        command.stdout(full).stderr(Stdio::null());
    });
    program.becomes_ready().await;
    program.answers(MANY).await;
    program.becomes_ready().await;
    program.ends_in_time().await;
}

#[tokio::test]
async fn lines_that_were_lost_are_counted_when_somebody_reads_again() {
    let place = Place::new();
    let (unread, full) = full_pipe();
    let variables = [ACCESS_LOG, SHUTDOWN_TIMEOUT];
    let mut program = Mute::start(&place, &variables, |command| {
        command.stdout(full).stderr(Stdio::null());
    });
    program.becomes_ready().await;
    program.answers(MANY).await;
    let reading = Reading::of(unread);
    eventually("the loss is told", async || reading.text().contains(LOST)).await;
    program.answers(1).await;
    program.ends_in_time().await;
    let text = reading.ended();
    let told: Vec<_> = text.lines().filter(|line| line.contains(LOST)).collect();
    let [told] = told[..] else { panic!("not one line but {told:#?}") };
    let lost = told.split("lines=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let lost: usize = lost.unwrap().parse().unwrap();
    let written = text.lines().filter(|line| line.contains(ACCESS)).count();
    assert!(lost > 0 && written > 1, "{lost} lost, {written} written");
    assert_eq!(lost + written, MANY + 1, "every line is written or counted");
    let (before, after) = text.split_once(told).unwrap();
    assert_eq!(after.lines().filter(|line| line.contains(ACCESS)).count(), 1, "{after}");
    assert!(before.contains("serving name=") && after.contains("stopped name="), "{after}");
}

#[tokio::test]
async fn a_panic_that_nobody_can_read_holds_up_nothing() {
    let place = Place::new();
    let log = place.path("log");
    let (_unread, full) = full_pipe();
    let variables = [SHUTDOWN_TIMEOUT, ("QUICKSTART_CHAOS", "1"), ("RUST_BACKTRACE", "1")];
    let mut program = Mute::start(&place, &variables, |command| {
        command.stdout(File::create(&log).unwrap()).stderr(full);
    });
    program.becomes_ready().await;
    let crash = format!("http://{}/api/v1/tree/reads/crash", program.host);
    assert_eq!(client().post(&crash).send().await.unwrap().status(), 202);
    // The actor panics at its next message.
    assert_eq!(program.get("/api/v1/users/1").await.status, 200);
    eventually("it is back", async || {
        let tree = program.get("/api/v1/tree").await.json();
        restarts(&tree) == 1 && find(&tree, "reads").unwrap()["state"] == "up"
    })
    .await;
    let text = std::fs::read_to_string(&log).unwrap();
    let told = text.lines().find(|line| line.contains("a thread panicked"));
    assert!(told.is_some_and(|line| line.contains(".rs:")), "{text}");
    program.ends_in_time().await;
}

#[tokio::test]
async fn a_panic_is_shown_on_stderr_as_ever() {
    let place = Place::new();
    let quickstart = place.start(&[("QUICKSTART_CHAOS", "1")]).await;
    quickstart.post("/api/v1/tree/reads/crash", "").await;
    quickstart.get("/api/v1/users/1").await;
    eventually("it is shown", async || quickstart.stderr().contains("panicked at ")).await;
    assert!(!quickstart.stdout().contains("a thread panicked"), "{}", quickstart.stdout());
}

#[tokio::test]
async fn no_line_is_missing_at_an_ordinary_end() {
    let place = Place::new();
    let mut quickstart = place.start(&[ACCESS_LOG]).await;
    for _ in 0..20 {
        quickstart.get("/nowhere").await;
    }
    quickstart.signal("-TERM");
    assert_eq!(quickstart.ended().await, Some(0));
    let text = quickstart.stdout();
    assert_eq!(text.lines().filter(|line| line.contains(ACCESS)).count(), 20, "{text}");
    assert!(text.lines().last().unwrap().contains("stopped name="), "{text}");
}

#[tokio::test]
async fn no_line_is_missing_where_the_start_fails() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut quickstart = place.spawn(&[("ACTON_SERVICE_PORT", &port)]);
    assert_eq!(quickstart.ended().await, Some(1));
    assert!(quickstart.stdout().contains("configuration files read"), "{}", quickstart.stdout());
    assert!(quickstart.stderr().contains("ACTON_SERVICE_PORT"), "{}", quickstart.stderr());
}
