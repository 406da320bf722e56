//! What an asker is told, and which questions are still worth an answer when their turn comes.

use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt;
use mainstay_supervision::{CallError, Reply, Request, Shutdown};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, advance};

use crate::support::{
    Journal, Message, Poke, Probe, alone, answers, count, eventually, ms, ping, secs, soon, spawn,
    waits_at,
};

/// A question that leaves a line in the journal when it is handled.
struct Note(&'static str);
impl Request for Note {
    type Reply = u64;
}

fn note(Note(word): Note, reply: Reply<u64>) -> Message {
    answers(
        move |_, state| {
            state.journal.write(word);
            Box::pin(async { Ok(()) })
        },
        reply,
    )
}

// ---- askers who have gone ----

#[tokio::test(start_paused = true)]
async fn a_question_whose_asker_has_gone_is_skipped_whichever_way_it_was_asked() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor().accepts(note)).await;
    let notes = system.recipient::<Note>().unwrap();
    let gate = Arc::new(Semaphore::new(0));
    a.tell(waits_at(&gate)).unwrap();
    for _ in 0..50 {
        let asked = a.ask(soon(), |reply| note(Note("by handle"), reply));
        assert!(asked.now_or_never().is_none());
        assert!(notes.ask(Note("by type")).now_or_never().is_none());
        assert!(notes.ask_by(soon(), Note("by type until then")).now_or_never().is_none());
    }
    gate.add_permits(1);
    ping(&a).await;
    for way in ["by handle", "by type", "by type until then"] {
        assert_eq!(count(&journal, way), 0, "{way}: {:?} were handled", count(&journal, way));
    }
    eventually(|| a.depth() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn an_asker_who_goes_takes_only_the_own_question_along() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor().accepts(note)).await;
    let notes = system.recipient::<Note>().unwrap();
    let gate = Arc::new(Semaphore::new(0));
    a.tell(waits_at(&gate)).unwrap();
    let (mut stay, mut go) = (JoinSet::new(), JoinSet::new());
    for _ in 0..10 {
        let (stays, goes) = (notes.clone(), notes.clone());
        spawn(&mut stay, async move { stays.ask(Note("stays")).await });
        spawn(&mut go, async move { goes.ask(Note("goes")).await });
        a.tell(Message::Poke(Poke("told"))).unwrap();
    }
    eventually(|| a.depth() == 31).await;
    go.shutdown().await;
    gate.add_permits(1);
    for answer in stay.join_all().await {
        assert_eq!(answer, Ok(1));
    }
    let counts = ["stays", "a#1 told", "goes"].map(|word| count(&journal, word));
    assert_eq!(counts, [10, 10, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_skips_the_questions_of_those_who_have_gone() {
    let journal = Journal::default();
    let actor = Probe::new("a", &journal).actor().shutdown(Shutdown::Drain(secs(5)));
    let (system, a) = alone(actor).await;
    let gate = Arc::new(Semaphore::new(0));
    a.tell(waits_at(&gate)).unwrap();
    let mut stays = pin!(a.ask(soon(), |reply| note(Note("stays"), reply)));
    assert!(stays.as_mut().now_or_never().is_none());
    for _ in 0..5 {
        let goes = a.ask(soon(), |reply| note(Note("goes"), reply));
        assert!(goes.now_or_never().is_none());
    }
    let (report, answer, ()) =
        tokio::join!(system.shutdown(secs(5)), stays, async { gate.add_permits(1) });
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(answer, Ok(1));
    assert_eq!(["stays", "goes"].map(|word| count(&journal, word)), [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn what_was_skipped_is_not_counted_as_handled() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor()).await;
    let gate = Arc::new(Semaphore::new(0));
    a.tell(waits_at(&gate)).unwrap();
    let late = a.ask(Instant::now() + ms(10), |reply| note(Note("late"), reply));
    assert!(late.await.is_err());
    let gone = a.ask(soon(), |reply| note(Note("gone"), reply));
    assert!(gone.now_or_never().is_none());
    gate.add_permits(1);
    ping(&a).await;
    eventually(|| a.depth() == 0).await;
    // The one that waited, and the ping.
    assert_eq!(system.tree().find("a").unwrap().mailbox.unwrap().handled, 2);
}

// ---- questions that came too late ----

/// What an asker is told whose question was accepted and is known not to have been handled.
const NOT_HANDLED: Result<u64, CallError> = Err(CallError::Deadline { accepted: false });

#[tokio::test(start_paused = true)]
async fn an_asker_whose_question_expired_in_the_queue_learns_that_it_was_not_handled() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor().accepts(note)).await;
    let notes = system.recipient::<Note>().unwrap();
    let gate = Arc::new(Semaphore::new(0));
    a.tell(waits_at(&gate)).unwrap();
    let deadline = Instant::now() + ms(10);
    let mut by_handle = pin!(a.ask(deadline, |reply| note(Note("late"), reply)));
    let mut by_type = pin!(notes.ask_by(deadline, Note("late")));
    assert!(by_handle.as_mut().now_or_never().is_none());
    assert!(by_type.as_mut().now_or_never().is_none());
    // The actor comes to them before their askers look again.
    advance(ms(20)).await;
    gate.add_permits(1);
    ping(&a).await;
    assert_eq!((by_handle.await, by_type.await), (NOT_HANDLED, NOT_HANDLED));
    assert_eq!(count(&journal, "late"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_asker_whose_question_expires_during_a_drain_learns_that_it_was_not_handled() {
    let journal = Journal::default();
    let actor = Probe::new("a", &journal).actor().shutdown(Shutdown::Drain(secs(5)));
    let (system, a) = alone(actor).await;
    let gate = Arc::new(Semaphore::new(0));
    a.tell(waits_at(&gate)).unwrap();
    let mut late = pin!(a.ask(Instant::now() + ms(10), |reply| note(Note("late"), reply)));
    assert!(late.as_mut().now_or_never().is_none());
    advance(ms(20)).await;
    let (report, ()) = tokio::join!(system.shutdown(secs(5)), async { gate.add_permits(1) });
    assert!(report.is_clean());
    assert_eq!(late.await, NOT_HANDLED);
    assert_eq!(count(&journal, "late"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_asker_who_looks_late_still_gets_the_answer_that_came_in_time() {
    let journal = Journal::default();
    let (_system, a) = alone(Probe::new("a", &journal).actor()).await;
    let mut asked = pin!(a.ask(Instant::now() + ms(10), |reply| note(Note("in time"), reply)));
    assert!(asked.as_mut().now_or_never().is_none());
    ping(&a).await;
    advance(secs(1)).await;
    assert_eq!(asked.await, Ok(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_question_whose_deadline_has_passed_is_not_handled_by_an_idle_actor_either() {
    let journal = Journal::default();
    let (_system, a) = alone(Probe::new("a", &journal).actor()).await;
    for _ in 0..5_000 {
        let asked = a.ask(Instant::now(), |reply| {
            Message::Ask(
                Box::new(|_, state| {
                    state.journal.write("handled");
                    Box::pin(async { Ok(()) })
                }),
                reply,
            )
        });
        assert_eq!(asked.await, Err(CallError::Deadline { accepted: false }));
    }
    ping(&a).await;
    assert!(!journal.take().contains(&"handled".to_owned()));
}
