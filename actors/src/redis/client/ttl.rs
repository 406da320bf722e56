use std::time::Duration;

use crate::redis::status::Error;

/// A time to live: seconds in any integer type, or a [`Duration`].
///
/// A time that is not in the future is refused with [`Error::Ttl`], and so is a negative number that was cast to an
/// unsigned type.
pub trait Ttl {
    /// The time in milliseconds, rounded up.
    ///
    /// # Errors
    /// [`Error::Ttl`] for a time that is zero, negative, or longer than Redis can count.
    fn millis(self) -> Result<i64, Error>;
}

fn from_seconds(seconds: i128) -> Result<i64, Error> {
    if !(1..=LONGEST_SECONDS).contains(&seconds) {
        return Err(Error::Ttl { given: seconds });
    }
    i64::try_from(seconds * 1000).map_err(|_| Error::Ttl { given: seconds })
}

/// A cast turns a negative number into one near the top of the unsigned type. The error shows the negative one.
fn from_cast(seconds: u64, bits: u32) -> Result<i64, Error> {
    let seconds = i128::from(seconds);
    let half = 1_i128 << (bits - 1);
    from_seconds(if seconds >= half { seconds - 2 * half } else { seconds })
}

impl Ttl for i32 {
    fn millis(self) -> Result<i64, Error> {
        from_seconds(self.into())
    }
}

impl Ttl for i64 {
    fn millis(self) -> Result<i64, Error> {
        from_seconds(self.into())
    }
}

impl Ttl for u32 {
    fn millis(self) -> Result<i64, Error> {
        from_seconds(self.into())
    }
}

impl Ttl for u64 {
    fn millis(self) -> Result<i64, Error> {
        from_cast(self, u64::BITS)
    }
}

impl Ttl for usize {
    fn millis(self) -> Result<i64, Error> {
        from_cast(u64::try_from(self).unwrap_or(u64::MAX), usize::BITS)
    }
}

impl Ttl for Duration {
    fn millis(self) -> Result<i64, Error> {
        let whole = self.as_nanos().div_ceil(1_000_000);
        let fault = Error::Ttl { given: i128::from(self.as_secs()) };
        if whole == 0
            || self.as_secs() > LONGEST_SECONDS.unsigned_abs().try_into().unwrap_or(u64::MAX)
        {
            return Err(fault);
        }
        i64::try_from(whole).map_err(|_| fault)
    }
}

/// A thousand years: well within what Redis adds to its clock, well below any wrapped number.
const LONGEST_SECONDS: i128 = 1000 * 366 * 24 * 3600;
