//! A world that a test furnishes, and what every test asks of it.

mod endpoints;
mod files;
mod keys;
mod links;
mod old;
mod refusals;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::{Config, Environment, Error, Fault, Loaded};

#[derive(Default)]
struct World {
    variables: BTreeMap<OsString, OsString>,
    files: BTreeMap<PathBuf, Result<String, io::ErrorKind>>,
    closed: BTreeSet<PathBuf>,
}

impl World {
    fn new() -> Self {
        Self::default().with("HOME", "/home/ada")
    }

    fn with(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    fn file(mut self, path: &str, text: impl Into<String>) -> Self {
        self.files.insert(path.into(), Ok(text.into()));
        self
    }

    /// A `./config.toml`.
    fn here(self, text: impl Into<String>) -> Self {
        self.file("/srv/config.toml", text)
    }

    fn broken(mut self, path: &str, kind: io::ErrorKind) -> Self {
        self.files.insert(path.into(), Err(kind));
        self
    }

    fn closed(mut self, path: &str) -> Self {
        self.closed.insert(path.into());
        self.broken(path, io::ErrorKind::PermissionDenied)
    }

    fn try_load(&self) -> Result<Loaded, Error> {
        Config::load_from(self, None)
    }

    fn load(&self) -> Config {
        self.loaded().config
    }

    fn loaded(&self) -> Loaded {
        let loaded = self.try_load().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(loaded.config.validate(), Ok(()));
        loaded
    }

    fn faults(&self) -> Vec<Fault> {
        self.try_load().expect_err("this configuration should be refused").faults().to_vec()
    }

    /// The one fault, as (key, source, given, wanted).
    fn fault(&self) -> (String, String, String, String) {
        let faults = self.faults();
        let [fault] = faults.as_slice() else { panic!("not one fault: {faults:#?}") };
        (fault.key.clone(), fault.source.clone(), fault.given.clone(), fault.wanted.clone())
    }

    fn notes(&self) -> String {
        self.loaded().notes.join("\n")
    }

    fn warnings(&self) -> Vec<String> {
        self.loaded().warnings
    }
}

impl Environment for World {
    fn variables(&self) -> Vec<(OsString, OsString)> {
        self.variables.clone().into_iter().collect()
    }

    fn current_directory(&self) -> Option<PathBuf> {
        Some("/srv".into())
    }

    fn program(&self) -> Option<String> {
        Some("shop".to_owned())
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        match self.files.get(path) {
            Some(Ok(text)) => Ok(text.clone()),
            Some(Err(kind)) => Err((*kind).into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn sees(&self, path: &Path) -> bool {
        !self.closed.contains(path)
    }
}
