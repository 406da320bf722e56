//! Whatever hangs or blocks, a shutdown keeps its budget, leaves nobody behind, and says who had to
//! be cut off.

use std::time::Duration;

use mainstay_supervision::{Actor, Change, Handle, Intensity, Shutdown, State, Supervisor, System};
use tokio::time::{Instant, timeout};

use crate::support::{
    DEADLINE, Elsewhere, How, Journal, Message, Probe, Wall, act, alone, event, eventually,
    exactly, hangs, in_state, ms, panics, ping, secs, sorted, up,
};

const BUDGET: Duration = Duration::from_millis(100);
/// What a shutdown with [`BUDGET`] may take on a paused clock, however many hang.
const SOON_AFTER: Duration = Duration::from_millis(300);
/// The same on the real clock, where threads are blocked.
const A_SECOND_AFTER: Duration = Duration::from_millis(1_100);
const HOUR: Duration = Duration::from_secs(3_600);

/// `count` actors at the bottom of `depth` supervisors that stand one below the other.
fn deep(
    depth: usize,
    count: usize,
    actor: impl Fn(String) -> Actor<Probe>,
) -> (Supervisor, Vec<Handle<Message>>) {
    let patient = Intensity { max: 10_000, within: Duration::MAX };
    let mut lowest = Supervisor::new("below-0").intensity(patient);
    let handles = (0..count).map(|number| lowest.actor(actor(format!("x{number}")))).collect();
    let mut root = lowest;
    for level in 1..=depth {
        let mut above = Supervisor::new(format!("below-{level}")).intensity(patient);
        above.supervisor(root);
        root = above;
    }
    (root, handles)
}

/// The paths of all actors of [`deep`].
fn paths(depth: usize, count: usize) -> Vec<String> {
    let above: Vec<_> = (0..=depth).rev().map(|level| format!("below-{level}")).collect();
    sorted((0..count).map(|number| format!("{}/x{number}", above.join("/"))).collect())
}

fn dropped(journal: &Journal) -> usize {
    journal.lines().iter().filter(|line| line.ends_with("dropped")).count()
}

fn all_are(system: &System, state: State) -> bool {
    (0_usize..)
        .map_while(|number| system.tree().find(&format!("x{number}")).map(|node| node.state))
        .all(|is| is == state)
}

#[tokio::test(start_paused = true)]
async fn everyone_who_hangs_in_terminate_at_any_depth_is_cut_off_by_the_end_of_the_budget_and_named()
 {
    for depth in [1, 2, 3, 0] {
        let journal = Journal::default();
        let probe = Probe::new("x", &journal).terminate(|_| How::Hang);
        let (root, _) = deep(depth, 25, |id| probe.clone().named(id));
        let system = System::start(root).await.unwrap();
        let begun = Instant::now();
        let report = timeout(DEADLINE, system.shutdown(BUDGET)).await.unwrap();
        let took = begun.elapsed();
        assert_eq!(dropped(&journal), 25, "some are alive, {depth} supervisors down");
        assert_eq!(sorted(report.killed), paths(depth, 25), "{depth} supervisors down");
        assert!(report.leaked.is_empty(), "{:?}", report.leaked);
        assert!(took <= SOON_AFTER, "{depth} supervisors down: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_way_to_hang_outlives_the_budget_of_a_shutdown() {
    type Way = (&'static str, Shutdown, How, fn() -> Option<Message>);
    let ways: [Way; 6] = [
        ("in a message", Shutdown::Stop(HOUR), How::Well, || Some(hangs())),
        ("in a queue to be drained", Shutdown::Drain(HOUR), How::Well, || Some(hangs())),
        ("in terminate after a drain", Shutdown::Drain(HOUR), How::Hang, || None),
        ("in a message, unlimited", Shutdown::Unlimited, How::Well, || Some(hangs())),
        ("in terminate, unlimited", Shutdown::Unlimited, How::Hang, || None),
        (
            "in terminate, limited beyond the end of time",
            Shutdown::Stop(Duration::MAX),
            How::Hang,
            || None,
        ),
    ];
    for (way, shutdown, terminate, message) in ways {
        for depth in [0, 2] {
            let journal = Journal::default();
            let probe = Probe::new("x", &journal).terminate(move |_| terminate);
            let (root, handles) = deep(depth, 20, |id| probe.clone().named(id).shutdown(shutdown));
            let system = System::start(root).await.unwrap();
            for handle in &handles {
                if let Some(message) = message() {
                    handle.tell(message).unwrap();
                }
            }
            let begun = Instant::now();
            let report = timeout(DEADLINE, system.shutdown(BUDGET)).await.unwrap();
            let took = begun.elapsed();
            assert_eq!(dropped(&journal), 20, "{way}, {depth} supervisors down");
            assert_eq!(sorted(report.killed), paths(depth, 20), "{way}, {depth} supervisors down");
            assert!(took <= SOON_AFTER, "{way}, {depth} supervisors down: {took:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_hangs_in_init_or_waits_for_a_restart_does_not_keep_those_beside_them_alive() {
    for depth in [0, 2] {
        let journal = Journal::default();
        let hung = |incarnation| if incarnation == 1 { How::Well } else { How::Hang };
        let (root, handles) = deep(depth, 30, |id| match id[1..].parse::<usize>().unwrap() % 3 {
            0 => Probe::new("starts", &journal).init(hung).named(id).start_timeout(HOUR),
            1 => Probe::new("waits", &journal).named(id).backoff(exactly(HOUR)),
            _ => Probe::new("ends", &journal).terminate(|_| How::Hang).named(id),
        });
        let system = System::start(root).await.unwrap();
        for fallen in handles.iter().enumerate().filter(|(number, _)| number % 3 != 2) {
            fallen.1.tell(panics()).unwrap();
        }
        in_state(&system, "x27", State::Starting).await;
        in_state(&system, "x28", State::Backoff).await;
        let begun = Instant::now();
        let report = timeout(DEADLINE, system.shutdown(BUDGET)).await.unwrap();
        let took = begun.elapsed();
        assert_eq!(dropped(&journal), 30, "{depth} supervisors down");
        for path in paths(depth, 30) {
            let number: usize = path.rsplit('x').next().unwrap().parse().unwrap();
            assert!(number % 3 != 2 || report.killed.contains(&path), "{path}: {report:?}");
        }
        assert!(all_are(&system, State::Down), "{:#?}", system.tree());
        assert!(took <= SOON_AFTER, "{depth} supervisors down: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_may_take_no_time_takes_none_for_each_of_those_who_hang() {
    for depth in [0, 1] {
        let journal = Journal::default();
        let probe = Probe::new("x", &journal);
        let (root, handles) = deep(depth, 30, |id| probe.clone().named(id));
        let system = System::start(root).await.unwrap();
        for handle in &handles {
            handle.tell(hangs()).unwrap();
        }
        let begun = Instant::now();
        let report = timeout(DEADLINE, system.shutdown(Duration::ZERO)).await.unwrap();
        assert!(begun.elapsed() <= SOON_AFTER, "{:?}", begun.elapsed());
        assert_eq!((dropped(&journal), report.killed.len()), (30, 30));
    }
}

#[tokio::test(start_paused = true)]
async fn a_tree_that_is_merely_dropped_leaves_nobody_behind_who_hangs() {
    for depth in [0, 2] {
        let journal = Journal::default();
        let probe = Probe::new("x", &journal).terminate(|_| How::Hang);
        let (root, _) =
            deep(depth, 25, |id| probe.clone().named(id).shutdown(Shutdown::Stop(HOUR)));
        drop(System::start(root).await.unwrap());
        let all_gone = timeout(secs(10), eventually(|| dropped(&journal) == 25)).await;
        assert!(all_gone.is_ok(), "{} of 25, {depth} supervisors down", dropped(&journal));
    }
}

// ---- the report ----

#[tokio::test(start_paused = true)]
async fn a_report_names_the_one_who_was_cut_off_among_more_than_a_thousand() {
    for hung in [0, 1_100] {
        let journal = Journal::default();
        let (root, handles) = deep(0, 1_101, |id| Probe::new("x", &journal).named(id));
        let system = System::start(root).await.unwrap();
        handles[hung].tell(hangs()).unwrap();
        let report = timeout(DEADLINE, system.shutdown(secs(30))).await.unwrap();
        assert_eq!(report.killed, [format!("below-0/x{hung}")]);
        assert!(!report.is_clean());
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_names_those_who_were_cut_off_below_before_a_thousand_others_ended() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    for number in 0..1_100 {
        root.actor(Probe::new("x", &journal).named(format!("x{number}")));
    }
    let mut below = Supervisor::new("below");
    let [a, b] = ["a", "b"].map(|id| Probe::new(id, &journal).add_to(&mut below));
    root.supervisor(below);
    let system = System::start(root).await.unwrap();
    for handle in [a, b] {
        handle.tell(hangs()).unwrap();
    }
    let report = timeout(DEADLINE, system.shutdown(secs(30))).await.unwrap();
    assert_eq!(sorted(report.killed), ["root/below/a", "root/below/b"]);
}

/// root/{slow, a}: `a` hangs, has a second to end, and ends first; `slow` needs five.
async fn one_hangs_and_one_is_slow() -> System {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let slow = Probe::new("slow", &journal).terminate(|_| How::Slow(secs(5))).actor();
    root.actor(slow.shutdown(Shutdown::Stop(secs(30))));
    let a = root.actor(Probe::new("a", &journal).actor().shutdown(Shutdown::Stop(secs(1))));
    let system = System::start(root).await.unwrap();
    a.tell(hangs()).unwrap();
    system
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_for_a_shutdown_get_the_same_report_whenever_they_came() {
    let system = one_hangs_and_one_is_slow().await;
    let late = async {
        // `a` was cut off two seconds ago.
        tokio::time::sleep(secs(3)).await;
        system.shutdown(secs(60)).await
    };
    let (first, twin, late) =
        tokio::join!(system.shutdown(secs(30)), system.shutdown(secs(40)), late);
    assert_eq!(first.killed, ["root/a"]);
    assert_eq!((&twin, &late), (&first, &first));
    let after = timeout(DEADLINE, system.clone().shutdown(secs(1))).await.unwrap();
    assert_eq!(after, first, "also when all is over");
}

#[tokio::test(start_paused = true)]
async fn a_report_does_not_depend_on_whether_the_one_who_began_the_shutdown_waited() {
    let system = one_hangs_and_one_is_slow().await;
    assert!(timeout(secs(3), system.shutdown(secs(30))).await.is_err());
    let report = timeout(DEADLINE, system.shutdown(secs(30))).await.unwrap();
    assert_eq!(report.killed, ["root/a"]);
}

#[tokio::test(start_paused = true)]
async fn one_who_blocked_a_thread_before_the_shutdown_and_still_does_is_reported_leaked() {
    let (wall, elsewhere, journal) = (Wall::default(), Elsewhere::new(), Journal::default());
    let (system, a) = alone(Probe::new("a", &journal).actor()).await;
    let mut events = system.events();
    let blocks = elsewhere.blocking_task(&wall);
    a.tell(act(move |cx, _| {
        blocks(cx);
        Box::pin(async { Ok(()) })
    }))
    .unwrap();
    ping(&a).await;
    a.tell(panics()).unwrap();
    event(&mut events, |event| matches!(event.change, Change::Leaked).then_some(())).await;
    let report = timeout(DEADLINE, system.shutdown(secs(5))).await.unwrap();
    assert_eq!(report.leaked, ["root/a"]);
}

// ---- blocked threads ----

#[tokio::test(flavor = "multi_thread", worker_threads = 24)]
async fn many_who_block_their_threads_at_once_do_not_overrun_the_budget_and_are_all_named() {
    for depth in [0, 2] {
        let (wall, journal) = (Wall::default(), Journal::default());
        let probe = Probe::new("x", &journal);
        let (root, handles) = deep(depth, 20, |id| probe.clone().named(id));
        let system = System::start(root).await.unwrap();
        for handle in &handles {
            let block = wall.block();
            let blocks = act(move |_, _| {
                Box::pin(async move {
                    block();
                    Ok(())
                })
            });
            handle.tell(blocks).unwrap();
        }
        eventually(|| wall.count() == 20).await;
        let begun = Instant::now();
        let report = timeout(DEADLINE, system.shutdown(BUDGET)).await.unwrap();
        let took = begun.elapsed();
        assert_eq!(sorted(report.leaked), paths(depth, 20), "{depth} supervisors down");
        assert!(took < A_SECOND_AFTER, "{depth} supervisors down: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 24)]
async fn many_whose_tasks_block_their_threads_do_not_overrun_the_budget_either() {
    let (wall, journal) = (Wall::default(), Journal::default());
    let (root, handles) =
        deep(1, 20, |id| Probe::new("x", &journal).named(id).shutdown(Shutdown::Unlimited));
    let system = System::start(root).await.unwrap();
    for handle in &handles {
        let block = wall.block();
        let blocks = act(move |cx, _| {
            cx.task("blocks", async move { block() }, |()| panics());
            Box::pin(async { Ok(()) })
        });
        handle.tell(blocks).unwrap();
    }
    eventually(|| wall.count() == 20).await;
    let begun = Instant::now();
    let report = timeout(DEADLINE, system.shutdown(BUDGET)).await.unwrap();
    let took = begun.elapsed();
    assert_eq!(sorted(report.leaked), paths(1, 20));
    assert!(took < A_SECOND_AFTER, "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 24)]
async fn many_whose_states_block_threads_when_they_are_dropped_do_not_overrun_the_budget_either() {
    let journal = Journal::default();
    let probe = Probe::new("x", &journal).on_drop(|_| How::Block(secs(3)));
    let (root, handles) = deep(0, 20, |id| probe.clone().named(id));
    let system = System::start(root).await.unwrap();
    for handle in &handles {
        handle.tell(hangs()).unwrap();
    }
    eventually(|| system.tree().children.iter().all(|x| x.mailbox.unwrap().busy_ms > 0)).await;
    let begun = Instant::now();
    let report = timeout(DEADLINE, system.shutdown(BUDGET)).await.unwrap();
    let took = begun.elapsed();
    assert_eq!(sorted(report.leaked), paths(0, 20));
    assert!(took < A_SECOND_AFTER, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_report_does_not_name_who_was_cut_off_and_gone_before_the_end() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    for id in ["removed", "restarted"] {
        let deaf = Probe::new(id, &journal).terminate(|incarnation| match incarnation {
            1 => How::Hang,
            _ => How::Well,
        });
        root.actor(deaf.actor().shutdown(Shutdown::Stop(ms(20))));
    }
    let system = System::start(root).await.unwrap();
    system.remove("removed").unwrap();
    in_state(&system, "removed", State::Down).await;
    system.restart("restarted").unwrap();
    up(&system, "restarted", 2).await;
    assert!(system.shutdown(secs(5)).await.is_clean());
}
