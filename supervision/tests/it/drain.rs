//! What `Shutdown::Drain` waits for: also for the replies that come by a task.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use mainstay_supervision::{Actor, CallError, Reply, Shutdown, Supervisor, System};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{
    Journal, Message, Poke, Probe, act, alone, count, eventually, ms, ping, secs, soon, spawn,
    waits_at,
};

/// Answers by a task, after `delay`.
fn by_a_task(delay: Duration, reply: Reply<u64>) -> Message {
    act(move |cx, state| {
        state.journal.write("begun");
        let incarnation = cx.incarnation();
        let work = async move {
            tokio::time::sleep(delay).await;
            reply.send(incarnation);
        };
        cx.task("answers", work, |()| Message::Poke(Poke("answered")));
        Box::pin(async { Ok(()) })
    })
}

/// Answers by a message that a task's result becomes, after as many tasks in a row.
fn by_messages_of_tasks(tasks: u32, reply: Reply<u64>) -> Message {
    act(move |cx, _| {
        match tasks.checked_sub(1) {
            None => reply.send(cx.incarnation()),
            Some(more) => {
                let work = async move {
                    tokio::time::sleep(ms(100)).await;
                    reply
                };
                cx.task("works", work, move |reply| by_messages_of_tasks(more, reply));
            }
        }
        Box::pin(async { Ok(()) })
    })
}

fn drains(journal: &Journal) -> Actor<Probe> {
    Probe::new("a", journal).actor().shutdown(Shutdown::Drain(secs(5)))
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_the_replies_that_come_by_a_task() {
    type Question = fn(Reply<u64>) -> Message;
    let ways: [(&str, Question); 4] = [
        ("from the task itself", |reply| by_a_task(ms(100), reply)),
        ("by the task's message", |reply| by_messages_of_tasks(1, reply)),
        ("by the message of a task that a task led to", |reply| by_messages_of_tasks(3, reply)),
        ("of a task that is done in no time", |reply| by_a_task(Duration::ZERO, reply)),
    ];
    for (way, question) in ways {
        for is_queued in [false, true] {
            let journal = Journal::default();
            let (system, a) = alone(drains(&journal)).await;
            let gate = Arc::new(Semaphore::new(0));
            if is_queued {
                a.tell(waits_at(&gate)).unwrap();
            }
            let mut asked = pin!(a.ask(soon(), question));
            assert!(asked.as_mut().now_or_never().is_none());
            if !is_queued {
                ping(&a).await;
            }
            let (answer, report, ()) =
                tokio::join!(asked, system.shutdown(secs(30)), async { gate.add_permits(1) });
            assert_eq!(answer, Ok(1), "{way}, in the queue: {is_queued}");
            assert!(report.is_clean(), "{report:?}");
            let log = journal.take();
            assert_eq!(log[log.len() - 2..], ["a#1 terminate", "a#1 dropped"], "{way}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_the_replies_of_many_tasks_also_in_a_restart_and_a_removal_by_hand() {
    type Ends = fn(&System);
    let ways: [(&str, Ends); 3] = [
        ("restarted", |system| system.restart("a").unwrap()),
        ("removed", |system| system.remove("a").unwrap()),
        ("its supervisor restarted", |system| system.restart("below").unwrap()),
    ];
    for (way, end) in ways {
        let journal = Journal::default();
        let mut root = Supervisor::new("root");
        let mut below = Supervisor::new("below");
        let a = below.actor(drains(&journal));
        root.supervisor(below);
        let system = System::start(root).await.unwrap();
        let mut asks = JoinSet::new();
        for number in 0..10 {
            let a = a.clone();
            let question = move |reply| by_a_task(ms(1_000 + number), reply);
            spawn(&mut asks, async move { a.ask(soon(), question).await });
        }
        eventually(|| count(&journal, "begun") == 10).await;
        end(&system);
        for answer in asks.join_all().await {
            assert_eq!(answer, Ok(1), "{way}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_a_task_for_half_of_its_time_and_then_ends_well() {
    let journal = Journal::default();
    let (system, a) = alone(drains(&journal)).await;
    let begun = Instant::now();
    let (answer, report) =
        tokio::join!(a.ask(soon(), |reply| by_a_task(secs(3_600), reply)), async {
            tokio::time::sleep(ms(1)).await;
            system.shutdown(secs(60)).await
        },);
    assert_eq!(answer, Err(CallError::Died { incarnation: 1 }));
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(begun.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_no_timer_and_a_stop_for_no_task() {
    let journal = Journal::default();
    let (system, a) = alone(drains(&journal)).await;
    a.tell(act(|cx, _| {
        cx.every(ms(10), || Message::Poke(Poke("tick")));
        cx.after(secs(3_600), Message::Poke(Poke("after")));
        Box::pin(async { Ok(()) })
    }))
    .unwrap();
    ping(&a).await;
    let begun = Instant::now();
    assert!(system.shutdown(secs(60)).await.is_clean());
    assert!(begun.elapsed() < ms(100), "{:?}", begun.elapsed());

    let (system, a) = alone(Probe::new("a", &journal).actor()).await;
    let (answer, (report, took)) =
        tokio::join!(a.ask(soon(), |reply| by_a_task(secs(3), reply)), async {
            tokio::time::sleep(ms(1)).await;
            let begun = Instant::now();
            (system.shutdown(secs(60)).await, begun.elapsed())
        },);
    assert_eq!(answer, Err(CallError::Died { incarnation: 1 }));
    assert!(report.is_clean() && took < ms(100), "{report:?} {took:?}");
}
