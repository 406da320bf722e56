//! Reads the files that set keys.

use std::io::ErrorKind;
use std::path::PathBuf;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};

use super::endpoints;
use super::environment::Environment;
use super::error::Fault;
use super::keys;
use super::layer::{Layer, Report};
use super::nearest::nearest;
use super::old;
use super::section::{ENDPOINTS, REDIS, Section};

/// Reads the files of `service`, from the lowest precedence to the highest, and notes which of them exist.
pub(super) fn read(
    environment: &dyn Environment,
    service: &str,
    report: &mut Report,
) -> Vec<Layer> {
    let (mut read, mut absent) = (Vec::new(), Vec::new());
    let mut layers = Vec::new();
    for file in candidates(environment, service, report) {
        let source = file.path.display().to_string();
        match environment.read(&file.path) {
            Ok(text) => {
                layers.extend(layer(&text, &source, report));
                read.push(source);
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                absent.push(source);
            }
            // A process that changed its user may still have the HOME of another user, whose files it cannot read.
            Err(error)
                if error.kind() == ErrorKind::PermissionDenied
                    && file.is_at_home
                    && !environment.sees(&file.path) =>
            {
                absent.push(format!("{source} (its directory is closed to us)"));
            }
            Err(error) => {
                let given = format!("a file that cannot be read ({error})");
                report.faults.push(Fault::new(
                    "the file",
                    &source,
                    given,
                    "a file that this process may read, or none",
                ));
            }
        }
    }
    let list =
        |files: Vec<String>| if files.is_empty() { "none".to_owned() } else { files.join(", ") };
    report.files = format!(
        "configuration files read, the last wins: {}; not there: {}",
        list(read),
        list(absent)
    );
    report.notes.push(report.files.clone());
    layers
}

struct Candidate {
    path: PathBuf,
    /// Whether it is below `$HOME`, which may belong to another user.
    is_at_home: bool,
}

fn candidates(environment: &dyn Environment, service: &str, report: &mut Report) -> Vec<Candidate> {
    let user = user_directory(environment, report);
    let mut candidates = Vec::new();
    for product in ["acton-service", "mainstay"] {
        let in_product = PathBuf::from(product).join(service).join("config.toml");
        candidates
            .push(Candidate { path: PathBuf::from("/etc").join(&in_product), is_at_home: false });
        if let Some(user) = &user {
            candidates
                .push(Candidate { path: user.path.join(&in_product), is_at_home: user.is_at_home });
        }
    }
    let here = environment.current_directory().unwrap_or_else(|| PathBuf::from("."));
    candidates.push(Candidate { path: here.join("config.toml"), is_at_home: false });
    candidates
}

/// `$XDG_CONFIG_HOME`, else `~/.config`. A relative path is ignored, as
/// <https://specifications.freedesktop.org/basedir-spec/latest/> demands.
fn user_directory(environment: &dyn Environment, report: &mut Report) -> Option<Candidate> {
    if let Some(path) = environment.variable("XDG_CONFIG_HOME").map(PathBuf::from) {
        if path.is_absolute() {
            return Some(Candidate { path, is_at_home: false });
        }
        report
            .notes
            .push("XDG_CONFIG_HOME is not absolute: ~/.config is used in its place".to_owned());
    }
    let home = environment.variable("HOME").map(PathBuf::from).filter(|home| home.is_absolute())?;
    Some(Candidate { path: home.join(".config"), is_at_home: true })
}

fn layer(text: &str, source: &str, report: &mut Report) -> Option<Layer> {
    let document: Dict = match Toml::from_str(text) {
        Ok(document) => document,
        Err(error) => {
            // Only the message, because the line itself may hold a password.
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            let given = error.message().replace('\n', ", ");
            report.faults.push(Fault::new(&format!("line {line}"), source, given, "TOML"));
            return None;
        }
    };
    let mut layer = Layer { source: source.to_owned(), values: Vec::new() };
    let mut foreign = Vec::new();
    for (section, value) in document {
        let Some(ours) = keys::sections().find(|ours| *ours == section) else {
            let named = format!("[{section}] in {source}");
            if let Some(absent) = old::section(&section) {
                report.absent(&named, absent);
            } else if let Some(meant) = nearest(&section, keys::sections()) {
                report.warnings.push(format!("{named} has no effect; is [{meant}] meant?"));
            } else {
                foreign.push(section);
            }
            continue;
        };
        fill_from(&mut layer, Section::of(ours), value, report);
    }
    if !foreign.is_empty() {
        report.notes.push(format!("passed over in {source}, not ours: {}", foreign.join(", ")));
    }
    Some(layer)
}

fn fill_from(layer: &mut Layer, section: Section<'_>, value: Value, report: &mut Report) {
    let path = section.path();
    if let Some(values) = table(layer, &path, &path, value, report) {
        fill(layer, section, values, report);
    }
}

/// The content of the section `wanted`. Reports a value that is no table, without showing it.
fn table(
    layer: &Layer,
    path: &str,
    wanted: &str,
    value: Value,
    report: &mut Report,
) -> Option<Dict> {
    if let Value::Dict(_, values) = value {
        return Some(values);
    }
    let wanted = format!("a section, [{wanted}]");
    report.faults.push(Fault::new(path, &layer.source, "a single value", wanted));
    None
}

fn fill(layer: &mut Layer, section: Section<'_>, values: Dict, report: &mut Report) {
    for (name, value) in values {
        if section.has_endpoints() && name == "endpoints" {
            fill_endpoints(layer, value, report);
            continue;
        }
        if let Some(inner) = keys::section_within(section, &name) {
            fill_from(layer, inner, value, report);
            continue;
        }
        let spell = |key: &keys::Key| key.section_and_name_in(section);
        let Some(key) = report.key(section, &name, &layer.source, spell) else { continue };
        let path = key.path_in(section);
        if layer.values.iter().any(|(known, _)| *known == path) {
            let wanted = format!("{} alone", key.name);
            let given = format!("{}.{name}", section.path());
            report.faults.push(Fault::new(&given, &layer.source, "a key given twice", wanted));
        } else {
            layer.values.push((path, value));
        }
    }
}

fn fill_endpoints(layer: &mut Layer, value: Value, report: &mut Report) {
    let section = format!("{ENDPOINTS}.<name>");
    let Some(all) = table(layer, ENDPOINTS, &section, value, report) else { return };
    for (name, value) in all {
        let path = format!("{ENDPOINTS}.{name}");
        if let Some(fault) = endpoints::fault_of_name(&name, &layer.source) {
            report.faults.push(fault);
        } else if let Some(values) = table(layer, &path, &section, value, report) {
            // An empty section declares an endpoint too.
            layer.values.push((path, Value::from(Dict::new())));
            fill(layer, Section::of_endpoint(REDIS, &name), values, report);
        }
    }
}
