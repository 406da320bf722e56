//! How a value reads, whether it came from a file or from a variable.

use std::fmt;
use std::time::Duration;

use figment::value::Value;

/// What somebody gave for a key, before it is known to make sense. Shown as it would be written in a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Given {
    /// A string; from a variable, always.
    Text(String),
    /// A whole number.
    Whole(i128),
    /// True or false.
    Switch(bool),
    /// Something that no key holds, by the name of its kind.
    Strange(&'static str),
}

impl Given {
    /// The value without the white space around it, as text.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.trim()),
            Self::Whole(_) | Self::Switch(_) | Self::Strange(_) => None,
        }
    }

    /// A whole number, written as one or as text.
    pub(super) fn whole(&self) -> Option<i128> {
        match self {
            Self::Whole(number) => Some(*number),
            Self::Text(text) => digits(text.trim()),
            Self::Switch(_) | Self::Strange(_) => None,
        }
    }

    /// True or false, written as such or as 1 or 0 in text.
    pub(super) fn switch(&self) -> Option<bool> {
        match self {
            Self::Switch(on) => Some(*on),
            Self::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            },
            Self::Whole(_) | Self::Strange(_) => None,
        }
    }

    /// A duration: a bare number is seconds.
    pub(super) fn time(&self) -> Option<Duration> {
        let millis = self.measure(&TIMES, 1000)?;
        Some(Duration::from_millis(u64::try_from(millis).ok()?))
    }

    /// A size in bytes: a bare number is bytes.
    pub(super) fn size(&self) -> Option<u64> {
        u64::try_from(self.measure(&SIZES, 1)?).ok()
    }

    fn measure(&self, units: &[(&str, i128)], bare: i128) -> Option<i128> {
        if let Some(number) = self.whole() {
            return number.checked_mul(bare);
        }
        let text = self.text()?;
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
        let (_, factor) =
            units.iter().find(|(name, _)| unit.trim_start().eq_ignore_ascii_case(name))?;
        digits(number)?.checked_mul(*factor)
    }
}

const TIMES: [(&str, i128); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const SIZES: [(&str, i128); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
];

fn digits(text: &str) -> Option<i128> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

/// `time` in the largest unit that divides it, as `"5m"`. What is finer than a millisecond is cut off.
pub(super) fn time_text(time: Duration) -> String {
    let millis = i128::try_from(time.as_millis()).unwrap_or(i128::MAX);
    if millis == 0 { "0s".to_owned() } else { in_units(millis, &TIMES) }
}

/// `bytes` in the largest binary unit that divides them, as `"2MiB"`.
pub(super) fn size_text(bytes: u64) -> String {
    if bytes == 0 { "0B".to_owned() } else { in_units(i128::from(bytes), &SIZES[..4]) }
}

/// The last of `units` must be 1; `amount` is not 0.
fn in_units(amount: i128, units: &[(&str, i128)]) -> String {
    let (unit, factor) =
        units.iter().find(|(_, factor)| amount % factor == 0).copied().unwrap_or(("", 1));
    format!("{}{unit}", amount / factor)
}

impl From<&Value> for Given {
    fn from(value: &Value) -> Self {
        match value {
            Value::String(_, text) => Self::Text(text.clone()),
            Value::Bool(_, on) => Self::Switch(*on),
            Value::Num(_, number) => {
                let whole = number
                    .to_i128()
                    .or_else(|| number.to_u128().and_then(|number| i128::try_from(number).ok()));
                whole.map_or(Self::Strange("a number with a fraction"), Self::Whole)
            }
            Value::Char(_, letter) => Self::Text(letter.to_string()),
            Value::Dict(..) => Self::Strange("a table"),
            Value::Array(..) => Self::Strange("a list"),
            Value::Empty(..) => Self::Strange("nothing"),
        }
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Switch(on) => write!(f, "{on}"),
            Self::Strange(kind) => f.write_str(kind),
        }
    }
}
