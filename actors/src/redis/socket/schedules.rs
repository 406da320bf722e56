//! The wire under every order in which its callers and its driver may take their lock. Runs under `--cfg shuttle`.
#![cfg(shuttle)]

use std::sync::Arc;

use ::redis::Value;
use shuttle::future::{block_on, spawn, yield_now};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime;
use tokio::sync::Semaphore;

use super::close_reason::CloseSignal;
use super::driver::{Answer, Expected, Pack, Refusal, Replies};
use super::wire::{Socket, Wire};

/// A request of one byte, which the server answers with that byte as a number.
struct Byte(u8);

impl Pack for Byte {
    fn pack(&self, buffer: &mut Vec<u8>) {
        buffer.push(self.0);
    }

    fn len_bytes(&self) -> usize {
        1
    }

    fn expected(&self) -> Expected {
        Expected::ONE
    }
}

fn open(room_bytes: usize) -> (Wire, DuplexStream) {
    let (ours, theirs) = duplex(room_bytes);
    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let socket = Socket::new(Box::new(ours), Arc::new(permit));
    let run = |driver| {
        spawn(driver);
        // Nobody aborts it: it ends with the other end of the pipe.
        runtime::Handle::current().spawn(async {}).abort_handle()
    };
    (Wire::open_by(run, socket, true, None, &Arc::new(CloseSignal::default())), theirs)
}

/// Answers so many requests, then closes.
async fn serve(mut pipe: DuplexStream, requests: usize) {
    for _ in 0..requests {
        let Ok(byte) = pipe.read_u8().await else { return };
        if pipe.write_all(format!(":{byte}\r\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn asks(wire: Wire, byte: u8) -> usize {
    let mut answered = 0;
    for _ in 0..2 {
        match wire.ask(&Byte(byte), None).await {
            Ok(Answer::Replied(Ok(Replies::One(value)))) => {
                assert_eq!(value, Value::Int(byte.into()));
                answered += 1;
            }
            Ok(Answer::Lost { .. }) | Err(Refusal::Ended(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    answered
}

/// Begins to ask, and is dropped.
async fn gives_up(wire: Wire, byte: u8) {
    let request = Byte(byte);
    let asking = wire.ask(&request, None);
    let mut asking = Box::pin(asking);
    let first = futures_util::poll!(&mut asking);
    yield_now().await;
    drop(first);
}

fn check(schedules: usize, test: impl Fn() + Send + Sync + 'static) {
    let timers = runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
    let timers = timers.unwrap();
    let handle = timers.handle().clone();
    shuttle::check_random(
        move || {
            let _timers = handle.enter();
            test();
        },
        schedules,
    );
}

#[test]
fn whoever_is_answered_is_woken_and_has_its_own_reply() {
    check(20_000, || {
        block_on(async {
            let (wire, pipe) = open(3);
            let server = spawn(serve(pipe, 7));
            let callers: Vec<_> = (1..=3).map(|byte| spawn(asks(wire.clone(), byte))).collect();
            let gone = spawn(gives_up(wire.clone(), 9));
            for caller in callers {
                assert_eq!(caller.await.unwrap(), 2);
            }
            gone.await.unwrap();
            drop(wire);
            server.abort();
        });
    });
}

#[test]
fn whoever_is_not_answered_is_told_of_the_end() {
    check(20_000, || {
        block_on(async {
            let (wire, pipe) = open(3);
            let server = spawn(serve(pipe, 2));
            let callers: Vec<_> = (1..=3).map(|byte| spawn(asks(wire.clone(), byte))).collect();
            let mut answered = 0;
            for caller in callers {
                answered += caller.await.unwrap();
            }
            assert!(answered <= 2);
            server.await.unwrap();
        });
    });
}
