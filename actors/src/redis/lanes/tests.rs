use std::time::Duration;

use tokio::time::Instant;

use super::state::{
    Beat, Heard, Heartbeat, OldLane, PATIENCE, Pinged, STALL_LOOK, Silence, Succession, Wait,
};
use crate::redis::socket::CloseReason;
use crate::redis::status::{Cause, Error};

const SUDDEN: [CloseReason; 3] =
    [CloseReason::Closed, CloseReason::Unauthenticated, CloseReason::InTransaction];

#[test]
fn a_lane_that_is_lost_is_given_up_before_its_successor_is_made() {
    for reason in SUDDEN {
        let mut succession = Succession::begin(true);
        assert_eq!(succession.ends(reason), OldLane::GiveUp);
        assert_eq!(succession, Succession::Lost(reason));
        assert_eq!(succession.reason(), Some(reason));
    }
}

#[test]
fn a_lane_that_is_old_replaced_or_stalled_serves_until_its_successor_is_there() {
    for reason in [CloseReason::Aged, CloseReason::Replaced, CloseReason::Stalled] {
        let mut succession = Succession::begin(true);
        assert_eq!(succession.ends(reason), OldLane::Keep);
        assert_eq!(succession, Succession::Leaving(reason));
        assert_eq!(succession.reason(), Some(reason));
    }
}

#[test]
fn a_lane_that_fails_before_its_successor_is_there_is_given_up_for_that() {
    for reason in SUDDEN {
        let mut succession = Succession::begin(true);
        succession.ends(CloseReason::Aged);
        assert_eq!(succession.ends(reason), OldLane::GiveUp);
        assert_eq!(succession.reason(), Some(reason));
    }
}

#[test]
fn the_first_lane_of_a_slot_replaces_none() {
    assert_eq!(Succession::begin(false).reason(), None);
}

#[test]
fn only_a_silent_lane_is_pinged() {
    let mut heartbeat = Heartbeat::default();
    let now = Instant::now();
    assert_eq!(heartbeat.beat(Heard::Silence, now), Beat::Ping);
    assert_eq!(heartbeat.beat(Heard::Objection, now), Beat::Rest);
    assert_eq!(heartbeat.beat(Heard::Answer, now), Beat::Rest);
}

#[test]
fn an_answer_counts_for_two_seconds_and_an_objection_is_none() {
    let mut heartbeat = Heartbeat::default();
    let now = Instant::now();
    heartbeat.beat(Heard::Objection, now);
    assert!(!heartbeat.was_answered_lately(now));
    heartbeat.beat(Heard::Answer, now);
    assert!(heartbeat.was_answered_lately(now + Duration::from_millis(1999)));
    assert!(!heartbeat.was_answered_lately(now + Duration::from_secs(2)));
}

#[test]
fn a_ping_tells_whether_the_lane_is_of_use() {
    let close = |found| match Pinged::of(found) {
        Pinged::Close(reason) => Some(reason),
        Pinged::Replied(_) => None,
    };
    assert_eq!(close(Err(Cause::Closed)), Some(CloseReason::Closed));
    assert_eq!(close(Err(Cause::Protocol)), Some(CloseReason::Closed));
    assert_eq!(close(Err(Cause::Auth)), Some(CloseReason::Unauthenticated));
    assert_eq!(Pinged::of(Err(Cause::Loading)), Pinged::Replied(Some(Cause::Loading)));
    assert_eq!(Pinged::of(Ok(())), Pinged::Replied(None));
}

#[test]
fn a_lane_that_ages_and_stalls_serves_until_its_successor_is_there() {
    let mut succession = Succession::begin(true);
    succession.ends(CloseReason::Aged);
    assert_eq!(succession.ends(CloseReason::Stalled), OldLane::Keep);
    succession.recovers();
    assert_eq!(succession, Succession::Serving);
}

#[test]
fn a_lane_stalls_after_command_timeout_and_a_second_without_a_byte() {
    let command_timeout = Duration::from_millis(500);
    let mut silence = Silence::new(7);
    let mut looks = |heard, since_last, times| {
        (0..times).map(|_| silence.is_stall(heard, since_last, command_timeout)).collect::<Vec<_>>()
    };
    assert_eq!(looks(7, STALL_LOOK, 14), [false; 14]);
    assert_eq!(looks(8, STALL_LOOK, 1), [false], "a byte, though nothing was answered");
    assert_eq!(looks(8, STALL_LOOK * 30, 14), [false; 14], "this process was held up");
    assert_eq!(looks(8, STALL_LOOK, 1), [true]);
}

#[test]
fn a_caller_waits_a_quarter_of_a_second_while_connecting_fails() {
    let now = Instant::now();
    let deadline = now + Duration::from_secs(1);
    let wait = Wait::new(now, deadline);
    assert_eq!(wait.look(now, Some(Cause::Refused), None), Ok(now + PATIENCE));
    let fails = wait.look(now + PATIENCE, Some(Cause::Refused), None);
    assert_eq!(fails, Err(Error::unavailable(Cause::Refused)));
    assert_eq!(wait.look(now + PATIENCE, None, None), Ok(deadline));
    assert_eq!(wait.look(deadline, None, None), Err(Error::unavailable(Cause::Timeout)));
}

#[test]
fn the_deadline_of_a_request_is_told_from_our_own() {
    let now = Instant::now();
    let waited = Duration::from_millis(100);
    let wait = Wait::new(now, now + waited);
    let ends = wait.look(now + waited, None, Some(now + waited));
    assert_eq!(ends, Err(Error::Deadline { waited }));
}
