use std::mem;

/// The bytes that callers have added and that nobody has begun to write, in their order.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    /// Chunks that are complete. There are none unless something large is among them.
    complete: Vec<Vec<u8>>,
    /// Small requests are added here.
    open: Vec<u8>,
    /// How many bytes wait.
    len_bytes: usize,
    /// How many bytes were ever added.
    added: u64,
}

impl Unsent {
    /// How many bytes were ever added, which is where the next one begins.
    pub(super) fn added(&self) -> u64 {
        self.added
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len_bytes == 0
    }

    pub(super) fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Whether enough is there that a write is not worth delaying to gather more.
    pub(super) fn is_enough(&self) -> bool {
        self.len_bytes >= ENOUGH_BYTES
    }

    /// Adds what `pack` appends; if it panics, nothing.
    pub(crate) fn add(&mut self, pack: impl FnOnce(&mut Vec<u8>)) {
        let unwinding = Truncate { len_bytes: self.open.len(), buffer: &mut self.open };
        pack(unwinding.buffer);
        let added = unwinding.buffer.len() - unwinding.len_bytes;
        mem::forget(unwinding);
        self.count(added);
    }

    /// Adds a chunk as it is, without copying it.
    pub(crate) fn add_chunk(&mut self, chunk: Vec<u8>) {
        self.count(chunk.len());
        if !self.open.is_empty() {
            self.complete.push(mem::take(&mut self.open));
        }
        self.complete.push(chunk);
    }

    /// Takes everything, and leaves `spare` for what is added next.
    pub(super) fn take(&mut self, spare: Vec<u8>) -> impl Iterator<Item = Vec<u8>> + use<> {
        self.len_bytes = 0;
        let complete = mem::take(&mut self.complete);
        let open = mem::replace(&mut self.open, spare);
        complete.into_iter().chain(Some(open).filter(|open| !open.is_empty()))
    }

    fn count(&mut self, len_bytes: usize) {
        self.len_bytes += len_bytes;
        self.added += u64::try_from(len_bytes).unwrap_or(u64::MAX);
    }
}

/// Cuts a buffer back to its former length.
struct Truncate<'b> {
    buffer: &'b mut Vec<u8>,
    len_bytes: usize,
}

impl Drop for Truncate<'_> {
    fn drop(&mut self) {
        self.buffer.truncate(self.len_bytes);
    }
}

/// A write of this size is not delayed to gather more.
const ENOUGH_BYTES: usize = 8 * 1024;
