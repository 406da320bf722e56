//! What an actor holds of work that is done. In a process of its own, because it measures that
//! process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "only tests use these helpers")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_supervision::{Actor, BoxError, Cx, Handle, Server, Supervisor, System};

const TASKS: usize = 50_000;
/// Of a task's own values. With what is around them a task needs some [`WHOLE`] bytes, fewer than
/// those from which on tokio keeps it apart, and lets go of it as soon as it is done.
const SIZE: usize = 256;
const WHOLE: usize = 1_300;

/// Starts many tasks at once.
struct Burst(Arc<AtomicUsize>);

enum Message {
    Begin,
    Done,
}

impl Server for Burst {
    type Message = Message;
    type State = ();

    async fn init(&self, _cx: &Cx<Message>) -> Result<(), BoxError> {
        Ok(())
    }

    async fn handle(
        &self,
        cx: &Cx<Message>,
        message: Message,
        (): &mut (),
    ) -> Result<(), BoxError> {
        match message {
            Message::Begin => {
                for _ in 0..TASKS {
                    cx.task("works", works(), |()| Message::Done);
                }
            }
            Message::Done => {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        Ok(())
    }
}

/// Keeps much of what it works on in itself.
async fn works() {
    let mut data = [1_u8; SIZE];
    tokio::task::yield_now().await;
    data[SIZE / 2] = 2;
    black_box(&data);
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn tasks_that_are_done_are_given_back_without_another_one_being_started() {
    let done = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&done);
    let mut root = Supervisor::new("root");
    let burst: Handle<Message> =
        root.actor(Actor::new("burst", move || Burst(Arc::clone(&counted))));
    let _system = System::start(root).await.unwrap();
    let before = resident_bytes();
    burst.tell(Message::Begin).unwrap();
    let all_done = async {
        while done.load(Ordering::SeqCst) < TASKS {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The last one has said so, and is about to be gone.
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    tokio::time::timeout(Duration::from_secs(60), all_done).await.unwrap();
    // Where the tasks were, there is room for as much again.
    let again: Vec<_> = (0..TASKS).map(|_| black_box(vec![1_u8; WHOLE])).collect();
    let grown = resident_bytes().saturating_sub(before);
    drop(again);
    let needed = TASKS * WHOLE;
    assert!(grown < needed * 3 / 2, "{} MiB for {} MiB", grown >> 20, needed >> 20);
}
