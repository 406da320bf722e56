//! What a service logs.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Everything that our own code logs on this thread, from its making to its end. The test's runtime
/// must have no other threads: that of `#[tokio::test]` has none.
#[derive(Debug)]
pub(crate) struct Log {
    lines: Lines,
    _guard: DefaultGuard,
}

#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<(Level, String)>>>);

impl Log {
    pub(crate) fn here() -> Self {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::registry().with(lines.clone());
        Self { lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines at `level` or above, each with its level, message and fields.
    pub(crate) fn lines(&self, level: Level) -> Vec<String> {
        let lines = self.lines.0.lock().unwrap();
        let shown = lines.iter().filter(|(of, _)| *of <= level);
        shown.map(|(level, line)| format!("{level} {line}")).collect()
    }

    pub(crate) fn clear(&self) {
        self.lines.0.lock().unwrap().clear();
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if metadata.target().starts_with("mainstay") {
            let mut line = Line(String::new());
            event.record(&mut line);
            self.0.lock().unwrap().push((*metadata.level(), line.0));
        }
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.0, "{value:?} "),
            name => write!(self.0, "{name}={value:?} "),
        };
        written.expect("a string takes everything");
    }
}
