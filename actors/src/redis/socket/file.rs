use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::blocking::Calls;
use crate::redis::status::{Cause, ConfigFile};

/// By path and bound. A mount may hang.
static READS: Calls<Key, Result<Vec<u8>, Unread>> = Calls::new();

type Key = (PathBuf, u64);

/// Why a file was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unread {
    /// The system's own number.
    System(i32),
    /// It is larger than it may be, or not a regular file: a pipe might never end.
    Unsuitable,
}

/// Reads a whole regular file. Whoever asks while it is being read shares what is found.
///
/// # Errors
/// The cause, with the name of the file in the configuration.
pub(crate) async fn read(file: ConfigFile, path: &Path, most_bytes: u64) -> Result<Vec<u8>, Cause> {
    let path = path.to_owned();
    let key = (path.clone(), most_bytes);
    let read = READS.answer(key, move || read_now(&path, most_bytes)).await;
    match read.map_err(|no_thread| Cause::of_system(&no_thread))? {
        Ok(bytes) => Ok(bytes),
        Err(Unread::System(errno)) => Err(file.unreadable(errno)),
        Err(Unread::Unsuitable) => Err(file.unsuitable()),
    }
}

/// Whether `read` of the same has begun and not ended.
pub(crate) fn is_being_read(path: &Path, most_bytes: u64) -> bool {
    READS.is_under_way(&(path.to_owned(), most_bytes))
}

fn read_now(path: &Path, most_bytes: u64) -> Result<Vec<u8>, Unread> {
    let metadata = path.metadata()?;
    // The system itself says of a directory that it cannot be read.
    if !metadata.is_file() && !metadata.is_dir() {
        return Err(Unread::Unsuitable);
    }
    let mut bytes = Vec::new();
    let len_bytes = File::open(path)?.take(most_bytes + 1).read_to_end(&mut bytes)?;
    let is_suitable = u64::try_from(len_bytes).is_ok_and(|len_bytes| len_bytes <= most_bytes);
    if is_suitable { Ok(bytes) } else { Err(Unread::Unsuitable) }
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        // Without a number the standard library has refused the path, for a zero byte in it.
        error.raw_os_error().map_or(Self::Unsuitable, Self::System)
    }
}
