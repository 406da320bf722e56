//! What bounds the work that an actor has taken on: also the part of it that its tasks do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use mainstay_supervision::{Actor, CallError, Handle, Notice, Nursery, Reply, Supervisor, System};
use tokio::sync::Semaphore;

use crate::support::{
    Journal, Message, Ping, Poke, Probe, act, alone, answers, count, eventually, ms, panics, ping,
    secs, soon, up,
};

/// Work that stands at a gate, and who stands there.
#[derive(Clone)]
struct Works {
    gate: Arc<Semaphore>,
    alive: Arc<AtomicUsize>,
    handled: Arc<AtomicUsize>,
}

struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Works {
    fn new() -> Self {
        Self { gate: Arc::new(Semaphore::new(0)), alive: Arc::default(), handled: Arc::default() }
    }

    fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    async fn at_the_gate(self) {
        self.alive.fetch_add(1, Ordering::SeqCst);
        let _alive = Alive(Arc::clone(&self.alive));
        self.gate.acquire().await.unwrap().forget();
    }

    /// A message of which the handling is a task.
    fn message(&self) -> Message {
        let works = self.clone();
        act(move |cx, _| {
            works.handled.fetch_add(1, Ordering::SeqCst);
            cx.task("works", works.at_the_gate(), |()| Message::Poke(Poke("done")));
            Box::pin(async { Ok(()) })
        })
    }

    /// The same as a question.
    fn question(&self, reply: Reply<u64>) -> Message {
        let works = self.clone();
        answers(
            move |cx, _| {
                works.handled.fetch_add(1, Ordering::SeqCst);
                cx.task("works", works.at_the_gate(), |()| Message::Poke(Poke("done")));
                Box::pin(async { Ok(()) })
            },
            reply,
        )
    }

    /// Tells `handle` as often as it takes messages, at most `most` times, each when the one before
    /// is handled. How often, and what it said in the end.
    async fn fill(&self, handle: &Handle<Message>, most: usize) -> (usize, Option<CallError>) {
        for taken in 0..most {
            let before = self.handled.load(Ordering::SeqCst);
            match handle.tell(self.message()) {
                Ok(()) => eventually(|| self.handled.load(Ordering::SeqCst) > before).await,
                Err(rejected) => return (taken, Some(rejected.why)),
            }
        }
        (most, None)
    }
}

/// A notice that is handled by a task.
struct Work(Works);
impl Notice for Work {}

fn is_overloaded(why: Option<CallError>) -> bool {
    matches!(why, Some(CallError::Overloaded { .. }))
}

#[tokio::test(start_paused = true)]
async fn an_actor_whose_tasks_are_as_many_as_its_mailbox_holds_takes_no_more_messages() {
    for capacity in [1, 4] {
        let journal = Journal::default();
        let actor = Probe::new("a", &journal).actor().capacity(capacity);
        let (system, a) = alone(actor.accepts(|Work(works)| works.message())).await;
        let works = Works::new();
        let (taken, why) = works.fill(&a, 1_000).await;
        assert!(is_overloaded(why), "{taken} messages, {} tasks: {why:?}", works.alive());
        assert_eq!(taken, capacity);
        eventually(|| works.alive() == capacity).await;
        // The door is closed for questions too, and by whichever way.
        let asked = a.ask(soon(), |reply| works.question(reply)).await;
        assert!(is_overloaded(asked.err()));
        let by_type = system.recipient::<Work>().unwrap().tell(Work(works.clone()));
        assert!(is_overloaded(by_type.err()));
        assert_eq!(works.alive(), capacity);
    }
}

#[tokio::test(start_paused = true)]
async fn however_fast_messages_come_no_more_tasks_run_than_messages_and_tasks_have_room() {
    let journal = Journal::default();
    let (_system, a) = alone(Probe::new("a", &journal).actor().capacity(4)).await;
    let works = Works::new();
    let (mut accepted, mut refused) = (0, 0);
    for burst in 0..200 {
        for _ in 0..10 {
            if a.tell(works.message()).is_ok() { accepted += 1 } else { refused += 1 }
        }
        // The actor comes in between.
        if burst % 2 == 0 {
            tokio::time::sleep(ms(1)).await;
        }
    }
    eventually(|| a.depth() == 0 || works.alive() > 8).await;
    assert!(accepted <= 8 && works.alive() <= 8, "{accepted} accepted, {} tasks", works.alive());
    assert_eq!(accepted + refused, 2_000);
}

#[tokio::test(start_paused = true)]
async fn the_door_opens_again_as_tasks_end_with_no_message_in_between() {
    let journal = Journal::default();
    let (_system, a) = alone(Probe::new("a", &journal).actor().capacity(4)).await;
    let works = Works::new();
    assert!(is_overloaded(works.fill(&a, 1_000).await.1));
    for done in 1..=3 {
        works.gate.add_permits(1);
        eventually(|| count(&journal, "a#1 done") == done).await;
        assert_eq!(works.fill(&a, 1_000).await.0, 1, "one ended, so there is room for one");
    }
    works.gate.add_permits(1_000);
    eventually(|| works.alive() == 0).await;
    eventually(|| count(&journal, "a#1 done") == 7).await;
    assert_eq!(works.fill(&a, 100).await, (100, None), "work that ends at once is no crowd");
}

#[tokio::test(start_paused = true)]
async fn the_tasks_of_one_incarnation_are_not_counted_against_the_next() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor().capacity(4)).await;
    let works = Works::new();
    for incarnation in 1..=4 {
        up(&system, "a", incarnation).await;
        let (taken, why) = works.fill(&a, 1_000).await;
        assert_eq!((taken, is_overloaded(why)), (4, true), "in incarnation {incarnation}");
        if incarnation % 2 == 0 {
            system.restart("a").unwrap();
        } else {
            // What comes from the actor itself still gets through.
            #[cfg(feature = "chaos")]
            system.inject_panic("a").unwrap();
            #[cfg(not(feature = "chaos"))]
            system.restart("a").unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn timers_hold_nobody_up_at_the_door() {
    let journal = Journal::default();
    let (_system, a) = alone(Probe::new("a", &journal).actor().capacity(2)).await;
    a.tell(act(|cx, _| {
        for _ in 0..20 {
            cx.every(ms(10), || Message::Poke(Poke("tick")));
            cx.after(secs(3_600), Message::Poke(Poke("after")));
        }
        Box::pin(async { Ok(()) })
    }))
    .unwrap();
    for _ in 0..100 {
        assert_eq!(ping(&a).await, 1);
    }
    tokio::time::sleep(ms(100)).await;
    assert_eq!(ping(&a).await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_actor_may_start_more_tasks_than_it_takes_messages_and_none_is_refused() {
    let journal = Journal::default();
    let (_system, a) = alone(Probe::new("a", &journal).actor().capacity(2)).await;
    let works = Works::new();
    let many = works.clone();
    a.tell(act(move |cx, _| {
        for _ in 0..50 {
            cx.task("works", many.clone().at_the_gate(), |()| Message::Poke(Poke("done")));
        }
        Box::pin(async { Ok(()) })
    }))
    .unwrap();
    eventually(|| works.alive() == 50).await;
    let full = a.tell(Message::Poke(Poke("in"))).err().map(|rejected| rejected.why);
    works.gate.add_permits(50);
    eventually(|| count(&journal, "a#1 done") == 50).await;
    assert_eq!(ping(&a).await, 1);
    assert!(is_overloaded(full), "50 tasks of an actor that takes 2 messages: {full:?}");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_panics_or_is_never_polled_gives_its_place_back() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor().capacity(1)).await;
    for incarnation in 1..=3 {
        up(&system, "a", incarnation).await;
        a.tell(act(|cx, _| {
            cx.task("panics", async { panic!("boom") }, |()| panics());
            Box::pin(async { Ok(()) })
        }))
        .unwrap();
    }
    up(&system, "a", 4).await;
    assert_eq!(ping(&a).await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nursery_with_a_free_place_refuses_no_work() {
    let mut root = Supervisor::new("root");
    let nursery = Nursery::add_to(&mut root, "nursery", 2);
    let _system = System::start(root).await.unwrap();
    for _ in 0..2_000 {
        nursery.start("work", async {}).unwrap();
        while nursery.running() > 1 {
            tokio::task::yield_now().await;
        }
    }
    eventually(|| nursery.running() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_crowd_at_the_door_is_told_of_once_also_when_tasks_are_the_crowd() {
    let journal = Journal::default();
    let actor: Actor<Probe> = Probe::new("a", &journal).actor().capacity(4);
    let (system, a) = alone(actor).await;
    let mut events = system.events();
    let works = Works::new();
    assert!(is_overloaded(works.fill(&a, 1_000).await.1));
    for _ in 0..10 {
        let asked = a.ask(soon(), |reply| Message::Ping(Ping, reply)).now_or_never();
        assert!(is_overloaded(asked.unwrap().err()));
    }
    let told = std::iter::from_fn(|| events.try_recv().ok());
    let crowds = told.filter(|event| crate::support::brief(event).contains("overloaded"));
    assert_eq!(crowds.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn how_many_tasks_an_actor_runs_at_most_is_its_own_to_say() {
    for (tasks, capacity) in [(1, 100), (2, 100), (100, 4), (3, 3)] {
        let journal = Journal::default();
        let actor = Probe::new("a", &journal).actor().capacity(capacity).tasks(tasks);
        let (_system, a) = alone(actor).await;
        let works = Works::new();
        let (taken, why) = works.fill(&a, 1_000).await;
        assert_eq!((taken, is_overloaded(why)), (tasks, true), "of {tasks}, {capacity}");
        // One ends: there is room for one.
        works.gate.add_permits(1);
        eventually(|| count(&journal, "a#1 done") == 1).await;
        assert_eq!(works.fill(&a, 1_000).await.0, 1, "of {tasks}, {capacity}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_may_run_many_tasks_still_has_a_bounded_queue() {
    let journal = Journal::default();
    let (_system, a) = alone(Probe::new("a", &journal).actor().capacity(4).tasks(1_000)).await;
    let gate = Arc::new(Semaphore::new(0));
    a.tell(crate::support::waits_at(&gate)).unwrap();
    for _ in 1..4 {
        a.tell(Message::Poke(Poke("in"))).unwrap();
    }
    let full = a.tell(Message::Poke(Poke("out"))).unwrap_err().why;
    assert_eq!(full, CallError::Overloaded { depth: 4 });
    gate.add_permits(1);
    eventually(|| a.depth() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn extreme_numbers_of_tasks_are_one_at_least_and_no_limit_at_most() {
    for (tasks, taken) in [(0, 1), (usize::MAX, 500), (usize::MAX >> 3, 500)] {
        let journal = Journal::default();
        let (_system, a) = alone(Probe::new("a", &journal).actor().tasks(tasks)).await;
        let works = Works::new();
        assert_eq!(works.fill(&a, 500).await.0, taken, "{tasks}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_does_not_say_runs_as_many_tasks_as_its_supervisors_mailboxes_hold() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root").defaults(mainstay_supervision::Defaults {
        capacity: 3,
        ..mainstay_supervision::Defaults::default()
    });
    let a = Probe::new("a", &journal).add_to(&mut root);
    let _system = System::start(root).await.unwrap();
    let works = Works::new();
    assert_eq!(works.fill(&a, 1_000).await.0, 3);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_a_timer_or_another_tasks_message_leads_to_is_counted_like_any_other() {
    let journal = Journal::default();
    let (_system, a) = alone(Probe::new("a", &journal).actor().tasks(2)).await;
    let works = Works::new();
    let (one, other) = (works.message(), works.message());
    a.tell(act(move |cx, _| {
        cx.after(ms(1), one);
        cx.task("leads to another", async {}, move |()| other);
        Box::pin(async { Ok(()) })
    }))
    .unwrap();
    eventually(|| works.alive() == 2).await;
    assert!(is_overloaded(a.tell(Message::Poke(Poke("in"))).err().map(|rejected| rejected.why)));
    works.gate.add_permits(2);
    eventually(|| count(&journal, "a#1 done") == 2).await;
    assert_eq!(ping(&a).await, 1);
}
