use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use crate::policy::Window;
use crate::{Backoff, Intensity, Jitter};

fn backoff(min_ms: u64, max_ms: u64, jitter: Jitter) -> Backoff {
    let (min, max) = (Duration::from_millis(min_ms), Duration::from_millis(max_ms));
    Backoff { min, max, jitter, ..Backoff::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_delay_stays_in_bounds_at_every_attempt(
        min in 0_u64..5_000, more in 0_u64..600_000, attempt: u32, luck in 0.0..1.0_f64,
    ) {
        let plain = backoff(min, min + more, Jitter::None);
        let spread = backoff(min, min + more, Jitter::Full);

        let delay = plain.delay(attempt, luck);
        prop_assert!(delay >= plain.min && delay <= plain.max);
        prop_assert_eq!(delay, plain.ceiling(attempt));
        prop_assert!(spread.delay(attempt, luck) <= delay);
    }

    #[test]
    fn a_delay_doubles_until_it_reaches_its_maximum(
        min in 1_u64..5_000, more in 0_u64..600_000, attempt in 0_u32..100,
    ) {
        let backoff = backoff(min, min + more, Jitter::None);
        let doubled = backoff.ceiling(attempt).saturating_mul(2).min(backoff.max);
        prop_assert_eq!(backoff.ceiling(attempt + 1), doubled);
    }

    #[test]
    fn a_window_admits_no_more_than_its_maximum_and_forgets_what_is_older(
        max in 0_u32..8, within_ms in 1_u64..10_000, gaps in prop::collection::vec(0_u64..4_000, 1..60),
    ) {
        let within = Duration::from_millis(within_ms);
        let mut window = Window::new(Intensity { max, within });
        let mut now = Instant::now();
        let mut admitted: Vec<Instant> = Vec::new();
        for gap in gaps {
            now += Duration::from_millis(gap);
            window.expire(now);
            let counting = admitted.iter().filter(|&&at| now - at < within).count();
            let room = counting < max as usize;
            prop_assert_eq!(window.count(), u32::try_from(counting).unwrap());
            prop_assert_eq!(window.admit(now), room);
            if room {
                admitted.push(now);
            }
        }
    }

    /// What `is_reachable_with` promises, played through: an actor that falls at once every time.
    #[test]
    fn an_intensity_is_reachable_exactly_if_an_actor_that_always_falls_uses_it_up(
        max in 0_u32..12, within_ms in 1_u64..60_000, min in 0_u64..3_000, more in 0_u64..20_000,
    ) {
        let intensity = Intensity { max, within: Duration::from_millis(within_ms) };
        let backoff = backoff(min, min + more, Jitter::None);
        let mut window = Window::new(intensity);
        let mut now = Instant::now();
        let mut gave_up = false;
        for attempt in 0..200 {
            if !window.admit(now) {
                gave_up = true;
                break;
            }
            now += backoff.delay(attempt, 0.0);
        }
        prop_assert_eq!(intensity.is_reachable_with(&backoff), gave_up);
    }
}

#[test]
fn the_defaults_give_up_on_an_actor_that_always_falls() {
    assert!(Intensity::default().is_reachable_with(&Backoff::default()));
}

#[test]
fn a_vast_intensity_is_judged_at_once_and_without_overflow() {
    let ever = Intensity { max: u32::MAX, within: Duration::from_secs(30) };
    assert!(ever.is_reachable_with(&Backoff::none()));
    assert!(!ever.is_reachable_with(&Backoff::default()));
    let forever = Backoff { min: Duration::MAX, max: Duration::MAX, ..Backoff::default() };
    assert!(!ever.is_reachable_with(&forever));
    let never = Intensity { max: 5, within: Duration::ZERO };
    assert!(!never.is_reachable_with(&Backoff::none()));
}
