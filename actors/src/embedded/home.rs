use std::fs::{self, DirBuilder, File, FileTimes, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::Error;
use crate::blocking::Calls;

/// The private directory of one embedded server, with its socket and its log. It is removed when dropped; the next
/// [`Home::create`] removes a directory that a killed process has left behind.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    held: Mutex<Held>,
}

/// What is held open for as long as this process lives. The system releases the locks however the process ends.
#[derive(Debug)]
struct Held {
    /// Locked against cleaners: systemd-tmpfiles skips a directory that it cannot lock (tmpfiles.d(5)).
    directory: File,
    /// Locked against [`Home::create`] of other processes.
    lock: File,
    is_directory: Identity,
    is_lock: Identity,
    touched: Instant,
}

/// What is at the paths now.
#[derive(Clone)]
struct Seen {
    directory: Option<Metadata>,
    socket: Option<Metadata>,
    lock: Option<Metadata>,
}

/// By directory.
static LOOKS: Calls<PathBuf, Seen> = Calls::new();

/// Tells a file from one that took its path. While it is held open, or its socket is listened on, no other has its
/// number; the time of its creation is for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    number: u64,
    created: Option<SystemTime>,
}

/// What a running server can no longer be reached without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    Directory,
    Socket,
}

impl Home {
    /// Creates a directory under `temp` that only this user may enter, and removes those of processes that have ended.
    /// If `temp` is too long a name for a socket, `/tmp` takes its place. Does a little file IO.
    ///
    /// # Errors
    /// [`Error::Home`], [`Error::PathTooLong`].
    pub fn create(temp: &Path) -> Result<Self, Error> {
        let temp = if fits(temp) { temp } else { Path::new(SHORT_TEMP) };
        let path = temp.join(format!("{PREFIX}{:016x}", fastrand::u64(..)));
        if !fits(temp) {
            return Err(Error::PathTooLong { path: path.join(SOCKET), most_bytes: MOST_BYTES });
        }
        let held = made(&path).map_err(|source| Error::Home { path: path.clone(), source })?;
        let home = Self { path, held: Mutex::new(held) };
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
        self.path.join(LOG)
    }

    /// Creates the directory again, at the same path, if it was removed or replaced, and removes what would be in the
    /// way of a new server. Does a little file IO.
    pub(crate) fn restore(&self) -> Result<(), Error> {
        let mut held = self.held();
        if !held.is_at(&self.path) || held.close_off(&self.path).is_err() {
            remove_anything(&self.path)
                .map_err(|source| Error::Taken { path: self.path.clone(), source })?;
            let temp = self.path.parent().unwrap_or(Path::new(SHORT_TEMP));
            *held = DirBuilder::new()
                .recursive(true)
                .mode(PRIVATE)
                .create(temp)
                .and_then(|()| made(&self.path))
                .map_err(|source| Error::Home { path: self.path.clone(), source })?;
        }
        // The socket file of a killed server looks like one that listens.
        remove_anything(&self.socket_path()).ok(); // If it stays, the server says so.
        if self.log_path().is_dir() {
            remove_anything(&self.log_path()).ok(); // If it stays, the server's words are lost.
        }
        Ok(())
    }

    /// What the file at the path of the socket is, if it is a socket.
    pub(crate) async fn socket(&self) -> Option<Identity> {
        let socket = self.seen().await?.socket?;
        socket.file_type().is_socket().then(|| Identity::of(&socket))
    }

    /// Looks whether the directory and the socket `known` are where they were. Puts their permissions right, makes a
    /// lost lock again, and keeps the files young for cleaners that go by age.
    ///
    /// # Errors
    /// What is lost for good.
    pub(crate) async fn look_after(&self, known: &mut Option<Identity>) -> Result<(), Lost> {
        // Without a thread nothing is known, and the next look tries again.
        let Some(Seen { directory, socket, lock }) = self.seen().await else { return Ok(()) };
        let mut held = self.held();
        let directory = directory.ok_or(Lost::Directory)?;
        if Identity::of(&directory) != held.is_directory {
            return Err(Lost::Directory);
        }
        if is_opened_up(&directory) {
            // What it holds may not have been visible: the next look is for that.
            return held.close_off(&self.path).map_err(|_| Lost::Directory);
        }
        match socket {
            Some(socket) if known.is_none_or(|known| known == Identity::of(&socket)) => {
                if is_opened_up(&socket) {
                    // The owner may do it; if another owns it now, nobody can connect.
                    fs::set_permissions(self.socket_path(), PermissionsExt::from_mode(PRIVATE))
                        .map_err(|_| Lost::Socket)?;
                }
                *known = Some(Identity::of(&socket));
            }
            // It may not listen yet.
            None if known.is_none() => {}
            Some(_) | None => return Err(Lost::Socket),
        }
        if !lock.is_some_and(|lock| Identity::of(&lock) == held.is_lock) {
            held.lock_again(&self.path).ok(); // The next look tries again.
        }
        if held.touched.elapsed() >= TOUCH_EACH {
            held.touch();
        }
        Ok(())
    }

    async fn seen(&self) -> Option<Seen> {
        let home = self.path.clone();
        LOOKS.answer(self.path.clone(), move || Seen::at(&home)).await.ok()
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
                reclaim(&path, &its).ok();
            } else if its.modified().is_ok_and(is_old) {
                fs::remove_dir_all(&path).ok();
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.held().is_at(&self.path) {
            fs::remove_dir_all(&self.path).ok(); // The next `Home::create` tries again.
        }
    }
}

impl Held {
    fn of(directory: &Path) -> io::Result<Self> {
        let (directory, lock) = (File::open(directory)?, File::create(directory.join(LOCK))?);
        lock.try_lock()?;
        directory.try_lock_shared().ok(); // A file system without such locks will do as well.
        let is_directory = Identity::of(&directory.metadata()?);
        let is_lock = Identity::of(&lock.metadata()?);
        Ok(Self { directory, lock, is_directory, is_lock, touched: Instant::now() })
    }

    fn is_at(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|there| Identity::of(&there) == self.is_directory)
    }

    /// Lets only this user enter the directory.
    fn close_off(&self, path: &Path) -> io::Result<()> {
        if is_opened_up(&self.directory.metadata()?) {
            self.directory.set_permissions(PermissionsExt::from_mode(PRIVATE))?;
            tracing::warn!(
                path = %path.display(),
                "somebody changed the permissions of the embedded redis' directory; they are 0700 again"
            );
        }
        Ok(())
    }

    fn lock_again(&mut self, directory: &Path) -> io::Result<()> {
        // It is locked before it gets its name, as in `made`.
        let new = directory.join(".lock");
        remove_anything(&new)?;
        let lock = File::create_new(&new)?;
        lock.try_lock()?;
        remove_anything(&directory.join(LOCK))?;
        fs::rename(new, directory.join(LOCK))?;
        (self.is_lock, self.lock) = (Identity::of(&lock.metadata()?), lock);
        Ok(())
    }

    fn touch(&mut self) {
        self.touched = Instant::now();
        let now = SystemTime::now();
        let times = FileTimes::new().set_accessed(now).set_modified(now);
        for file in [&self.directory, &self.lock] {
            file.set_times(times).ok(); // The next time will do.
        }
    }
}

impl Seen {
    fn at(home: &Path) -> Self {
        let seen = |path: PathBuf| fs::symlink_metadata(path).ok();
        let (socket, lock) = (seen(home.join(SOCKET)), seen(home.join(LOCK)));
        Self { directory: seen(home.to_owned()), socket, lock }
    }
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        let created = metadata.created().ok();
        Self { device: metadata.dev(), number: metadata.ino(), created }
    }
}

/// Creates the directory at `path`. Other processes remove one whose lock is free, so it gets its visible name only
/// with the lock held.
fn made(path: &Path) -> io::Result<Held> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let hidden = path.with_file_name(format!(".{name}"));
    let held = DirBuilder::new().mode(PRIVATE).create(&hidden).and_then(|()| {
        let held = Held::of(&hidden)?;
        fs::rename(&hidden, path)?;
        Ok(held)
    });
    if held.is_err() {
        fs::remove_dir_all(&hidden).ok(); // It may not exist; the first error is the one to report.
    }
    held
}

/// Removes the directory whose process has ended.
fn reclaim(path: &Path, directory: &Metadata) -> io::Result<()> {
    let lock = match File::open(path.join(LOCK)) {
        // One that lives makes its lock again within a second. Removing the lock has changed the directory's time.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let is_left = directory.modified().is_ok_and(is_old);
            return if is_left { fs::remove_dir_all(path) } else { Err(error) };
        }
        lock => lock?,
    };
    lock.try_lock()?;
    // Between the two the directory may have been removed and made again by its process, with another lock.
    if Identity::of(&fs::symlink_metadata(path.join(LOCK))?) != Identity::of(&lock.metadata()?) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    fs::remove_dir_all(path)
}

/// Removes whatever is there. A link is not followed.
fn remove_anything(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn is_opened_up(file: &Metadata) -> bool {
    file.mode() & 0o777 != PRIVATE
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
const LOG: &str = "server.log";
const PRIVATE: u32 = 0o700;
const HIDDEN_AT_MOST: Duration = Duration::from_secs(60);
/// Cleaners that go by age (tmpreaper, tmpwatch) count in days.
const TOUCH_EACH: Duration = Duration::from_secs(3600);
const SHORT_TEMP: &str = "/tmp";
/// `sun_path` holds 104 bytes on the BSDs and macOS and 108 on Linux, with the zero at the end (unix(7)).
const MOST_BYTES: usize = 100;
