//! Where a value goes: the field it sets, and what that field takes.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

#[cfg(feature = "cache")]
use mainstay_actors::redis::{Address, AddressFault};

use super::root::Config;
use super::value::{Given, size_text, time_text};

type Field<T> = fn(&mut Config) -> &mut T;

/// A field of [`Config`] by its kind, with its bound where the kind alone does not say it.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(
    not(feature = "cache"),
    expect(dead_code, reason = "some kinds are those of [redis] alone")
)]
pub(super) enum Slot {
    Name(Field<String>),
    Url(Field<String>),
    Levels(Field<String>),
    Origins(Field<String>),
    File(Field<Option<PathBuf>>),
    Address(Field<IpAddr>),
    Port(Field<u16>),
    Switch(Field<bool>),
    Count(Field<u32>, u32),
    /// A count, or the word `auto`.
    Auto(Field<Option<u32>>, u32),
    Capacity(Field<usize>, u32),
    Size(Field<usize>, u64),
    Time(Field<Duration>, Least),
}

/// Why a field was left alone.
#[derive(Debug)]
pub(super) struct Refusal {
    /// What was given, secrets masked.
    pub(super) given: String,
    /// What is wanted in its place.
    pub(super) wanted: String,
}

/// The shortest duration that a key takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Least {
    Zero,
    Millisecond,
}

/// The longest duration that a key takes: far beyond any use, and short of what a clock can add.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The longest name, in bytes: names become parts of keys in Redis.
const NAME_BYTES: usize = 128;

impl Slot {
    /// Sets the field to `given`, or leaves it alone and says what is wanted.
    pub(super) fn set(self, config: &mut Config, given: &Given) -> Result<(), Refusal> {
        let set = match self {
            Self::Name(field) => put(config, field, name(given)),
            Self::Levels(field) => {
                put(config, field, given.text().filter(|text| are_levels(text)).map(str::to_owned))
            }
            Self::Origins(field) => {
                put(config, field, given.text().filter(|text| are_origins(text)).map(str::to_owned))
            }
            Self::Url(field) => {
                given.text().map(check_url).transpose()?;
                put(config, field, given.text().map(str::to_owned))
            }
            Self::File(field) => put(
                config,
                field,
                given.text().filter(|text| !text.is_empty()).map(|text| Some(PathBuf::from(text))),
            ),
            Self::Address(field) => {
                put(config, field, given.text().and_then(|text| text.parse().ok()))
            }
            Self::Port(field) => {
                put(config, field, given.whole().and_then(|number| u16::try_from(number).ok()))
            }
            Self::Switch(field) => put(config, field, given.switch()),
            Self::Count(field, most) => put(
                config,
                field,
                bounded(given.whole(), 1..=most).and_then(|number| u32::try_from(number).ok()),
            ),
            Self::Auto(field, most) => put(
                config,
                field,
                match given.text() {
                    Some("auto") => Some(None),
                    _ => bounded(given.whole(), 1..=most)
                        .and_then(|number| u32::try_from(number).ok())
                        .map(Some),
                },
            ),
            Self::Capacity(field, most) => put(
                config,
                field,
                bounded(given.whole(), 1..=most).and_then(|number| usize::try_from(number).ok()),
            ),
            Self::Size(field, most) => put(
                config,
                field,
                bounded(given.size(), 1..=most).and_then(|bytes| usize::try_from(bytes).ok()),
            ),
            Self::Time(field, least) => {
                put(config, field, given.time().filter(|time| least.range().contains(time)))
            }
        };
        set.ok_or_else(|| self.refuse(given))
    }

    pub(super) fn refuse(self, given: &Given) -> Refusal {
        Refusal { given: shown(given), wanted: format!("{}, {}", self.kind(), self.bound()) }
    }

    /// The field as it would be written in a file; `None` if it holds nothing.
    pub(super) fn get(self, config: &mut Config) -> Option<Given> {
        Some(match self {
            Self::Name(field) | Self::Url(field) | Self::Levels(field) | Self::Origins(field) => {
                Given::Text(field(config).clone())
            }
            Self::File(field) => {
                Given::Text(field(config).as_ref()?.to_string_lossy().into_owned())
            }
            Self::Address(field) => Given::Text(field(config).to_string()),
            Self::Port(field) => Given::Whole(i128::from(*field(config))),
            Self::Switch(field) => Given::Switch(*field(config)),
            Self::Count(field, _) => Given::Whole(i128::from(*field(config))),
            Self::Auto(field, _) => match *field(config) {
                Some(number) => Given::Whole(i128::from(number)),
                None => Given::Text("auto".to_owned()),
            },
            Self::Capacity(field, _) => {
                Given::Whole(i128::try_from(*field(config)).unwrap_or(i128::MAX))
            }
            Self::Size(field, _) => {
                Given::Text(size_text(u64::try_from(*field(config)).unwrap_or(u64::MAX)))
            }
            Self::Time(field, _) => Given::Text(time_text(*field(config))),
        })
    }

    /// What the key holds, in a word.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Name(_) => "a name",
            Self::Url(_) => "a URL",
            Self::Levels(_) => "a log level",
            Self::Origins(_) => "a list of origins",
            Self::File(_) => "a path",
            Self::Address(_) => "an IP address",
            Self::Port(_) => "a port",
            Self::Switch(_) => "a switch",
            Self::Count(..) | Self::Capacity(..) => "a count",
            Self::Auto(..) => "a count or a word",
            Self::Size(..) => "a size",
            Self::Time(..) => "a duration",
        }
    }

    /// What a bare number counts, where it is not things.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Time(..) => "seconds if none is given",
            Self::Size(..) => "bytes if none is given",
            _ => "–",
        }
    }

    /// What the key takes, in a few words.
    pub(super) fn bound(self) -> String {
        match self {
            Self::Name(_) => format!("1 to {NAME_BYTES} bytes without white space or /"),
            Self::Url(_) => {
                "redis://, rediss://, valkey://, valkeys://, unix:// or embedded".to_owned()
            }
            Self::Levels(_) => "trace, debug, info, warn, error, off, or a list".to_owned(),
            Self::Origins(_) => {
                "`off`, `*`, or origins as in `https://a.example, https://b.example:8443`"
                    .to_owned()
            }
            Self::File(_) => "not empty".to_owned(),
            Self::Address(_) => "IPv4 or IPv6".to_owned(),
            Self::Port(_) => "0 to 65535".to_owned(),
            Self::Switch(_) => "true or false".to_owned(),
            Self::Count(_, most) | Self::Capacity(_, most) => format!("1 to {most}"),
            Self::Auto(_, most) => format!("1 to {most}, or auto"),
            Self::Size(_, most) => format!("1B to {}", size_text(most)),
            Self::Time(_, least) => {
                format!(
                    "{} to {}",
                    time_text(*least.range().start()),
                    time_text(*least.range().end())
                )
            }
        }
    }
}

impl Least {
    fn range(self) -> RangeInclusive<Duration> {
        match self {
            Self::Zero => Duration::ZERO..=LONGEST,
            Self::Millisecond => Duration::from_millis(1)..=LONGEST,
        }
    }
}

/// What was given may be a URL in the wrong place, password and all.
fn shown(given: &Given) -> String {
    let is_url = given.text().is_some_and(|text| text.contains("://") || text.contains('@'));
    if is_url { "a URL".to_owned() } else { given.to_string() }
}

fn put<T>(config: &mut Config, field: Field<T>, value: Option<T>) -> Option<()> {
    value.map(|value| *field(config) = value)
}

fn bounded<T: Into<i128>, N: Into<i128> + Copy>(
    number: Option<T>,
    range: RangeInclusive<N>,
) -> Option<i128> {
    let range = (*range.start()).into()..=(*range.end()).into();
    number.map(Into::into).filter(|number| range.contains(number))
}

/// The room that connects knows what it can connect to, and what of a URL may be shown.
#[cfg(feature = "cache")]
fn check_url(text: &str) -> Result<(), Refusal> {
    let refusal =
        |fault: AddressFault| Refusal { given: fault.given, wanted: fault.wanted.to_owned() };
    Address::parse(text).map(|_| ()).map_err(refusal)
}

#[cfg(not(feature = "cache"))]
#[expect(clippy::unnecessary_wraps, reason = "without the cache no key holds a URL")]
fn check_url(_: &str) -> Result<(), Refusal> {
    Ok(())
}

/// A name may stand in a path and in a key in Redis.
fn name(given: &Given) -> Option<String> {
    let text = given.text()?;
    let is_plain = !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/');
    (is_plain && (1..=NAME_BYTES).contains(&text.len()) && text != "." && text != "..")
        .then(|| text.to_owned())
}

/// Each part is a level, or `target=level`.
fn are_levels(text: &str) -> bool {
    let is_level = |level: &str| {
        ["trace", "debug", "info", "warn", "error", "off"]
            .iter()
            .any(|known| level.eq_ignore_ascii_case(known))
    };
    text.split(',').map(str::trim).all(|part| match part.split_once('=') {
        Some((target, level)) => !target.is_empty() && is_level(level),
        None => is_level(part),
    })
}

/// Each part is an origin as a browser sends it (RFC 6454, 6.2): scheme, host and port, and nothing behind them.
fn are_origins(text: &str) -> bool {
    matches!(text, "off" | "*") || text.split(',').map(str::trim).all(is_origin)
}

fn is_origin(text: &str) -> bool {
    let (rest, default_port) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (rest, 443),
        (None, Some(rest)) => (rest, 80),
        (None, None) => return false,
    };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_of_a_name = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    let is_name = !host.is_empty() && host.bytes().all(is_of_a_name);
    let is_host = is_name || address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    // A browser leaves out the port that the scheme says.
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != default_port);
    is_host && port.is_none_or(is_port)
}
