use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use crate::redis::socket::frame::{Broken, Decoder, Frame, KEPT_BYTES};

/// The bytes that have arrived, and the frames in them.
pub(super) struct Incoming {
    buffer: Vec<u8>,
    /// The bytes from here to `end` are not decoded yet.
    begin: usize,
    end: usize,
    /// How many reads in a row would have fitted into a small buffer.
    small_reads: u8,
    decoder: Decoder,
}

impl Incoming {
    pub(super) fn new() -> Self {
        Self {
            buffer: vec![0; READ_BYTES_MIN],
            begin: 0,
            end: 0,
            small_reads: 0,
            decoder: Decoder::new(),
        }
    }

    /// Reads once, and returns how many bytes; none if the other side has closed the connection.
    pub(super) fn poll_read(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.make_room();
        let mut room = ReadBuf::new(&mut self.buffer[self.end..]);
        ready!(Pin::new(stream).poll_read(cx, &mut room))?;
        let len_bytes = room.filled().len();
        self.end += len_bytes;
        let is_small = self.end < READ_BYTES_MIN;
        self.small_reads = if is_small { self.small_reads.saturating_add(1) } else { 0 };
        Poll::Ready(Ok(len_bytes))
    }

    /// Adds every frame that is complete.
    pub(super) fn decode(&mut self, frames: &mut Vec<Frame>) -> Result<(), Broken> {
        while self.begin < self.end {
            let (taken, frame) = self.decoder.decode(&self.buffer[self.begin..self.end])?;
            self.begin += taken;
            match frame {
                Some(frame) => frames.push(frame),
                None => break,
            }
        }
        Ok(())
    }

    fn make_room(&mut self) {
        let was_full = self.end == self.buffer.len();
        self.buffer.copy_within(self.begin..self.end, 0);
        self.end -= self.begin;
        self.begin = 0;
        if was_full && self.buffer.len() < READ_BYTES_MAX {
            self.buffer.resize(self.buffer.len() * 2, 0);
        } else if self.small_reads == u8::MAX && self.buffer.len() > READ_BYTES_MIN {
            // A peak is over.
            self.buffer.truncate(READ_BYTES_MIN);
            self.buffer.shrink_to_fit();
        }
    }
}

const READ_BYTES_MIN: usize = 4 * 1024;
const READ_BYTES_MAX: usize = 64 * 1024;
/// There is always room to read.
const _: () = assert!(READ_BYTES_MAX > KEPT_BYTES, "the decoder leaves less than fits");
