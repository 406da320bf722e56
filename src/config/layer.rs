//! One source of values, as figment takes it, and what there is to say of the sources.

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

use super::error::Fault;
use super::keys::{self, Key};
use super::nearest::key_hint;
use super::old::{self, Became};

/// The values of one file, or of one variable. Its name is what a fault shows as the source.
pub(super) struct Layer {
    pub(super) source: String,
    pub(super) values: Vec<(&'static Key, Value)>,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut sections = Dict::new();
        for (key, value) in &self.values {
            if let Some(section) = key.section.split('.').try_fold(&mut sections, within) {
                section.insert(key.name.to_owned(), value.clone());
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

/// What is wrong with the sources, and what is worth a line in the log.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) faults: Vec<Fault>,
    pub(super) notes: Vec<String>,
}

impl Report {
    /// The key that `name` means in `section`, which is ours. Reports a name that means none, without its value:
    /// that may be a secret.
    pub(super) fn key(
        &mut self,
        section: &str,
        name: &str,
        source: &str,
        spell: impl Fn(&Key) -> String,
    ) -> Option<&'static Key> {
        if let Some(key) = keys::find(section, name) {
            return Some(key);
        }
        let path = format!("{section}.{name}");
        match old::find(section, name) {
            Some(Became::Key(new)) => {
                self.notes.push(format!("{path} in {source} is read as {section}.{new}"));
                keys::find(section, new)
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
