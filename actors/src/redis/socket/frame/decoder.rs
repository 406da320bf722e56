use ::redis::Value;

use super::aggregate::Aggregate;
use super::limits::{LENGTH_BYTES, LENGTH_MAX, Limits};
use super::message::{Broken, Frame};
use super::text;
use crate::redis::status::Unreadable;

/// Turns the bytes of one connection into frames.
///
/// Each byte is looked at once, and what it says is kept in its final form, so the buffer of the reader can be small.
/// Nothing recurses: what the server nests is a stack of [`Aggregate`]s. A server that announces much and sends little
/// costs little.
#[derive(Debug)]
pub(crate) struct Decoder {
    limits: Limits,
    /// The item that has arrived in part.
    partial: Partial,
    /// What has arrived of a line without its end.
    line: Vec<u8>,
    /// The aggregates that are open, the outermost first. A dropped one is always the last.
    open: Vec<Aggregate>,
    frame: Progress,
    /// Whether the frame before this one had an unknown type.
    was_unknown: bool,
}

/// What is known of the frame that is arriving.
#[derive(Debug, Default)]
struct Progress {
    /// Its own type, once that has been read. Attributes may come before it.
    kind: Option<u8>,
    has_unknown: bool,
    /// Why it cannot be read. Only its end is looked for then.
    fault: Option<Unreadable>,
    /// What counts for the limits.
    elements: u64,
    bytes: u64,
}

#[derive(Debug)]
enum Partial {
    Nothing,
    /// A line whose end has not arrived, with its length so far.
    Line {
        kind: u8,
        len: u64,
    },
    /// A string with a length.
    Bulk {
        kind: u8,
        text: Vec<u8>,
        keep: u64,
        left: u64,
    },
    /// The connection is of no use any more.
    Broken,
}

/// What bytes were found to be.
enum Step {
    /// Nothing that is complete: more bytes are needed.
    Unfinished,
    /// Something that is followed by what belongs to it.
    Begun,
    Item(Value),
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self::with_limits(Limits::DEFAULT)
    }

    pub(super) fn with_limits(limits: Limits) -> Self {
        Self {
            limits,
            partial: Partial::Nothing,
            line: Vec::new(),
            open: Vec::new(),
            frame: Progress::default(),
            was_unknown: false,
        }
    }

    /// Takes bytes from the front of `bytes`, and returns how many, with the frame that they complete. Bytes that were
    /// not taken are given again, with more behind them; they are fewer than [`KEPT_BYTES`](super::KEPT_BYTES).
    ///
    /// Without a frame, all that can be taken has been: it is called again when more has arrived.
    ///
    /// # Errors
    /// [`Broken`], and from then on always.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> Result<(usize, Option<Frame>), Broken> {
        // Most frames are one short item, which needs none of the rest.
        if self.is_between_frames()
            && let Some(common) = text::common(bytes, self.limits.bytes)
        {
            self.was_unknown = false;
            return Ok((common.taken, Some(Frame::Reply(Ok(common.value)))));
        }
        let mut taken = 0;
        loop {
            taken += self.elements(bytes.get(taken..).unwrap_or_default());
            let rest = bytes.get(taken..).unwrap_or_default();
            let step = match self.partial {
                Partial::Nothing => self.item(rest),
                Partial::Line { kind, len } => self.line(kind, len, rest),
                Partial::Bulk { .. } => self.bulk(rest),
                Partial::Broken => Err(Broken),
            };
            let Ok((len, step)) = step else {
                self.partial = Partial::Broken;
                return Err(Broken);
            };
            taken += len;
            match step {
                Step::Unfinished => return Ok((taken, None)),
                Step::Begun => {}
                Step::Item(value) => {
                    if let Some(frame) = self.add(value) {
                        return Ok((taken, Some(frame)));
                    }
                }
            }
        }
    }

    /// Takes short elements of the innermost aggregate, but not its last one. The answer is how many bytes they are.
    fn elements(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        if let (Partial::Nothing, Some(last)) = (&self.partial, self.open.last_mut())
            && !last.is_dropped()
        {
            while last.left > 1 {
                let most = self.limits.bytes.saturating_sub(self.frame.bytes);
                let rest = bytes.get(taken..).unwrap_or_default();
                let Some(common) = text::common(rest, most) else { break };
                taken += common.taken;
                self.frame.bytes += u64::try_from(common.len).unwrap_or(u64::MAX);
                last.left -= 1;
                last.add(common.value);
            }
        }
        taken
    }

    /// Reads an item from its type on.
    fn item(&mut self, bytes: &[u8]) -> Result<(usize, Step), Broken> {
        let Some((&kind, rest)) = bytes.split_first() else { return Ok((0, Step::Unfinished)) };
        if !self.is_dropping() {
            let most = self.limits.bytes.saturating_sub(self.frame.bytes);
            if let Some(common) = text::common(bytes, most) {
                self.begin(kind);
                self.frame.bytes += u64::try_from(common.len).unwrap_or(u64::MAX);
                return Ok((common.taken, Step::Item(common.value)));
            }
        }
        match kind {
            b'|' => {}
            kind if is_known(kind) => self.begin(kind),
            // A second one in a row is no new type of the protocol, but no protocol: an HTTP server's answer, say.
            // Neither is a type that is no printable character, such as the beginning of a TLS record.
            kind if self.was_unknown || kind == b'.' || !kind.is_ascii_graphic() => {
                return Err(Broken);
            }
            kind => {
                self.begin(kind);
                self.frame.has_unknown = true;
                self.fail(Unreadable::UnknownType);
            }
        }
        let (taken, step) = self.line(kind, 0, rest)?;
        Ok((1 + taken, step))
    }

    /// Reads on in a line of which `len` bytes have been taken.
    fn line(&mut self, kind: u8, len: u64, bytes: &[u8]) -> Result<(usize, Step), Broken> {
        let end = text::line_end(bytes);
        // The first half of a line's end stays where it is.
        let half = usize::from(bytes.last() == Some(&b'\r'));
        let piece = bytes.get(..end.unwrap_or(bytes.len() - half)).unwrap_or_default();
        let len = len + len_of(piece);
        if len > LENGTH_BYTES && has_length(kind) || len > self.limits.line && !is_known(kind) {
            return Err(Broken);
        }
        if len > self.limits.line && kind != b'-' && !has_length(kind) {
            self.fail(Unreadable::TooLarge);
            self.line = Vec::new();
        }
        let most = self.line_kept_max(kind);
        let is_whole = self.line.is_empty() && end.is_some();
        if is_whole {
            let text = &piece[..at_most(most, piece.len())];
            let step = self.line_ended(kind, text, len)?;
            return Ok((piece.len() + 2, step));
        }
        let room = most.saturating_sub(len_of(&self.line));
        self.line.extend_from_slice(&piece[..at_most(room, piece.len())]);
        if end.is_none() {
            self.partial = Partial::Line { kind, len };
            return Ok((piece.len(), Step::Unfinished));
        }
        self.partial = Partial::Nothing;
        let mut text = std::mem::take(&mut self.line);
        let step = self.line_ended(kind, &text, len)?;
        if text.capacity() <= LINE_ROOM_KEPT {
            text.clear();
            self.line = text;
        }
        Ok((piece.len() + 2, step))
    }

    /// How many bytes of a line are looked at.
    fn line_kept_max(&self, kind: u8) -> u64 {
        match kind {
            kind if has_length(kind) => LENGTH_BYTES,
            _ if !self.is_kept() => 0,
            b'-' => self.limits.error,
            _ => self.limits.line,
        }
    }

    /// Goes on after a line of `len` bytes, of which `text` has been kept.
    fn line_ended(&mut self, kind: u8, text: &[u8], len: u64) -> Result<Step, Broken> {
        self.partial = Partial::Nothing;
        if has_length(kind) {
            return self.length(kind, text);
        }
        // Text that is dropped counts as if it were kept.
        self.count(self.text_kept_max(kind, len));
        let value = if self.is_kept() { text::line(kind, text) } else { Ok(Value::Nil) };
        Ok(Step::Item(self.readable(value)))
    }

    /// Goes on after the length of a string or of an aggregate.
    fn length(&mut self, kind: u8, text: &[u8]) -> Result<Step, Broken> {
        let number = text::number(text).ok_or(Broken)?;
        if number == -1 && matches!(kind, b'$' | b'*' | b'~' | b'%') {
            return Ok(Step::Item(Value::Nil));
        }
        // Whatever another negative length means, it does not say what follows.
        let len = u64::try_from(number).ok().filter(|len| *len <= LENGTH_MAX).ok_or(Broken)?;
        if !is_bulk(kind) {
            return Ok(self.aggregate(kind, len));
        }
        let keep = self.text_kept_max(kind, len);
        self.count(keep);
        let keep = if self.is_kept() { keep } else { 0 };
        self.partial = Partial::Bulk { kind, text: Vec::new(), keep, left: len };
        Ok(Step::Begun)
    }

    /// How much is kept of a text of `len` bytes.
    fn text_kept_max(&self, kind: u8, len: u64) -> u64 {
        if matches!(kind, b'-' | b'!') { len.min(self.limits.error) } else { len }
    }

    /// Counts the bytes of a text, those of an attribute too.
    fn count(&mut self, bytes: u64) {
        self.frame.bytes = self.frame.bytes.saturating_add(bytes);
        if self.frame.bytes > self.limits.bytes && !self.is_error() {
            self.fail(Unreadable::TooLarge);
        }
    }

    /// Opens an aggregate of `count` elements or pairs.
    fn aggregate(&mut self, kind: u8, count: u64) -> Step {
        let is_attribute = kind == b'|';
        let elements = if matches!(kind, b'%' | b'|') { 2 * count } else { count };
        // An empty attribute counts too: there may be any number of them before an element.
        let counted = elements.saturating_add(u64::from(is_attribute));
        self.frame.elements = self.frame.elements.saturating_add(counted);
        if self.frame.elements > self.limits.elements {
            self.fail(Unreadable::TooManyElements);
        } else if !is_attribute && !self.is_dropping() && self.open.len() >= self.limits.depth {
            self.fail(Unreadable::TooDeep);
        }
        if elements == 0 && is_attribute {
            return Step::Begun;
        }
        if elements == 0 {
            let empty = Aggregate::new(kind, 0).close();
            return Step::Item(self.readable(empty));
        }
        let is_dropping = self.is_dropping();
        match self.open.last_mut() {
            Some(last) if last.is_dropped() => last.left = last.left.saturating_add(elements),
            _ if is_dropping || is_attribute => self.open.push(Aggregate::dropped(elements)),
            _ => self.open.push(Aggregate::new(kind, elements)),
        }
        Step::Begun
    }

    /// Reads on in a string with a length.
    fn bulk(&mut self, bytes: &[u8]) -> Result<(usize, Step), Broken> {
        let Partial::Bulk { kind, text, keep, left } = &mut self.partial else {
            return Ok((0, Step::Begun));
        };
        let (piece, rest) = bytes.split_at(at_most(*left, bytes.len()));
        *left -= len_of(piece);
        let room = keep.saturating_sub(len_of(text));
        extend(text, &piece[..at_most(room, piece.len())], *keep);
        if *left > 0 || rest.len() < 2 {
            return Ok((piece.len(), Step::Unfinished));
        }
        if !rest.starts_with(b"\r\n") {
            return Err(Broken);
        }
        let (kind, text) = (*kind, std::mem::take(text));
        self.partial = Partial::Nothing;
        let value = if self.is_kept() { text::bulk(kind, text) } else { Ok(Value::Nil) };
        Ok((piece.len() + 2, Step::Item(self.readable(value))))
    }

    /// Takes a whole item, and whatever ends with it. The answer is the frame, if it is whole.
    fn add(&mut self, mut value: Value) -> Option<Frame> {
        loop {
            let Some(last) = self.open.last_mut() else { return self.end(value) };
            last.add(value);
            if last.left > 0 {
                return None;
            }
            let closed = self.open.pop()?;
            if closed.is_dropped() && (self.frame.fault.is_none() || self.frame.kind.is_none()) {
                // An attribute: what it belongs to follows.
                return None;
            }
            let whole = closed.close();
            value = self.readable(whole);
        }
    }

    /// The frame, whose last item has arrived. There is none for a push message that cannot be read.
    fn end(&mut self, value: Value) -> Option<Frame> {
        let frame = std::mem::take(&mut self.frame);
        self.was_unknown = frame.has_unknown;
        match (frame.fault, value) {
            // What the server refused is refused, whatever its attributes are.
            (_, error @ Value::ServerError(_)) => Some(Frame::Reply(Ok(error))),
            (Some(_), _) if frame.kind == Some(b'>') => None,
            (Some(fault), _) => Some(Frame::Reply(Err(fault))),
            (None, Value::Push { kind, data }) => Some(Frame::Push { kind, data }),
            (None, value) => Some(Frame::Reply(Ok(value))),
        }
    }

    /// Counts an item that begins.
    #[inline]
    fn begin(&mut self, kind: u8) {
        if let Some(last) = self.open.last_mut() {
            last.left -= 1;
        } else {
            self.frame.kind = Some(kind);
        }
    }

    /// The room that is held for what has not been given out, apart from the elements' own texts.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        let text = match &self.partial {
            Partial::Bulk { text, .. } => text.capacity(),
            Partial::Nothing | Partial::Line { .. } | Partial::Broken => 0,
        };
        text + self.line.capacity() + self.open.iter().map(Aggregate::held_bytes).sum::<usize>()
    }

    fn readable(&mut self, value: Result<Value, Unreadable>) -> Value {
        value.unwrap_or_else(|fault| {
            self.fail(fault);
            Value::Nil
        })
    }

    /// Gives the frame up, and drops what there is of it. Only its end is looked for from here on.
    fn fail(&mut self, fault: Unreadable) {
        if self.frame.fault.is_some() {
            return;
        }
        self.frame.fault = Some(fault);
        if self.frame.kind.is_some() {
            let left = self.open.iter().fold(0_u64, |sum, each| sum.saturating_add(each.left));
            self.open.clear();
            if left > 0 {
                self.open.push(Aggregate::dropped(left));
            }
        }
    }

    /// Whether nothing of a frame has been read, not even an attribute.
    #[inline]
    fn is_between_frames(&self) -> bool {
        // Only an attribute may have been read when no aggregate is open, and each of them counts as an element.
        matches!(self.partial, Partial::Nothing) && self.open.is_empty() && self.frame.elements == 0
    }

    #[inline]
    fn is_dropping(&self) -> bool {
        self.frame.fault.is_some() || self.open.last().is_some_and(Aggregate::is_dropped)
    }

    /// Whether the value of the item is wanted. An error that is the whole reply is wanted always.
    fn is_kept(&self) -> bool {
        !self.is_dropping() || self.is_error()
    }

    /// Whether the frame is an error, and not one among others.
    fn is_error(&self) -> bool {
        matches!(self.frame.kind, Some(b'-' | b'!'))
    }
}

fn is_known(kind: u8) -> bool {
    matches!(kind, b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(') || has_length(kind)
}

/// Whether the line is the length of what follows.
fn has_length(kind: u8) -> bool {
    is_bulk(kind) || matches!(kind, b'*' | b'~' | b'%' | b'>' | b'|')
}

fn is_bulk(kind: u8) -> bool {
    matches!(kind, b'$' | b'!' | b'=')
}

/// Adds a piece of a text of `whole` bytes. A text that is announced and does not come costs little.
fn extend(text: &mut Vec<u8>, piece: &[u8], whole: u64) {
    if text.capacity() - text.len() < piece.len() {
        let wanted = text.len().saturating_mul(2).max(text.len() + piece.len()).max(TEXT_ROOM);
        text.reserve_exact(at_most(whole, wanted) - text.len());
    }
    text.extend_from_slice(piece);
}

fn at_most(most: u64, len: usize) -> usize {
    usize::try_from(most).map_or(len, |most| most.min(len))
}

fn len_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// The room that a text gets before it arrives, in bytes.
const TEXT_ROOM: usize = 64 * 1024;
/// The room for lines that is kept for the next one, in bytes.
const LINE_ROOM_KEPT: usize = 4 * 1024;
