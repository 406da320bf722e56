use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Error;

/// The private directory of one embedded server, with its socket and its log. It is removed when dropped; the next
/// [`Home::create`] removes a directory that a killed process has left behind.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    /// Held for as long as this process lives. The system releases it however the process ends.
    _lock: File,
}

impl Home {
    /// Creates a directory under `temp` that only this user may enter, and removes those of processes that have ended.
    /// If `temp` is too long a name for a socket, `/tmp` takes its place. Does a little file IO.
    ///
    /// # Errors
    /// [`Error::Home`], [`Error::PathTooLong`].
    pub fn create(temp: &Path) -> Result<Self, Error> {
        let temp = if fits(temp) { temp } else { Path::new(SHORT_TEMP) };
        let name = format!("{PREFIX}{:016x}", fastrand::u64(..));
        let path = temp.join(&name);
        if !fits(temp) {
            return Err(Error::PathTooLong { path: path.join(SOCKET), most_bytes: MOST_BYTES });
        }
        // Other processes remove a directory whose lock is free, so this one gets its visible name only with the lock
        // held.
        let hidden = temp.join(format!(".{name}"));
        let lock = made(&hidden, &path).map_err(|source| {
            fs::remove_dir_all(&hidden).ok(); // It may not exist; the first error is the one to report.
            Error::Home { path: path.clone(), source }
        })?;
        let home = Self { path, _lock: lock };
        home.reclaim_siblings(temp);
        Ok(home)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the server's socket, which may not exist yet.
    pub fn socket_path(&self) -> PathBuf {
        self.path.join(SOCKET)
    }

    /// The path of the server's log.
    pub fn log_path(&self) -> PathBuf {
        self.path.join("server.log")
    }

    /// Removes the directories of processes that have ended. A failure does not matter to this process, so it is
    /// ignored.
    fn reclaim_siblings(&self, temp: &Path) {
        let Ok(ours) = fs::symlink_metadata(&self.path) else { return };
        for entry in fs::read_dir(temp).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.as_bytes();
            let visible = name.strip_prefix(b".").unwrap_or(name);
            if !visible.starts_with(PREFIX.as_bytes()) || path == self.path {
                continue;
            }
            // A link is not followed, and another user's directory is left alone.
            let Ok(its) = fs::symlink_metadata(&path) else { continue };
            if !its.is_dir() || its.uid() != ours.uid() {
                continue;
            }
            if visible.len() == name.len() {
                reclaim(&path).ok();
            } else if its.modified().is_ok_and(is_old) {
                fs::remove_dir_all(&path).ok();
            }
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.path).ok(); // The next `Home::create` tries again.
    }
}

fn made(hidden: &Path, path: &Path) -> io::Result<File> {
    DirBuilder::new().mode(0o700).create(hidden)?;
    let lock = File::create(hidden.join(LOCK))?;
    lock.try_lock()?;
    fs::rename(hidden, path)?;
    Ok(lock)
}

fn reclaim(path: &Path) -> io::Result<()> {
    let lock = File::open(path.join(LOCK))?;
    lock.try_lock()?;
    fs::remove_dir_all(path)
}

/// Whether the process that created a hidden directory has ended. A live process hides it for less than a millisecond,
/// but may not hold the lock yet, so only the age tells.
fn is_old(modified: SystemTime) -> bool {
    modified.elapsed().is_ok_and(|age| age >= HIDDEN_AT_MOST)
}

fn fits(temp: &Path) -> bool {
    let len_bytes = temp.as_os_str().len() + 1 + PREFIX.len() + 16 + 1 + SOCKET.len();
    len_bytes <= MOST_BYTES
}

const PREFIX: &str = "mainstay-embedded-";
const SOCKET: &str = "redis.sock";
const LOCK: &str = "lock";
const HIDDEN_AT_MOST: Duration = Duration::from_secs(60);
const SHORT_TEMP: &str = "/tmp";
/// `sun_path` holds 104 bytes on the BSDs and macOS and 108 on Linux, with the zero at the end (unix(7)).
const MOST_BYTES: usize = 100;
