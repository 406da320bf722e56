use std::collections::VecDeque;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// The bytes that are being written.
#[derive(Debug)]
pub(super) struct Outgoing {
    chunks: VecDeque<Vec<u8>>,
    /// How much of the first chunk is written.
    offset: usize,
    /// How many bytes of all are written.
    written: u64,
    is_flushed: bool,
    /// An empty buffer, for callers to fill next.
    spare: Vec<u8>,
}

impl Outgoing {
    pub(super) fn new() -> Self {
        Self { chunks: VecDeque::new(), offset: 0, written: 0, is_flushed: true, spare: Vec::new() }
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn take_spare(&mut self) -> Vec<u8> {
        mem::take(&mut self.spare)
    }

    pub(super) fn add(&mut self, chunks: impl Iterator<Item = Vec<u8>>) {
        self.chunks.extend(chunks);
        self.is_flushed = false;
    }

    /// Writes everything.
    pub(super) fn poll_write(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(chunk) = self.chunks.front() {
            let rest = &chunk[self.offset..];
            let len_bytes = match ready!(Pin::new(&mut *stream).poll_write(cx, rest)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(len_bytes) => len_bytes,
                Err(error) => {
                    // TLS may have sent a part of it all the same.
                    self.written += u64::try_from(rest.len()).unwrap_or(u64::MAX);
                    return Poll::Ready(Err(error));
                }
            };
            self.offset += len_bytes;
            self.written += u64::try_from(len_bytes).unwrap_or(u64::MAX);
            if self.offset >= chunk.len() {
                self.offset = 0;
                self.keep_spare();
            }
        }
        if !self.is_flushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps the buffer of the chunk that is written, unless it is large.
    fn keep_spare(&mut self) {
        let Some(mut chunk) = self.chunks.pop_front() else { return };
        if chunk.capacity() <= KEPT_BYTES && chunk.capacity() > self.spare.capacity() {
            chunk.clear();
            self.spare = chunk;
        }
    }
}

/// A larger buffer is given back when it is written.
const KEPT_BYTES: usize = 64 * 1024;
