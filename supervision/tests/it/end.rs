//! How a tree ends, and those in it that would not.

use std::time::Duration;

use mainstay_supervision::{
    CallError, Cause, Change, Intensity, Shutdown, State, Supervisor, System,
};
use tokio::time::{Instant, timeout};

use crate::support::{
    DEADLINE, How, Journal, Message, Ping, Poke, Probe, act, alone, event, eventually, hangs,
    in_state, ms, panics, ping, secs, soon, up,
};

#[tokio::test(start_paused = true)]
async fn a_hung_actor_is_cut_off_at_its_stop_deadline_and_reported_killed() {
    let journal = Journal::default();
    let actor = Probe::new("a", &journal).actor().shutdown(Shutdown::Stop(secs(2)));
    let (system, a) = alone(actor).await;
    a.tell(hangs()).unwrap();
    let begun = Instant::now();
    let report = system.shutdown(secs(30)).await;
    assert_eq!(report.killed, ["root/a"]);
    assert!(report.leaked.is_empty() && !report.is_clean());
    assert_eq!(begun.elapsed().as_secs(), 2);
    assert_eq!(journal.take(), ["a#1 init", "a#1 dropped"]);
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_hangs_in_terminate_is_cut_off_there() {
    let journal = Journal::default();
    let (system, _) = alone(Probe::new("a", &journal).terminate(|_| How::Hang).actor()).await;
    let report = system.shutdown(secs(30)).await;
    assert_eq!(report.killed, ["root/a"]);
    assert_eq!(journal.take(), ["a#1 init", "a#1 terminate", "a#1 dropped"]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_keeps_its_budget_whoever_hangs_and_ends_everyone_in_reverse() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    Probe::new("a", &journal).add_to(&mut root);
    let mut below = Supervisor::new("below");
    Probe::new("b", &journal).add_to(&mut below);
    let c = Probe::new("c", &journal).add_to(&mut below);
    root.supervisor(below);
    let d = Probe::new("d", &journal).add_to(&mut root);
    let system = System::start(root).await.unwrap();
    c.tell(hangs()).unwrap();
    d.tell(hangs()).unwrap();
    let begun = Instant::now();
    let report = system.shutdown(secs(3)).await;
    assert!(begun.elapsed() < secs(4), "{:?}", begun.elapsed());
    assert_eq!(report.killed, ["root/d", "root/below/c"]);
    // Those who hang have used up the time: the others end well, but no longer one after the other.
    let mut ends = journal.take();
    ends.retain(|line| !line.ends_with("init"));
    ends.sort_unstable();
    let well = ["a#1 dropped", "a#1 terminate", "b#1 dropped", "b#1 terminate"];
    assert_eq!(ends, [&well[..], &["c#1 dropped", "d#1 dropped"]].concat());
}

#[tokio::test(start_paused = true)]
async fn a_nearer_shutdown_reaches_a_supervisor_that_is_already_ending() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let mut below = Supervisor::new("below");
    Probe::new("a", &journal).add_to(&mut below);
    let b = below.actor(Probe::new("b", &journal).actor().shutdown(Shutdown::Stop(secs(3_600))));
    root.supervisor(below);
    let system = System::start(root).await.unwrap();
    b.tell(hangs()).unwrap();
    system.restart("below").unwrap();
    in_state(&system, "b", State::Stopping).await;
    let begun = Instant::now();
    let report = system.shutdown(secs(3)).await;
    assert!(begun.elapsed() < secs(4), "{:?}", begun.elapsed());
    assert_eq!(report.killed, ["root/below/b"]);
    // a was asked all the same, when b had used up the time.
    assert_eq!(journal.take()[2..], ["a#1 terminate", "a#1 dropped", "b#1 dropped"]);
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_panics_in_terminate_has_ended_all_the_same() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    Probe::new("a", &journal).add_to(&mut root);
    Probe::new("b", &journal).terminate(|_| How::Panic).add_to(&mut root);
    let system = System::start(root).await.unwrap();
    // An end that was asked for is no fall, however it goes.
    system.restart("b").unwrap();
    up(&system, "b", 2).await;
    assert_eq!(system.tree().find("b").unwrap().restarts, 0);

    let report = system.shutdown(secs(5)).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(journal.take().last().unwrap(), "a#1 dropped");
}

#[tokio::test(start_paused = true)]
async fn a_state_that_panics_in_its_drop_harms_nobody_whichever_way_it_is_dropped() {
    type Fall = fn(&System, &mainstay_supervision::Handle<Message>);
    let ways: [(&str, Fall); 4] = [
        ("asked to end", |system, _| system.restart("a").unwrap()),
        ("after a panic", |_, a| a.tell(panics()).unwrap()),
        ("after an error", |_, a| {
            a.tell(act(|_, _| Box::pin(async { Err("wrong".into()) }))).unwrap();
        }),
        ("cut off in a message", |system, a| {
            a.tell(hangs()).unwrap();
            system.restart("a").unwrap();
        }),
    ];
    for (way, fall) in ways {
        let journal = Journal::default();
        let mut root = Supervisor::new("root");
        let a = Probe::new("a", &journal)
            .on_drop(|incarnation| if incarnation == 1 { How::Panic } else { How::Well })
            .add_to(&mut root);
        let b = Probe::new("b", &journal).add_to(&mut root);
        let system = System::start(root).await.unwrap();
        fall(&system, &a);
        up(&system, "a", 2).await;
        assert_eq!((ping(&a).await, ping(&b).await), (2, 1), "{way}");
        assert_eq!(journal.lines().iter().filter(|line| *line == "a#1 dropped").count(), 1);
        assert!(system.shutdown(secs(5)).await.is_clean(), "{way}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_terminate_and_another_in_drop_do_not_end_the_process() {
    let journal = Journal::default();
    let probe = Probe::new("a", &journal).terminate(|_| How::Panic).on_drop(|_| How::Panic);
    let (system, _) = alone(probe.actor()).await;
    system.restart("a").unwrap();
    up(&system, "a", 2).await;
    assert!(system.shutdown(secs(5)).await.is_clean());
}

// ractor 2: kameo #397
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_resolves_when_every_state_is_dropped() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    for id in ["a", "b"] {
        Probe::new(id, &journal).on_drop(|_| How::Block(ms(50))).add_to(&mut root);
    }
    let system = System::start(root).await.unwrap();
    system.shutdown(secs(5)).await;
    let log = journal.take();
    assert_eq!(log[log.len() - 2..], ["a#1 terminate", "a#1 dropped"]);
    assert!(log.contains(&"b#1 dropped".to_owned()));
}

/// The real clock: what blocks its thread cannot be cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_actor_that_blocks_its_thread_is_reported_and_nobody_takes_its_place_while_it_lives() {
    let journal = Journal::default();
    let actor = Probe::new("a", &journal).actor().shutdown(Shutdown::Stop(ms(20)));
    let (system, a) = alone(actor).await;
    let mut events = system.events();
    a.tell(blocks(ms(1_600))).unwrap();
    eventually(|| journal.lines().contains(&"blocking".to_owned())).await;
    system.restart("a").unwrap();
    event(&mut events, |event| matches!(event.change, Change::Leaked).then_some(())).await;
    assert_eq!(journal.lines(), ["a#1 init", "blocking"]);
    let unavailable = a.ask(soon(), |reply| Message::Ping(Ping, reply)).await;
    assert_eq!(unavailable, Err(CallError::Unavailable { retry_after: None }));
    up(&system, "a", 2).await;
    assert_eq!(journal.take(), ["a#1 init", "blocking", "blocked", "a#1 dropped", "a#2 init"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_actor_that_blocks_its_thread_is_reported_leaked_and_does_not_hold_up_the_end() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    Probe::new("a", &journal).add_to(&mut root);
    let b = Probe::new("b", &journal).add_to(&mut root);
    let system = System::start(root).await.unwrap();
    b.tell(blocks(secs(3))).unwrap();
    eventually(|| journal.lines().contains(&"blocking".to_owned())).await;
    let begun = Instant::now();
    let report = system.shutdown(ms(100)).await;
    assert!(begun.elapsed() < secs(2), "{:?}", begun.elapsed());
    assert_eq!((report.killed, report.leaked), (vec!["root/b".into()], vec!["root/b".into()]));
    let log = journal.lines();
    assert!(log.contains(&"a#1 dropped".to_owned()) && !log.contains(&"blocked".to_owned()));
}

fn blocks(time: Duration) -> Message {
    act(move |_, state| {
        let journal = state.journal.clone();
        Box::pin(async move {
            journal.write("blocking");
            std::thread::sleep(time);
            journal.write("blocked");
            Ok(())
        })
    })
}

#[tokio::test(start_paused = true)]
async fn draining_handles_what_was_queued_and_stopping_does_not() {
    for (shutdown, words) in
        [(Shutdown::Drain(secs(5)), vec!["a#1 one", "a#1 two"]), (Shutdown::Stop(secs(5)), vec![])]
    {
        let journal = Journal::default();
        let (system, a) = alone(Probe::new("a", &journal).actor().shutdown(shutdown)).await;
        a.tell(act(|_, _| {
            Box::pin(async {
                tokio::time::sleep(ms(100)).await;
                Ok(())
            })
        }))
        .unwrap();
        for word in ["one", "two"] {
            a.tell(Message::Poke(Poke(word))).unwrap();
        }
        // The message in hand has begun.
        tokio::time::sleep(ms(10)).await;
        assert!(system.shutdown(secs(5)).await.is_clean());
        let mut log = vec!["a#1 init"];
        log.extend(words);
        log.extend(["a#1 terminate", "a#1 dropped"]);
        assert_eq!(journal.take(), log, "{shutdown:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_actor_to_be_killed_gets_no_goodbye_and_is_no_stain_on_the_report() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor().shutdown(Shutdown::Kill)).await;
    a.tell(hangs()).unwrap();
    let begun = Instant::now();
    assert!(system.shutdown(secs(5)).await.is_clean());
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(journal.take(), ["a#1 init", "a#1 dropped"]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_during_an_init_and_a_backoff_waits_for_neither() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let backoff = crate::support::exactly(secs(5));
    let a = root.actor(Probe::new("a", &journal).actor().backoff(backoff));
    let hung = |incarnation| if incarnation == 1 { How::Well } else { How::Hang };
    let b = Probe::new("b", &journal).init(hung).add_to(&mut root);
    let system = System::start(root).await.unwrap();
    a.tell(panics()).unwrap();
    b.tell(panics()).unwrap();
    in_state(&system, "a", State::Backoff).await;
    in_state(&system, "b", State::Starting).await;
    let begun = Instant::now();
    system.shutdown(secs(30)).await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    tokio::time::sleep(secs(60)).await;
    assert!(!journal.take().contains(&"a#2 init".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_second_shutdown_and_one_after_the_end_are_answered() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor()).await;
    let (one, other) = tokio::join!(system.shutdown(secs(5)), system.shutdown(secs(9)));
    assert!(one.is_clean() && other.is_clean());
    assert!(timeout(DEADLINE, system.shutdown(secs(1))).await.unwrap().is_clean());
    let refused = a.tell(Message::Poke(Poke("too late"))).unwrap_err();
    assert_eq!(refused.why, CallError::Unavailable { retry_after: None });
    assert!(system.restart("a").is_err());
}

#[tokio::test(start_paused = true)]
async fn a_tree_that_was_shut_down_did_not_fail() {
    let journal = Journal::default();
    let (system, _) = alone(Probe::new("a", &journal).actor()).await;
    system.shutdown(secs(5)).await;
    assert!(timeout(secs(3_600), system.failed()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_system_ends_the_tree_and_dropping_another_does_not() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor()).await;
    drop(system.clone());
    assert_eq!(ping(&a).await, 1);
    drop(system);
    eventually(|| journal.lines().contains(&"a#1 dropped".to_owned())).await;
    assert_eq!(journal.take(), ["a#1 init", "a#1 terminate", "a#1 dropped"]);
}

#[test]
fn a_tree_whose_runtime_is_gone_says_that_it_is_lost() {
    let journal = Journal::default();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let (system, a) = first.block_on(alone(Probe::new("a", &journal).actor()));
    drop(first);
    assert_eq!(journal.take(), ["a#1 init", "a#1 dropped"]);
    runtime().block_on(async {
        timeout(DEADLINE, system.failed()).await.unwrap();
        let asked = a.ask(soon(), |reply| Message::Ping(Ping, reply)).await;
        assert!(matches!(asked, Err(CallError::Unavailable { .. })), "{asked:?}");
        assert!(timeout(DEADLINE, system.shutdown(secs(1))).await.is_ok());
    });
}

#[tokio::test(start_paused = true)]
async fn a_budget_beyond_the_end_of_time_is_no_limit() {
    let journal = Journal::default();
    let (system, _) = alone(Probe::new("a", &journal).actor()).await;
    assert!(system.shutdown(Duration::MAX).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_is_still_starting_its_actors_ends_them_in_order() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let mut below = Supervisor::new("below");
    Probe::new("early", &journal).add_to(&mut below);
    // Up at once the first time; its second start takes for ever.
    let hang = |incarnation| if incarnation == 1 { How::Well } else { How::Hang };
    Probe::new("slow", &journal).init(hang).add_to(&mut below);
    root.supervisor(below);
    let system = System::start(root).await.unwrap();
    system.restart("below").unwrap();
    in_state(&system, "slow", State::Starting).await;
    journal.take();
    let report = system.shutdown(secs(5)).await;
    let lines = journal.take();
    assert_eq!(lines, ["early#2 terminate", "early#2 dropped"], "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_cannot_be_shown_is_the_actors_own_panic() {
    #[derive(Debug)]
    struct Unshowable;
    impl std::fmt::Display for Unshowable {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("cannot be shown")
        }
    }
    impl std::error::Error for Unshowable {}

    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor()).await;
    a.tell(act(|_, _| Box::pin(async { Err(Unshowable.into()) }))).unwrap();
    up(&system, "a", 2).await;
    let exit = system.tree().find("a").unwrap().last_exit.clone();
    assert_eq!(exit.as_deref(), Some("panicked: cannot be shown"));
}

#[tokio::test(start_paused = true)]
async fn a_window_without_end_is_one() {
    let journal = Journal::default();
    let intensity = Intensity { max: 2, within: Duration::MAX };
    let mut root = Supervisor::new("root").intensity(intensity);
    let a = Probe::new("a", &journal).add_to(&mut root);
    let system = System::start(root).await.unwrap();
    for incarnation in 2..=3 {
        a.tell(panics()).unwrap();
        up(&system, "a", incarnation).await;
    }
    a.tell(panics()).unwrap();
    let cause = timeout(DEADLINE, system.failed()).await.unwrap();
    assert!(matches!(&*cause, Cause::TooManyRestarts { falls: 3, .. }), "{cause}");
}
