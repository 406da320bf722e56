use std::time::Duration;

use super::{CacheConn, Ttl};
use crate::redis::status::Error;

/// Ten thousand that wait for their next command are 240 KB.
#[test]
fn an_idle_connection_of_a_caller_is_24_bytes() {
    assert_eq!(size_of::<CacheConn>(), 24);
}

#[test]
fn whole_seconds_of_every_type_are_taken() {
    let millis = [
        300_i32.millis(),
        300_i64.millis(),
        300_u32.millis(),
        300_u64.millis(),
        300_usize.millis(),
    ];
    assert!(millis.iter().all(|millis| *millis == Ok(300_000)));
    assert_eq!(u32::MAX.millis(), Ok(i64::from(u32::MAX) * 1000));
}

#[test]
fn parts_of_a_millisecond_round_up() {
    assert_eq!(Duration::from_nanos(1).millis(), Ok(1));
    assert_eq!(Duration::from_millis(1500).millis(), Ok(1500));
}

#[test]
fn what_is_not_in_the_future_is_refused() {
    assert_eq!(0.millis(), Err(Error::Ttl { given: 0 }));
    assert_eq!((-7_i64).millis(), Err(Error::Ttl { given: -7 }));
    assert_eq!((-7_i64).cast_unsigned().millis(), Err(Error::Ttl { given: -7 }));
    assert_eq!((-7_isize).cast_unsigned().millis(), Err(Error::Ttl { given: -7 }));
    assert_eq!(Duration::ZERO.millis(), Err(Error::Ttl { given: 0 }));
    assert!(
        Duration::MAX.millis().is_err() && i64::MAX.millis().is_err() && u64::MAX.millis().is_err()
    );
}
