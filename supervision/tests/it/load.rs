//! Falls under load, on the real clock and several threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mainstay_supervision::{CallError, Intensity, State, Supervisor, System};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::support::{DEADLINE, Journal, Message, Ping, Probe, eventually, ping, secs, until, up};

const FALLS: u64 = 100;
const CALLERS: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[expect(clippy::disallowed_methods, reason = "a test waits for what it spawns")]
async fn actors_that_panic_a_hundred_times_under_load_leave_no_caller_hanging_and_no_place_taken() {
    let journal = Journal::default();
    // Three actors with a hundred falls each, and not one to spare.
    let mut root = Supervisor::new("root").intensity(Intensity { max: 300, within: secs(600) });
    let ids = ["a", "b", "c"];
    let handles = ids.map(|id| root.actor(Probe::new(id, &journal).actor().capacity(32)));
    let neighbour = Probe::new("neighbour", &journal).add_to(&mut root);
    let system = System::start(root).await.unwrap();

    let done = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (handles, neighbour) = (handles.clone(), neighbour.clone());
        let (done, answered) = (Arc::clone(&done), Arc::clone(&answered));
        callers.spawn(async move {
            let mut round = caller;
            while !done.load(Ordering::Relaxed) {
                round += 1;
                let deadline = Instant::now() + secs(20);
                let ask =
                    handles[round % 3].ask(deadline, |reply| Message::Ping(Ping, reply)).await;
                match ask {
                    Ok(_) => {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(CallError::Unavailable { .. } | CallError::Died { .. }) => {
                        tokio::task::yield_now().await;
                    }
                    Err(CallError::Overloaded { .. }) => tokio::task::yield_now().await,
                    Err(error) => panic!("a caller was left waiting: {error}"),
                }
                assert_eq!(ping(&neighbour).await, 1);
            }
        });
    }
    for fall in 1..=FALLS {
        let before = answered.load(Ordering::Relaxed);
        for id in ids {
            system.inject_panic(id).unwrap();
        }
        for id in ids {
            up(&system, id, fall + 1).await;
        }
        // The next falls come in the middle of the load.
        eventually(|| answered.load(Ordering::Relaxed) > before).await;
    }
    done.store(true, Ordering::Relaxed);
    while let Some(caller) = timeout(DEADLINE, callers.join_next()).await.expect("no hung caller") {
        caller.unwrap();
    }
    until(&system, |tree| tree.children.iter().all(|child| child.state == State::Up)).await;
    eventually(|| handles.iter().all(|handle| handle.depth() == 0)).await;
    let tree = system.tree();
    for id in ids {
        let node = tree.find(id).unwrap();
        assert_eq!((node.restarts, node.incarnation), (FALLS, FALLS + 1));
    }
    assert_eq!(tree.find("neighbour").unwrap().incarnation, 1);
    for handle in &handles {
        assert_eq!(ping(handle).await, FALLS + 1);
    }
    assert!(system.shutdown(secs(5)).await.is_clean());
}
