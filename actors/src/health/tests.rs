use std::time::Duration;

use mainstay_supervision::Reply;
use tokio::time::Instant;

use super::state::{Beat, Decision, State, Transition};
use crate::redis::{Breaker, Cause, Verdict};

const PROBE_TIMEOUT: Duration = Duration::from_millis(250);
const REFUSED: Result<Duration, Cause> = Err(Cause::Refused);
const ANSWERED: Result<Duration, Cause> = Ok(Duration::from_micros(80));

fn fresh() -> State {
    State::resume(Verdict::unknown(), PROBE_TIMEOUT)
}

fn healthy(now: Instant) -> State {
    let mut state = fresh();
    state.probed(now, ANSWERED, false);
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
    let decision = healthy(now).probed(now, REFUSED, false);
    assert!(!decision.verdict.healthy);
    assert!(decision.again);
    assert!(!is_open(&decision));
    assert_eq!(decision.transition, Some(Transition::Lost(Cause::Refused)));
}

#[test]
fn the_second_failed_probe_opens_the_breaker_with_its_cause() {
    let now = Instant::now();
    let mut state = healthy(now);
    state.probed(now, REFUSED, false);
    let decision = state.probed(now, Err(Cause::Timeout), false);
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
    state.probed(now, REFUSED, true);
    assert!(!is_open(&state.probed(now, REFUSED, true)));
    assert!(is_open(&state.probed(now, REFUSED, false)), "and only for that probe");
}

#[test]
fn an_answered_probe_closes_the_breaker_and_says_how_long_it_was() {
    let now = Instant::now();
    let mut state = healthy(now);
    state.probed(now, REFUSED, false);
    state.probed(now, REFUSED, false);
    let decision = state.probed(now + Duration::from_secs(7), ANSWERED, false);
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
        (0..9).filter_map(|_| state.probed(now, REFUSED, false).transition).collect();
    assert_eq!(transitions, [Transition::Lost(Cause::Refused)]);
}

#[test]
fn a_known_outage_is_renewed_while_a_slow_probe_is_under_way() {
    let now = Instant::now();
    let mut state = healthy(now);
    assert_eq!(state.tick(now, false), Beat::Probe);
    assert_eq!(state.tick(now, false), Beat::Wait, "health is not renewed without a probe");
    state.probed(now, REFUSED, false);
    let later = now + Duration::from_secs(1);
    let Beat::Renew(verdict) = state.tick(later, true) else { panic!("must be renewed") };
    assert_eq!((verdict.as_of, verdict.breaker), (later, Breaker::Closed));
}

#[test]
fn a_repetition_that_outlasts_a_probe_opens_the_breaker_before_it_ends() {
    let now = Instant::now();
    let mut state = healthy(now);
    state.tick(now, false);
    assert!(state.probed(now, Err(Cause::Timeout), false).again);
    let early = state.tick(now + PROBE_TIMEOUT / 2, false);
    assert!(!renewed_open(&early), "{early:?}");
    let vetoed = state.tick(now + PROBE_TIMEOUT, true);
    assert!(!renewed_open(&vetoed), "{vetoed:?}");
    let late = state.tick(now + PROBE_TIMEOUT, false);
    assert!(renewed_open(&late), "{late:?}");
    assert!(
        !is_open(&state.probed(now + PROBE_TIMEOUT * 9, ANSWERED, false)),
        "the attempt counts"
    );
}

#[test]
fn a_first_probe_that_is_slow_opens_nothing() {
    let now = Instant::now();
    let mut state = fresh();
    assert_eq!(state.tick(now, false), Beat::Probe);
    assert_eq!(state.tick(now + PROBE_TIMEOUT * 9, false), Beat::Wait);
}

// redis R4
#[test]
fn asking_for_probes_while_they_fail_sends_none_before_the_next_tick() {
    let now = Instant::now();
    let mut state = healthy(now);
    state.tick(now, false);
    assert!(state.probed(now, REFUSED, false).again);
    let (port, mut during) = Reply::channel();
    assert!(!state.ask(port, now), "one is under way");
    assert!(!state.probed(now, REFUSED, false).again, "who asked during the repetition waits");
    let (port, mut after) = Reply::channel();
    assert!(!state.ask(port, now), "and so does who asked after it");

    assert_eq!(state.tick(now, false), Beat::Probe);
    for reply in state.probed(now, ANSWERED, false).replies {
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
    assert!(state.probed(now, ANSWERED, false).again, "and was sent too early for the second");
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
    first.probed(now, REFUSED, false);
    let published = first.probed(now, REFUSED, false).verdict;
    let mut second = State::resume(published, PROBE_TIMEOUT);
    let decision = second.probed(now, REFUSED, false);
    assert!(is_open(&decision));
    assert_eq!(decision.transition, None);
}

#[test]
fn a_first_look_says_what_it_finds() {
    let now = Instant::now();
    assert_eq!(fresh().probed(now, ANSWERED, false).transition, Some(Transition::Reached));
    let lost = Some(Transition::Lost(Cause::Auth));
    assert_eq!(fresh().probed(now, Err(Cause::Auth), false).transition, lost);
}
