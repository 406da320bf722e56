//! How actors start, fall, come back, and end one by one.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mainstay_supervision::{
    Handle, Intensity, Restart, Shutdown, StartError, State, Strategy, Supervisor, System,
};
use tokio::time::{Instant, timeout};

use crate::support::{
    DEADLINE, How, Journal, Message, Probe, act, alone, eventually, exactly, hangs, in_state, ms,
    panics, ping, secs, until, up,
};

fn three(journal: &Journal) -> (Supervisor, [Handle<Message>; 3]) {
    let mut root = Supervisor::new("root");
    let handles = ["a", "b", "c"].map(|id| Probe::new(id, journal).add_to(&mut root));
    (root, handles)
}

#[tokio::test(start_paused = true)]
async fn actors_start_in_order_and_end_in_reverse_also_below_nested_supervisors() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    Probe::new("a", &journal).add_to(&mut root);
    let mut below = Supervisor::new("below");
    Probe::new("b", &journal).init(|_| How::Slow(ms(50))).add_to(&mut below);
    Probe::new("c", &journal).terminate(|_| How::Slow(ms(50))).add_to(&mut below);
    root.supervisor(below);
    Probe::new("d", &journal).add_to(&mut root);

    let system = System::start(root).await.unwrap();
    assert_eq!(journal.take(), ["a#1 init", "b#1 init", "c#1 init", "d#1 init"]);

    let report = system.shutdown(secs(5)).await;
    assert!(report.is_clean());
    let end =
        ["d", "c", "b", "a"].map(|id| [format!("{id}#1 terminate"), format!("{id}#1 dropped")]);
    assert_eq!(journal.take(), end.concat());
    assert_eq!(system.tree().state, State::Down);
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_does_not_start_fails_the_start_by_name_and_ends_the_ones_before_in_reverse()
{
    let cases = [
        (How::Fail, "root/c did not start: no luck"),
        (How::Panic, "root/c did not start: boom"),
        (How::Hang, "root/c did not start within 5s"),
    ];
    for (how, why) in cases {
        let journal = Journal::default();
        let mut root = Supervisor::new("root");
        Probe::new("a", &journal).add_to(&mut root);
        Probe::new("b", &journal).add_to(&mut root);
        Probe::new("c", &journal).init(move |_| how).add_to(&mut root);
        Probe::new("d", &journal).add_to(&mut root);

        // ractor 2: faults 6 and 9
        let error = System::start(root).await.unwrap_err();
        assert_eq!(error.to_string(), why);
        let StartError::Failed(cause) = error else { panic!("{error:?}") };
        assert_eq!(cause.path(), Some("root/c"));
        let log = [
            "a#1 init",
            "b#1 init",
            "c#1 init",
            "b#1 terminate",
            "b#1 dropped",
            "a#1 terminate",
            "a#1 dropped",
        ];
        assert_eq!(journal.take(), log);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_below_names_the_actor_at_the_bottom_of_it() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    Probe::new("a", &journal).add_to(&mut root);
    let mut below = Supervisor::new("below");
    Probe::new("b", &journal).add_to(&mut below);
    Probe::new("c", &journal).init(|_| How::Fail).add_to(&mut below);
    root.supervisor(below);

    let error = timeout(DEADLINE, System::start(root)).await.unwrap().unwrap_err();
    let StartError::Failed(cause) = error else { panic!("{error:?}") };
    assert_eq!(cause.path(), Some("root/below/c"));
    let ends: Vec<_> =
        journal.take().into_iter().filter(|line| line.ends_with("dropped")).collect();
    assert_eq!(ends, ["b#1 dropped", "a#1 dropped"]);
}

#[tokio::test(start_paused = true)]
async fn a_start_given_up_half_way_ends_what_was_started() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    Probe::new("a", &journal).add_to(&mut root);
    Probe::new("b", &journal).init(|_| How::Slow(secs(1))).add_to(&mut root);

    {
        let mut start = pin!(System::start(root));
        assert!(timeout(ms(100), start.as_mut()).await.is_err());
        assert_eq!(journal.lines(), ["a#1 init", "b#1 init"]);
    }
    eventually(|| journal.lines().contains(&"a#1 dropped".to_owned())).await;
    let rest = ["a#1 init", "b#1 init", "a#1 terminate", "a#1 dropped"];
    assert_eq!(journal.take(), rest);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_never_awaited_starts_nothing() {
    let journal = Journal::default();
    let (root, _) = three(&journal);
    drop(System::start(root));
    tokio::time::sleep(secs(10)).await;
    assert!(journal.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_error_and_a_panic_bring_a_new_incarnation_on_the_same_address() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor()).await;

    a.tell(act(|_, _| Box::pin(async { Err("wrong".into()) }))).unwrap();
    up(&system, "a", 2).await;
    assert_eq!(ping(&a).await, 2);
    let fell = |system: &System| system.tree().find("a").unwrap().last_exit.clone().unwrap();
    assert_eq!(fell(&system), "failed: wrong");

    a.tell(panics()).unwrap();
    up(&system, "a", 3).await;
    assert_eq!(ping(&a).await, 3);
    assert_eq!(fell(&system), "panicked: boom");
    assert_eq!(system.tree().find("a").unwrap().restarts, 2);
    // A fall says no goodbye.
    assert!(!journal.take().contains(&"a#1 terminate".to_owned()));
}

// ractor 2: kameo #387, #397
#[tokio::test(start_paused = true)]
async fn the_next_incarnation_starts_when_nothing_of_the_one_before_is_left() {
    let journal = Journal::default();
    let probe = Probe::new("a", &journal).terminate(|_| How::Slow(secs(1)));
    let (system, a) = alone(probe.actor()).await;
    let guard = OnDrop(journal.clone());
    a.tell(act(move |cx, _| {
        let work = async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        };
        cx.task("held", work, |()| panics());
        Box::pin(async { Ok(()) })
    }))
    .unwrap();
    ping(&a).await;

    system.restart("a").unwrap();
    up(&system, "a", 2).await;
    let log = ["a#1 init", "task gone", "a#1 terminate", "a#1 dropped", "a#2 init"];
    assert_eq!(journal.take(), log);
}

struct OnDrop(Journal);
impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.write("task gone");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_init_does_not_hold_up_the_restart_of_a_sibling() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let slow = |incarnation| if incarnation == 1 { How::Well } else { How::Slow(secs(4)) };
    let a = Probe::new("a", &journal).init(slow).add_to(&mut root);
    let b = Probe::new("b", &journal).add_to(&mut root);
    let system = System::start(root).await.unwrap();

    a.tell(panics()).unwrap();
    in_state(&system, "a", State::Starting).await;
    let begun = Instant::now();
    b.tell(panics()).unwrap();
    up(&system, "b", 2).await;
    assert_eq!(ping(&b).await, 2);
    assert!(begun.elapsed() < ms(100), "{:?}", begun.elapsed());
    assert_eq!(system.tree().find("a").unwrap().state, State::Starting);
    up(&system, "a", 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_hung_init_after_boot_is_a_fall_and_its_next_incarnation_may_do_better() {
    let journal = Journal::default();
    let hung = |incarnation| if incarnation == 2 { How::Hang } else { How::Well };
    let (system, a) = alone(Probe::new("a", &journal).init(hung).actor()).await;
    a.tell(panics()).unwrap();
    up(&system, "a", 3).await;
    let a = system.tree().find("a").cloned().unwrap();
    assert_eq!((a.restarts, a.last_exit.as_deref()), (2, Some("did not start within 5s")));
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_asks_to_end_comes_back_only_if_it_is_permanent() {
    for (restart, incarnation) in
        [(Restart::Permanent, 2), (Restart::Transient, 1), (Restart::Temporary, 1)]
    {
        let journal = Journal::default();
        let (system, a) = alone(Probe::new("a", &journal).actor().restart(restart)).await;
        a.tell(act(|cx, state| {
            cx.stop();
            state.journal.write("in hand");
            Box::pin(async {
                tokio::time::sleep(ms(10)).await;
                Ok(())
            })
        }))
        .unwrap();
        let state = if incarnation == 2 { State::Up } else { State::Down };
        until(&system, |tree| {
            let a = tree.find("a").unwrap();
            a.state == state && a.incarnation == incarnation && a.last_exit.is_some()
        })
        .await;
        let end = ["a#1 init", "in hand", "a#1 terminate", "a#1 dropped"];
        assert_eq!(journal.take()[..4], end);
        let exit = system.tree().find("a").unwrap().last_exit.clone();
        assert_eq!(exit.as_deref(), Some("ended by itself"));
    }
}

// ractor 2: fault 4
#[tokio::test(start_paused = true)]
async fn a_transient_actor_that_had_to_be_cut_off_comes_back() {
    let journal = Journal::default();
    let probe = Probe::new("a", &journal)
        .terminate(|incarnation| if incarnation == 1 { How::Hang } else { How::Well });
    let actor = probe.actor().restart(Restart::Transient).shutdown(Shutdown::Stop(secs(1)));
    let (system, a) = alone(actor).await;
    a.tell(act(|cx, _| {
        cx.stop();
        Box::pin(async { Ok(()) })
    }))
    .unwrap();
    up(&system, "a", 2).await;
    assert_eq!(
        system.tree().find("a").unwrap().last_exit.as_deref(),
        Some("killed: it did not end in time")
    );
}

// ractor 2: fault 1
#[tokio::test(start_paused = true)]
async fn siblings_that_fall_together_say_goodbye_in_reverse_and_start_in_order() {
    for (strategy, spared) in [(Strategy::OneForAll, false), (Strategy::RestForOne, true)] {
        let journal = Journal::default();
        let (root, [_, b, _]) = three(&journal);
        let system = System::start(root.strategy(strategy)).await.unwrap();
        journal.take();
        b.tell(panics()).unwrap();
        up(&system, "c", 2).await;
        let (mut log, a) = (
            vec!["b#1 dropped", "c#1 terminate", "c#1 dropped"],
            ["a#1 terminate", "a#1 dropped", "a#2 init"],
        );
        if !spared {
            log.extend(a);
        }
        log.extend(["b#2 init", "c#2 init"]);
        assert_eq!(journal.take(), log);
    }
}

// ractor 2: fault 3
#[tokio::test(start_paused = true)]
async fn two_near_falls_of_a_group_are_one_restart() {
    let journal = Journal::default();
    let (root, [a, b, _]) = three(&journal);
    let system = System::start(root.strategy(Strategy::OneForAll)).await.unwrap();
    a.tell(panics()).unwrap();
    b.tell(panics()).unwrap();
    up(&system, "c", 2).await;
    tokio::time::sleep(secs(5)).await;
    for id in ["a", "b", "c"] {
        assert_eq!(system.tree().find(id).unwrap().incarnation, 2);
    }
}

// ractor 2: fault 3
#[tokio::test(start_paused = true)]
async fn an_actor_removed_during_its_backoff_stays_away() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor().backoff(exactly(secs(2)))).await;
    a.tell(panics()).unwrap();
    in_state(&system, "a", State::Backoff).await;
    system.remove("a").unwrap();
    in_state(&system, "a", State::Down).await;
    tokio::time::sleep(secs(60)).await;
    assert_eq!(journal.take(), ["a#1 init", "a#1 dropped"]);
    assert_eq!(system.tree().find("a").unwrap().state, State::Down);
}

// ractor 2: kameo #377
#[tokio::test(start_paused = true)]
async fn a_removed_actor_says_goodbye_and_never_comes_back() {
    let journal = Journal::default();
    let (system, _) = alone(Probe::new("a", &journal).actor()).await;
    system.remove("a").unwrap();
    in_state(&system, "a", State::Down).await;
    assert!(system.restart("a").is_err());
    tokio::time::sleep(secs(60)).await;
    assert_eq!(journal.take(), ["a#1 init", "a#1 terminate", "a#1 dropped"]);
}

#[tokio::test(start_paused = true)]
async fn a_removed_actor_does_not_come_back_with_its_supervisor_either() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let mut below = Supervisor::new("below");
    Probe::new("a", &journal).add_to(&mut below);
    Probe::new("b", &journal).add_to(&mut below);
    root.supervisor(below);
    let system = System::start(root).await.unwrap();
    system.remove("a").unwrap();
    in_state(&system, "a", State::Down).await;
    system.restart("below").unwrap();
    up(&system, "b", 2).await;
    assert_eq!(system.tree().find("a").unwrap().state, State::Down);
    assert!(!journal.take().contains(&"a#2 init".to_owned()));
}

// ractor 2: kameo #377, #392
#[tokio::test(start_paused = true)]
async fn restart_reaches_whichever_incarnation_runs_and_spends_no_fall() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root").intensity(Intensity { max: 1, within: secs(30) });
    let a = Probe::new("a", &journal).add_to(&mut root);
    let system = System::start(root).await.unwrap();
    for incarnation in 2..10 {
        system.restart("a").unwrap();
        up(&system, "a", incarnation).await;
        assert_eq!(ping(&a).await, incarnation);
    }
    assert_eq!(system.tree().find("a").unwrap().restarts, 0);
    a.tell(panics()).unwrap();
    up(&system, "a", 10).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_during_the_backoff_cuts_it_short() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor().backoff(exactly(secs(5)))).await;
    a.tell(panics()).unwrap();
    in_state(&system, "a", State::Backoff).await;
    let begun = Instant::now();
    system.restart("a").unwrap();
    up(&system, "a", 2).await;
    assert!(begun.elapsed() < secs(1));
    tokio::time::sleep(secs(60)).await;
    assert_eq!(system.tree().find("a").unwrap().incarnation, 2);
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_restarted_by_hand_ends_and_starts_all_below_it_in_order() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let mut below = Supervisor::new("below");
    let a = Probe::new("a", &journal).add_to(&mut below);
    Probe::new("b", &journal).add_to(&mut below);
    root.supervisor(below);
    let system = System::start(root).await.unwrap();
    journal.take();
    system.restart("below").unwrap();
    up(&system, "below", 2).await;
    // Incarnations are the actor's, not its supervisor's: a second #1 would be a lie.
    let log =
        ["b#1 terminate", "b#1 dropped", "a#1 terminate", "a#1 dropped", "a#2 init", "b#2 init"];
    assert_eq!(journal.take(), log);
    assert_eq!(ping(&a).await, 2);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_id_is_an_error_that_names_it() {
    let journal = Journal::default();
    let (system, _) = alone(Probe::new("a", &journal).actor()).await;
    for error in [system.restart("nobody").unwrap_err(), system.remove("nobody").unwrap_err()] {
        assert!(error.to_string().contains("\"nobody\""), "{error}");
    }
    assert!(system.restart("root").is_err(), "the root is nobody's child");
}

#[tokio::test(start_paused = true)]
async fn a_panicking_factory_is_a_failed_start_and_not_the_end_of_the_supervisor() {
    let journal = Journal::default();
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let probe = Probe::new("a", &journal);
    let factory = move || {
        assert!(count.fetch_add(1, Ordering::SeqCst) != 1, "no second one");
        probe.clone()
    };
    let actor = mainstay_supervision::Actor::new("a", factory);
    let (system, a) = alone(actor).await;
    a.tell(panics()).unwrap();
    up(&system, "a", 3).await;
    assert_eq!(
        system.tree().find("a").unwrap().last_exit.as_deref(),
        Some("did not start: no second one")
    );
}

#[tokio::test(start_paused = true)]
async fn names_and_delays_that_cannot_work_are_refused_before_anything_starts() {
    let journal = Journal::default();
    let twice = |first: &'static str, second: &'static str| {
        let mut root = Supervisor::new("root");
        Probe::new(first, &journal).add_to(&mut root);
        let mut below = Supervisor::new("below");
        Probe::new(second, &journal).add_to(&mut below);
        root.supervisor(below);
        System::start(root)
    };
    for (first, second, twin) in [("a", "a", "a"), ("a", "root", "root"), ("a", "below", "below")] {
        let error = twice(first, second).await.unwrap_err();
        assert!(matches!(&error, StartError::DuplicateId { id } if &**id == twin), "{error}");
    }
    let mut root = Supervisor::new("root").intensity(Intensity { max: 5, within: secs(5) });
    root.actor(Probe::new("slow", &journal).actor().backoff(exactly(secs(1))));
    let error = System::start(root).await.unwrap_err();
    assert!(matches!(error, StartError::UnreachableIntensity { .. }));
    assert!(error.to_string().starts_with("\"slow\" waits so long"), "{error}");
    assert!(journal.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_start_limit_beyond_the_end_of_time_is_no_limit() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    root.actor(
        Probe::new("a", &journal)
            .init(|_| How::Hang)
            .actor()
            .start_timeout(std::time::Duration::MAX),
    );
    assert!(timeout(secs(3_600), System::start(root)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_hung_handler_is_cut_off_by_a_restart_by_hand() {
    let journal = Journal::default();
    let (system, a) = alone(Probe::new("a", &journal).actor()).await;
    a.tell(hangs()).unwrap();
    let begun = Instant::now();
    system.restart("a").unwrap();
    up(&system, "a", 2).await;
    assert_eq!(begun.elapsed().as_secs(), 5);
    assert_eq!(ping(&a).await, 2);
}
