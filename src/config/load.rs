//! From all sources to one configuration, or to every fault it has.

use std::collections::BTreeMap;
use std::time::Duration;

use figment::Figment;
use figment::value::Value;

use super::environment::{Environment, Surroundings};
use super::error::{Error, Fault};
use super::layer::{Layer, Report};
use super::value::{Given, time_text};
use super::variables::Setting;
use super::{Config, Loaded, files, keys, service, variables};

/// What a fault shows as the source of a value that a program set.
const CODE: &str = "code";

pub(super) fn load(environment: &dyn Environment, name: Option<&str>) -> Result<Loaded, Error> {
    let mut report = Report::default();
    let mut settings = variables::read(environment, &mut report);
    settings.extend(name.and_then(|name| given_in_code(name, &settings, &mut report)));
    let service = service_name(environment, &settings);
    let files = files::read(environment, &service, &mut report);

    let layers = files.into_iter().chain(settings.into_iter().map(Layer::from));
    let figment = layers.fold(Figment::new(), Figment::merge);
    let mut config = Config {
        service: service::Config { name: service, ..Default::default() },
        ..Default::default()
    };
    let sources = apply(&figment, &mut config, &mut report.faults);
    if config.service.is_production() && !sources.contains_key("service.drain_delay") {
        let most = config.service.shutdown_timeout / 2;
        config.service.drain_delay = service::Config::DRAIN_DELAY_IN_PRODUCTION.min(most);
    }
    check_pairs(&config, &sources, &mut report.faults);
    #[cfg(feature = "cache")]
    check_redis(&config, &sources, &mut report.faults);

    if report.faults.is_empty() {
        Ok(Loaded { config, notes: report.notes, surroundings: Surroundings::of(environment) })
    } else {
        Err(Error::new(report.faults))
    }
}

pub(super) fn validate(config: &Config) -> Result<(), Error> {
    let (mut copy, mut faults) = (config.clone(), Vec::new());
    for key in keys::all() {
        let Some(given) = key.slot.get(&mut copy) else { continue };
        if let Err(refusal) = key.slot.set(&mut copy, &given) {
            faults.push(Fault::new(&key.path(), CODE, refusal.given, refusal.wanted));
        }
    }
    check_pairs(config, &BTreeMap::new(), &mut faults);
    #[cfg(feature = "cache")]
    check_redis(config, &BTreeMap::new(), &mut faults);
    if faults.is_empty() { Ok(()) } else { Err(Error::new(faults)) }
}

/// The name that the program gave, above every other source.
fn given_in_code(name: &str, settings: &[Setting], report: &mut Report) -> Option<Setting> {
    let key = keys::find("service", "name")?;
    if let Some(other) =
        settings.iter().rfind(|setting| setting.key.path() == key.path() && setting.value != name)
    {
        report.notes.push(format!(
            "the service is called {name:?} in code, which wins over {}",
            other.variable
        ));
    }
    Some(Setting { key, variable: CODE.to_owned(), value: name.to_owned() })
}

/// The name whose files are read: one that can stand as a directory, whatever was given.
fn service_name(environment: &dyn Environment, settings: &[Setting]) -> String {
    let mut probe = Config::default();
    let mut is_name = |name: &str| {
        let given = Given::Text(name.to_owned());
        keys::find("service", "name").is_some_and(|key| key.slot.set(&mut probe, &given).is_ok())
    };
    let given = settings.iter().rfind(|setting| setting.key.path() == "service.name");
    let program =
        || Some(environment.program()?.replace(|c: char| c.is_whitespace() || c.is_control(), "-"));
    let given = given.map(|setting| setting.value.trim().to_owned()).filter(|name| is_name(name));
    given.or_else(|| program().filter(|name| is_name(name))).unwrap_or(probe.service.name)
}

/// Sets what `figment` holds, and tells for each key that it holds where it came from.
fn apply(
    figment: &Figment,
    config: &mut Config,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, String> {
    let mut sources = BTreeMap::new();
    for key in keys::all() {
        let Ok(value) = figment.find_value(&key.path()) else { continue };
        let source = source_of(figment, &value);
        if let Err(refusal) = key.slot.set(config, &Given::from(&value)) {
            faults.push(Fault::new(&key.path(), &source, refusal.given, refusal.wanted));
        }
        sources.insert(key.path(), source);
    }
    sources
}

fn source_of(figment: &Figment, value: &Value) -> String {
    figment.get_metadata(value.tag()).map(|metadata| metadata.name.to_string()).unwrap_or_default()
}

/// Checks what no key can check alone. A key that already has a fault takes part in no second one.
fn check_pairs(config: &Config, sources: &BTreeMap<String, String>, faults: &mut Vec<Fault>) {
    let (service, supervision) = (&config.service, &config.supervision);
    let mut check =
        |is_right: bool, (key, given): (&str, Duration), other: &str, wanted: String| {
            let is_known = faults.iter().any(|fault| fault.key == key || fault.key == other);
            if !is_right && !is_known {
                let source =
                    sources.get(key).or_else(|| sources.get(other)).map_or(CODE, String::as_str);
                faults.push(Fault::new(key, source, quoted(given), wanted));
            }
        };
    check(
        service.drain_delay < service.shutdown_timeout,
        ("service.drain_delay", service.drain_delay),
        "service.shutdown_timeout",
        format!("less than shutdown_timeout, which is {}", quoted(service.shutdown_timeout)),
    );
    check(
        supervision.backoff_min <= supervision.backoff_max,
        ("supervision.backoff_min", supervision.backoff_min),
        "supervision.backoff_max",
        format!("at most backoff_max, which is {}", quoted(supervision.backoff_max)),
    );
}

/// The same for what the room that connects knows of its own keys.
#[cfg(feature = "cache")]
fn check_redis(config: &Config, sources: &BTreeMap<String, String>, faults: &mut Vec<Fault>) {
    let source_of_tls = sources.iter().find(|(key, _)| key.starts_with("redis.tls."));
    for fault in config.redis.validate() {
        let key = format!("redis.{}", fault.key);
        if faults.iter().all(|known| known.key != key) {
            let source = sources.get(&key).or(source_of_tls.map(|(_, source)| source));
            let source = source.map_or(CODE, String::as_str);
            faults.push(Fault::new(&key, source, fault.given, fault.wanted));
        }
    }
}

fn quoted(time: Duration) -> Given {
    Given::Text(time_text(time))
}
