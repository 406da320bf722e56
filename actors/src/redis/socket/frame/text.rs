use crate::redis::status::Unreadable;
use ::redis::{PushKind, Value, VerbatimFormat};

/// A value at the front of the bytes.
pub(super) struct Common {
    pub(super) value: Value,
    /// The length of the whole, in bytes.
    pub(super) taken: usize,
    /// The length of its text, in bytes.
    pub(super) len: usize,
}

/// The value at the front of `bytes`, if it has one of the three forms that nearly all replies are made of, is there
/// whole, and has no longer a text than `most`. Else the answer is `None`, whatever the bytes are.
#[inline]
pub(super) fn common(bytes: &[u8], most: u64) -> Option<Common> {
    let (kind, rest) = bytes.split_first()?;
    let common = match kind {
        b'$' => {
            let (len, taken) = plain_number(rest)?;
            let len = usize::try_from(len).ok()?;
            let (text, end) = rest.get(taken..)?.split_at_checked(len)?;
            if !end.starts_with(b"\r\n") || !is_at_most(len, most) {
                return None;
            }
            Common { value: Value::BulkString(text.to_vec()), taken: taken + len + 3, len }
        }
        b'+' if rest.starts_with(b"OK\r\n") => Common { value: Value::Okay, taken: 5, len: 2 },
        b':' => {
            let (number, taken) = plain_number(rest)?;
            let value = Value::Int(i64::try_from(number).ok()?);
            Common { value, taken: taken + 1, len: taken - 2 }
        }
        _ => return None,
    };
    is_at_most(common.len, most).then_some(common)
}

fn is_at_most(len: usize, most: u64) -> bool {
    u64::try_from(len).is_ok_and(|len| len <= most)
}

/// A number of 1 to 18 digits with its line end, and the length of both in bytes.
#[inline]
fn plain_number(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0;
    for (at, byte) in bytes.iter().enumerate().take(19) {
        match byte {
            b'0'..=b'9' if at < 18 => number = number * 10 + u64::from(byte - b'0'),
            b'\r' if at > 0 && bytes.get(at + 1) == Some(&b'\n') => return Some((number, at + 2)),
            _ => return None,
        }
    }
    None
}

/// Where the first line end in `bytes` begins.
#[inline]
pub(super) fn line_end(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + bytes.get(from..)?.iter().position(|byte| *byte == b'\r')?;
        if *bytes.get(at + 1)? == b'\n' {
            return Some(at);
        }
        from = at + 1;
    }
}

/// A number as the redis crate reads it: with a sign, with zeros in front, with spaces around.
pub(super) fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// The value of a line.
pub(super) fn line(kind: u8, text: &[u8]) -> Result<Value, Unreadable> {
    let value = match kind {
        b'+' if text == b"OK" => Some(Value::Okay),
        b'+' => Some(Value::SimpleString(lossy(text))),
        b'-' => error("-", text),
        b':' => number(text).map(Value::Int),
        b'_' => Some(Value::Nil),
        b',' => {
            let text = std::str::from_utf8(text).ok();
            text.and_then(|text| text.trim().parse().ok()).map(Value::Double)
        }
        b'#' => match text {
            b"t" => Some(Value::Boolean(true)),
            b"f" => Some(Value::Boolean(false)),
            _ => None,
        },
        // Only the redis crate knows which type it has: that depends on a feature of it.
        b'(' => ::redis::parse_redis_value(&[b"(", text, b"\r\n"].concat()).ok(),
        _ => return Err(Unreadable::UnknownType),
    };
    value.ok_or(Unreadable::Malformed)
}

/// The value of a string with a length.
pub(super) fn bulk(kind: u8, text: Vec<u8>) -> Result<Value, Unreadable> {
    let value = match kind {
        b'$' => Some(Value::BulkString(text)),
        b'!' => error(&format!("!{}\r\n", String::from_utf8_lossy(&text).len()), &text),
        b'=' => verbatim(text),
        _ => return Err(Unreadable::UnknownType),
    };
    value.ok_or(Unreadable::Malformed)
}

/// An error, which only the redis crate can make. It takes nothing but UTF-8.
fn error(start: &str, text: &[u8]) -> Option<Value> {
    let text = String::from_utf8_lossy(text);
    ::redis::parse_redis_value([start, &text, "\r\n"].concat().as_bytes()).ok()
}

fn verbatim(text: Vec<u8>) -> Option<Value> {
    let text = String::from_utf8(text)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    let (format, text) = text.split_once(':')?;
    let format = match format {
        "txt" => VerbatimFormat::Text,
        "mkd" => VerbatimFormat::Markdown,
        other => VerbatimFormat::Unknown(other.to_owned()),
    };
    Some(Value::VerbatimString { format, text: text.to_owned() })
}

/// The kind of a push message, by its first element.
pub(super) fn push_kind(first: Value) -> Option<PushKind> {
    let name = match first {
        Value::BulkString(name) => lossy(&name),
        Value::SimpleString(name) => name,
        _ => return None,
    };
    Some(match name.as_str() {
        "invalidate" => PushKind::Invalidate,
        "message" => PushKind::Message,
        "pmessage" => PushKind::PMessage,
        "smessage" => PushKind::SMessage,
        "unsubscribe" => PushKind::Unsubscribe,
        "punsubscribe" => PushKind::PUnsubscribe,
        "sunsubscribe" => PushKind::SUnsubscribe,
        "subscribe" => PushKind::Subscribe,
        "psubscribe" => PushKind::PSubscribe,
        "ssubscribe" => PushKind::SSubscribe,
        _ => PushKind::Other(name),
    })
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
