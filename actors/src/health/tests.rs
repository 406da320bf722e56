use std::time::Duration;

use mainstay_supervision::Reply;
use tokio::time::Instant;

use super::message::{Miss, Report};
use super::state::{Beat, Decision, Signs, State, Transition};
use crate::redis::{Breaker, Cause, Verdict};

const PROBE_INTERVAL: Duration = Duration::from_millis(500);
const PROBE_TIMEOUT: Duration = Duration::from_millis(250);
const REFUSED: Result<Duration, Miss> = Err(Miss::Unconnected(Cause::Refused));
const SILENT: Result<Duration, Miss> = Err(Miss::Unanswered(Cause::Timeout));
const FULL: Result<Duration, Miss> = Err(Miss::Unconnected(Cause::TooManyClients));
const ANSWERED: Result<Duration, Miss> = Ok(Duration::from_micros(80));

const NONE: Signs = Signs { since_probe: false, on_a_lane: false, has_lane: true };
const SINCE: Signs = Signs { since_probe: true, ..NONE };
const ON_A_LANE: Signs = Signs { on_a_lane: true, ..NONE };

fn fresh() -> State {
    State::resume(Verdict::unknown(), PROBE_INTERVAL, PROBE_TIMEOUT)
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
    matches!(beat, Beat::Renew(Verdict { breaker: Breaker::Open { .. }, .. }, _))
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
    let both = Signs { since_probe: true, ..ON_A_LANE };
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
    let Beat::Renew(verdict, None) = state.tick(later, SINCE) else { panic!("must be renewed") };
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
        reply.send(Report::of(state.verdict(), now));
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
    let mut second = State::resume(published, PROBE_INTERVAL, PROBE_TIMEOUT);
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

#[test]
fn a_server_that_makes_no_new_connections_is_healthy_for_those_it_serves() {
    let now = Instant::now();
    let mut state = healthy(now);
    let first = state.probed(now, FULL, ON_A_LANE);
    assert!(first.verdict.healthy && first.again, "one may be an accident");
    assert_eq!((&*first.verdict.message, first.transition), ("connected", None));

    let second = state.probed(now, FULL, ON_A_LANE);
    assert!(second.verdict.healthy && !is_open(&second));
    assert!(second.verdict.message.starts_with("connected, but new connections fail: the server"));
    assert_eq!(second.transition, Some(Transition::Limited(Cause::TooManyClients)));
    assert_eq!(state.probed(now, FULL, ON_A_LANE).transition, None, "one line for all of it");

    assert_eq!(state.tick(now, ON_A_LANE), Beat::Probe);
    let Beat::Renew(verdict, lost) = state.tick(now, NONE) else { panic!("its last lane is gone") };
    assert!(!verdict.healthy);
    assert_eq!(lost, Some(Transition::Lost(Cause::TooManyClients)));
    let Beat::Renew(verdict, regained) = state.tick(now, ON_A_LANE) else { panic!("it is back") };
    assert!(verdict.healthy && matches!(regained, Some(Transition::Regained { .. })));
    let over = state.probed(now, ANSWERED, ON_A_LANE);
    assert_eq!(
        (over.verdict.cause, over.transition),
        (None, None),
        "that it answers again says it"
    );
}

#[test]
fn a_silent_probe_outweighs_what_lanes_say() {
    let now = Instant::now();
    assert!(!healthy(now).probed(now, SILENT, ON_A_LANE).verdict.healthy);
    let mut state = healthy(now);
    state.probed(now, SILENT, ON_A_LANE);
    assert!(!state.probed(now, FULL, ON_A_LANE).verdict.healthy, "it was silent before");
    let since = Signs { since_probe: true, ..ON_A_LANE };
    assert!(state.probed(now, FULL, since).verdict.healthy, "callers were answered after that");
}

#[test]
fn a_server_that_answers_probes_and_gives_callers_no_connection_is_not_healthy() {
    let now = Instant::now();
    let later = now + PROBE_INTERVAL;
    let none = Signs { has_lane: false, ..NONE };
    let mut state = fresh();
    for _ in 0..3 {
        assert!(state.probed(now, ANSWERED, none).verdict.healthy, "lanes are being made");
    }
    let decision = state.probed(later, ANSWERED, none);
    assert!(!decision.verdict.healthy && !is_open(&decision));
    assert_eq!(decision.transition, Some(Transition::Lost(Cause::NoLane)));
    assert!(state.probed(later, ANSWERED, NONE).verdict.healthy);

    state.probed(later, ANSWERED, none);
    state.probed(later, REFUSED, none);
    let back = later + PROBE_INTERVAL;
    assert!(state.probed(back, ANSWERED, none).verdict.healthy, "lanes are being made again");
}

#[test]
fn what_begins_in_the_log_ends_there_once() {
    let now = Instant::now();
    let mut state = healthy(now);
    let mut told = |found, signs| state.probed(now, found, signs).transition;
    let limited = Some(Transition::Limited(Cause::TooManyClients));
    assert_eq!([told(FULL, ON_A_LANE), told(FULL, ON_A_LANE)], [None, limited]);
    assert!(matches!(told(FULL, NONE), Some(Transition::Lost(_))));
    assert!(matches!(told(ANSWERED, NONE), Some(Transition::Regained { .. })), "which ends both");
    assert_eq!(told(ANSWERED, NONE), None);

    assert!(matches!(told(FULL, NONE), Some(Transition::Lost(_))));
    assert_eq!(told(FULL, NONE), None);
    assert!(matches!(told(FULL, ON_A_LANE), Some(Transition::Regained { .. })), "lanes are back");
    assert_eq!([told(FULL, ON_A_LANE), told(FULL, ON_A_LANE)], [limited, None]);
    assert_eq!(told(ANSWERED, ON_A_LANE), Some(Transition::Unlimited));
}

#[test]
fn a_new_incarnation_knows_that_new_connections_fail() {
    let now = Instant::now();
    let mut first = healthy(now);
    first.probed(now, FULL, ON_A_LANE);
    let published = first.probed(now, FULL, ON_A_LANE).verdict;
    let mut second = State::resume(published, PROBE_INTERVAL, PROBE_TIMEOUT);
    assert_eq!(second.probed(now, FULL, ON_A_LANE).transition, None);
    let over = second.probed(now, ANSWERED, ON_A_LANE).transition;
    assert_eq!(over, Some(Transition::Unlimited));
}

#[test]
fn a_verdict_does_not_grow_old_while_a_new_connection_takes_long_and_lanes_are_answered() {
    let now = Instant::now();
    let mut state = healthy(now);
    state.tick(now, ON_A_LANE);
    let later = now + PROBE_INTERVAL * 4;
    let Beat::Renew(verdict, None) = state.tick(later, ON_A_LANE) else { panic!("it is renewed") };
    assert!(verdict.healthy && verdict.as_of == later);
    assert_eq!(state.tick(later, NONE), Beat::Wait, "nobody is answered");
}

#[test]
fn a_node_of_a_cluster_is_not_healthy_and_its_commands_are_let_through() {
    let now = Instant::now();
    let foreign = Err(Miss::WrongServer(Cause::ClusterNode));
    let mut state = healthy(now);
    for _ in 0..3 {
        let decision = state.probed(now, foreign, ON_A_LANE);
        assert!(!decision.verdict.healthy && !is_open(&decision));
    }
}

#[test]
fn a_server_that_refuses_by_itself_is_let_do_so() {
    let now = Instant::now();
    for cause in [Cause::Busy, Cause::Down] {
        let mut state = healthy(now);
        state.probed(now, SILENT, NONE);
        assert!(is_open(&state.probed(now, SILENT, NONE)));
        let decision = state.probed(now, Err(Miss::Unanswered(cause)), NONE);
        assert!(!decision.verdict.healthy && !is_open(&decision), "{cause}");
        assert!(!is_open(&state.probed(now, Err(Miss::Unanswered(cause)), NONE)), "{cause}");
    }
    let mut state = healthy(now);
    let loading = Err(Miss::Unanswered(Cause::Loading));
    state.probed(now, loading, NONE);
    assert!(is_open(&state.probed(now, loading, NONE)), "a read of it would be repeated");
}

#[test]
fn a_process_that_was_held_up_says_nothing_of_redis() {
    let now = Instant::now();
    let mut state = healthy(now);
    let (port, mut asker) = Reply::channel();
    assert!(state.ask(port, now));
    for again in [true, true, false] {
        let decision = state.probed(now + PROBE_TIMEOUT, Err(Miss::HeldUp), NONE);
        let verdict = &decision.verdict;
        assert!(verdict.healthy && !is_open(&decision) && verdict.as_of == now, "it grows old");
        assert_eq!((decision.again, verdict.held_up), (again, !again));
        let line = (!again).then_some(Transition::HeldUp);
        assert_eq!(decision.transition, line);
    }
    assert!(asker.try_recv().is_err(), "nothing is known yet");
    assert_eq!(state.tick(now, ON_A_LANE), Beat::Probe);
    let lasts = state.probed(now, Err(Miss::HeldUp), ON_A_LANE);
    assert_eq!(lasts.transition, None, "one line for all of it");
    assert_eq!(state.tick(now, NONE), Beat::Probe);
    let decision = state.probed(now, ANSWERED, NONE);
    assert!(!decision.verdict.held_up && decision.replies.len() == 1);
    let later = now + Duration::from_secs(60);
    assert_eq!(state.probed(later, ANSWERED, NONE).transition, Some(Transition::Timely));
    assert_eq!(state.probed(later, ANSWERED, NONE).transition, None);
}

#[test]
fn a_process_that_is_always_late_notices_an_outage_all_the_same() {
    let now = Instant::now();
    let mut state = healthy(now);
    let mut probed = |signs| state.probed(now, Err(Miss::HeldUp), signs);
    for _ in 0..9 {
        assert!(probed(ON_A_LANE).verdict.healthy, "others are answered");
    }
    assert!(!probed(NONE).verdict.healthy, "nobody is");
    for _ in 0..3 {
        probed(NONE);
    }
    assert!(is_open(&probed(NONE)));
}

#[test]
fn a_late_tick_opens_no_breaker() {
    let now = Instant::now();
    let mut state = healthy(now);
    state.tick(now, NONE);
    assert!(state.probed(now, SILENT, NONE).again);
    let late = now + PROBE_INTERVAL + PROBE_TIMEOUT;
    assert!(!renewed_open(&state.tick(late, NONE)), "this process stood still");
    assert!(renewed_open(&state.tick(late + PROBE_INTERVAL, NONE)));
}
