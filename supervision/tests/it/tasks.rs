//! The work beside an actor: its tasks and timers, and the nursery.

use std::sync::Arc;

use mainstay_supervision::{CallError, Nursery, Shutdown, State, Supervisor, System};
use tokio::sync::Semaphore;

use crate::support::{
    Journal, Message, Poke, Probe, act, alone, eventually, in_state, ms, panics, ping, secs, up,
};

struct Guard(Journal);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.write("task gone");
    }
}

/// A task that never ends, and writes down when it is gone.
fn holds(journal: &Journal) -> Message {
    let journal = journal.clone();
    act(move |cx, _| {
        let guard = Guard(journal);
        let work = async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        };
        cx.task("holds", work, |()| panics());
        Box::pin(async { Ok(()) })
    })
}

#[tokio::test(start_paused = true)]
async fn the_result_of_a_task_comes_back_as_a_message() {
    let journal = Journal::default();
    let (_system, a) = alone(Probe::new("a", &journal).actor()).await;
    a.tell(act(|cx, _| {
        let work = async {
            tokio::time::sleep(secs(1)).await;
            "result"
        };
        cx.task("work", work, |word| Message::Poke(Poke(word)));
        Box::pin(async { Ok(()) })
    }))
    .unwrap();
    // Meanwhile the actor answers.
    assert_eq!(ping(&a).await, 1);
    eventually(|| journal.lines().contains(&"a#1 result".to_owned())).await;
}

type Panics = fn() -> Message;

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_task_fells_the_actor_and_says_which_task_it_was() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor()).await;
    let panicking: [(Panics, &str); 4] = [
        (
            || {
                act(|cx, _| {
                    cx.task("refill", async { panic!("boom") }, |()| panics());
                    Box::pin(async { Ok(()) })
                })
            },
            "panicked: in its task \"refill\": boom",
        ),
        (
            || {
                act(|cx, _| {
                    cx.task("answer", async {}, |()| panic!("boom"));
                    Box::pin(async { Ok(()) })
                })
            },
            "panicked: in its task \"answer\": boom",
        ),
        (
            || {
                act(|cx, _| {
                    cx.every(ms(10), || panic!("boom"));
                    Box::pin(async { Ok(()) })
                })
            },
            "panicked: in its task \"every\": boom",
        ),
        (
            || {
                act(|cx, _| {
                    cx.every(ms(0), panics);
                    Box::pin(async { Ok(()) })
                })
            },
            "panicked: in its task \"every\": `period` must be non-zero.",
        ),
    ];
    for (incarnation, (message, exit)) in (2..).zip(panicking) {
        a.tell(message()).unwrap();
        up(&system, "a", incarnation).await;
        assert_eq!(system.tree().find("a").unwrap().last_exit.as_deref(), Some(exit));
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_are_gone_before_the_next_incarnation_begins_whichever_way_the_one_before_ended() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor()).await;
    for (incarnation, falls) in (2..).zip([true, false]) {
        journal.take();
        a.tell(holds(&journal)).unwrap();
        ping(&a).await;
        if falls {
            a.tell(panics()).unwrap();
        } else {
            system.restart("a").unwrap();
        }
        up(&system, "a", incarnation).await;
        let log = journal.take();
        let gone = log.iter().position(|line| line == "task gone").unwrap();
        let init = log.iter().position(|line| line.ends_with("init")).unwrap();
        assert!(gone < init, "{log:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_have_ended_when_the_actor_says_goodbye() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor()).await;
    a.tell(holds(&journal)).unwrap();
    ping(&a).await;
    system.shutdown(secs(5)).await;
    assert_eq!(journal.take()[1..], ["task gone", "a#1 terminate", "a#1 dropped"]);
}

/// On the real clock: writes `blocking`, blocks its thread for a while, and writes `blocked`.
fn blocks(journal: &Journal) -> Message {
    let journal = journal.clone();
    act(move |cx, _| {
        let work = async move {
            journal.write("blocking");
            std::thread::sleep(ms(300));
            journal.write("blocked");
        };
        cx.task("blocks", work, |()| Message::Poke(Poke("too late")));
        Box::pin(async { Ok(()) })
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_task_that_blocks_its_thread_keeps_the_next_incarnation_waiting() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor()).await;
    a.tell(blocks(&journal)).unwrap();
    eventually(|| journal.lines().contains(&"blocking".to_owned())).await;
    a.tell(panics()).unwrap();
    // Shown as fallen while the task still blocks.
    in_state(&system, "a", State::Backoff).await;
    assert!(!journal.lines().contains(&"blocked".to_owned()));
    up(&system, "a", 2).await;
    ping(&a).await;
    let log = journal.take();
    let place = |line: &str| log.iter().position(|found| found == line).unwrap();
    assert!(place("blocked") < place("a#2 init"), "{log:?}");
    assert!(!log.iter().any(|line| line.contains("too late")), "{log:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_task_that_blocks_its_thread_is_waited_for_by_a_shutdown_also_after_a_kill() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor().shutdown(Shutdown::Kill)).await;
    a.tell(blocks(&journal)).unwrap();
    eventually(|| journal.lines().contains(&"blocking".to_owned())).await;
    assert!(system.shutdown(secs(5)).await.is_clean());
    assert!(journal.take().contains(&"blocked".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn ticks_are_left_out_while_one_waits() {
    let journal = Journal::default();
    let (_system, a) = alone(Probe::new("a", &journal).actor()).await;
    let gate = Arc::new(Semaphore::new(0));
    let waits = Arc::clone(&gate);
    a.tell(act(move |cx, _| {
        cx.every(ms(10), || Message::Poke(Poke("tick")));
        Box::pin(async move {
            waits.acquire().await?.forget();
            Ok(())
        })
    }))
    .unwrap();
    tokio::time::sleep(ms(105)).await;
    gate.add_permits(1);
    ping(&a).await;
    let ticks = || journal.lines().iter().filter(|line| line.ends_with("tick")).count();
    assert_eq!(ticks(), 1);
    // And then they go on.
    tokio::time::sleep(ms(100)).await;
    assert!((9..=11).contains(&ticks()), "{}", ticks());
}

#[tokio::test(start_paused = true)]
async fn timers_end_with_their_incarnation() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor()).await;
    a.tell(act(|cx, _| {
        cx.every(ms(10), || Message::Poke(Poke("tick")));
        cx.after(secs(1), Message::Poke(Poke("after")));
        Box::pin(async { Ok(()) })
    }))
    .unwrap();
    tokio::time::sleep(ms(15)).await;
    assert_eq!(journal.take(), ["a#1 init", "a#1 tick"]);
    a.tell(panics()).unwrap();
    up(&system, "a", 2).await;
    tokio::time::sleep(secs(10)).await;
    assert_eq!(journal.take(), ["a#1 dropped", "a#2 init"]);
}

async fn nursery(capacity: usize) -> (System, Nursery) {
    let mut root = Supervisor::new("root");
    let nursery = Nursery::add_to(&mut root, "nursery", capacity);
    (System::start(root).await.unwrap(), nursery)
}

#[tokio::test(start_paused = true)]
async fn a_nursery_takes_no_more_than_its_capacity_and_runs_what_it_took() {
    let (_system, nursery) = nursery(3).await;
    let (gate, done) = (Arc::new(Semaphore::new(0)), Journal::default());
    for _ in 0..3 {
        let (gate, done) = (Arc::clone(&gate), done.clone());
        let work = async move {
            gate.acquire().await.unwrap().forget();
            done.write("done");
        };
        nursery.start("work", work).unwrap();
    }
    assert_eq!(nursery.start("one more", async {}), Err(CallError::Overloaded { depth: 3 }));
    assert_eq!(nursery.running(), 3);
    gate.add_permits(1);
    eventually(|| nursery.running() == 2).await;
    nursery.start("now it fits", std::future::pending()).unwrap();
    gate.add_permits(2);
    eventually(|| nursery.running() == 1).await;
    assert_eq!(done.take().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_nursery_is_counted_and_harms_nobody_else() {
    let (system, nursery) = nursery(3).await;
    let done = Journal::default();
    let log = done.clone();
    let work = async move {
        tokio::time::sleep(secs(1)).await;
        log.write("done");
    };
    nursery.start("neighbour", work).unwrap();
    for _ in 0..2 {
        nursery.start("panics", async { panic!("boom") }).unwrap();
    }
    eventually(|| nursery.running() == 1).await;
    eventually(|| nursery.running() == 0).await;
    assert_eq!(done.take(), ["done"]);
    let tree = system.tree();
    let node = tree.find("nursery").unwrap();
    assert_eq!((node.incarnation, node.restarts), (1, 0));
    crate::support::until(&system, |tree| {
        tree.find("nursery").unwrap().facts.get("panics") == Some(&2.into())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn work_in_a_nursery_ends_with_the_tree_and_no_more_is_taken() {
    let (system, nursery) = nursery(3).await;
    let journal = Journal::default();
    let guard = Guard(journal.clone());
    let work = async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    };
    nursery.start("endless", work).unwrap();
    tokio::time::sleep(ms(1)).await;
    assert!(system.shutdown(secs(5)).await.is_clean());
    assert_eq!(journal.take(), ["task gone"]);
    assert_eq!(nursery.running(), 0);
    let refused = nursery.start("too late", async {});
    assert_eq!(refused, Err(CallError::Unavailable { retry_after: None }));
    assert_eq!(nursery.running(), 0);
    assert_eq!(system.tree().find("nursery").unwrap().state, State::Down);
}
