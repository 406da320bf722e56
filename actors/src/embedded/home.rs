use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Error;

/// The private directory of one embedded server: its socket and its log. Removed when dropped; one that a killed
/// process left behind is removed by the next [`Home::create`].
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    /// Held for as long as this process lives; the system releases it however we end.
    _lock: File,
}

impl Home {
    /// Makes a directory under `temp` that only this user may enter, and removes those that nobody holds any more.
    /// Where `temp` is too long a name for a socket, `/tmp` takes its place. Does a little file IO.
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
        // A directory becomes visible to those who clear up only when its lock is held.
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

    /// Where the server's socket is, or will be.
    pub fn socket_path(&self) -> PathBuf {
        self.path.join(SOCKET)
    }

    /// What the server has to say.
    pub fn log_path(&self) -> PathBuf {
        self.path.join("server.log")
    }

    /// Removes what is left of processes that are gone. Nothing of it matters to this process, so no failure does.
    fn reclaim_siblings(&self, temp: &Path) {
        let Ok(ours) = fs::symlink_metadata(&self.path) else { return };
        for entry in fs::read_dir(temp).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.as_bytes();
            let visible = name.strip_prefix(b".").unwrap_or(name);
            if !visible.starts_with(PREFIX.as_bytes()) || path == self.path {
                continue;
            }
            // Not through a link, and not another user's.
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
        fs::remove_dir_all(&self.path).ok(); // The next home made here will try again.
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

/// Whether a hidden directory is one whose maker died: a living one hides it for less than a millisecond, and may not
/// hold the lock yet.
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
/// `sun_path` holds 104 bytes on the BSDs and macOS and 108 on Linux (unix(7)), a zero at the end included.
const MOST_BYTES: usize = 100;
