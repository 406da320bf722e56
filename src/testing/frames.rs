/// Finds where the frames of RESP end, in bytes that arrive in pieces. It keeps no more of them than a line's length.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The values that belong to the frame and have not begun; 0 between two frames.
    values: u64,
    /// The rest of a string's bytes, with the line's end behind them.
    body_bytes: u64,
    /// The beginning of a line that has not ended.
    line: Vec<u8>,
    first: u8,
}

/// The bytes are not RESP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotResp;

/// What [`Frames::take`] took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) len_bytes: usize,
    pub(super) is_end: bool,
}

impl Frames {
    /// The first byte of the frame that is under way.
    pub(super) fn first(&self) -> u8 {
        self.first
    }

    pub(super) fn is_between(&self) -> bool {
        self.values == 0
    }

    /// Takes bytes, up to the end of one frame.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Taken, NotResp> {
        let mut len_bytes = 0;
        while let Some(&byte) = bytes.get(len_bytes) {
            if self.is_between() {
                (self.values, self.first) = (1, byte);
            }
            if self.body_bytes > 0 {
                let rest = (bytes.len() - len_bytes) as u64;
                let step = rest.min(self.body_bytes);
                self.body_bytes -= step;
                len_bytes += usize::try_from(step).unwrap_or(usize::MAX);
                self.values -= u64::from(self.body_bytes == 0);
            } else {
                len_bytes += 1;
                // Only the lines that hold a length are read, and no length is longer.
                if self.line.len() < MOST_LINE_BYTES || byte == b'\n' {
                    self.line.push(byte);
                }
                if byte == b'\n' {
                    self.end_line()?;
                }
            }
            if self.is_between() {
                return Ok(Taken { len_bytes, is_end: true });
            }
        }
        Ok(Taken { len_bytes, is_end: false })
    }

    fn end_line(&mut self) -> Result<(), NotResp> {
        let line = std::mem::take(&mut self.line);
        let (&kind, rest) = line.split_first().ok_or(NotResp)?;
        let length = || length(rest);
        self.values -= 1;
        match kind {
            b'$' | b'=' | b'!' => {
                if let Some(length) = length()? {
                    self.body_bytes = length + 2;
                    self.values += 1;
                }
            }
            b'*' | b'~' | b'>' => self.values += length()?.unwrap_or(0),
            b'%' => self.values += length()?.unwrap_or(0) * 2,
            // What it describes follows, and is the value.
            b'|' => self.values += length()?.unwrap_or(0) * 2 + 1,
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => {}
            _ => return Err(NotResp),
        }
        Ok(())
    }
}

/// `None` stands for -1, no value.
fn length(digits: &[u8]) -> Result<Option<u64>, NotResp> {
    let digits = digits.strip_suffix(b"\r\n").ok_or(NotResp)?;
    if digits == b"-1" {
        return Ok(None);
    }
    let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    length.filter(|length| *length <= MOST_LENGTH).map(Some).ok_or(NotResp)
}

/// The beginning of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// More bytes are needed.
    Incomplete,
    /// The command's name and what follows it, in capitals: at most as many words as were asked for.
    Words(Vec<String>),
}

/// Reads the first words of a request: an array of strings.
pub(super) fn head(bytes: &[u8], most_words: usize) -> Result<Head, NotResp> {
    let mut rest = bytes;
    let Some(count) = line(&mut rest, b'*')? else { return Ok(Head::Incomplete) };
    let mut words = Vec::new();
    for _ in 0..count.min(most_words as u64) {
        let Some(length) = line(&mut rest, b'$')? else { return Ok(Head::Incomplete) };
        if length > MOST_WORD_BYTES {
            break; // No command has so long a name.
        }
        let Some(word) = usize::try_from(length).ok().and_then(|length| rest.get(..length + 2))
        else {
            return Ok(Head::Incomplete);
        };
        rest = &rest[word.len()..];
        words.push(String::from_utf8_lossy(&word[..word.len() - 2]).to_ascii_uppercase());
    }
    Ok(Head::Words(words))
}

fn line(rest: &mut &[u8], kind: u8) -> Result<Option<u64>, NotResp> {
    match rest.first() {
        None => return Ok(None),
        Some(first) if *first != kind => return Err(NotResp),
        Some(_) => {}
    }
    let Some(end) = rest.iter().take(MOST_LINE_BYTES).position(|byte| *byte == b'\n') else {
        return if rest.len() < MOST_LINE_BYTES { Ok(None) } else { Err(NotResp) };
    };
    let length = length(&rest[1..=end])?.unwrap_or(0);
    *rest = &rest[end + 1..];
    Ok(Some(length))
}

const MOST_LINE_BYTES: usize = 32;
const MOST_WORD_BYTES: u64 = 64;
/// A string of Redis has at most 512 MiB by default, and an array fewer elements than that.
const MOST_LENGTH: u64 = 1 << 40;

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: [&[u8]; 17] = [
        b"+OK\r\n",
        b"-ERR a long line that tells of an error, longer than any that holds a length\r\n",
        b":-12\r\n",
        b"$0\r\n\r\n",
        b"$-1\r\n",
        b"$9\r\n\r\n*1\r\n$\xff\n\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*2\r\n*2\r\n:1\r\n$1\r\na\r\n%1\r\n+k\r\n~1\r\n_\r\n",
        b"%0\r\n",
        b">2\r\n+invalidate\r\n*1\r\n$1\r\na\r\n",
        b"|1\r\n+ttl\r\n:1\r\n$2\r\nab\r\n",
        b"#t\r\n",
        b",1.5\r\n",
        b"(123456789012345678901234567890123456789\r\n",
        b"=7\r\ntxt:abc\r\n",
        b"!5\r\nERR x\r\n",
    ];

    #[test]
    fn a_frame_ends_where_it_ends_however_it_arrives() {
        let all = FRAMES.concat();
        for piece in [1, 2, 3, 7, all.len()] {
            let mut frames = Frames::default();
            let (mut ends, mut at) = (Vec::new(), 0);
            for mut bytes in all.chunks(piece) {
                while !bytes.is_empty() {
                    let taken = frames.take(bytes).unwrap();
                    at += taken.len_bytes;
                    bytes = &bytes[taken.len_bytes..];
                    ends.extend(taken.is_end.then_some(at));
                }
            }
            let expected: Vec<_> = FRAMES
                .iter()
                .scan(0, |end, frame| {
                    *end += frame.len();
                    Some(*end)
                })
                .collect();
            assert_eq!(ends, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_not_resp_is_told() {
        for bytes in [&b"PING\r\n"[..], b"$x\r\n", b"*99999999999999\r\n", b"\n"] {
            assert_eq!(Frames::default().take(bytes), Err(NotResp));
        }
    }

    #[test]
    fn the_words_of_a_command_are_known_as_soon_as_they_are_there() {
        let request = b"*3\r\n$6\r\nclient\r\n$7\r\nsetname\r\n$100\r\n";
        let words = |bytes| head(bytes, 2);
        for end in 0..request.len() - 6 {
            assert_eq!(words(&request[..end]), Ok(Head::Incomplete), "{end}");
        }
        let both = Head::Words(vec!["CLIENT".to_owned(), "SETNAME".to_owned()]);
        assert_eq!(words(request), Ok(both));
        let long = Head::Words(vec!["GET".to_owned()]);
        assert_eq!(words(b"*2\r\n$3\r\nGET\r\n$65\r\n"), Ok(long), "a key is no word");
        for other in [&b"PING\r\n"[..], b"\x16\x03\x01", b"*1\r\n:1\r\n", b"*x\r\n"] {
            assert_eq!(words(other), Err(NotResp));
        }
    }
}
