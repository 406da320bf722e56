use ::redis::{PushKind, Value};

use super::text;
use crate::redis::status::Unreadable;

/// An aggregate whose elements have not all arrived.
#[derive(Debug)]
pub(super) struct Aggregate {
    /// How many of its elements have not begun.
    pub(super) left: u64,
    elements: Elements,
}

#[derive(Debug)]
enum Elements {
    /// Of an array, a set or a push message.
    List { kind: u8, values: Vec<Value> },
    /// Of a map, with the key whose value has not arrived.
    Pairs { pairs: Vec<(Value, Value)>, key: Option<Value> },
    /// Not kept: of an attribute, or of a frame that cannot be read. Those of aggregates among them count as these.
    Dropped,
}

impl Aggregate {
    /// One of which no element has arrived. It has room for none: what a server announces costs nothing until it comes.
    pub(super) fn new(kind: u8, elements: u64) -> Self {
        let kept = match kind {
            b'%' => Elements::Pairs { pairs: Vec::new(), key: None },
            kind => Elements::List { kind, values: Vec::new() },
        };
        Self { left: elements, elements: kept }
    }

    pub(super) fn dropped(elements: u64) -> Self {
        Self { left: elements, elements: Elements::Dropped }
    }

    pub(super) fn is_dropped(&self) -> bool {
        matches!(self.elements, Elements::Dropped)
    }

    /// Takes the next element. `left` has counted it already.
    #[inline]
    pub(super) fn add(&mut self, value: Value) {
        match &mut self.elements {
            Elements::List { values, .. } => push(values, value, self.left),
            Elements::Pairs { pairs, key } => match key.take() {
                None => *key = Some(value),
                Some(key) => push(pairs, (key, value), self.left / 2),
            },
            Elements::Dropped => {}
        }
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        let elements = match &self.elements {
            Elements::List { values, .. } => values.capacity(),
            Elements::Pairs { pairs, .. } => 2 * pairs.capacity(),
            Elements::Dropped => 0,
        };
        elements * size_of::<Value>()
    }

    /// The value of all the elements.
    pub(super) fn close(self) -> Result<Value, Unreadable> {
        match self.elements {
            Elements::List { kind, values } => list(kind, values),
            Elements::Pairs { pairs, .. } => Ok(Value::Map(pairs)),
            Elements::Dropped => Ok(Value::Nil),
        }
    }
}

fn list(kind: u8, values: Vec<Value>) -> Result<Value, Unreadable> {
    match kind {
        b'*' => Ok(Value::Array(values)),
        b'~' => Ok(Value::Set(values)),
        b'>' => {
            let mut values = values.into_iter();
            let Some(first) = values.next() else {
                return Ok(Value::Push { kind: PushKind::Other(String::new()), data: Vec::new() });
            };
            let kind = text::push_kind(first).ok_or(Unreadable::Malformed)?;
            Ok(Value::Push { kind, data: values.collect() })
        }
        _ => Err(Unreadable::UnknownType),
    }
}

/// Adds `next`, after which `left` more come: doubles the room, but never beyond what is needed.
#[inline]
fn push<T>(all: &mut Vec<T>, next: T, left: u64) {
    if all.len() == all.capacity() {
        let left = usize::try_from(left).unwrap_or(usize::MAX).saturating_add(1);
        all.reserve_exact(left.min(all.len().max(ROOM_MIN)));
    }
    all.push(next);
}

/// The smallest addition to the room of an aggregate, in elements.
const ROOM_MIN: usize = 64;
