use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use super::lines::Lines;

/// The log of this process, if it is ours.
static LINES: OnceLock<Lines> = OnceLock::new();

/// How many services run. While none does the process may end at any moment.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// How long the end of a service, and a line while none runs, wait until what was logged is written.
pub(crate) const LAST_LINES: Duration = Duration::from_millis(500);

/// A service that runs. Dropping it waits until its lines are written, for [`LAST_LINES`] at most.
#[derive(Debug)]
pub(crate) struct Running(());

impl Running {
    pub(crate) fn begin() -> Self {
        RUNNING.fetch_add(1, Ordering::AcqRel);
        Self(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::AcqRel);
        if let Some(lines) = LINES.get() {
            lines.wait(LAST_LINES);
        }
    }
}

/// Makes `lines` the log of this process.
pub(super) fn keep(lines: Lines) {
    // The first one stays: there is only one log in a process.
    LINES.set(lines).ok();
}

/// Hands lines over. While no service runs it waits until they are written.
#[derive(Debug, Clone)]
pub(super) struct Writer(pub(super) Lines);

impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let len_bytes = self.0.write(line)?;
        if RUNNING.load(Ordering::Acquire) == 0 {
            self.0.wait(LAST_LINES);
        }
        Ok(len_bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Writer {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
