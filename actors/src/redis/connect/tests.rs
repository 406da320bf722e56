use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, pending};
use proptest::prelude::*;
use tokio::time::{Instant, timeout};

use super::pace::ServerPace;
use super::{Connector, Failure, Pace, jittered, pause};
use crate::redis::address::Address;
use crate::redis::config::Config;
use crate::redis::socket::{Load, Progress, Purpose};
use crate::redis::status::Cause;

const LANE: Purpose = Purpose::Lane(Load::Ordinary);

fn connector() -> Connector {
    let pace = Arc::new(Pace::new());
    let config = Arc::new(Config::default());
    Connector::new("main", Address::unix("/run/r.sock"), config, pace)
}

#[test]
fn no_failure_is_forgotten_when_several_fail_at_once() {
    const EACH: u32 = 5_000;
    let connector = connector();
    std::thread::scope(|threads| {
        for failure in [Failure::Unanswered, Failure::Connect(Purpose::Probe)].repeat(2) {
            let connector = &connector;
            threads.spawn(move || {
                for _ in 0..EACH {
                    connector.backoff().failed(Cause::Closed, failure);
                }
            });
        }
    });
    assert_eq!(connector.backoff().failures(), 4 * EACH);
}

#[tokio::test(start_paused = true)]
async fn each_server_has_a_pace_of_its_own_and_all_share_one() {
    let pace = Arc::new(Pace::new());
    let of = |url: &str| Arc::clone(&pace).of(&Address::parse(url).unwrap());
    let waited = async |pace: &ServerPace| {
        let begun = Instant::now();
        pace.wait().await;
        begun.elapsed()
    };
    let (one, same) = (of("redis://One:6379/1"), of("redis://:password@one"));
    assert_eq!(waited(&one).await, Duration::ZERO);
    let next = waited(&same).await;
    assert!(next >= Duration::from_millis(100), "the same server: {next:?}");

    let others: Vec<_> = (0..100).map(|port| of(&format!("redis://one:{}", 7000 + port))).collect();
    let begun = Instant::now();
    join_all(others.iter().map(ServerPace::wait)).await;
    let all = begun.elapsed();
    assert!(all >= Duration::from_millis(990), "a hundred a second over all: {all:?}");
    assert!(all < Duration::from_secs(2), "and no fewer: {all:?}");
}

#[tokio::test]
async fn an_attempt_that_hangs_lets_the_next_one_begin() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("silent.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let config = Config { connect_timeout: Duration::from_secs(30), ..Config::default() };
    let address = Address::unix(&socket);
    let connector = Connector::new("main", address, Arc::new(config), Arc::new(Pace::new()));
    connector.backoff().failed(Cause::Refused, Failure::Connect(LANE));
    let attempts = join_all((0..3).map(|_| connector.connect_until(LANE, pending())));
    let begun = Instant::now();
    let accepted = async {
        let first = listener.accept().await.unwrap();
        let second = listener.accept().await.unwrap();
        (first, second)
    };
    tokio::select! {
        _ = attempts => unreachable!("nobody answers"),
        _ = accepted => assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed()),
    }
}

// redis R26
#[tokio::test]
async fn a_panic_while_connecting_is_an_attempt_that_failed_and_leaves_its_permit() {
    let connector = connector();
    let lanes = connector.config().connections()[1];
    for _ in 0..=lanes {
        let permit = connector.budget().of(LANE).take().await;
        let panics = async move {
            let _permit = permit;
            panic!("on purpose");
        };
        assert_eq!(
            connector.once::<()>(LANE, &Progress::default(), panics).await,
            Err(Cause::Defect)
        );
    }
    assert_eq!(connector.backoff().cause(), Some(Cause::Defect));
}

#[tokio::test]
async fn what_one_address_has_said_counts_though_this_process_was_held_up() {
    let held_up = async |progress: &Progress| {
        let config = Config { connect_timeout: Duration::from_millis(1), ..Config::default() };
        let pace = Arc::new(Pace::new());
        let address = Address::unix("/run/r.sock");
        let connector = Connector::new("main", address, Arc::new(config), pace);
        let mut is_first = true;
        let blocks = std::future::poll_fn(|_| {
            if std::mem::take(&mut is_first) {
                std::thread::sleep(Duration::from_millis(200));
            }
            std::task::Poll::<Result<(), Cause>>::Pending
        });
        connector.once(LANE, progress, blocks).await.unwrap_err()
    };
    let progress = Progress::default();
    assert_eq!(held_up(&progress).await, Cause::HeldUp);
    progress.failed(Cause::NoPassword);
    assert_eq!(held_up(&progress).await, Cause::NoPassword);
}

#[tokio::test(start_paused = true)]
async fn no_more_sockets_are_opened_than_there_are_permits() {
    let connector = connector();
    let most = connector.config().connections()[1];
    let mut held = Vec::new();
    for _ in 0..most {
        held.push(connector.budget().of(LANE).take().await);
    }
    let mut next = std::pin::pin!(connector.budget().of(LANE).take());
    assert!(timeout(Duration::from_secs(60), &mut next).await.is_err());
    held.pop();
    drop(next.await);
    drop(connector.budget().of(Purpose::Lease).take().await);
}

#[tokio::test(start_paused = true)]
async fn a_probe_does_not_wait_for_ever_where_the_sockets_of_others_do_not_close() {
    let connector = connector();
    let most = connector.config().connections()[2];
    let mut held = Vec::new();
    for _ in 0..most {
        held.push(connector.budget().of(Purpose::Probe).take().await);
    }
    let found = timeout(Duration::from_secs(60), connector.connect_probe()).await;
    assert!(matches!(found, Ok(Err(Cause::Timeout))));
}

#[tokio::test(start_paused = true)]
async fn a_probes_answer_does_not_hide_that_leases_are_lost() {
    let connector = connector();
    connector.backoff().failed(Cause::Refused, Failure::Connect(Purpose::Lease));
    connector.backoff().probe_answered();
    assert_eq!(connector.backoff().cause(), None);
    connector.backoff().failed(Cause::Closed, Failure::Unanswered);
    connector.backoff().probe_answered();
    assert_eq!(connector.backoff().cause(), Some(Cause::Closed));
    tokio::time::advance(Duration::from_secs(2)).await;
    connector.backoff().probe_answered();
    assert_eq!(connector.backoff().cause(), None);
    connector.backoff().failed(Cause::Closed, Failure::Unanswered);
    connector.backoff().answered();
    assert_eq!(connector.backoff().cause(), None);
}

#[test]
fn connecting_counts_as_failing_from_the_second_failure_on_or_from_the_first_failed_login() {
    let connector = connector();
    connector.backoff().failed(Cause::Refused, Failure::Connect(Purpose::Lease));
    assert_eq!(connector.backoff().standing(), None);
    connector.backoff().failed(Cause::Timeout, Failure::Connect(Purpose::Lease));
    assert_eq!(connector.backoff().standing(), Some(Cause::Timeout));
    connector.backoff().answered();
    connector.backoff().failed(Cause::Auth, Failure::Connect(Purpose::Probe));
    assert_eq!(connector.backoff().standing(), Some(Cause::Auth));
}

proptest! {
    // redis R4
    #[test]
    fn the_pause_between_attempts_stays_in_bounds(failures in 0_u32.., chance in 0.0..1.0_f64) {
        let refused = pause(failures, Cause::Refused, chance);
        prop_assert!((Duration::from_millis(125)..=Duration::from_millis(750)).contains(&refused));
        prop_assert_eq!(pause(failures, Cause::Auth, chance), Duration::from_secs(2));
    }

    #[test]
    fn the_age_of_replacement_is_spread_by_a_fifth(chance in 0.0..1.0_f64) {
        let age = jittered(Duration::from_secs(100), chance);
        prop_assert!((Duration::from_secs(80)..=Duration::from_secs(120)).contains(&age));
    }
}
