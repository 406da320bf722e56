use std::time::Duration;

use mainstay_supervision::Reply;
use tokio::time::Instant;

use super::message::Miss;
use super::state::{Beat, Decision, Signs, State, Transition};
use crate::redis::{Breaker, Cause, Verdict};

const PROBE_TIMEOUT: Duration = Duration::from_millis(250);
const REFUSED: Result<Duration, Miss> = Err(Miss::Unconnected(Cause::Refused));
const SILENT: Result<Duration, Miss> = Err(Miss::Unanswered(Cause::Timeout));
const ANSWERED: Result<Duration, Miss> = Ok(Duration::from_micros(80));

const NONE: Signs = Signs { since_probe: false, on_a_lane: false };
const SINCE: Signs = Signs { since_probe: true, on_a_lane: false };
const ON_A_LANE: Signs = Signs { since_probe: false, on_a_lane: true };

fn fresh() -> State {
    State::resume(Verdict::unknown(), PROBE_TIMEOUT)
}

fn healthy(now: Instant) -> State {
    let mut state = fresh();
    state.probed(now, ANSWERED, NONE);
    state
}

fn is_open(decision: &Decision) -> bool {
    matches!(decision.verdict.breaker, Breaker::Open { .. })
}

fn renewed_open(beat: &Beat) -> bool {
    matches!(beat, Beat::Renew(Verdict { breaker: Breaker::Open { .. }, .. }))
}

#[test]
fn the_first_failed_probe_makes_unhealthy_and_is_repeated_at_once() {
    let now = Instant::now();
    let decision = healthy(now).probed(now, REFUSED, NONE);
    assert!(!decision.verdict.healthy);
    assert!(decision.again);
    assert!(!is_open(&decision));
    assert_eq!(decision.transition, Some(Transition::Lost(Cause::Refused)));
}

#[test]
fn the_second_failed_probe_opens_the_breaker_with_its_cause() {
    let now = Instant::now();
    let mut state = healthy(now);
    state.probed(now, REFUSED, NONE);
    let decision = state.probed(now, SILENT, NONE);
    let Breaker::Open { cause, .. } = decision.verdict.breaker else {
        panic!("open after two: {:?}", decision.verdict)
    };
    assert_eq!(cause, Cause::Timeout);
    assert_eq!(decision.transition, None, "one line for one outage");
    assert!(!decision.again, "the next probe waits for its tick");
}

#[test]
fn an_answer_to_anyone_since_the_probe_was_sent_vetoes_opening() {
    let now = Instant::now();
    let mut state = healthy(now);
    state.probed(now, REFUSED, SINCE);
    assert!(!is_open(&state.probed(now, REFUSED, SINCE)));
    assert!(is_open(&state.probed(now, REFUSED, NONE)), "and only for that probe");
}

#[test]
fn the_breaker_stays_closed_where_only_connecting_fails_and_a_lane_is_answered() {
    let now = Instant::now();
    let mut state = healthy(now);
    for _ in 0..9 {
        assert!(!is_open(&state.probed(now, REFUSED, ON_A_LANE)));
    }
    assert!(is_open(&state.probed(now, REFUSED, NONE)), "the last lane is lost");
    let closed = state.reconsidered(ON_A_LANE).expect("there is a lane again");
    assert_eq!(closed.breaker, Breaker::Closed);
    assert_eq!(state.reconsidered(ON_A_LANE), None, "it is closed already");
}

#[test]
fn a_lane_that_was_answered_before_the_server_fell_silent_keeps_no_breaker_closed() {
    let now = Instant::now();
    let mut state = healthy(now);
    let both = Signs { since_probe: true, on_a_lane: true };
    state.probed(now, SILENT, both);
    assert!(is_open(&state.probed(now, REFUSED, ON_A_LANE)));
    assert_eq!(state.reconsidered(ON_A_LANE), None);
    assert!(state.reconsidered(both).is_some(), "it was answered after that");
    assert!(!is_open(&state.probed(now, REFUSED, ON_A_LANE)));
}

#[test]
fn an_answered_probe_closes_the_breaker_and_says_how_long_it_was() {
    let now = Instant::now();
    let mut state = healthy(now);
    state.probed(now, REFUSED, NONE);
    state.probed(now, REFUSED, NONE);
    let decision = state.probed(now + Duration::from_secs(7), ANSWERED, NONE);
    assert!(decision.verdict.healthy);
    assert!(!is_open(&decision));
    let after = Duration::from_secs(7);
    assert_eq!(decision.transition, Some(Transition::Regained { after }));
}

#[test]
fn an_outage_is_one_transition_however_many_probes_fail() {
    let now = Instant::now();
    let mut state = fresh();
    let transitions: Vec<_> =
        (0..9).filter_map(|_| state.probed(now, REFUSED, NONE).transition).collect();
    assert_eq!(transitions, [Transition::Lost(Cause::Refused)]);
}

#[test]
fn a_known_outage_is_renewed_while_a_slow_probe_is_under_way() {
    let now = Instant::now();
    let mut state = healthy(now);
    assert_eq!(state.tick(now, NONE), Beat::Probe);
    assert_eq!(state.tick(now, NONE), Beat::Wait, "health is not renewed without a probe");
    state.probed(now, REFUSED, NONE);
    let later = now + Duration::from_secs(1);
    let Beat::Renew(verdict) = state.tick(later, SINCE) else { panic!("must be renewed") };
    assert_eq!((verdict.as_of, verdict.breaker), (later, Breaker::Closed));
}

#[test]
fn a_repetition_that_outlasts_a_probe_opens_the_breaker_before_it_ends() {
    let now = Instant::now();
    let mut state = healthy(now);
    state.tick(now, NONE);
    assert!(state.probed(now, SILENT, NONE).again);
    let early = state.tick(now + PROBE_TIMEOUT / 2, NONE);
    assert!(!renewed_open(&early), "{early:?}");
    let vetoed = state.tick(now + PROBE_TIMEOUT, SINCE);
    assert!(!renewed_open(&vetoed), "{vetoed:?}");
    let late = state.tick(now + PROBE_TIMEOUT, NONE);
    assert!(renewed_open(&late), "{late:?}");
    assert!(!is_open(&state.probed(now + PROBE_TIMEOUT * 9, ANSWERED, NONE)), "the attempt counts");
}

#[test]
fn a_first_probe_that_is_slow_opens_nothing() {
    let now = Instant::now();
    let mut state = fresh();
    assert_eq!(state.tick(now, NONE), Beat::Probe);
    assert_eq!(state.tick(now + PROBE_TIMEOUT * 9, NONE), Beat::Wait);
}

// redis R4
#[test]
fn asking_for_probes_while_they_fail_sends_none_before_the_next_tick() {
    let now = Instant::now();
    let mut state = healthy(now);
    state.tick(now, NONE);
    assert!(state.probed(now, REFUSED, NONE).again);
    let (port, mut during) = Reply::channel();
    assert!(!state.ask(port, now), "one is under way");
    assert!(!state.probed(now, REFUSED, NONE).again, "who asked during the repetition waits");
    let (port, mut after) = Reply::channel();
    assert!(!state.ask(port, now), "and so does who asked after it");

    assert_eq!(state.tick(now, NONE), Beat::Probe);
    for reply in state.probed(now, ANSWERED, NONE).replies {
        reply.send(state.report(now));
    }
    for answer in [&mut during, &mut after] {
        assert!(answer.try_recv().unwrap().healthy);
    }
}

#[test]
fn asking_for_a_probe_while_they_succeed_sends_one_at_once() {
    let now = Instant::now();
    let mut state = healthy(now);
    let (port, _first) = Reply::channel();
    assert!(state.ask(port, now));
    let (port, _second) = Reply::channel();
    assert!(!state.ask(port, now), "one is under way");
    assert!(state.probed(now, ANSWERED, NONE).again, "and was sent too early for the second");
}

#[test]
fn who_no_longer_waits_for_a_probe_is_forgotten() {
    let now = Instant::now();
    let mut state = healthy(now);
    for _ in 0..20 {
        state.ask(Reply::channel().0, now);
    }
    let (port, _asker) = Reply::channel();
    state.ask(port, now);
    // The first of them is what the probe under way was sent for.
    assert_eq!(state.waiting(), 2);
}

#[test]
fn a_new_incarnation_goes_on_with_the_outage_it_finds() {
    let now = Instant::now();
    let mut first = healthy(now);
    first.probed(now, REFUSED, NONE);
    let published = first.probed(now, REFUSED, NONE).verdict;
    let mut second = State::resume(published, PROBE_TIMEOUT);
    let decision = second.probed(now, REFUSED, NONE);
    assert!(is_open(&decision));
    assert_eq!(decision.transition, None);
}

#[test]
fn a_first_look_says_what_it_finds() {
    let now = Instant::now();
    assert_eq!(fresh().probed(now, ANSWERED, NONE).transition, Some(Transition::Reached));
    let lost = Some(Transition::Lost(Cause::Auth));
    assert_eq!(fresh().probed(now, Err(Miss::Unconnected(Cause::Auth)), NONE).transition, lost);
}
