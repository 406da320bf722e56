use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::blocking::Calls;

/// By path and bound. A mount may hang.
static READS: Calls<Key, Option<Vec<u8>>> = Calls::new();

type Key = (PathBuf, u64);

/// Reads a whole regular file. `None` if it cannot be read, is larger than `most_bytes`, or is not a regular file: a
/// pipe might never end. Whoever asks while it is being read shares what is found.
pub(crate) async fn read(path: &Path, most_bytes: u64) -> Option<Vec<u8>> {
    let path = path.to_owned();
    let key = (path.clone(), most_bytes);
    READS.answer(key, move || read_now(&path, most_bytes)).await.ok().flatten()
}

/// Whether `read` of the same has begun and not ended.
pub(crate) fn is_being_read(path: &Path, most_bytes: u64) -> bool {
    READS.is_under_way(&(path.to_owned(), most_bytes))
}

fn read_now(path: &Path, most_bytes: u64) -> Option<Vec<u8>> {
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    let len_bytes = File::open(path).ok()?.take(most_bytes + 1).read_to_end(&mut bytes).ok()?;
    u64::try_from(len_bytes).is_ok_and(|len_bytes| len_bytes <= most_bytes).then_some(bytes)
}
