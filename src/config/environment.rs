//! The world around the process, behind one trait, so that a test brings its own.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// What the configuration asks of the world. [`Process`] answers for the real one.
pub trait Environment {
    /// Every environment variable with its value.
    fn variables(&self) -> Vec<(OsString, OsString)>;

    /// The directory that `./config.toml` is looked for in, if there still is one.
    fn current_directory(&self) -> Option<PathBuf>;

    /// The file name of the running program, without its extension.
    fn program(&self) -> Option<String>;

    /// The text of the file at `path`.
    ///
    /// # Errors
    /// Whatever the file system says; `NotFound` and `NotADirectory` mean that there is none.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// Whether the directories on the way let the process see what is at `path`.
    fn sees(&self, path: &Path) -> bool;

    /// The value of one variable, if it is set and not empty.
    fn variable(&self, name: &str) -> Option<OsString> {
        self.variables()
            .into_iter()
            .find(|(known, value)| known == name && !value.is_empty())
            .map(|(_, value)| value)
    }
}

/// The real process: its variables, its directory, its file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Process;

impl Environment for Process {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    fn variables(&self) -> Vec<(OsString, OsString)> {
        std::env::vars_os().collect()
    }

    fn current_directory(&self) -> Option<PathBuf> {
        std::env::current_dir().ok()
    }

    fn program(&self) -> Option<String> {
        let program = std::env::current_exe().ok()?;
        Some(program.file_stem()?.to_string_lossy().into_owned())
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn sees(&self, path: &Path) -> bool {
        path.try_exists().is_ok()
    }
}

/// What a child process is started with: where programs are found and where short-lived files go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// The variable `PATH`, if set.
    pub path: Option<OsString>,
    /// The directory for short-lived files: `$TMPDIR`, else `/tmp`.
    pub temporary_directory: PathBuf,
}

impl Surroundings {
    /// Reads the surroundings from `environment`.
    pub fn of(environment: &dyn Environment) -> Self {
        Self {
            path: environment.variable("PATH"),
            temporary_directory: environment
                .variable("TMPDIR")
                .map_or_else(|| PathBuf::from("/tmp"), PathBuf::from),
        }
    }
}
