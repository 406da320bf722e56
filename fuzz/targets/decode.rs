//! The decoder of the server's frames, on arbitrary bytes in arbitrary pieces. `scripts/soak wire` runs it.
//!
//! The first byte chooses the pieces, the rest is the stream. It must not panic, must find the same however the stream
//! is cut, must leave few bytes, and must agree with the redis crate on what both can read.
#![no_main]

#[allow(dead_code, unused_imports, reason = "the driver uses the rest of it")]
#[path = "../../actors/src/redis/socket/frame/mod.rs"]
mod frame;
#[path = "../../actors/src/redis/status/unreadable.rs"]
mod unreadable;

/// Where the decoder's files look for it.
mod redis {
    pub(crate) mod status {
        pub(crate) use crate::unreadable::Unreadable;
    }
}

use ::redis::{Value, parse_redis_value};
use frame::{Broken, Decoder, Frame, KEPT_BYTES};
use libfuzzer_sys::fuzz_target;
use unreadable::Unreadable;

fuzz_target!(|input: &[u8]| {
    let Some((&first, stream)) = input.split_first() else { return };
    let whole = decode([stream]);
    // A "not a number" is not equal to itself, so the debugging text is compared.
    let text = format!("{whole:?}");
    assert_eq!(text, format!("{:?}", decode(stream.chunks(1))), "byte by byte");
    assert_eq!(text, format!("{:?}", decode(pieces(first, stream))), "in pieces");
    compare(stream);
});

/// Frames, and whether the stream ended as broken.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Frame>, bool) {
    let mut decoder = Decoder::new();
    let (mut frames, mut buffer) = (Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let Ok((taken, frame)) = decoder.decode(&buffer) else {
                assert_eq!(decoder.decode(b"+OK\r\n"), Err(Broken), "it stays broken");
                return (frames, true);
            };
            buffer.drain(..taken);
            let Some(frame) = frame else { break };
            frames.push(frame);
        }
        assert!(buffer.len() < KEPT_BYTES, "{} bytes are left", buffer.len());
    }
    (frames, false)
}

/// Pieces whose lengths follow from `first`.
fn pieces(first: u8, stream: &[u8]) -> Vec<&[u8]> {
    let mut state = u64::from(first) + 1;
    let mut rest = stream;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        // xorshift64 (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let most = 1 + u64::from(first % 32);
        let len = usize::try_from(state % (most + 1)).expect("at most 32").min(rest.len());
        let (piece, after) = rest.split_at(len);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Compares the first frame with what the redis crate makes of the same bytes.
fn compare(stream: &[u8]) {
    let Ok((taken, Some(frame))) = Decoder::new().decode(stream) else { return };
    let theirs = parse_redis_value(&stream[..taken]).map(without_attributes);
    let ours = match frame {
        Frame::Push { kind, data } => Value::Push { kind, data },
        Frame::Reply(Ok(value)) => value,
        Frame::Reply(Err(fault)) => {
            assert!(theirs.is_err(), "{fault:?}, but the redis crate reads {theirs:?}");
            assert!(matches!(
                fault,
                Unreadable::TooDeep | Unreadable::UnknownType | Unreadable::Malformed
            ));
            return;
        }
    };
    // It reads less than we do: text in UTF-8, and 100 levels.
    if let Ok(theirs) = theirs {
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }
}

fn without_attributes(value: Value) -> Value {
    let each = |values: Vec<Value>| values.into_iter().map(without_attributes).collect();
    match value {
        Value::Attribute { data, .. } => without_attributes(*data),
        Value::Array(values) => Value::Array(each(values)),
        Value::Set(values) => Value::Set(each(values)),
        Value::Push { kind, data } => Value::Push { kind, data: each(data) },
        Value::Map(pairs) => {
            let pairs = pairs.into_iter();
            Value::Map(
                pairs
                    .map(|(key, value)| (without_attributes(key), without_attributes(value)))
                    .collect(),
            )
        }
        other => other,
    }
}
