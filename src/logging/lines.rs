use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

/// How much waits to be written, at most. What is beyond that is lost, and counted.
const MOST_LINES: usize = 8192;
const MOST_BYTES: usize = 8 << 20;

/// A log's lines. A thread of their own writes them, so that nobody else waits for a slow reader.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    queue: NonBlocking,
    progress: Arc<Progress>,
    /// Its thread ends with the process, in the middle of a line if nobody reads that.
    _worker: Arc<WorkerGuard>,
}

#[derive(Debug, Default)]
struct Progress {
    counts: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Counts {
    /// Lines that wait, with the one that is being written.
    lines: usize,
    bytes: usize,
    /// Lines that are lost, since ever.
    lost: usize,
    /// Whether lines were written, and what follows the last one was not done yet.
    is_busy: bool,
    /// Whether nothing has been written since a wait that was in vain.
    is_stalled: bool,
}

impl Counts {
    /// Whether there is room for one more line.
    fn add(&mut self, len_bytes: usize) -> bool {
        let has_room =
            self.lines < MOST_LINES && self.bytes.saturating_add(len_bytes) <= MOST_BYTES;
        if has_room {
            self.lines += 1;
            self.bytes += len_bytes;
        } else {
            self.lost = self.lost.saturating_add(1);
        }
        has_room
    }
}

impl Lines {
    /// Begins a log that is written to `output`. `line_of_lost` makes the line that says how many were lost.
    ///
    /// # Panics
    /// If the system has no thread for it.
    pub(super) fn to(
        output: impl Write + Send + 'static,
        line_of_lost: impl Fn(usize) -> Vec<u8> + Send + 'static,
    ) -> Self {
        let progress = Arc::new(Progress::default());
        let progress_of_output = Arc::clone(&progress);
        let output = Output {
            stream: output,
            line_of_lost,
            progress: progress_of_output,
            told: 0,
            since_told: 0,
        };
        let (queue, worker) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(MOST_LINES)
            .thread_name("mainstay-log")
            .finish(output);
        Self { queue, progress, _worker: Arc::new(worker) }
    }

    /// Waits until everything that was logged is written, for `limit` at most; not at all where an earlier wait was in
    /// vain and nothing was written since.
    pub(super) fn wait(&self, limit: Duration) {
        let counts = self.progress.counts();
        if counts.is_stalled {
            return;
        }
        let is_pending = |counts: &mut Counts| counts.lines > 0 || counts.is_busy;
        let waited = self.progress.changed.wait_timeout_while(counts, limit, is_pending);
        let (mut counts, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        counts.is_stalled = timeout.timed_out();
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.progress.counts().add(line.len()) {
            // It has room: no line leaves it before it is counted as written.
            self.queue.write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Progress {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts());
        self.changed.notify_all();
    }
}

/// What the thread writes to. It hands a line over by `write_all`, and flushes when no line waits.
struct Output<W, L> {
    stream: W,
    line_of_lost: L,
    progress: Arc<Progress>,
    /// How many lines were lost when that was last said, and how many were written since.
    told: usize,
    since_told: usize,
}

impl<W: Write, L: Fn(usize) -> Vec<u8>> Output<W, L> {
    /// Says how many lines were lost since that was last said, if any were.
    fn tell_lost(&mut self) -> io::Result<()> {
        let lost = self.progress.counts().lost;
        if lost > self.told {
            self.stream.write_all(&(self.line_of_lost)(lost - self.told))?;
            self.told = lost;
        }
        self.since_told = 0;
        Ok(())
    }
}

impl<W: Write, L: Fn(usize) -> Vec<u8>> Write for Output<W, L> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        let mut written = self.stream.write_all(line);
        let lost = usize::from(written.is_err());
        self.since_told += 1;
        if written.is_ok() && self.since_told >= 2 * MOST_LINES {
            // There is always a line that waits, so others may be lost all the time.
            written = self.tell_lost();
        }
        let is_broken = written.is_err();
        self.progress.change(|counts| {
            counts.lines = counts.lines.saturating_sub(1);
            counts.bytes = counts.bytes.saturating_sub(line.len());
            counts.lost = counts.lost.saturating_add(lost);
            counts.is_stalled = false;
            // After an error it is not flushed.
            counts.is_busy = !is_broken;
        });
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        let told = self.stream.flush().and_then(|()| self.tell_lost());
        self.progress.change(|counts| counts.is_busy = false);
        told
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);
    const MOMENT: Duration = Duration::from_millis(10);

    type Written = Arc<Mutex<Vec<String>>>;

    /// Writes, or fails to write, one line for each answer that it is given. Then, without a sender, any line.
    struct Gate {
        answers: Receiver<io::Result<()>>,
        written: Written,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.answers.recv().unwrap_or(Ok(()))?;
            self.written.lock().unwrap().push(str::from_utf8(bytes).unwrap().to_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated() -> (Lines, Sender<io::Result<()>>, Written) {
        let (sender, answers) = channel();
        let written = Written::default();
        let gate = Gate { answers, written: Arc::clone(&written) };
        (Lines::to(gate, |lost| format!("lost {lost}").into_bytes()), sender, written)
    }

    fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + SOON;
        while !is_so() {
            assert!(Instant::now() < deadline, "not in {SOON:?}: {what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_wait_ends_when_all_is_written() {
        let (mut lines, gate, written) = gated();
        for line in ["a", "b", "c"] {
            lines.write_all(line.as_bytes()).unwrap();
        }
        drop(gate);
        lines.wait(SOON);
        assert_eq!(*written.lock().unwrap(), ["a", "b", "c"]);
        let begun = Instant::now();
        lines.wait(SOON);
        assert!(begun.elapsed() < SOON, "nothing is left to wait for");
    }

    #[test]
    fn a_wait_in_vain_is_not_repeated_until_something_is_written() {
        let (mut lines, gate, written) = gated();
        lines.write_all(b"a").unwrap();
        let begun = Instant::now();
        lines.wait(MOMENT);
        assert!(begun.elapsed() >= MOMENT);
        lines.write_all(b"b").unwrap();
        lines.wait(2 * SOON);
        assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
        drop(gate);
        eventually("something is written", || !lines.progress.counts().is_stalled);
        lines.wait(SOON);
        assert_eq!(*written.lock().unwrap(), ["a", "b"]);
    }

    #[test]
    fn every_line_is_written_or_counted_and_the_loss_is_told_once() {
        let (mut lines, gate, written) = gated();
        let begun = Instant::now();
        for number in 0..MOST_LINES + 100 {
            lines.write_all(number.to_string().as_bytes()).unwrap();
        }
        assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
        drop(gate);
        lines.wait(SOON);
        let mut expected: Vec<_> = (0..MOST_LINES).map(|number| number.to_string()).collect();
        expected.push("lost 100".into());
        assert_eq!(*written.lock().unwrap(), expected);
        lines.write_all(b"next").unwrap();
        lines.wait(SOON);
        assert_eq!(written.lock().unwrap().last().unwrap(), "next", "it is told once");
    }

    #[test]
    fn long_lines_have_their_own_bound() {
        let (mut lines, gate, written) = gated();
        let long = "x".repeat(MOST_BYTES / 4);
        for _ in 0..6 {
            lines.write_all(long.as_bytes()).unwrap();
        }
        lines.write_all(b"short").unwrap();
        drop(gate);
        lines.wait(SOON);
        let written = written.lock().unwrap();
        assert_eq!(written.iter().filter(|line| **line == long).count(), 4);
        assert_eq!(written[4..], ["lost 3"]);
    }

    #[test]
    fn a_loss_without_end_is_told_now_and_then() {
        let (mut lines, gate, written) = gated();
        let rounds = 5 * MOST_LINES + 8;
        for round in 0..rounds {
            for _ in 0..3 {
                lines.write_all(b"line").unwrap();
            }
            if round >= MOST_LINES {
                // The queue is never empty, and never has room for all.
                gate.send(Ok(())).unwrap();
                eventually("a line is written", || {
                    written.lock().unwrap().len() > round - MOST_LINES
                });
            }
        }
        let told = written.lock().unwrap().iter().filter(|line| line.starts_with("lost")).count();
        assert_eq!(told, 2, "after twice as many lines as may wait");
        drop(gate);
    }

    #[test]
    fn what_the_output_refuses_is_told_when_it_takes_lines_again() {
        let (mut lines, gate, written) = gated();
        for _ in 0..3 {
            gate.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
            lines.write_all(b"refused").unwrap();
            lines.wait(SOON);
        }
        assert_eq!(*written.lock().unwrap(), [""; 0]);
        drop(gate);
        lines.write_all(b"a").unwrap();
        lines.wait(SOON);
        assert_eq!(*written.lock().unwrap(), ["a", "lost 3"]);
    }
}
