//! What happens when restarts do not help.

use std::time::Duration;

use mainstay_supervision::{
    Backoff, CallError, Cause, Defaults, Handle, Intensity, Restart, State, Supervisor, System,
};
use tokio::time::timeout;

use crate::support::{
    DEADLINE, How, Journal, Message, Ping, Probe, act, alone, exactly, hangs, in_state, ms, panics,
    ping, secs, soon, up,
};

const ONE: Intensity = Intensity { max: 1, within: Duration::from_secs(30) };

/// root/{a, below/{b, c}}, where `below` tolerates one fall.
async fn nested(journal: &Journal, significant: bool) -> (System, Handle<Message>) {
    let mut root = Supervisor::new("root");
    Probe::new("a", journal).add_to(&mut root);
    let mut below = Supervisor::new("below").intensity(ONE);
    if significant {
        below = below.significant();
    }
    let b = Probe::new("b", journal).add_to(&mut below);
    Probe::new("c", journal).add_to(&mut below);
    root.supervisor(below);
    (System::start(root).await.unwrap(), b)
}

#[tokio::test(start_paused = true)]
async fn over_its_intensity_a_tree_ends_in_reverse_and_says_why() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root").intensity(ONE);
    Probe::new("a", &journal).add_to(&mut root);
    let b = Probe::new("b", &journal).add_to(&mut root);
    Probe::new("c", &journal).add_to(&mut root);
    let system = System::start(root).await.unwrap();
    b.tell(panics()).unwrap();
    up(&system, "b", 2).await;
    journal.take();
    b.tell(panics()).unwrap();
    let cause = timeout(DEADLINE, system.failed()).await.unwrap();
    assert_eq!(
        cause.to_string(),
        "root/b fell 2 times within 30s; the last time it panicked: boom"
    );
    let end = ["b#2 dropped", "c#1 terminate", "c#1 dropped", "a#1 terminate", "a#1 dropped"];
    assert_eq!(journal.take(), end);
    let tree = system.tree();
    assert_eq!(tree.state, State::Down);
    assert!(tree.children.iter().all(|child| child.state == State::Down), "{tree:#?}");
    assert!(timeout(DEADLINE, system.shutdown(secs(1))).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_significant_supervisor_that_gives_up_fails_the_tree_with_the_real_culprit() {
    let journal = Journal::default();
    let (system, b) = nested(&journal, true).await;
    b.tell(panics()).unwrap();
    up(&system, "b", 2).await;
    b.tell(panics()).unwrap();
    let cause = timeout(DEADLINE, system.failed()).await.unwrap();
    assert_eq!(cause.path(), Some("root/below/b"));
    let why = "root/below gave up: root/below/b fell 2 times within 30s; the last time it panicked: \
               boom";
    assert_eq!(cause.to_string(), why);
    let ends: Vec<_> =
        journal.take().into_iter().filter(|line| line.ends_with("dropped")).collect();
    assert_eq!(ends, ["b#1 dropped", "b#2 dropped", "c#1 dropped", "a#1 dropped"]);
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_gives_up_is_restarted_with_all_below_it_by_the_one_above() {
    let journal = Journal::default();
    let (system, b) = nested(&journal, false).await;
    b.tell(panics()).unwrap();
    up(&system, "b", 2).await;
    b.tell(panics()).unwrap();
    up(&system, "below", 2).await;
    // The same address, and an incarnation that was not there before.
    assert_eq!(ping(&b).await, 3);
    let tree = system.tree();
    assert_eq!(tree.find("a").unwrap().incarnation, 1);
    assert_eq!(tree.find("c").unwrap().incarnation, 2);
    assert_eq!(tree.find("below").unwrap().restarts, 1);
    assert_eq!(tree.find("b").unwrap().restarts, 1);
    // Its window is new: it tolerates a fall again.
    b.tell(panics()).unwrap();
    up(&system, "b", 4).await;
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_gives_up_too_often_is_named_with_who_made_it() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root").intensity(Intensity { max: 0, within: secs(30) });
    let mut below = Supervisor::new("below").intensity(Intensity { max: 0, within: secs(30) });
    let a = Probe::new("a", &journal).add_to(&mut below);
    root.supervisor(below);
    let system = System::start(root).await.unwrap();
    a.tell(panics()).unwrap();
    let cause = timeout(DEADLINE, system.failed()).await.unwrap();
    assert!(matches!(&*cause, Cause::TooManyRestarts { path, .. } if &**path == "root/below"));
    assert_eq!(cause.path(), Some("root/below/a"));
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_whose_actor_no_longer_starts_gives_up_in_turn() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let mut below = Supervisor::new("below").intensity(ONE);
    let fails = |incarnation| if incarnation == 1 { How::Well } else { How::Fail };
    let a = Probe::new("a", &journal).init(fails).add_to(&mut below);
    root.supervisor(below);
    let system = System::start(root).await.unwrap();
    a.tell(panics()).unwrap();
    // First below gives up on a, then each of its boots fails, until root gives up on it.
    let cause = timeout(DEADLINE, system.failed()).await.unwrap();
    assert_eq!(cause.path(), Some("root/below/a"));
    assert_eq!(system.tree().find("below").unwrap().restarts, 5);
}

#[tokio::test(start_paused = true)]
async fn a_significant_actor_ends_its_supervisor_at_its_first_fall() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor().significant()).await;
    a.tell(panics()).unwrap();
    let cause = timeout(DEADLINE, system.failed()).await.unwrap();
    assert!(matches!(*cause, Cause::SignificantExit { .. }));
    assert_eq!(cause.to_string(), "root/a panicked: boom");
}

// A backoff must not disarm the intensity.
#[tokio::test(start_paused = true)]
async fn the_default_delays_still_give_up_on_an_actor_that_always_falls() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let fails = |incarnation| if incarnation == 1 { How::Well } else { How::Panic };
    let probe = Probe::new("a", &journal).init(fails);
    let a = root.actor(probe.actor().backoff(Backoff::default()));
    let system = System::start(root).await.unwrap();
    a.tell(panics()).unwrap();
    let cause = timeout(DEADLINE, system.failed()).await.unwrap();
    assert_eq!(journal.take().iter().filter(|line| line.ends_with("init")).count(), 6);
    assert!(matches!(*cause, Cause::TooManyRestarts { falls: 6, .. }), "{cause}");
}

// ractor 2: faults 5 and 11
#[tokio::test(start_paused = true)]
async fn a_child_that_falls_while_it_is_being_ended_or_removed_does_not_fell_its_supervisor() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let a = Probe::new("a", &journal).add_to(&mut root);
    let b = Probe::new("b", &journal).add_to(&mut root);
    let system = System::start(root).await.unwrap();
    a.tell(panics()).unwrap();
    system.remove("a").unwrap();
    in_state(&system, "a", State::Down).await;
    assert_eq!(ping(&b).await, 1);

    b.tell(act(|_, _| {
        Box::pin(async {
            tokio::time::sleep(ms(10)).await;
            panic!("boom")
        })
    }))
    .unwrap();
    assert!(system.shutdown(secs(5)).await.is_clean());
    assert_eq!(journal.take().last().unwrap(), "b#1 dropped");
}

#[tokio::test(start_paused = true)]
async fn an_escalation_cuts_off_who_hangs_and_still_comes_to_its_end() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root").intensity(Intensity { max: 0, within: secs(30) });
    let a = Probe::new("a", &journal).add_to(&mut root);
    let b = Probe::new("b", &journal).add_to(&mut root);
    let system = System::start(root).await.unwrap();
    b.tell(hangs()).unwrap();
    a.tell(panics()).unwrap();
    timeout(secs(10), system.failed()).await.unwrap();
    assert!(journal.take().contains(&"b#1 dropped".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_temporary_actor_is_never_restarted_and_harms_nobody() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root").intensity(Intensity { max: 0, within: secs(30) });
    let a = root.actor(Probe::new("a", &journal).actor().restart(Restart::Temporary));
    let system = System::start(root).await.unwrap();
    a.tell(panics()).unwrap();
    in_state(&system, "a", State::Down).await;
    tokio::time::sleep(secs(60)).await;
    assert_eq!(system.tree().state, State::Up);
    assert_eq!(journal.take(), ["a#1 init", "a#1 dropped"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_supervisor_owns_waits_out_its_backoff_with_it_and_ends_with_it() {
    let journal = Journal::default();
    let defaults = Defaults { backoff: exactly(secs(2)), ..Defaults::default() };
    let mut root = Supervisor::new("root").defaults(defaults);
    let mut below = Supervisor::new("below").intensity(Intensity { max: 0, within: secs(30) });
    let a = Probe::new("a", &journal).add_to(&mut below);
    root.supervisor(below);
    let system = System::start(root).await.unwrap();
    a.tell(panics()).unwrap();
    in_state(&system, "below", State::Backoff).await;
    assert_eq!(journal.lines(), ["a#1 init", "a#1 dropped"]);
    // Not gone for good: whoever asks learns that it comes back, and may wait for it.
    assert_eq!(a.state(), State::Idle);
    let asked = a.ask(soon(), |reply| Message::Ping(Ping, reply)).await;
    assert_eq!(asked, Err(CallError::Unavailable { retry_after: Some(secs(2)) }));
    assert_eq!(a.ready(soon()).await, Ok(2));
    assert_eq!(journal.take().last().unwrap(), "a#2 init");

    system.remove("below").unwrap();
    in_state(&system, "below", State::Down).await;
    assert_eq!(a.state(), State::Down);
    let gone = Err(CallError::Unavailable { retry_after: None });
    assert_eq!(a.ready(soon()).await, gone);
    assert_eq!(a.ask(soon(), |reply| Message::Ping(Ping, reply)).await.map(|_| 0), gone);
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_gives_up_is_shown_as_stopping_while_its_actors_still_end() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let none = Intensity { max: 0, within: secs(30) };
    let mut below = Supervisor::new("below").intensity(none).significant();
    Probe::new("slow", &journal).terminate(|_| How::Slow(secs(2))).add_to(&mut below);
    let b = Probe::new("b", &journal).add_to(&mut below);
    root.supervisor(below);
    let system = System::start(root).await.unwrap();
    b.tell(panics()).unwrap();
    in_state(&system, "below", State::Stopping).await;
    assert!(timeout(secs(1), system.failed()).await.is_err(), "the slow one still ends");
    assert!(timeout(DEADLINE, system.failed()).await.is_ok());
    assert_eq!(system.tree().find("below").unwrap().state, State::Down);
}
