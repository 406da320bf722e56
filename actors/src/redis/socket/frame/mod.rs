//! Frames: what the server's bytes mean, decided without IO and without a clock.
//!
//! One caller's reply never costs another caller's: a reply that cannot be given to its caller is skipped to its end,
//! and the next one is read. Only bytes after which nobody knows where the next reply begins are [`Broken`].
//!
//! The value of a reply is the one that `redis::parse_redis_value` gives, with these differences:
//!
//! - Attributes are dropped. They count for the limits.
//! - Text that is not UTF-8 is read with replacement characters, and an error is cut to its first 16 KiB.
//! - 128 levels are read instead of 100, but no more bytes and elements than the limits say.
//! - The length -1 is nil for strings, arrays, sets and maps. Every other negative length is [`Broken`], as is one of
//!   more than 32 bytes, or over 2^40: what follows it cannot be told. So are the streamed types of RESP3, which no
//!   server sends.
//!
//! A line of a type that nobody knows is skipped. It is [`Broken`] if the frame before it had one too, or if its type is
//! no printable character.

mod aggregate;
mod decoder;
mod limits;
mod message;
mod text;

#[cfg(test)]
mod tests;

pub(crate) use decoder::Decoder;
pub(crate) use limits::KEPT_BYTES;
pub(crate) use message::{Broken, Frame};
