use std::time::Duration;

use mainstay_supervision::Reply;
use tokio::time::Instant;

use super::state::{Due, State};
use crate::redis::Reason;

fn is_now(due: Due) -> bool {
    matches!(due, Due::Now(_))
}

#[test]
fn a_rebuild_is_due_at_once_when_nothing_drains() {
    let mut state = State::default();
    assert_eq!(state.outdated(Reason::ReadOnly, Instant::now()), Due::Now(Reason::ReadOnly));
}

#[test]
fn a_third_generation_waits_for_the_first_to_end() {
    let mut state = State::default();
    assert!(state.built(true).is_empty());
    assert_eq!(state.outdated(Reason::ReadOnly, Instant::now()), Due::NotNow, "one drains");
    assert_eq!(state.drained(), Some(Reason::ReadOnly), "it is gone");
    assert_eq!(state.drained(), None, "and was asked for once");
}

#[test]
fn a_replica_that_stays_one_is_not_rebuilt_on_every_write() {
    let (mut state, now) = (State::default(), Instant::now());
    assert_eq!(state.outdated(Reason::ReadOnly, now), Due::Now(Reason::ReadOnly));
    assert_eq!(state.outdated(Reason::ReadOnly, now + Duration::from_millis(999)), Due::NotNow);
    assert_eq!(
        state.outdated(Reason::ReadOnly, now + Duration::from_secs(1)),
        Due::Now(Reason::ReadOnly)
    );
}

#[test]
fn rebuilds_that_change_nothing_come_ever_less_often() {
    let (mut state, begun) = (State::default(), Instant::now());
    let rebuilt: Vec<_> = (0..1500)
        .map(|tenth| Duration::from_millis(tenth * 100))
        .filter(|after| is_now(state.outdated(Reason::ReadOnly, begun + *after)))
        .map(|after| after.as_secs())
        .collect();
    assert_eq!(rebuilt, [0, 1, 3, 7, 15, 31, 61, 91, 121]);
}

#[test]
fn a_minute_without_read_only_makes_the_next_one_news() {
    let (mut state, begun) = (State::default(), Instant::now());
    let at = |secs| begun + Duration::from_secs(secs);
    for secs in 0..=15 {
        state.outdated(Reason::ReadOnly, at(secs));
    }
    assert_eq!(
        state.outdated(Reason::ReadOnly, at(30)),
        Due::NotNow,
        "the pause has grown to 16 s"
    );
    assert_eq!(state.outdated(Reason::ReadOnly, at(90)), Due::Now(Reason::ReadOnly));
    assert_eq!(
        state.outdated(Reason::ReadOnly, at(91)),
        Due::Now(Reason::ReadOnly),
        "and is a second again"
    );
}

#[test]
fn who_no_longer_waits_for_a_rebuild_is_forgotten() {
    let mut state = State::resume(true);
    for _ in 0..20 {
        state.ask(Reply::channel().0);
    }
    let (port, mut answer) = Reply::channel();
    state.ask(port);
    assert_eq!(state.waiting(), 1);
    for port in state.built(false) {
        port.send(2);
    }
    assert_eq!(answer.try_recv(), Ok(2));
}

#[test]
fn stalled_lanes_are_news_once_in_an_episode() {
    let mut state = State::default();
    let begin = Instant::now();
    let stalls = [0, 1, 59, 118, 178, 179].map(|at| state.stalled(begin + Duration::from_secs(at)));
    assert_eq!(stalls, [true, false, false, false, true, false]);
}

#[test]
fn a_name_that_never_stands_still_is_followed_ever_less_often() {
    let (mut state, begun) = (State::default(), Instant::now());
    let rebuilt: Vec<_> = (0..24 * 60)
        .filter(|minute| {
            let now = begun + Duration::from_secs(minute * 60);
            is_now(state.outdated(Reason::Moved, now))
        })
        .take(9)
        .collect();
    assert_eq!(rebuilt, [0, 1, 3, 7, 15, 31, 63, 123, 183]);
    let read_only = state.outdated(Reason::ReadOnly, begun);
    assert_eq!(read_only, Due::Now(Reason::ReadOnly), "which is another matter");
}

#[test]
fn a_second_move_within_the_pause_is_followed_after_it() {
    let (mut state, begun) = (State::default(), Instant::now());
    let at = |seconds| begun + Duration::from_secs(seconds);
    assert_eq!(state.outdated(Reason::Moved, at(0)), Due::Now(Reason::Moved));
    assert_eq!(state.outdated(Reason::Moved, at(40)), Due::In(Duration::from_secs(20)));
    assert_eq!(state.outdated(Reason::Moved, at(50)), Due::NotNow, "it is put off already");
    state.put_off_ends();
    assert_eq!(state.outdated(Reason::Moved, at(60)), Due::Now(Reason::Moved));
}

#[test]
fn a_read_only_server_is_what_a_generation_that_waits_is_for() {
    let mut state = State::resume(true);
    let (port, _answer) = Reply::channel();
    assert_eq!(state.ask(port), None, "one drains");
    state.outdated(Reason::ReadOnly, Instant::now());
    state.outdated(Reason::Moved, Instant::now());
    assert_eq!(state.drained(), Some(Reason::ReadOnly));
}
