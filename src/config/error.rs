use std::fmt;

/// Why a configuration was refused: every fault it has, not only the first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    faults: Vec<Fault>,
    /// Which files were read, and which were not there; empty where none was looked for.
    files: String,
}

impl Error {
    pub(super) fn new(faults: Vec<Fault>, files: String) -> Self {
        Self { faults, files }
    }

    /// Every fault, at least one. Answers from memory.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.faults.len();
        write!(f, "the configuration has {count} fault{}", if count == 1 { "" } else { "s" })?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))?;
        // Shows which file is read to someone who edits another.
        if self.files.is_empty() { Ok(()) } else { write!(f, "\n  {}", self.files) }
    }
}

/// One thing that is wrong with a configuration. It never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// What is wrong: a key such as `redis.max_connections`, or a whole file.
    pub key: String,
    /// Where it was given: the path of a file, the name of a variable, or `code`.
    pub source: String,
    /// What was given, secrets masked.
    pub given: String,
    /// What is wanted in its place.
    pub wanted: String,
}

impl Fault {
    pub(super) fn new(
        key: &str,
        source: &str,
        given: impl fmt::Display,
        wanted: impl Into<String>,
    ) -> Self {
        Self {
            key: key.to_owned(),
            source: source.to_owned(),
            given: given.to_string(),
            wanted: wanted.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}: given {}; wanted: {}", self.key, self.source, self.given, self.wanted)
    }
}
