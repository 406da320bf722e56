//! Each example, run as a newcomer runs it, prints what its heading says.
#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};
use std::{env, fs};

use tokio::time::{Instant, sleep};

/// No example takes as long, on any machine.
const HUNG: Duration = Duration::from_secs(60);

/// A program that was built beside this test. Killed when dropped.
struct Example {
    name: String,
    source: PathBuf,
    program: Child,
}

/// The sources of all examples.
fn sources() -> Vec<PathBuf> {
    let entries = fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_example = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("client.rs")
    };
    paths.filter(is_example).collect()
}

fn modified(path: &Path) -> SystemTime {
    let build = "cargo build --package examples --examples";
    let metadata = path.metadata();
    metadata
        .unwrap_or_else(|error| panic!("{}: {error}; run: {build}", path.display()))
        .modified()
        .unwrap()
}

impl Example {
    fn start(source: PathBuf) -> Self {
        let name = source.file_stem().unwrap().to_str().unwrap().to_owned();
        // This test is in `debug/deps`, the examples are in `debug/examples`.
        let test = env::current_exe().unwrap();
        let program = test.ancestors().nth(2).unwrap().join("examples").join(&name);
        assert!(modified(&program) >= modified(&source), "{name} was changed after it was built");
        let program =
            Command::new(program).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        Self { name, source, program }
    }

    /// What its heading says that it prints.
    fn promised(&self) -> String {
        let source = fs::read_to_string(&self.source).unwrap();
        let heading = source.lines().map_while(|line| line.strip_prefix("//!"));
        let block = heading.skip_while(|line| *line != " ```text").skip(1);
        let lines: Vec<_> = block.take_while(|line| *line != " ```").map(str::trim).collect();
        assert!(!lines.is_empty(), "the heading of {} shows no output", self.name);
        lines.join("\n")
    }

    async fn printed(&mut self) -> String {
        let end = Instant::now() + HUNG;
        let status = loop {
            if let Some(status) = self.program.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "{} still runs after {HUNG:?}", self.name);
            sleep(Duration::from_millis(10)).await;
        };
        let printed = std::io::read_to_string(self.program.stdout.take().unwrap()).unwrap();
        assert!(status.success(), "{} ended with {status}:\n{printed}", self.name);
        printed.trim_end().to_owned()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        self.program.kill().ok(); // It may be gone already.
        self.program.wait().ok();
    }
}

#[tokio::test]
async fn each_example_prints_what_its_heading_says() {
    let examples: Vec<_> = sources().into_iter().map(Example::start).collect();
    assert!(examples.len() >= 4, "only {} examples were found", examples.len());
    for mut example in examples {
        assert_eq!(example.printed().await, example.promised(), "{}", example.name);
    }
}
