use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

/// How many lines wait to be written. Those beyond are lost, and counted.
pub(super) const CAPACITY: usize = 8192;

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
    handed_over: AtomicUsize,
    dropped: OnceLock<ErrorCounter>,
    written: Mutex<Written>,
    changed: Condvar,
}

#[derive(Debug)]
struct Written {
    /// Those that failed as well.
    lines: usize,
    /// Whether the queue was empty after the last line.
    is_idle: bool,
    /// Whether nothing has been written since a wait that was in vain.
    is_stalled: bool,
}

impl Default for Written {
    fn default() -> Self {
        Self { lines: 0, is_idle: true, is_stalled: false }
    }
}

impl Lines {
    /// Begins a log that is written to `output`. `lost` makes the line that says how many lines were lost.
    ///
    /// # Panics
    /// If the system has no thread for it.
    pub(super) fn to(
        output: impl Write + Send + 'static,
        lost: impl Fn(usize) -> Vec<u8> + Send + 'static,
    ) -> Self {
        let progress = Arc::new(Progress::default());
        let output = Output {
            stream: output,
            line_of: lost,
            progress: Arc::clone(&progress),
            failed: 0,
            told: 0,
            since_told: 0,
        };
        let (queue, worker) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(CAPACITY)
            .thread_name("mainstay-log")
            .finish(output);
        progress.dropped.get_or_init(|| queue.error_counter());
        Self { queue, progress, _worker: Arc::new(worker) }
    }

    /// Waits until everything that was logged so far is written, for `limit` at most; not at all where an earlier wait
    /// was in vain and nothing was written since.
    pub(super) fn wait(&self, limit: Duration) {
        let progress = &self.progress;
        let handed_over = progress.handed_over.load(Ordering::Acquire);
        let written = progress.written();
        if written.is_stalled {
            return;
        }
        let is_pending = |written: &mut Written| {
            !written.is_idle || written.lines.saturating_add(progress.dropped()) < handed_over
        };
        let waited = progress.changed.wait_timeout_while(written, limit, is_pending);
        let (mut written, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        written.is_stalled = timeout.timed_out();
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.progress.handed_over.fetch_add(1, Ordering::AcqRel);
        self.queue.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Progress {
    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Written)) {
        change(&mut self.written());
        self.changed.notify_all();
    }

    /// How many lines found no place in the queue.
    fn dropped(&self) -> usize {
        self.dropped.get().map_or(0, ErrorCounter::dropped_lines)
    }
}

/// What the thread writes to. It hands a line over by `write_all`, and flushes when no line waits.
struct Output<W, L> {
    stream: W,
    line_of: L,
    progress: Arc<Progress>,
    /// How many lines the output has refused.
    failed: usize,
    /// How many lines were lost when that was last said, and how many were written since.
    told: usize,
    since_told: usize,
}

impl<W: Write, L: Fn(usize) -> Vec<u8>> Output<W, L> {
    /// Says how many lines were lost since that was last said, if any were.
    fn tell_lost(&mut self) -> io::Result<()> {
        let lost = self.progress.dropped() + self.failed;
        if lost > self.told {
            self.stream.write_all(&(self.line_of)(lost - self.told))?;
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
        self.progress.written().is_idle = false;
        let mut written = self.stream.write_all(line);
        self.failed += usize::from(written.is_err());
        self.since_told += 1;
        if written.is_ok() && self.since_told >= 2 * CAPACITY {
            // There is always a line that waits, so others may be lost all the time.
            written = self.tell_lost();
        }
        let is_broken = written.is_err();
        self.progress.change(|written| {
            written.lines = written.lines.saturating_add(1);
            written.is_stalled = false;
            // It is not flushed after an error.
            written.is_idle = is_broken;
        });
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        let told = self.stream.flush().and_then(|()| self.tell_lost());
        self.progress.change(|written| written.is_idle = true);
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

    /// Writes, or fails to write, one line for each answer that it is given. Then, without a sender, any line.
    struct Gate {
        answers: Receiver<io::Result<()>>,
        written: Arc<Mutex<String>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.answers.recv().unwrap_or(Ok(()))?;
            self.written.lock().unwrap().push_str(str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated() -> (Lines, Sender<io::Result<()>>, Arc<Mutex<String>>) {
        let (sender, answers) = channel();
        let written = Arc::default();
        let gate = Gate { answers, written: Arc::clone(&written) };
        (Lines::to(gate, |lost| format!("lost {lost}\n").into_bytes()), sender, written)
    }

    #[test]
    fn a_wait_ends_when_all_is_written() {
        let (mut lines, gate, written) = gated();
        for line in ["a\n", "b\n", "c\n"] {
            lines.write_all(line.as_bytes()).unwrap();
        }
        drop(gate);
        lines.wait(SOON);
        assert_eq!(*written.lock().unwrap(), "a\nb\nc\n");
        let begun = Instant::now();
        lines.wait(SOON);
        assert!(begun.elapsed() < SOON, "nothing is left to wait for");
    }

    #[test]
    fn a_wait_in_vain_is_not_repeated_until_something_is_written() {
        let (mut lines, gate, written) = gated();
        lines.write_all(b"a\n").unwrap();
        let begun = Instant::now();
        lines.wait(MOMENT);
        assert!(begun.elapsed() >= MOMENT);
        lines.write_all(b"b\n").unwrap();
        lines.wait(2 * SOON);
        assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
        drop(gate);
        reaches(&lines, 1);
        lines.wait(SOON);
        assert_eq!(*written.lock().unwrap(), "a\nb\n");
    }

    #[test]
    fn every_line_is_written_or_counted_and_the_loss_is_told_once() {
        let (mut lines, gate, written) = gated();
        let begun = Instant::now();
        for _ in 0..CAPACITY + 100 {
            lines.write_all(b"line\n").unwrap();
        }
        assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
        drop(gate);
        lines.wait(SOON);
        let text = written.lock().unwrap().clone();
        let kept = text.lines().filter(|line| *line == "line").count();
        let lost = CAPACITY + 100 - kept;
        assert!((99..=100).contains(&lost), "one may be under way: {lost}");
        assert!(text.ends_with(&format!("line\nlost {lost}\n")), "told last");
        lines.write_all(b"next\n").unwrap();
        lines.wait(SOON);
        assert_eq!(written.lock().unwrap().matches("lost").count(), 1);
    }

    #[test]
    fn lines_are_lost_all_the_time_and_that_is_told_now_and_then() {
        let (mut lines, gate, written) = gated();
        for _ in 0..2 * CAPACITY {
            lines.write_all(b"line\n").unwrap();
        }
        for round in 0..5 * CAPACITY {
            gate.send(Ok(())).unwrap();
            // The queue is never empty, and never has room for both.
            reaches(&lines, round.saturating_sub(CAPACITY / 2));
            lines.write_all(b"line\n").unwrap();
            lines.write_all(b"line\n").unwrap();
        }
        reaches(&lines, 5 * CAPACITY - 8);
        let told = written.lock().unwrap().matches("lost").count();
        assert_eq!(told, 2, "after twice the capacity each time");
        drop(gate);
    }

    /// Waits until so many lines are written.
    fn reaches(lines: &Lines, written: usize) {
        let deadline = Instant::now() + SOON;
        while lines.progress.written().lines < written {
            assert!(Instant::now() < deadline, "not in {SOON:?}: {written} lines");
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_the_output_refuses_is_told_when_it_takes_lines_again() {
        let (mut lines, gate, written) = gated();
        for _ in 0..3 {
            gate.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
            lines.write_all(b"refused\n").unwrap();
            lines.wait(SOON);
        }
        assert_eq!(*written.lock().unwrap(), "");
        drop(gate);
        lines.write_all(b"a\n").unwrap();
        lines.wait(SOON);
        assert_eq!(*written.lock().unwrap(), "a\nlost 3\n");
    }
}
