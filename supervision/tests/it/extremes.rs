//! Times and sizes at the end of what their types can hold are limits that are never reached. They
//! fell nobody.

use std::time::Duration;

use mainstay_supervision::{
    Actor, Backoff, CallError, Defaults, Handle, Intensity, Jitter, Nursery, Shutdown, State,
    Supervisor, System,
};
use tokio::time::{Instant, timeout};

use crate::support::{
    DEADLINE, How, Journal, Message, Ping, Poke, Probe, act, alone, eventually, hangs, in_state,
    ms, panics, ping, secs, up,
};

/// The longest time for which there is an instant so much later, and a bit less.
fn just_representable() -> [Duration; 3] {
    let now = Instant::now();
    let (mut fits, mut too_long) = (0, u64::MAX);
    while too_long - fits > 1 {
        let middle = fits + (too_long - fits) / 2;
        if now.checked_add(Duration::from_secs(middle)).is_some() {
            fits = middle;
        } else {
            too_long = middle;
        }
    }
    [Duration::from_secs(fits), Duration::from_secs(fits - 1), Duration::from_secs(fits - 60)]
}

/// Everything that is too long to matter, reckoned from when each is wanted.
fn extremes() -> impl Iterator<Item = Duration> {
    (0..6_usize).map(|which| match which {
        0 => Duration::MAX,
        1 => Duration::MAX / 2,
        2 => Duration::from_secs(u64::MAX / 4),
        _ => just_representable()[which - 3],
    })
}

/// Nobody has fallen, or falls when time goes on.
async fn all_is_well(system: &System, handle: &Handle<Message>, what: &str) {
    tokio::time::sleep(secs(60)).await;
    assert_eq!(ping(handle).await, 1, "{what}");
    let tree = system.tree();
    assert_eq!((tree.state, tree.children[0].restarts), (State::Up, 0), "{what}");
}

#[tokio::test(start_paused = true)]
async fn timers_beyond_the_end_of_time_never_fire_and_fell_nobody() {
    for time in extremes() {
        let journal = Journal::default();
        let (system, a) = alone(Probe::new("a", &journal).actor()).await;
        a.tell(act(move |cx, _| {
            cx.every(time, || Message::Poke(Poke("tick")));
            cx.after(time, Message::Poke(Poke("after")));
            Box::pin(async { Ok(()) })
        }))
        .unwrap();
        ping(&a).await;
        all_is_well(&system, &a, &format!("{time:?}")).await;
        assert_eq!(journal.take(), ["a#1 init"], "{time:?}");
        assert!(system.shutdown(secs(5)).await.is_clean());
    }
}

#[tokio::test(start_paused = true)]
async fn limits_beyond_the_end_of_time_are_none() {
    for time in extremes() {
        let journal = Journal::default();
        for shutdown in [Shutdown::Stop(time), Shutdown::Drain(time)] {
            let actor = Probe::new("a", &journal).actor().start_timeout(time).stall_after(time);
            let (system, a) = alone(actor.shutdown(shutdown)).await;
            a.tell(act(|_, _| {
                Box::pin(async {
                    tokio::time::sleep(secs(1)).await;
                    Ok(())
                })
            }))
            .unwrap();
            all_is_well(&system, &a, &format!("{shutdown:?}")).await;
            system.restart("a").unwrap();
            up(&system, "a", 2).await;
            assert!(timeout(DEADLINE, system.shutdown(time)).await.unwrap().is_clean());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_whose_budget_ends_beyond_time_ends_all_the_same_and_so_does_a_nearer_one() {
    for time in extremes() {
        let journal = Journal::default();
        let mut root = Supervisor::new("root");
        let mut below = Supervisor::new("below");
        let actor = Probe::new("a", &journal).actor().shutdown(Shutdown::Unlimited);
        let a = below.actor(actor);
        root.supervisor(below);
        let system = System::start(root).await.unwrap();
        let report = timeout(DEADLINE, system.clone().shutdown(time)).await;
        assert!(report.is_ok_and(|report| report.is_clean()), "{time:?}");

        let mut root = Supervisor::new("root");
        let mut below = Supervisor::new("below");
        let b = below.actor(Probe::new("b", &journal).actor().shutdown(Shutdown::Stop(time)));
        root.supervisor(below);
        let system = System::start(root).await.unwrap();
        b.tell(hangs()).unwrap();
        let nearer = async {
            tokio::time::sleep(secs(1)).await;
            system.shutdown(secs(1)).await
        };
        let both = timeout(DEADLINE, async { tokio::join!(system.shutdown(time), nearer) }).await;
        assert!(both.is_ok_and(|(_, nearer)| nearer.killed == ["root/below/b"]), "{time:?}");
        drop(a);
    }
}

#[tokio::test(start_paused = true)]
async fn an_ask_until_the_end_of_time_waits_for_its_answer() {
    for time in extremes() {
        let journal = Journal::default();
        let mut root = Supervisor::new("root");
        let probe = Probe::new("a", &journal).terminate(|_| How::Slow(secs(1)));
        let a = root.actor(probe.actor().accepts(Message::Ping));
        let system = System::start(root).await.unwrap().with_ask_timeout(time);
        let slow = || {
            act(|_, _| {
                Box::pin(async {
                    tokio::time::sleep(secs(1)).await;
                    Ok(())
                })
            })
        };
        a.tell(slow()).unwrap();
        let by_type = system.recipient::<Ping>().unwrap();
        assert_eq!(timeout(DEADLINE, by_type.ask(Ping)).await, Ok(Ok(1)), "{time:?}");
        let now = Instant::now();
        let deadline = now.checked_add(time).unwrap_or_else(|| now + just_representable()[0]);
        a.tell(slow()).unwrap();
        let asked = a.ask(deadline, |reply| Message::Ping(Ping, reply));
        assert_eq!(timeout(DEADLINE, asked).await, Ok(Ok(1)), "{time:?}");
        a.tell(slow()).unwrap();
        assert_eq!(timeout(DEADLINE, by_type.ask_by(deadline, Ping)).await, Ok(Ok(1)), "{time:?}");
        assert_eq!(timeout(DEADLINE, a.ready(deadline)).await, Ok(Ok(1)), "{time:?}");
        system.restart("a").unwrap();
        in_state(&system, "a", State::Stopping).await;
        assert_eq!(timeout(DEADLINE, a.ready(deadline)).await, Ok(Ok(2)), "{time:?}");
    }
}

/// Accepted, because a window that never ends has room for any delay.
fn waits(time: Duration, jitter: Jitter) -> (Intensity, Backoff) {
    let intensity = Intensity { max: 1, within: Duration::MAX };
    (intensity, Backoff { min: time, max: time, jitter, stable_after: time })
}

#[tokio::test(start_paused = true)]
async fn an_actor_whose_backoff_ends_beyond_time_waits_and_its_supervisor_goes_on() {
    for time in extremes().filter(|&time| time < Duration::MAX) {
        for jitter in [Jitter::None, Jitter::Full] {
            let journal = Journal::default();
            let (intensity, backoff) = waits(time, jitter);
            let mut root = Supervisor::new("root").intensity(intensity);
            let a = root.actor(Probe::new("a", &journal).actor().backoff(backoff));
            let b = Probe::new("b", &journal).add_to(&mut root);
            let system = System::start(root).await.unwrap();
            a.tell(panics()).unwrap();
            in_state(&system, "a", State::Backoff).await;
            tokio::time::sleep(secs(60)).await;
            assert_eq!(ping(&b).await, 1, "{time:?}");
            let asked = a.ask(Instant::now() + secs(1), |reply| Message::Ping(Ping, reply)).await;
            assert!(
                matches!(asked, Err(CallError::Unavailable { retry_after: Some(pause) }) if !pause.is_zero()),
                "{time:?}: {asked:?}"
            );
            // Whoever does not want to wait so long need not.
            system.restart("a").unwrap();
            up(&system, "a", 2).await;
            assert!(system.shutdown(secs(5)).await.is_clean());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_below_whose_backoff_ends_beyond_time_waits_and_the_one_above_goes_on() {
    for time in extremes().filter(|&time| time < Duration::MAX) {
        let journal = Journal::default();
        let (intensity, backoff) = waits(time, Jitter::None);
        let defaults = Defaults { backoff, ..Defaults::default() };
        let mut root = Supervisor::new("root").intensity(intensity).defaults(defaults);
        let mut below = Supervisor::new("below").intensity(Intensity { max: 0, within: secs(1) });
        let a = Probe::new("a", &journal).add_to(&mut below);
        root.supervisor(below);
        let b = root.actor(Probe::new("b", &journal).actor());
        let system = System::start(root).await.unwrap();
        a.tell(panics()).unwrap();
        in_state(&system, "below", State::Backoff).await;
        assert_eq!(ping(&b).await, 1, "{time:?}");
        system.restart("below").unwrap();
        up(&system, "a", 2).await;
        assert!(system.shutdown(time).await.is_clean());
    }
}

#[tokio::test(start_paused = true)]
async fn a_fall_within_a_window_or_after_an_uptime_beyond_time_is_counted() {
    for time in extremes() {
        let journal = Journal::default();
        let mut root = Supervisor::new("root").intensity(Intensity { max: 2, within: time });
        let backoff = Backoff { stable_after: time, ..Backoff::none() };
        let a = root.actor(Probe::new("a", &journal).actor().backoff(backoff));
        let system = System::start(root).await.unwrap();
        for incarnation in 2..=3 {
            a.tell(panics()).unwrap();
            up(&system, "a", incarnation).await;
        }
        a.tell(panics()).unwrap();
        assert!(timeout(DEADLINE, system.failed()).await.is_ok(), "{time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_who_may_take_for_ever_to_start_or_end_is_still_cut_off_by_a_shutdown() {
    for time in extremes() {
        let journal = Journal::default();
        let hook = |incarnation| if incarnation == 1 { How::Well } else { How::Hang };
        let mut root = Supervisor::new("root");
        let mut below = Supervisor::new("below");
        let starts = Probe::new("starts", &journal).init(hook).actor().start_timeout(time);
        let starts = below.actor(starts);
        let ends = Probe::new("ends", &journal).terminate(|_| How::Hang).actor();
        below.actor(ends.shutdown(Shutdown::Drain(time)));
        root.supervisor(below);
        let system = System::start(root).await.unwrap();
        starts.tell(panics()).unwrap();
        in_state(&system, "starts", State::Starting).await;
        let begun = Instant::now();
        let report = timeout(DEADLINE, system.shutdown(secs(1))).await.unwrap();
        assert!(report.killed.contains(&"root/below/ends".to_owned()), "{time:?}: {report:?}");
        assert!(begun.elapsed() < ms(1_500), "{time:?}: {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_capacity_without_end_is_none() {
    for capacity in [usize::MAX, usize::MAX / 2, usize::MAX >> 3] {
        let journal = Journal::default();
        let mut root = Supervisor::new("root");
        let a: Actor<Probe> = Probe::new("a", &journal).actor().capacity(capacity);
        let a = root.actor(a);
        let nursery = Nursery::add_to(&mut root, "nursery", capacity);
        let system = System::start(root).await.unwrap();
        for _ in 0..100 {
            a.tell(Message::Poke(Poke("in"))).unwrap();
            nursery.start("work", async {}).unwrap();
        }
        assert_eq!(ping(&a).await, 1, "{capacity}");
        eventually(|| nursery.running() == 0).await;
        assert!(system.shutdown(secs(5)).await.is_clean());
    }
}
