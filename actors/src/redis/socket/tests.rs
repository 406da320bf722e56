//! A wire over a pipe in memory, whose other end the tests hold.
#![cfg(not(shuttle))]

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use ::redis::{Cmd, Value, cmd};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use super::close_reason::{CloseReason, CloseSignal};
use super::driver::{Answer, Expected, Form, Pack, Refusal, Replies};
use super::wire::{Socket, Wire};
use crate::redis::status::Cause;

/// A pipe that counts how often it is read and written with success.
struct Counted {
    pipe: DuplexStream,
    reads: Arc<AtomicUsize>,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.pipe).poll_read(cx, buffer);
        self.reads.fetch_add(usize::from(read.is_ready()), Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.pipe).poll_write(cx, bytes);
        self.writes.fetch_add(usize::from(written.is_ready()), Ordering::Relaxed);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

/// The other end, and what is known of ours.
struct Other {
    pipe: DuplexStream,
    reads: Arc<AtomicUsize>,
    writes: Arc<AtomicUsize>,
    permits: Arc<Semaphore>,
    closing: Arc<CloseSignal>,
}

fn open(room_bytes: usize, is_shared: bool) -> (Wire, Other) {
    let (ours, pipe) = duplex(room_bytes);
    let (reads, writes) = (Arc::default(), Arc::default());
    let counted = Counted { pipe: ours, reads: Arc::clone(&reads), writes: Arc::clone(&writes) };
    let permits = Arc::new(Semaphore::new(1));
    let permit = Arc::clone(&permits).try_acquire_owned().unwrap();
    let closing = Arc::new(CloseSignal::default());
    let socket = Socket::new(Box::new(counted), Arc::new(permit));
    let wire = Wire::open(socket, is_shared, None, &closing);
    (wire, Other { pipe, reads, writes, permits, closing })
}

impl Other {
    async fn takes(&mut self, bytes: &[u8]) {
        let mut taken = vec![0; bytes.len()];
        self.pipe.read_exact(&mut taken).await.unwrap();
        assert_eq!(taken, bytes);
    }

    async fn says(&mut self, bytes: &[u8]) {
        self.pipe.write_all(bytes).await.unwrap();
    }
}

fn ping() -> Cmd {
    cmd("PING")
}

fn after(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

fn replied(value: Value) -> Answer {
    Answer::Replied(Ok(Replies::One(value)))
}

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_request_that_is_alone_costs_one_write_and_one_read() {
    let (wire, mut other) = open(1024, true);
    for count in 1..=50 {
        let (answer, ()) = tokio::join!(wire.ask(&Ping, Some(after(5_000))), async {
            other.takes(PING).await;
            other.says(b"+OK\r\n").await;
        });
        assert_eq!(answer, Ok(replied(Value::Okay)));
        assert_eq!(other.writes.load(Ordering::Relaxed), count);
        assert_eq!(other.reads.load(Ordering::Relaxed), count);
    }
}

#[tokio::test]
async fn what_many_have_ready_goes_out_in_one_write() {
    const CALLERS: usize = 64;
    let (wire, mut other) = open(1 << 16, true);
    let asking = (0..CALLERS).map(|_| wire.ask(&Ping, Some(after(5_000))));
    let (answers, ()) = tokio::join!(join_all(asking), async {
        other.takes(&PING.repeat(CALLERS)).await;
        other.says(&b"+OK\r\n".repeat(CALLERS)).await;
    });
    assert!(answers.into_iter().all(|answer| answer == Ok(replied(Value::Okay))));
    assert_eq!(other.writes.load(Ordering::Relaxed), 1);
    assert_eq!(other.reads.load(Ordering::Relaxed), 1);
}

// redis R16
#[tokio::test]
async fn it_reads_while_a_write_is_blocked() {
    const LARGE: usize = 1 << 20;
    let (wire, mut other) = open(1024, true);
    let text = vec![b'x'; LARGE];
    let mut set = Cmd::new();
    set.arg("SET").arg("key").arg(&text);
    let (first, second) = (Raw(ping()), Raw(set));
    let (first, second, ()) = tokio::join!(
        wire.ask(&first, Some(after(5_000))),
        wire.ask(&second, Some(after(5_000))),
        async {
            // A server that takes nothing until its reply has left.
            let reply = [format!("${LARGE}\r\n").into_bytes(), text.clone(), b"\r\n".into()];
            other.says(&reply.concat()).await;
            other.takes(PING).await;
            let mut taken = vec![0; LARGE];
            other.pipe.read_exact(&mut taken).await.unwrap();
            other.says(b"+OK\r\n").await;
        }
    );
    assert_eq!(first, Ok(replied(Value::BulkString(text))));
    assert_eq!(second, Ok(replied(Value::Okay)));
}

#[tokio::test(start_paused = true)]
async fn each_deadline_is_kept_to_ten_milliseconds() {
    let (wire, _other) = open(1024, true);
    let begun = Instant::now();
    let asking = [500, 20, 21, 3, 300].map(|millis| {
        let wire = &wire;
        async move {
            let answer = wire.ask(&Ping, Some(after(millis))).await;
            (millis, answer, begun.elapsed())
        }
    });
    for (millis, answer, elapsed) in join_all(asking).await {
        assert_eq!(answer, Ok(Answer::TimedOut));
        let until = Duration::from_millis(millis);
        let late = elapsed.checked_sub(until).expect("not before its time");
        assert!(late <= Duration::from_millis(12), "{until:?}: {late:?} late");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_already_is_not_put_off() {
    let (wire, _other) = open(1024, true);
    let begun = Instant::now();
    for since_millis in [0, 1, 9, 10, 11, 1000] {
        tokio::time::advance(Duration::from_secs(2)).await;
        let until = Instant::now() - Duration::from_millis(since_millis);
        let answer = timeout(LONG, wire.ask(&Ping, Some(until))).await;
        assert_eq!(answer, Ok(Ok(Answer::TimedOut)), "{since_millis} ms ago");
    }
    assert!(begun.elapsed() < Duration::from_secs(13), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn others_who_look_in_between_put_no_deadline_off() {
    let (wire, mut other) = open(1 << 20, true);
    let mut late = Box::pin(wire.ask(&Ping, Some(Instant::now())));
    assert!((&mut late).now_or_never().is_none());
    let begun = Instant::now();
    while (&mut late).now_or_never().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(1));
        // They come more often than deadlines are looked at.
        tokio::time::advance(Duration::from_millis(2)).await;
        assert!(wire.ask(&Ping, Some(after(60_000))).now_or_never().is_none());
        yield_now().await;
    }
    other.takes(PING).await;
}

#[tokio::test(start_paused = true)]
async fn deadlines_are_kept_while_a_write_is_blocked() {
    let (wire, _other) = open(8, true);
    let begun = Instant::now();
    let (first, second) = tokio::join!(wire.ask(&Ping, Some(after(60_000))), async {
        yield_now().await;
        wire.ask(&Ping, Some(after(50))).now_or_never();
        let second = wire.ask(&Ping, Some(after(50))).await;
        (second, begun.elapsed())
    });
    assert_eq!(first, Ok(Answer::TimedOut));
    assert_eq!(second.0, Ok(Answer::TimedOut));
    assert!(second.1 < Duration::from_secs(1), "{:?}", second.1);
}

#[tokio::test]
async fn the_end_of_the_connection_wakes_every_caller() {
    let (wire, other) = open(1024, true);
    let asking = (0..100).map(|_| wire.ask(&Ping, None));
    let (answers, reason) = tokio::join!(join_all(asking), async {
        let Other { pipe, closing, permits, .. } = other;
        yield_now().await;
        drop(pipe);
        let reason = closing.fired().await;
        (reason, timeout(LONG, permits.acquire_owned()).await.is_ok())
    });
    for answer in answers {
        assert!(matches!(answer, Ok(Answer::Lost { cause: Cause::Closed, .. })), "{answer:?}");
    }
    assert_eq!(reason, (CloseReason::Closed, true));
    assert_eq!(wire.ask(&Ping, None).await, Err(Refusal::Ended(Cause::Closed)));
}

#[tokio::test]
async fn whoever_drops_the_last_wire_closes_the_connection() {
    let (wire, mut other) = open(1024, false);
    assert!(wire.ask(&Ping, None).now_or_never().is_none());
    other.takes(PING).await;
    drop(wire);
    let mut rest = Vec::new();
    timeout(LONG, other.pipe.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest, b"");
    drop(timeout(LONG, other.permits.acquire()).await.unwrap().unwrap());
}

#[tokio::test]
async fn a_reply_too_many_ends_the_connection_before_anyone_reads_it() {
    let (wire, mut other) = open(1024, true);
    let (answer, ()) = tokio::join!(wire.ask(&Ping, None), async {
        other.takes(PING).await;
        other.says(b"+OK\r\n:1\r\n").await;
    });
    assert_eq!(answer, Ok(replied(Value::Okay)));
    assert_eq!(other.closing.fired().await, CloseReason::Protocol);
    assert_eq!(wire.ask(&Ping, None).await, Err(Refusal::Ended(Cause::Protocol)));
}

#[tokio::test]
async fn what_is_not_the_protocol_ends_the_connection() {
    let (wire, mut other) = open(1024, true);
    let (answer, ()) = tokio::join!(wire.ask(&Ping, None), async {
        other.takes(PING).await;
        other.says(b"$x\r\n").await;
    });
    assert_eq!(answer, Ok(Answer::Lost { cause: Cause::Protocol, was_sent: true }));
    assert_eq!(other.closing.fired().await, CloseReason::Protocol);
}

#[tokio::test]
async fn an_abandoned_request_disturbs_nobody() {
    let (wire, mut other) = open(1024, true);
    assert!(wire.ask(&Ping, None).now_or_never().is_none());
    let (answer, ()) = tokio::join!(wire.ask(&Ping, None), async {
        other.takes(&PING.repeat(2)).await;
        other.says(b":1\r\n:2\r\n").await;
    });
    assert_eq!(answer, Ok(replied(Value::Int(2))));
}

#[tokio::test]
async fn what_the_server_says_before_it_is_asked_answers_the_first_request() {
    let (wire, mut other) = open(1024, false);
    other.says(b"-ERR max number of clients reached\r\n").await;
    yield_now().await;
    let Other { pipe, .. } = other;
    drop(pipe);
    yield_now().await;
    let answer = wire.ask(&Ping, None).await;
    let Ok(Answer::Replied(Ok(Replies::One(Value::ServerError(error))))) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(error.details(), Some("max number of clients reached"));
}

/// Writes fail, and what was said before that arrives a moment later.
struct Failing {
    said: Pin<Box<dyn Future<Output = ()> + Send>>,
    text: &'static [u8],
}

impl AsyncRead for Failing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.text.is_empty() {
            std::task::ready!(self.said.as_mut().poll(cx));
        }
        buffer.put_slice(std::mem::take(&mut self.text));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Failing {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_loses_no_reply_and_waits_a_moment_for_it() {
    for (after_millis, is_in_time) in [(50, true), (60_000, false)] {
        let said = Box::pin(tokio::time::sleep(Duration::from_millis(after_millis)));
        let stream = Failing { said, text: b"-ERR max number of clients reached\r\n" };
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let socket = Socket::new(Box::new(stream), Arc::new(permit));
        let closing = Arc::new(CloseSignal::default());
        let wire = Wire::open(socket, true, None, &closing);
        let begun = Instant::now();
        let answer = wire.ask(&Ping, None).await;
        match answer {
            Ok(Answer::Replied(_)) => assert!(is_in_time),
            // Some of it may have gone out.
            Ok(Answer::Lost { was_sent: true, .. }) => assert!(!is_in_time),
            other => panic!("{other:?}"),
        }
        assert!(begun.elapsed() < Duration::from_millis(200));
        assert_eq!(closing.reason(), Some(CloseReason::Closed));
        assert!(matches!(wire.ask(&Ping, None).await, Err(Refusal::Ended(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_kept_where_the_task_has_spent_its_budget() {
    let (wire, mut other) = open(1 << 24, true);
    let first = Raw(ping());
    let mut first = Box::pin(wire.ask(&first, Some(after(20))));
    assert!((&mut first).now_or_never().is_none());
    other.takes(PING).await;
    let second = wire.ask(&Ping, Some(after(1000)));
    // More than 128 reads, all of them ready at once.
    other.says(b"$8000000\r\n").await;
    other.says(&vec![b'x'; 8_000_000]).await;
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first, second), (Ok(Answer::TimedOut), Ok(Answer::TimedOut)));
}

/// `PING`, packed.
struct Ping;

/// Any command, packed.
struct Raw(Cmd);

impl Pack for Ping {
    fn pack(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(PING);
    }

    fn len_bytes(&self) -> usize {
        PING.len()
    }

    fn expected(&self) -> Expected {
        Expected { replies: 1, form: Form::Each }
    }
}

impl Pack for Raw {
    fn pack(&self, buffer: &mut Vec<u8>) {
        self.0.write_packed_command(buffer);
    }

    fn len_bytes(&self) -> usize {
        self.0.get_packed_command().len()
    }

    fn expected(&self) -> Expected {
        Expected { replies: 1, form: Form::Each }
    }
}
