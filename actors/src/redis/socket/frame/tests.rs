use std::fmt::Write;

use ::redis::{FromRedisValue, PushKind, Value, parse_redis_value};
use proptest::prelude::*;

use super::decoder::Decoder;
use super::limits::{KEPT_BYTES, Limits};
use super::message::{Broken, Frame};
use crate::redis::status::Unreadable;

/// What came of a stream.
#[derive(Debug, PartialEq)]
struct Outcome {
    frames: Vec<Frame>,
    is_broken: bool,
}

/// Decodes what arrives in `pieces`, as a reader with a buffer does.
fn decode_pieces<'a>(limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut decoder = Decoder::with_limits(limits);
    let (mut frames, mut buffer) = (Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        let mut at = 0;
        loop {
            let Ok((taken, frame)) = decoder.decode(&buffer[at..]) else {
                assert_eq!(decoder.decode(b"+OK\r\n"), Err(Broken), "it stays broken");
                return Outcome { frames, is_broken: true };
            };
            at += taken;
            assert!(at <= buffer.len(), "more is taken than there is");
            let Some(frame) = frame else { break };
            assert!(taken > 0, "a frame out of nothing: {frame:?}");
            frames.push(comparable_frame(frame));
        }
        buffer.drain(..at);
        assert!(buffer.len() < KEPT_BYTES, "{} bytes are left", buffer.len());
    }
    Outcome { frames, is_broken: false }
}

fn decode(bytes: impl AsRef<[u8]>) -> Outcome {
    decode_limited(Limits::DEFAULT, bytes.as_ref())
}

/// Decodes at once, and byte by byte, which must not differ.
fn decode_limited(limits: Limits, bytes: &[u8]) -> Outcome {
    let whole = decode_pieces(limits, [bytes]);
    let bytewise = decode_pieces(limits, bytes.chunks(1));
    assert_eq!(whole, bytewise, "{}", bytes.escape_ascii());
    whole
}

fn replies(values: impl IntoIterator<Item = Result<Value, Unreadable>>) -> Outcome {
    let frames = values.into_iter().map(Frame::Reply).collect();
    Outcome { frames, is_broken: false }
}

fn bulk(text: impl AsRef<[u8]>) -> Value {
    Value::BulkString(text.as_ref().to_vec())
}

fn library(bytes: impl AsRef<[u8]>) -> Value {
    comparable(parse_redis_value(bytes.as_ref()).unwrap())
}

fn comparable_frame(frame: Frame) -> Frame {
    match frame {
        Frame::Reply(reply) => Frame::Reply(reply.map(comparable)),
        Frame::Push { kind, data } => {
            Frame::Push { kind, data: data.into_iter().map(comparable).collect() }
        }
    }
}

/// Without attributes, and with a "not a number" that is equal to itself.
fn comparable(value: Value) -> Value {
    let each = |values: Vec<Value>| values.into_iter().map(comparable).collect::<Vec<_>>();
    match value {
        Value::Attribute { data, .. } => comparable(*data),
        Value::Double(number) if number.is_nan() => bulk("not a number"),
        Value::Array(values) => Value::Array(each(values)),
        Value::Set(values) => Value::Set(each(values)),
        Value::Push { kind, data } => Value::Push { kind, data: each(data) },
        Value::Map(pairs) => {
            let pairs = pairs.into_iter();
            Value::Map(pairs.map(|(key, value)| (comparable(key), comparable(value))).collect())
        }
        other => other,
    }
}

// --- what the library reads ---------------------------------------------------------------------

fn counted(kind: char, count: usize, elements: &[Vec<u8>]) -> Vec<u8> {
    [format!("{kind}{count}\r\n").as_bytes(), &elements.concat()].concat()
}

fn sized(kind: char, text: &[u8]) -> Vec<u8> {
    [format!("{kind}{}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat()
}

fn lines() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("+OK".to_owned()),
        "[+][^\r\n]{0,12}",
        "-[A-Z]{0,8}( [^\r\n]{0,12})?",
        "-(ERR|MOVED|NOSCRIPT|READONLY|LOADING)( [a-z ]{0,12})?",
        any::<i64>().prop_map(|number| format!(":{number}")),
        (0..100_i64).prop_map(|number| format!(":{number}")),
    ];
    line.prop_map(|line| format!("{line}\r\n").into_bytes())
}

fn texts() -> impl Strategy<Value = Vec<u8>> {
    let short = prop::collection::vec(any::<u8>(), 0..40);
    let long = prop::collection::vec(any::<u8>(), 0..1_500);
    prop_oneof![8 => short, 1 => long].prop_map(|text| sized('$', &text))
}

fn resp2() -> impl Strategy<Value = Vec<u8>> {
    let nil = prop_oneof![Just(b"$-1\r\n".to_vec()), Just(b"*-1\r\n".to_vec())];
    let leaf = prop_oneof![3 => lines(), 3 => texts(), 1 => nil];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop::collection::vec(inner, 0..6)
            .prop_map(|elements| counted('*', elements.len(), &elements))
    })
}

fn resp3() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("_".to_owned()),
        Just("#t".to_owned()),
        Just("#f".to_owned()),
        any::<f64>().prop_map(|number| format!(",{number}")),
        "(,inf|,-inf|,nan|,1e[0-9]{1,2}|,[0-9]{1,4})",
        "[(]-?[0-9]{1,40}",
    ];
    let line = line.prop_map(|line| format!("{line}\r\n").into_bytes());
    let verbatim = "(txt|mkd|[a-z]{3}):[^:]{0,20}".prop_map(|text| sized('=', text.as_bytes()));
    let error = prop::collection::vec(any::<u8>(), 0..30).prop_map(|text| sized('!', &text));
    let leaf = prop_oneof![3 => lines(), 3 => texts(), 3 => line, 1 => verbatim, 1 => error];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let elements = prop::collection::vec(inner.clone(), 0..6);
        let pairs = prop::collection::vec((inner.clone(), inner.clone()), 0..4)
            .prop_map(|pairs| pairs.into_iter().map(|(a, b)| [a, b].concat()).collect::<Vec<_>>());
        let push = ("[a-z]{1,10}", elements.clone()).prop_map(|(kind, elements)| {
            let elements = [vec![sized('$', kind.as_bytes())], elements].concat();
            counted('>', elements.len(), &elements)
        });
        prop_oneof![
            2 => elements.clone().prop_map(|elements| counted('*', elements.len(), &elements)),
            1 => elements.prop_map(|elements| counted('~', elements.len(), &elements)),
            1 => pairs.clone().prop_map(|pairs| counted('%', pairs.len(), &pairs)),
            1 => push,
            1 => (pairs, inner).prop_map(|(pairs, value)| {
                [counted('|', pairs.len(), &pairs), value].concat()
            }),
        ]
    })
}

fn stream() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop_oneof![prop::collection::vec(resp2(), 1..4), prop::collection::vec(resp3(), 1..4)]
}

/// What the library makes of a frame: a reply or a push message.
fn frame_of_library(bytes: &[u8]) -> Frame {
    match library(bytes) {
        Value::Push { kind, data } => Frame::Push { kind, data },
        value => Frame::Reply(Ok(value)),
    }
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let mut from = 0;
    let mut pieces = Vec::new();
    for cut in cuts.into_iter().chain([bytes.len()]) {
        pieces.push(&bytes[from..cut]);
        from = cut;
    }
    pieces
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn frames_are_those_of_the_library_wherever_the_stream_is_cut(stream in stream(), cuts in cuts()) {
        let bytes = stream.concat();
        let expected = Outcome {
            frames: stream.iter().map(|frame| frame_of_library(frame)).collect(),
            is_broken: false,
        };
        prop_assert_eq!(&decode(&bytes), &expected);
        prop_assert_eq!(&decode_pieces(Limits::DEFAULT, pieces(&bytes, &cuts)), &expected);
    }

    #[test]
    fn a_frame_may_be_cut_in_two_at_any_byte(frame in resp3()) {
        let expected = decode(&frame);
        for at in 0..=frame.len().min(300) {
            let (front, back) = frame.split_at(at);
            prop_assert_eq!(&decode_pieces(Limits::DEFAULT, [front, back]), &expected);
        }
    }

    #[test]
    fn a_damaged_stream_is_the_same_however_it_is_cut(
        stream in stream(),
        damages in prop::collection::vec(damage(), 1..4),
        cuts in cuts(),
    ) {
        let mut bytes = stream.concat();
        for damage in damages {
            damage.inflict(&mut bytes);
        }
        let found = decode(&bytes);
        prop_assert_eq!(&decode_pieces(Limits::DEFAULT, pieces(&bytes, &cuts)), &found);
        // In small limits everything that is skipped is met much more often.
        let small = decode_limited(SMALL, &bytes);
        prop_assert_eq!(&decode_pieces(SMALL, pieces(&bytes, &cuts)), &small);
        if let Ok(theirs) = parse_redis_value(&bytes) {
            match (found.frames.first(), comparable(theirs)) {
                (Some(Frame::Push { kind, data }), Value::Push { kind: theirs, data: values }) => {
                    prop_assert_eq!((kind, data), (&theirs, &values));
                }
                (Some(Frame::Reply(Ok(ours))), theirs) => prop_assert_eq!(ours, &theirs),
                // It takes any negative length for that of nil or of nothing.
                (None, _) if found.is_broken => {
                    let is_negative = |two: &[u8]| b"$*~%>|!=".contains(&two[0]) && two[1] == b'-';
                    prop_assert!(bytes.windows(2).any(is_negative), "{}", bytes.escape_ascii());
                }
                (ours, theirs) => prop_assert!(false, "{ours:?} is not {theirs:?}"),
            }
        }
    }

    #[test]
    fn any_bytes_at_all_are_the_same_however_they_are_cut(
        bytes in prop::collection::vec(prop_oneof![
            3 => prop::sample::select(b"+-:_,#($!=*~%>|\r\n0123456789?.;OKtf".to_vec()),
            1 => any::<u8>(),
        ], 0..200),
        cuts in cuts(),
    ) {
        let found = decode(&bytes);
        prop_assert_eq!(decode_pieces(Limits::DEFAULT, pieces(&bytes, &cuts)), found);
    }
}

#[derive(Debug, Clone)]
struct Damage {
    at: prop::sample::Index,
    len: usize,
    byte: u8,
    kind: u8,
}

fn damage() -> impl Strategy<Value = Damage> {
    let byte =
        prop_oneof![any::<u8>(), prop::sample::select(b"+-:$*~%>|!=\r\n0123456789".to_vec())];
    (any::<prop::sample::Index>(), 1..6_usize, byte, 0..5_u8)
        .prop_map(|(at, len, byte, kind)| Damage { at, len, byte, kind })
}

impl Damage {
    fn inflict(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let at = self.at.index(bytes.len());
        let end = (at + self.len).min(bytes.len());
        match self.kind {
            0 => bytes[at] = self.byte,
            1 => drop(bytes.drain(at..end)),
            2 => bytes.insert(at, self.byte),
            3 => bytes.truncate(at),
            _ => bytes.splice(at..at, bytes[at..end].to_vec()).for_each(drop),
        }
    }
}

// --- what kills the library's connection --------------------------------------------------------

/// Decodes `frame` and the one behind it.
#[track_caller]
fn check(frame: impl AsRef<[u8]>, expected: Result<Value, Unreadable>) {
    let bytes = [frame.as_ref(), b"$4\r\nnext\r\n"].concat();
    assert_eq!(decode(&bytes), replies([expected, Ok(bulk("next"))]), "{}", bytes.escape_ascii());
}

#[track_caller]
fn check_broken(bytes: impl AsRef<[u8]>) {
    let bytes = [bytes.as_ref(), b"$4\r\nnext\r\n"].concat();
    assert_eq!(decode(&bytes), Outcome { frames: vec![], is_broken: true });
}

#[test]
fn text_that_is_not_utf8_reaches_its_caller_and_the_next_reply_its_own() {
    assert!(parse_redis_value(b"+a\xff\r\n").is_err(), "the library refuses it");
    check(b"+a\xff\r\n", Ok(Value::SimpleString("a\u{fffd}".to_owned())));
    check(b"-ERR a\xff\r\n", Ok(library("-ERR a\u{fffd}\r\n")));
    check(b"!6\r\nERR \xff\xfe\r\n", Ok(library("-ERR \u{fffd}\u{fffd}\r\n")));
    check(b"*1\r\n-ERR a\xff\r\n", Ok(Value::Array(vec![library("-ERR a\u{fffd}\r\n")])));
    check(b"=5\r\ntxt:\xff\r\n", Ok(library("=7\r\ntxt:\u{fffd}\r\n")));
    check(b"$1\r\n\xff\r\n", Ok(bulk(b"\xff")));
    let push = decode(b">2\r\n$1\r\n\xff\r\n:1\r\n");
    let kind = PushKind::Other("\u{fffd}".to_owned());
    assert_eq!(push.frames, [Frame::Push { kind, data: vec![Value::Int(1)] }]);
}

#[test]
fn nesting_is_read_to_its_limit_and_skipped_beyond_it() {
    let nested = |levels: usize| format!("{}:7\r\n", "*1\r\n".repeat(levels));
    assert!(parse_redis_value(nested(100).as_bytes()).is_err(), "the library refuses it");
    let value =
        |levels: usize| (0..levels).fold(Value::Int(7), |inner, _| Value::Array(vec![inner]));
    check(nested(101), Ok(value(101)));
    check(nested(Limits::DEFAULT.depth), Ok(value(Limits::DEFAULT.depth)));
    check(nested(Limits::DEFAULT.depth + 1), Err(Unreadable::TooDeep));
    check(nested(10_000), Err(Unreadable::TooDeep));
    check(format!("*2\r\n{}:8\r\n", nested(200)), Err(Unreadable::TooDeep));
    check("%1\r\n+k\r\n".repeat(200) + "*0\r\n", Err(Unreadable::TooDeep));
}

#[test]
fn the_deepest_value_fits_on_a_small_stack() {
    let bytes = "%1\r\n:1\r\n".repeat(Limits::DEFAULT.depth) + "+OK\r\n";
    let used = move || {
        let (_, frame) = Decoder::new().decode(bytes.as_bytes()).unwrap();
        let Some(Frame::Reply(Ok(value))) = frame else { panic!("{frame:?}") };
        assert_eq!(value, value.clone());
        let mut text = String::new();
        write!(text, "{value:?} {value:#?}").unwrap();
        assert!(text.len() > 2 * Limits::DEFAULT.depth);
        let value = value.extract_error().unwrap();
        let value = Value::from_redis_value(value).unwrap();
        assert!(String::from_redis_value(value).is_err(), "the error prints the value");
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(768 * 1024);
        thread.spawn_scoped(scope, used).unwrap().join().unwrap();
    });
}

#[test]
fn an_unknown_type_costs_its_caller_a_reply_and_nobody_else() {
    assert!(parse_redis_value(b"@x\r\n").is_err(), "the library refuses it");
    let unknown = Err(Unreadable::UnknownType);
    check("@x\r\n", unknown.clone());
    check("@\r\n", unknown.clone());
    check("*3\r\n:1\r\n@x\r\n;y\r\n", unknown.clone());
    check("%1\r\n+k\r\n*2\r\n@x\r\n:1\r\n", unknown.clone());
    check("|1\r\n+k\r\n@x\r\n:1\r\n", unknown.clone());
    check("|1\r\n@k\r\n:1\r\n*1\r\n:1\r\n", unknown.clone());
    let apart = decode("@x\r\n+OK\r\n@x\r\n:1\r\n@x\r\n");
    let (okay, one) = (Ok(Value::Okay), Ok(Value::Int(1)));
    assert_eq!(apart, replies([unknown.clone(), okay, unknown.clone(), one, unknown]));
}

#[test]
fn two_unknown_types_in_a_row_are_no_redis() {
    let unknown = Frame::Reply(Err(Unreadable::UnknownType));
    let expected = Outcome { frames: vec![unknown], is_broken: true };
    assert_eq!(decode("HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n"), expected);
    assert_eq!(decode("<html>\r\n<head>\r\n"), expected);
    assert_eq!(decode("@x\r\n*1\r\n@x\r\n"), expected);
    check_broken(b"\x15\x03\x03\x00\x02\x02\x28");
    check_broken("\r\n");
    let endless = format!("@{}", "x".repeat(1024 * 1024 + 1));
    assert!(decode_pieces(Limits::DEFAULT, endless.as_bytes().chunks(4096)).is_broken);
}

#[test]
fn an_element_that_is_not_what_its_type_says_costs_only_its_own_frame() {
    let malformed = || Err(Unreadable::Malformed);
    for element in [
        ":\r\n",
        ":x\r\n",
        ":99999999999999999999\r\n",
        "#x\r\n",
        "#\r\n",
        ",x\r\n",
        ",\r\n",
        "=3\r\ntxt\r\n",
    ] {
        check(element, malformed());
        check(format!("*3\r\n:1\r\n{element}:2\r\n"), malformed());
        check(format!("%1\r\n:1\r\n~1\r\n{element}"), malformed());
        // Nobody sees an attribute.
        check(format!("|1\r\n:1\r\n{element}:2\r\n"), Ok(Value::Int(2)));
    }
    check(b":\xff\r\n", malformed());
    check("*1\r\n>1\r\n:1\r\n", malformed());
}

#[test]
fn bytes_after_which_nobody_knows_where_a_reply_begins_are_broken() {
    for bytes in [
        "$x\r\n",
        "*\r\n",
        "$3\r\nabcd\r\n",
        "$3\r\nab\r\n\r\n",
        "$3\r\nabc\n\r",
        "$?\r\n",
        "*?\r\n",
        ".\r\n",
        "$-2\r\n",
        "*-2\r\n",
        "!-1\r\n",
        "=-1\r\n",
        ">-1\r\n",
        "|-1\r\n",
        "%-2\r\n",
        "~-2\r\n",
        "$9223372036854775807\r\n",
        "*1099511627777\r\n",
        "$99999999999999999999\r\n",
        "$000000000000000000000000000000003\r\n",
        "@x\r\n.\r\n",
    ] {
        let found = decode(bytes);
        assert!(found.is_broken, "{bytes:?}: {found:?}");
    }
    check("$0000000000000000000000000000003\r\nabc\r\n", Ok(bulk("abc")));
    for nil in ["$-1\r\n", "*-1\r\n", "~-1\r\n", "%-1\r\n", "_\r\n"] {
        check(nil, Ok(Value::Nil));
    }
}

#[test]
fn a_push_message_that_cannot_be_read_is_no_reply() {
    for push in [
        ">1\r\n:1\r\n",
        ">2\r\n+a\r\n@x\r\n",
        ">2\r\n+a\r\n:x\r\n",
        "|1\r\n@x\r\n:1\r\n>1\r\n+a\r\n",
    ] {
        assert_eq!(decode(format!("{push}:2\r\n")), replies([Ok(Value::Int(2))]), "{push:?}");
    }
    let push = format!(">2\r\n+a\r\n{}:1\r\n:2\r\n", "*1\r\n".repeat(200));
    assert_eq!(decode(push), replies([Ok(Value::Int(2))]));
    let empty = Frame::Push { kind: PushKind::Other(String::new()), data: vec![] };
    assert_eq!(decode(">0\r\n").frames, [empty]);
    let kinds = [
        "invalidate",
        "message",
        "pmessage",
        "smessage",
        "unsubscribe",
        "punsubscribe",
        "sunsubscribe",
        "subscribe",
        "psubscribe",
        "ssubscribe",
        "disconnection",
        "server-cpu-usage",
    ];
    for kind in kinds {
        let bytes = format!(">2\r\n+{kind}\r\n:1\r\n");
        assert_eq!(decode(&bytes).frames, [frame_of_library(bytes.as_bytes())]);
    }
}

// --- attributes ---------------------------------------------------------------------------------

#[test]
fn attributes_are_dropped_wherever_they_stand() {
    let attributes = [
        "|0\r\n".to_owned(),
        "|1\r\n+ttl\r\n:1\r\n".to_owned(),
        "|2\r\n+a\r\n*2\r\n:1\r\n%1\r\n+b\r\n$1\r\nc\r\n+d\r\n*0\r\n".to_owned(),
        "|1\r\n|1\r\n+in\r\n+key\r\n+k\r\n|0\r\n~1\r\n|1\r\n+in\r\n_\r\n#t\r\n".to_owned(),
        "|1\r\n+k\r\n-ERR no reply\r\n|1\r\n+k\r\n>2\r\n+no\r\n+push\r\n".to_owned(),
        format!("|1\r\n+deep\r\n{}:1\r\n", "*1\r\n".repeat(500)),
        "|1\r\n+k\r\n:1\r\n".repeat(100),
    ];
    for attribute in attributes {
        check(format!("{attribute}:1\r\n"), Ok(Value::Int(1)));
        check(format!("{attribute}-ERR x\r\n"), Ok(library("-ERR x\r\n")));
        check(format!("{attribute}*0\r\n"), Ok(Value::Array(vec![])));
        let two = Value::Array(vec![Value::Int(1), Value::Int(2)]);
        check(format!("{attribute}*2\r\n{attribute}:1\r\n{attribute}:2\r\n"), Ok(two));
        let map = Value::Map(vec![(Value::Int(1), Value::Set(vec![Value::Nil]))]);
        check(format!("%1\r\n{attribute}:1\r\n{attribute}~1\r\n{attribute}_\r\n"), Ok(map));
        let push = decode(format!("{attribute}>2\r\n{attribute}+message\r\n{attribute}:1\r\n"));
        assert_eq!(
            push.frames,
            [Frame::Push { kind: PushKind::Message, data: vec![Value::Int(1)] }]
        );
        check(format!("{attribute}*1\r\n{attribute}:x\r\n"), Err(Unreadable::Malformed));
    }
}

// --- limits -------------------------------------------------------------------------------------

const SMALL: Limits = Limits { depth: 3, elements: 10, bytes: 20, line: 18, error: 8 };

#[track_caller]
fn check_small(frame: impl AsRef<[u8]>, expected: Result<Value, Unreadable>) {
    let bytes = [frame.as_ref(), b"$4\r\nnext\r\n"].concat();
    let found = decode_limited(SMALL, &bytes);
    assert_eq!(found, replies([expected, Ok(bulk("next"))]), "{}", bytes.escape_ascii());
}

#[test]
fn each_limit_is_met_and_one_beyond_it_is_skipped() {
    use Unreadable::{TooDeep, TooLarge, TooManyElements};
    let text = |len: usize| "x".repeat(len);
    let string = |len: usize| format!("${len}\r\n{}\r\n", text(len));
    let array = |count: usize| format!("*{count}\r\n{}", ":1\r\n".repeat(count));

    check_small(string(20), Ok(bulk(text(20))));
    check_small(string(21), Err(TooLarge));
    check_small(
        format!("*2\r\n{}{}", string(10), string(10)),
        Ok(Value::Array(vec![bulk(text(10)); 2])),
    );
    check_small(format!("*2\r\n{}{}", string(10), string(11)), Err(TooLarge));
    check_small(format!("*3\r\n{}{}:1\r\n", string(11), string(10)), Err(TooLarge));
    check_small(format!("=21\r\ntxt:{}\r\n", text(17)), Err(TooLarge));
    check_small(format!("|1\r\n{}{}:1\r\n", string(10), string(11)), Err(TooLarge));

    check_small(format!("+{}\r\n", text(18)), Ok(Value::SimpleString(text(18))));
    check_small(
        format!("*6\r\n{}", "+OK\r\n:123\r\n".repeat(3)),
        Ok(library(format!("*6\r\n{}", "+OK\r\n:123\r\n".repeat(3)))),
    );
    check_small(format!("*9\r\n{}", "+OK\r\n:123\r\n+OK\r\n".repeat(3)), Err(TooLarge));
    check_small(format!("+{}\r\n", text(19)), Err(TooLarge));
    check_small(format!("*2\r\n:1\r\n+{}\r\n", text(900)), Err(TooLarge));

    check_small(array(10), Ok(Value::Array(vec![Value::Int(1); 10])));
    check_small(array(11), Err(TooManyElements));
    check_small(
        format!("%5\r\n{}", "_\r\n".repeat(10)),
        Ok(Value::Map(vec![(Value::Nil, Value::Nil); 5])),
    );
    check_small(format!("%6\r\n{}", "_\r\n".repeat(12)), Err(TooManyElements));
    check_small(
        format!("*2\r\n{}{}", array(4), array(4)),
        Ok(library(format!("*2\r\n{}{}", array(4), array(4)))),
    );
    check_small(format!("*2\r\n{}{}", array(4), array(5)), Err(TooManyElements));
    check_small("|0\r\n".repeat(10) + "*0\r\n", Ok(Value::Array(vec![])));
    check_small("|0\r\n".repeat(11) + "*0\r\n", Err(TooManyElements));
    check_small("|0\r\n".repeat(11) + "*2\r\n*1\r\n:1\r\n:2\r\n", Err(TooManyElements));
    check_small(format!("|6\r\n{}", ":1\r\n".repeat(13)), Err(TooManyElements));

    check_small("*1\r\n".repeat(3) + ":1\r\n", Ok(library("*1\r\n".repeat(3) + ":1\r\n")));
    check_small("*1\r\n".repeat(4) + ":1\r\n", Err(TooDeep));
    check_small("*1\r\n".repeat(3) + "*0\r\n", Err(TooDeep));
}

#[test]
fn an_error_over_the_limit_is_cut_and_stays_an_error() {
    let cut = || Ok(library("-ERR abcd\r\n"));
    check_small("-ERR abcdefghijklmnopqrstuvwxyz\r\n", cut());
    check_small("!30\r\nERR abcdefghijklmnopqrstuvwxyz\r\n", cut());
    check_small(
        "*1\r\n-ERR abcdefghijklmnopqrstuvwxyz\r\n",
        cut().map(|error| Value::Array(vec![error])),
    );
    check_small(
        "*1\r\n!30\r\nERR abcdefghijklmnopqrstuvwxyz\r\n",
        cut().map(|error| Value::Array(vec![error])),
    );
    check_small("|0\r\n".repeat(11) + "-ERR abcdef\r\n", cut());
    check_small("|0\r\n".repeat(11) + "!10\r\nERR abcdef\r\n", cut());
    // One among others is a value like them.
    check_small("*2\r\n$15\r\nxxxxxxxxxxxxxxx\r\n!10\r\nERR abcdef\r\n", Err(Unreadable::TooLarge));
    check_small("*2\r\n$15\r\nxxxxxxxxxxxxxxx\r\n-ERR abcdef\r\n", Err(Unreadable::TooLarge));
    let long = format!("-ERR {}\r\n", "x".repeat(3 * 1024 * 1024));
    let found = decode_pieces(Limits::DEFAULT, long.as_bytes().chunks(5000));
    let cut = format!("{}\r\n", &long[..=16 * 1024]);
    assert_eq!(found, replies([Ok(library(cut))]));
}

#[test]
fn a_push_message_over_a_limit_is_dropped_in_silence() {
    for push in [
        ">11\r\n+a\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n",
        ">2\r\n+a\r\n$21\r\nxxxxxxxxxxxxxxxxxxxxx\r\n",
    ] {
        let bytes = format!("{push}:2\r\n");
        assert_eq!(decode_limited(SMALL, bytes.as_bytes()), replies([Ok(Value::Int(2))]));
    }
}

#[test]
fn what_is_announced_costs_nothing_until_it_comes() {
    for announced in [
        "$536870912\r\n",
        "*16777216\r\n",
        "%8388608\r\n",
        "$1099511627776\r\n",
        "*1099511627776\r\n",
    ] {
        let mut decoder = Decoder::new();
        let bytes = format!("*1\r\n{announced}");
        assert_eq!(decoder.decode(bytes.as_bytes()), Ok((bytes.len(), None)));
        assert!(decoder.held_bytes() < 1024, "{announced:?}: {}", decoder.held_bytes());
        decoder.decode(b"$1\r\nx\r\n").unwrap();
        assert!(decoder.held_bytes() <= 64 * 1024, "{announced:?}: {}", decoder.held_bytes());
    }
    let mut decoder = Decoder::new();
    decoder.decode("*2\r\n:1\r\n".repeat(128).as_bytes()).unwrap();
    assert!(decoder.held_bytes() <= 1024 * 1024, "{}", decoder.held_bytes());
}

#[test]
fn what_is_skipped_is_not_kept() {
    let starts = [
        "*3\r\n$5\r\nfirst\r\n$1048576\r\n",
        "$1048576\r\n",
        "!1048576\r\n",
        "|1\r\n+k\r\n$1048576\r\n",
        "*20\r\n$1048576\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n$1048576\r\n",
        "+",
        "*2\r\n:1\r\n,",
    ];
    for start in starts {
        let mut decoder = Decoder::with_limits(SMALL);
        assert_eq!(decoder.decode(start.as_bytes()), Ok((start.len(), None)));
        for _ in 0..128 {
            assert_eq!(decoder.decode(&[b'x'; 8 * 1024]), Ok((8 * 1024, None)), "{start:?}");
            assert!(decoder.held_bytes() <= 128, "{start:?}: {}", decoder.held_bytes());
        }
    }
    let mut decoder = Decoder::new();
    for _ in 0..100_000 {
        assert_eq!(decoder.decode(b"*1\r\n"), Ok((4, None)));
    }
    assert!(decoder.held_bytes() <= 128, "{}", decoder.held_bytes());
}

#[test]
fn a_long_string_has_no_more_room_than_it_needs() {
    for len in [0_usize, 1, 4_000, 70_000, 1_000_003] {
        let text: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let bytes = [format!("${len}\r\n").as_bytes(), &text, b"\r\n"].concat();
        for piece_bytes in [1_000, 4_096, 100_000] {
            let mut decoder = Decoder::new();
            let mut found = None;
            for piece in bytes.chunks(piece_bytes) {
                let (taken, frame) = decoder.decode(piece).unwrap();
                assert!(taken == piece.len() || len < 4_096 || piece.last() == Some(&b'\r'));
                found = frame;
            }
            let Some(Frame::Reply(Ok(Value::BulkString(found)))) = found else {
                panic!("{found:?}")
            };
            assert_eq!(found, text);
            assert_eq!(found.capacity(), len);
        }
    }
}
