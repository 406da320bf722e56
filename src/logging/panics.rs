use std::io::stderr;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Has panics that stderr has no room for logged: the hook that is there now writes to it, and while nobody reads what
/// it writes, a thread that panics would hang, and every other one that panics after it. Any other panic is the hook's.
pub(super) fn never_wait_for_stderr() {
    let hook = take_hook();
    set_hook(Box::new(
        move |panic| {
            if has_room(stderr().as_fd()) { hook(panic) } else { log(panic) }
        },
    ));
}

fn log(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let location = panic.location().map(ToString::to_string);
    let said = panic.payload();
    let said = said.downcast_ref::<&str>().copied();
    let said = said.or_else(|| panic.payload().downcast_ref::<String>().map(String::as_str));
    tracing::error!(
        thread = thread.name(),
        location,
        panic = said,
        "a thread panicked, and nobody reads stderr"
    );
}

/// Whether a panic's message and its backtrace can be written without waiting.
fn has_room(stream: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(&stream, PollFlags::OUT)];
    // What is broken does not block either.
    let answers = poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0);
    answers && has_room_in_pipe(stream)
}

/// A pipe is ready when it takes 4 KiB, and a backtrace is longer. A pipe of 64 KiB that holds a quarter has at least
/// half of its pages left, however long the lines are that it holds.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn has_room_in_pipe(stream: BorrowedFd<'_>) -> bool {
    let Ok(capacity) = rustix::pipe::fcntl_getpipe_size(stream) else {
        return true; // It is no pipe.
    };
    let capacity = u64::try_from(capacity).unwrap_or(u64::MAX);
    rustix::io::ioctl_fionread(stream).is_ok_and(|waiting| waiting <= capacity / 4)
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn has_room_in_pipe(_stream: BorrowedFd<'_>) -> bool {
    true
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write, pipe};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_pipe_has_room_until_a_quarter_is_taken_and_once_it_is_read() {
        let (mut reader, mut writer) = pipe().unwrap();
        assert!(has_room(writer.as_fd()));
        let quarter = vec![b'x'; rustix::pipe::fcntl_getpipe_size(&writer).unwrap() / 4];
        writer.write_all(&quarter).unwrap();
        assert!(has_room(writer.as_fd()));
        writer.write_all(b"x").unwrap();
        assert!(!has_room(writer.as_fd()));
        reader.read_exact(&mut vec![0; quarter.len()]).unwrap();
        assert!(has_room(writer.as_fd()));
        drop(reader);
        assert!(has_room(writer.as_fd()), "a write fails at once");
    }

    #[test]
    fn a_socket_has_room_until_it_is_full() {
        let (ours, _unread) = UnixStream::pair().unwrap();
        assert!(has_room(ours.as_fd()));
        ours.set_nonblocking(true).unwrap();
        while (&ours).write(&[b'x'; 4096]).is_ok() {}
        assert!(!has_room(ours.as_fd()));
    }

    #[test]
    fn a_file_has_room() {
        assert!(has_room(tempfile::tempfile().unwrap().as_fd()));
        assert!(has_room(File::options().write(true).open("/dev/null").unwrap().as_fd()));
    }
}
