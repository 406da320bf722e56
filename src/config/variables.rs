//! Reads the variables that set keys: `ACTON_<SECTION>_<KEY>` and its twin `MAINSTAY_..`.

use std::collections::BTreeMap;
use std::ffi::OsString;

use figment::value::Value;

use super::endpoints::{self, Told};
use super::environment::Environment;
use super::error::Fault;
use super::keys::{self, Key};
use super::layer::{Layer, Report};
use super::links::is_link;
use super::nearest::nearest;
use super::old;
use super::section::Section;
use super::variable_name::{section_and_key, without_prefix};

/// The prefixes, from the lowest precedence to the highest.
const PREFIXES: [&str; 2] = ["ACTON", "MAINSTAY"];

/// One value from one variable.
pub(super) struct Setting {
    /// The path of the key.
    pub(super) path: String,
    pub(super) variable: String,
    pub(super) value: String,
}

impl From<Setting> for Layer {
    fn from(setting: Setting) -> Self {
        Self { source: setting.variable, values: vec![(setting.path, Value::from(setting.value))] }
    }
}

/// Reads every variable with one of the prefixes, from the lowest precedence to the highest: `ACTON_REDIS_URL`,
/// `ACTON_REDIS__URL`, `MAINSTAY_REDIS_URL`, `MAINSTAY_REDIS__URL`.
pub(super) fn read(environment: &dyn Environment, report: &mut Report) -> Vec<Setting> {
    let all: BTreeMap<String, OsString> = environment
        .variables()
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .collect();
    let (mut settings, mut links, mut foreign) = (Vec::new(), Vec::new(), Vec::new());
    for prefix in PREFIXES {
        let (mut single, mut double) = (Vec::new(), Vec::new());
        for (name, value) in &all {
            let Some(rest) = without_prefix(name, prefix) else { continue };
            if is_link(name, &all) {
                links.push(name.as_str());
                continue;
            }
            let settings = if rest.contains("__") { &mut double } else { &mut single };
            if let Some(rest) = endpoints::of_variable(&rest) {
                settings.extend(setting_of_endpoint(name, prefix, rest, value, report));
                continue;
            }
            let Some((section, key)) = section_and_key(&rest) else {
                match old::section_of_variable(&rest) {
                    Some(absent) => report.absent(name, absent),
                    None => foreign.extend(foreign_name(name, prefix, &rest, report)),
                }
                continue;
            };
            settings.extend(setting(name, prefix, (Section::of(section), key), value, report));
        }
        settings.extend(single);
        settings.extend(double);
    }
    note_what_won(&settings, report);
    if !foreign.is_empty() {
        report.notes.push(format!(
            "variables passed over, not of a section of ours: {}",
            foreign.join(", ")
        ));
    }
    if !links.is_empty() {
        report.notes.push(format!(
            "variables passed over as Kubernetes service links (two underscores, as in ACTON_SERVICE__PORT, always set \
             a key): {}",
            links.join(", ")
        ));
    }
    settings
}

/// The value of a key of an endpoint. `rest` is what follows `redis_endpoints_`.
fn setting_of_endpoint(
    variable: &str,
    prefix: &str,
    rest: &str,
    value: &OsString,
    report: &mut Report,
) -> Option<Setting> {
    let Some(Told { endpoint, keys, name }) = endpoints::read(rest) else {
        report.faults.push(endpoints::nameless(variable, prefix));
        return None;
    };
    if let Some(fault) = endpoints::fault_of_name(&endpoint, variable) {
        report.faults.push(fault);
        return None;
    }
    setting(variable, prefix, (Section::of_endpoint(keys, &endpoint), name), value, report)
}

fn setting(
    variable: &str,
    prefix: &str,
    (section, name): (Section<'_>, &str),
    value: &OsString,
    report: &mut Report,
) -> Option<Setting> {
    let spell = |key: &Key| format!("{prefix}_{}", key.variable_in(section));
    let key = report.key(section, name, variable, spell)?;
    let Some(value) = value.to_str() else {
        report.faults.push(Fault::new(
            &key.path_in(section),
            variable,
            "bytes that are not UTF-8",
            key.slot.kind(),
        ));
        return None;
    };
    Some(Setting {
        path: key.path_in(section),
        variable: variable.to_owned(),
        value: value.to_owned(),
    })
}

/// The variable, if its section is unknown. If the section is a misspelt one of ours, reports a warning instead.
fn foreign_name<'a>(
    name: &'a str,
    prefix: &str,
    rest: &str,
    report: &mut Report,
) -> Option<&'a str> {
    let section = rest.split('_').next().unwrap_or_default();
    let Some(meant) = nearest(section, keys::sections()) else { return Some(name) };
    let meant = meant.to_ascii_uppercase();
    report.warnings.push(format!("{name} has no effect; is {prefix}_{meant}_.. meant?"));
    None
}

fn note_what_won(settings: &[Setting], report: &mut Report) {
    let mut highest: BTreeMap<String, &Setting> = BTreeMap::new();
    for setting in settings {
        let Some(beaten) = highest.insert(setting.path.clone(), setting) else { continue };
        if beaten.value.trim() != setting.value.trim() {
            let note = format!(
                "{} wins over {}: they are set differently",
                setting.variable, beaten.variable
            );
            report.notes.push(note);
        }
    }
}
