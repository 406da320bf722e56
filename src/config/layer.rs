//! One source of values as figment takes it, and the report on all sources.

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

use super::error::Fault;
use super::keys::{self, Key};
use super::nearest::key_hint;
use super::old::{self, Absent, Became};
use super::section::Section;

/// The values of one file or one variable. A fault shows its name as the source.
pub(super) struct Layer {
    pub(super) source: String,
    /// Each with the path of its key.
    pub(super) values: Vec<(String, Value)>,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut sections = Dict::new();
        for (path, value) in &self.values {
            let Some((section, name)) = path.rsplit_once('.') else { continue };
            if let Some(section) = section.split('.').try_fold(&mut sections, within) {
                section.insert(name.to_owned(), value.clone());
            }
        }
        Ok(Profile::Default.collect(sections))
    }
}

fn within<'a>(sections: &'a mut Dict, name: &str) -> Option<&'a mut Dict> {
    match sections.entry(name.to_owned()).or_insert_with(|| Value::from(Dict::new())) {
        Value::Dict(_, section) => Some(section),
        _ => None,
    }
}

/// The faults of the sources, and what there is to log about them.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) faults: Vec<Fault>,
    pub(super) notes: Vec<String>,
    /// Settings that have no effect although somebody may rely on them.
    pub(super) warnings: Vec<String>,
    /// Which files were read, and which do not exist.
    pub(super) files: String,
}

impl Report {
    /// Notes that the setting `named`, which acton-service knows, has no effect.
    pub(super) fn absent(&mut self, named: &str, absent: &Absent) {
        let line = format!("{named} has no effect here: {}", absent.instead);
        let lines = if absent.protects { &mut self.warnings } else { &mut self.notes };
        lines.push(line);
    }

    /// The key called `name` in `section`. Reports an unknown name, without its value, which may be a secret.
    pub(super) fn key(
        &mut self,
        section: Section<'_>,
        name: &str,
        source: &str,
        spell: impl Fn(&Key) -> String,
    ) -> Option<&'static Key> {
        if let Some(key) = keys::find(section.keys, name) {
            return Some(key);
        }
        let path = format!("{}.{name}", section.path());
        match old::find(section.keys, name) {
            Some(Became::Key(new)) => {
                let new = keys::find(section.keys, new)?;
                self.notes.push(format!("{path} in {source} is read as {}", new.path_in(section)));
                Some(new)
            }
            Some(Became::Nothing(wanted)) => {
                self.faults.push(Fault::new(&path, source, "a key of acton-service", wanted));
                None
            }
            None => {
                let hint = key_hint(section, name, spell);
                self.faults.push(Fault::new(&path, source, "a key that is not known", hint));
                None
            }
        }
    }
}
