//! When a caller is told to come again: never at once, and not before it can be worth a try.

use std::pin::pin;
use std::time::Duration;

use mainstay_supervision::{CallError, Defaults, Handle, Intensity, State, Supervisor, System};
use tokio::time::timeout;

use crate::support::{
    DEADLINE, Elsewhere, How, Journal, Message, Ping, Poke, Probe, Wall, act, alone, count,
    exactly, in_state, is_up, ms, panics, ping, really, secs, soon,
};

/// What a tell is told about when to come again.
fn retry_after(handle: &Handle<Message>) -> Option<Duration> {
    match handle.tell(Message::Poke(Poke("in"))) {
        Ok(()) => panic!("it was accepted"),
        Err(rejected) => match rejected.why {
            CallError::Unavailable { retry_after } => retry_after,
            why => panic!("{why:?}"),
        },
    }
}

/// How often a caller tries who does as it is told, until it is answered.
async fn tries(handle: &Handle<Message>) -> u32 {
    for tries in 1..1_000 {
        match handle.ask(soon(), |reply| Message::Ping(Ping, reply)).await {
            Err(CallError::Unavailable { retry_after: Some(pause) }) => {
                tokio::time::sleep(pause).await;
            }
            Ok(_) => return tries,
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("it spins");
}

/// root/{middle/{below/{a}}}: `below` gives up at the first fall, and so does `middle`.
async fn in_the_backoff_of(who: &str, delay: Duration) -> (System, Handle<Message>) {
    let journal = Journal::default();
    let none = Intensity { max: 0, within: secs(30) };
    let waits = Defaults { backoff: exactly(delay), ..Defaults::default() };
    let mut root = Supervisor::new("root").defaults(waits);
    let mut middle = Supervisor::new("middle").defaults(waits);
    if who == "middle" {
        middle = middle.intensity(none);
    }
    let mut below = Supervisor::new("below").intensity(none);
    let a = Probe::new("a", &journal).add_to(&mut below);
    middle.supervisor(below);
    root.supervisor(middle);
    let system = System::start(root).await.unwrap();
    a.tell(panics()).unwrap();
    in_state(&system, who, State::Backoff).await;
    (system, a)
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_out_the_backoff_of_a_supervisor_above_is_told_how_long_it_is() {
    for who in ["below", "middle"] {
        let (_system, a) = in_the_backoff_of(who, secs(2)).await;
        assert_eq!(retry_after(&a), Some(secs(2)), "{who}");
        tokio::time::sleep(ms(500)).await;
        assert_eq!(retry_after(&a), Some(ms(1_500)), "{who}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_comes_again_as_it_is_told_does_not_spin() {
    for who in ["below", "middle"] {
        let (_system, a) = in_the_backoff_of(who, secs(2)).await;
        let tries = timeout(DEADLINE, tries(&a)).await.unwrap();
        assert!(tries <= 10, "{who}: {tries} tries in 2 s");
    }
}

#[tokio::test(start_paused = true)]
async fn before_and_while_a_tree_starts_nobody_is_told_to_come_again_at_once() {
    let journal = Journal::default();
    let mut root = Supervisor::new("root");
    let starting = Probe::new("starting", &journal).init(|_| How::Slow(secs(1))).add_to(&mut root);
    let idle = Probe::new("idle", &journal).add_to(&mut root);
    let mut below = Supervisor::new("below");
    let idle_below = Probe::new("idle below", &journal).add_to(&mut below);
    root.supervisor(below);
    let all = [&starting, &idle, &idle_below];
    let none_is_zero = |when: &str| {
        for handle in all {
            let pause = retry_after(handle);
            assert!(pause.is_some_and(|pause| !pause.is_zero()), "{when}: {handle:?} {pause:?}");
        }
    };
    none_is_zero("before the start");
    let mut start = pin!(System::start(root));
    assert!(timeout(ms(100), start.as_mut()).await.is_err());
    assert_eq!((starting.state(), idle.state()), (State::Starting, State::Idle));
    none_is_zero("during the start");
    let _system = start.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn at_no_moment_of_a_fall_and_a_return_is_a_caller_told_to_come_again_at_once() {
    for delay in [Duration::ZERO, ms(1)] {
        let journal = Journal::default();
        let slow = |incarnation| if incarnation == 1 { How::Well } else { How::Slow(ms(1)) };
        let actor = Probe::new("a", &journal).init(slow).actor().backoff(exactly(delay));
        let (_system, a) = alone(actor).await;
        a.tell(panics()).unwrap();
        let looking = async {
            for look in 1_u64.. {
                match a.tell(Message::Poke(Poke("in"))) {
                    Ok(()) if count(&journal, "a#2 init") == 1 => break,
                    Ok(()) => {}
                    Err(rejected) => {
                        let CallError::Unavailable { retry_after } = rejected.why else {
                            panic!("{:?}", rejected.why)
                        };
                        assert_ne!(
                            retry_after,
                            Some(Duration::ZERO),
                            "while it is {:?}",
                            a.state()
                        );
                    }
                }
                tokio::task::yield_now().await;
                // Time goes on only when everybody waits.
                if look.is_multiple_of(20) {
                    tokio::time::sleep(ms(1)).await;
                }
            }
        };
        timeout(DEADLINE, looking).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn while_a_fallen_actor_still_blocks_a_thread_nobody_is_told_to_come_again_at_once() {
    let (wall, elsewhere, journal) = (Wall::default(), Elsewhere::new(), Journal::default());
    let (system, a) = alone(Probe::new("a", &journal).actor()).await;
    let blocks = elsewhere.blocking_task(&wall);
    a.tell(act(move |cx, _| {
        blocks(cx);
        Box::pin(async { Ok(()) })
    }))
    .unwrap();
    ping(&a).await;
    a.tell(panics()).unwrap();
    in_state(&system, "a", State::Backoff).await;
    tokio::time::sleep(ms(10)).await;
    let pause = retry_after(&a);
    drop(wall);
    assert!(pause.is_some_and(|pause| !pause.is_zero()), "{pause:?}");
    really(|| is_up(&system, "a", 2)).await;
}

#[tokio::test(start_paused = true)]
async fn while_an_actor_that_comes_back_still_says_goodbye_its_callers_are_told_to_come_again() {
    type Ends = fn(&System, &Handle<Message>);
    let ways: [(&str, Ends); 3] = [
        ("it asked to end", |_, a| {
            a.tell(act(|cx, _| {
                cx.stop();
                Box::pin(async { Ok(()) })
            }))
            .unwrap();
        }),
        ("restarted by hand", |system, _| system.restart("a").unwrap()),
        ("restarted with its supervisor", |system, _| system.restart("below").unwrap()),
    ];
    for (way, ends) in ways {
        let journal = Journal::default();
        let mut root = Supervisor::new("root");
        let mut below = Supervisor::new("below");
        let a = Probe::new("a", &journal).terminate(|_| How::Slow(secs(2))).add_to(&mut below);
        root.supervisor(below);
        let system = System::start(root).await.unwrap();
        ends(&system, &a);
        in_state(&system, "a", State::Stopping).await;
        assert!(retry_after(&a).is_some_and(|pause| pause >= ms(10)), "{way}");
        assert!(tries(&a).await > 1, "{way}");

        system.remove("a").unwrap();
        in_state(&system, "a", State::Stopping).await;
        assert_eq!(retry_after(&a), None, "removed after {way}");
    }
}
