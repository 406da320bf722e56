use std::time::Duration;

use tokio::time::Instant;

use super::state::State;
use crate::redis::Reason;

#[test]
fn a_rebuild_is_due_at_once_when_nothing_drains() {
    let mut state = State::default();
    assert_eq!(state.read_only(Instant::now()), Some(Reason::ReadOnly));
}

#[test]
fn a_third_generation_waits_for_the_first_to_end() {
    let mut state = State::default();
    assert!(state.built(true).is_empty());
    assert_eq!(state.read_only(Instant::now()), None, "one drains");
    assert_eq!(state.drained(), Some(Reason::ReadOnly), "it is gone");
    assert_eq!(state.drained(), None, "and was asked for once");
}

#[test]
fn a_replica_that_stays_one_is_not_rebuilt_on_every_write() {
    let (mut state, now) = (State::default(), Instant::now());
    assert_eq!(state.read_only(now), Some(Reason::ReadOnly));
    assert_eq!(state.read_only(now + Duration::from_millis(999)), None);
    assert_eq!(state.read_only(now + Duration::from_secs(1)), Some(Reason::ReadOnly));
}
