//! A supervisor gives up on what never comes up, however long each attempt takes.

use std::time::Duration;

use mainstay_supervision::{
    Actor, Backoff, BoxError, Cause, Cx, Handle, Intensity, Server, StartError, State, Strategy,
    Supervisor, System,
};
use tokio::time::timeout;

use crate::support::{
    DEADLINE, How, Journal, Message, Probe, count, exactly, hangs, in_state, ms, panics, ping,
    secs, until, up,
};

/// Beyond this a supervisor has not given up.
const A_DAY: Duration = Duration::from_secs(86_400);

/// root/{a}: `a` comes up well once; every later start goes like this.
async fn never_again(how: How, start_timeout: Duration, journal: &Journal) -> System {
    let mut root = Supervisor::new("root");
    let hook = move |incarnation| if incarnation == 1 { How::Well } else { how };
    let a = Probe::new("a", journal).init(hook).actor().start_timeout(start_timeout);
    let a = root.actor(a);
    let system = System::start(root).await.unwrap();
    a.tell(panics()).unwrap();
    system
}

fn starts(journal: &Journal) -> usize {
    journal.lines().iter().filter(|line| line.ends_with(" init")).count()
}

#[tokio::test(start_paused = true)]
async fn starts_that_never_succeed_are_counted_however_long_each_of_them_takes() {
    let ways = [
        ("hangs beyond its limit", How::Hang, secs(10)),
        ("hangs for half an hour", How::Hang, secs(1_800)),
        ("is too slow", How::Slow(secs(8)), secs(7)),
    ];
    for (way, how, limit) in ways {
        let journal = Journal::default();
        let system = never_again(how, limit, &journal).await;
        let cause = timeout(A_DAY, system.failed()).await;
        let cause = cause.unwrap_or_else(|_| panic!("{way}: {} starts a day", starts(&journal)));
        assert_eq!(cause.path(), Some("root/a"), "{way}");
        // The one that went well, five that are tolerated, and at most one for the fall before.
        assert!((6..=7).contains(&starts(&journal)), "{way}: {} starts", starts(&journal));
    }
}

/// Comes up well once; every later start fails after nine seconds, and every message is a fall.
struct Late;

impl Server for Late {
    type Message = ();
    type State = ();

    async fn init(&self, cx: &Cx<()>) -> Result<(), BoxError> {
        if cx.incarnation() == 1 {
            return Ok(());
        }
        tokio::time::sleep(secs(9)).await;
        Err("no luck".into())
    }

    async fn handle(&self, _cx: &Cx<()>, (): (), (): &mut ()) -> Result<(), BoxError> {
        Err("wrong".into())
    }
}

#[tokio::test(start_paused = true)]
async fn starts_that_fail_by_themselves_after_a_while_are_counted_too() {
    let mut root = Supervisor::new("root");
    let late = Actor::new("late", || Late).backoff(Backoff::none());
    let late = root.actor(late.start_timeout(secs(10)));
    let system = System::start(root).await.unwrap();
    late.tell(()).unwrap();
    let failed = timeout(A_DAY, system.failed()).await;
    let Ok(cause) = failed else { panic!("{} starts", system.tree().children[0].incarnation) };
    assert_eq!(cause.path(), Some("root/late"));
    assert!((6..=7).contains(&system.tree().children[0].incarnation), "{:#?}", system.tree());
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_below_that_never_comes_up_again_is_given_up_on_in_turn() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let mut below = Supervisor::new("below");
    Probe::new("b", &journal).add_to(&mut below);
    let hung = |incarnation| if incarnation == 1 { How::Well } else { How::Hang };
    below.actor(Probe::new("a", &journal).init(hung).actor().start_timeout(secs(10)));
    root.supervisor(below);
    let system = System::start(root).await.unwrap();
    system.restart("below").unwrap();
    let failed = timeout(A_DAY, system.failed()).await;
    let Ok(cause) = failed else {
        panic!("{} starts", system.tree().find("below").unwrap().incarnation)
    };
    assert_eq!(cause.path(), Some("root/below/a"));
}

#[tokio::test(start_paused = true)]
async fn failed_starts_of_siblings_count_together_also_where_they_are_restarted_together() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let journal = Journal::default();
        let mut root = Supervisor::new("root").strategy(strategy);
        let hung = |incarnation| if incarnation == 1 { How::Well } else { How::Hang };
        let handles: [Handle<Message>; 2] = ["a", "b"].map(|id| {
            root.actor(Probe::new(id, &journal).init(hung).actor().start_timeout(secs(20)))
        });
        let system = System::start(root).await.unwrap();
        for handle in &handles {
            handle.tell(panics()).unwrap();
        }
        let failed = timeout(A_DAY, system.failed()).await;
        let Ok(cause) = failed else { panic!("{strategy:?}: {} starts", starts(&journal)) };
        assert!(matches!(*cause, Cause::TooManyFailedStarts { .. }), "{strategy:?}: {cause}");
        assert!(starts(&journal) <= 10, "{strategy:?}: {}", starts(&journal));
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_succeeds_settles_the_failed_ones_before_it() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    // Of five starts in a row the last one goes well.
    let hook = |incarnation| if incarnation % 5 == 1 { How::Well } else { How::Hang };
    let a = Probe::new("a", &journal).init(hook).actor().start_timeout(secs(10));
    let a = root.actor(a);
    let system = System::start(root).await.unwrap();
    for round in 0..20 {
        up(&system, "a", 5 * round + 1).await;
        assert_eq!(ping(&a).await, 5 * round + 1);
        tokio::time::sleep(secs(60)).await;
        a.tell(panics()).unwrap();
    }
    up(&system, "a", 101).await;
}

/// Whether this tree is refused at start, or else gives up within a day after `drive`.
async fn is_bounded(root: Supervisor, drive: impl AsyncFnOnce(&System)) -> bool {
    match System::start(root).await {
        Err(StartError::UnreachableIntensity { .. }) => true,
        Err(error) => panic!("{error}"),
        Ok(system) => {
            let driven = async {
                drive(&system).await;
                tokio::time::sleep(A_DAY).await;
            };
            tokio::select! {
                _ = system.failed() => true,
                () = driven => false,
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_stalls_each_time_after_a_limit_of_its_own_does_not_do_so_for_ever() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let a = root.actor(Probe::new("a", &journal).actor().stall_after(secs(10)));
    let stalls = async |_: &System| {
        for _ in 0..1_000 {
            a.ready(crate::support::soon()).await.unwrap();
            if a.tell(hangs()).is_ok() {
                tokio::time::sleep(secs(10)).await;
            }
            tokio::time::sleep(ms(1)).await;
        }
    };
    assert!(is_bounded(root, stalls).await, "{} starts", starts(&journal));
}

#[tokio::test(start_paused = true)]
async fn an_intensity_that_can_never_be_reached_is_refused_at_start() {
    let journal = Journal::default();
    let cases = [
        ("a window of no width", Intensity { max: 5, within: Duration::ZERO }, Backoff::none()),
        ("a delay as long as the window", Intensity { max: 1, within: secs(4) }, exactly(secs(4))),
        (
            "more restarts than the window has room for",
            Intensity { max: u32::MAX, within: secs(30) },
            exactly(ms(1)),
        ),
    ];
    for (what, intensity, backoff) in cases {
        for is_nested in [false, true] {
            let mut root = Supervisor::new("root");
            let mut above = Supervisor::new("above").intensity(intensity);
            above.actor(Probe::new("a", &journal).actor().backoff(backoff));
            if is_nested {
                root.supervisor(above);
            } else {
                root = above;
            }
            let error = timeout(DEADLINE, System::start(root)).await.unwrap().unwrap_err();
            let StartError::UnreachableIntensity { id, .. } = error else {
                panic!("{what}: {error}")
            };
            assert_eq!(&*id, "a", "{what}");
        }
    }
    assert!(journal.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn while_an_actor_hangs_in_each_start_its_siblings_go_on_and_the_tree_says_so() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let hung = |incarnation| if incarnation == 1 { How::Well } else { How::Hang };
    let a = Probe::new("a", &journal).init(hung).actor().start_timeout(secs(10));
    let a = root.actor(a);
    let b = Probe::new("b", &journal).add_to(&mut root);
    let system = System::start(root).await.unwrap();
    a.tell(panics()).unwrap();
    for fall in 2..=5 {
        crate::support::until(&system, |tree| tree.find("a").unwrap().incarnation == fall).await;
        assert_eq!(ping(&b).await, 1);
        // Falls that count until a start succeeds are not forgiven by the window.
        let left = system.tree().falls_left.unwrap();
        assert!(u64::from(left) <= 7 - fall, "{left} left in start {fall}");
    }
    in_state(&system, "b", State::Down).await;
    assert_eq!(count(&journal, "b#1 terminate"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_tree_counts_failed_starts_among_the_falls_until_the_actor_is_up() {
    let journal = Journal::default();
    let hook = |incarnation| if (2..=4).contains(&incarnation) { How::Hang } else { How::Well };
    let a = Probe::new("a", &journal).init(hook).actor().start_timeout(secs(20));
    let mut root = Supervisor::new("root");
    let a = root.actor(a);
    let system = System::start(root).await.unwrap();
    a.tell(panics()).unwrap();
    until(&system, |tree| tree.find("a").unwrap().incarnation == 4).await;
    assert_eq!(
        system.tree().falls_left,
        Some(3),
        "the fall itself is forgotten, two starts are not"
    );
    up(&system, "a", 5).await;
    tokio::time::sleep(secs(31)).await;
    assert_eq!(system.tree().falls_left, Some(5));
}
