//! Loads a configuration from all of its sources, and checks it.

use std::collections::BTreeMap;
use std::time::Duration;

use figment::Figment;
use figment::value::Value;
#[cfg(feature = "cache")]
use mainstay_actors::redis::{self, MOST_ENDPOINTS};

#[cfg(feature = "cache")]
use super::endpoints;
use super::environment::{Environment, Process, Surroundings};
use super::error::{Error, Fault};
use super::keys::Key;
use super::layer::{Layer, Report};
use super::loaded::Loaded;
use super::root::Config;
#[cfg(feature = "cache")]
use super::section::{ENDPOINTS, REDIS, Section};
use super::slot::Slot;
use super::value::{Given, time_text};
use super::variables::Setting;
use super::{files, keys, service, variables};

/// The source that a fault shows for a value that the program set.
const CODE: &str = "code";

impl Config {
    /// Loads the configuration of the service that the environment names. Without such a name the service is called like
    /// the program.
    ///
    /// Reads variables and files and logs which, so set up a log first. A service that only changes some values uses
    /// [`ServiceBuilder::configure`](crate::ServiceBuilder::configure) instead.
    ///
    /// # Errors
    /// Every fault at once, if there is one.
    pub fn load() -> Result<Self, Error> {
        Self::load_from(&Process, None).map(Loaded::logged)
    }

    /// Loads the configuration of the service called `name`.
    ///
    /// Reads variables and files and logs which, so set up a log first. A service that only changes some values uses
    /// [`ServiceBuilder::configure`](crate::ServiceBuilder::configure) instead.
    ///
    /// # Errors
    /// Every fault at once, if there is one.
    pub fn load_for_service(name: &str) -> Result<Self, Error> {
        Self::load_from(&Process, Some(name)).map(Loaded::logged)
    }

    /// Loads the configuration from `environment`, for the service called `name`. Without a `name` it is the service that
    /// the environment names.
    ///
    /// # Errors
    /// Every fault at once, if there is one.
    pub fn load_from(environment: &dyn Environment, name: Option<&str>) -> Result<Loaded, Error> {
        Self::load_changed(environment, name, |_| {})
    }

    /// As [`load_from`](Self::load_from), followed by a `change` in code. The values that it changes override every other
    /// source.
    pub(crate) fn load_changed(
        environment: &dyn Environment,
        name: Option<&str>,
        change: impl FnOnce(&mut Self),
    ) -> Result<Loaded, Error> {
        let mut report = Report::default();
        let mut settings = variables::read(environment, &mut report);
        settings.extend(name.and_then(|name| given_in_code(name, &settings, &mut report)));
        let service = service_name(environment, &settings);
        let files = files::read(environment, &service, &mut report);

        let layers = files.into_iter().chain(settings.into_iter().map(Layer::from));
        let figment = layers.fold(Figment::new(), Figment::merge);
        let mut config = Self {
            service: service::Config { name: service, ..Default::default() },
            ..Default::default()
        };
        let mut sources = apply(&figment, &mut config, &mut report.faults);
        set_drain_delay(&mut config, &sources);
        let loaded = values(&config);
        change(&mut config);
        let is_changed = |(path, value): &(String, Given)| loaded.get(path) != Some(value);
        let changed = values(&config).into_iter().filter(is_changed);
        sources.extend(changed.map(|(path, _)| (path, CODE.to_owned())));
        set_drain_delay(&mut config, &sources);
        check(&config, &sources, &mut report.faults);

        if report.faults.is_empty() {
            let Report { notes, warnings, .. } = report;
            Ok(Loaded { config, notes, warnings, surroundings: Surroundings::of(environment) })
        } else {
            Err(Error::new(report.faults, report.files))
        }
    }

    /// Checks a configuration that was made or changed in code. One that was loaded is valid. Answers from memory.
    ///
    /// # Errors
    /// Every fault at once, if there is one.
    pub fn validate(&self) -> Result<(), Error> {
        let mut faults = Vec::new();
        check(self, &BTreeMap::new(), &mut faults);
        if faults.is_empty() { Ok(()) } else { Err(Error::new(faults, String::new())) }
    }
}

/// Checks every value, whether or not a source set it. Reports at most one fault for each key.
fn check(config: &Config, sources: &BTreeMap<String, String>, faults: &mut Vec<Fault>) {
    #[cfg(feature = "cache")]
    faults.extend(config.endpoints.keys().filter_map(|name| endpoints::fault_of_name(name, CODE)));
    with_each_key(config, |key, path, config| {
        if faults.iter().all(|known| known.key != path) {
            faults.extend(refused(key, path, config));
        }
    });
    check_pairs(config, sources, faults);
    #[cfg(feature = "cache")]
    check_redis(config, sources, faults);
}

/// Sets the drain delay of a service in production that does not set its own.
fn set_drain_delay(config: &mut Config, sources: &BTreeMap<String, String>) {
    if config.service.is_production() && !sources.contains_key("service.drain_delay") {
        let most = config.service.shutdown_timeout / 2;
        config.service.drain_delay = service::Config::DRAIN_DELAY_IN_PRODUCTION.min(most);
    }
}

/// Every value, by the path of its key.
fn values(config: &Config) -> BTreeMap<String, Given> {
    let mut values = BTreeMap::new();
    with_each_key(config, |key, path, config| {
        values.extend(key.slot.get(config).map(|value| (path.to_owned(), value)));
    });
    values
}

/// Calls `look` with each key, its path, and a configuration that holds the value in the field that the key sets. For the
/// keys of an endpoint that is a copy in which the endpoint stands in the place of the default one.
fn with_each_key(config: &Config, mut look: impl FnMut(&'static Key, &str, &mut Config)) {
    let mut copy = config.clone();
    keys::all().for_each(|key| look(key, &key.path(), &mut copy));
    #[cfg(feature = "cache")]
    for (name, endpoint) in &config.endpoints {
        let section = Section::of_endpoint(REDIS, name);
        copy.redis.clone_from(endpoint);
        keys::of_an_endpoint().for_each(|key| look(key, &key.path_in(section), &mut copy));
    }
}

/// The fault of a value that no source could have set.
fn refused(key: &Key, path: &str, config: &mut Config) -> Option<Fault> {
    let given = key.slot.get(config)?;
    let set = match (key.slot, &given) {
        // A file or a variable would have been trimmed.
        (Slot::Name(_), Given::Text(name)) if name.trim() != name => Err(key.slot.refuse(&given)),
        _ => key.slot.set(config, &given),
    };
    let refusal = set.err()?;
    Some(Fault::new(path, CODE, refusal.given, refusal.wanted))
}

/// The name that the program sets in code, which overrides every other source.
fn given_in_code(name: &str, settings: &[Setting], report: &mut Report) -> Option<Setting> {
    let key = keys::find("service", "name")?;
    if let Some(other) =
        settings.iter().rfind(|setting| setting.path == key.path() && setting.value != name)
    {
        report.notes.push(format!(
            "the service is called {name:?} in code, which wins over {}",
            other.variable
        ));
    }
    Some(Setting { path: key.path(), variable: CODE.to_owned(), value: name.to_owned() })
}

/// The name of the service, by which its files are found. A name that cannot be a directory is passed over.
fn service_name(environment: &dyn Environment, settings: &[Setting]) -> String {
    let mut probe = Config::default();
    let mut is_name = |name: &str| {
        let given = Given::Text(name.to_owned());
        keys::find("service", "name").is_some_and(|key| key.slot.set(&mut probe, &given).is_ok())
    };
    let given = settings.iter().rfind(|setting| setting.path == "service.name");
    let program =
        || Some(environment.program()?.replace(|c: char| c.is_whitespace() || c.is_control(), "-"));
    let given = given.map(|setting| setting.value.trim().to_owned()).filter(|name| is_name(name));
    given.or_else(|| program().filter(|name| is_name(name))).unwrap_or(probe.service.name)
}

/// Sets the values that `figment` holds. Returns the source of each, by the path of its key.
fn apply(
    figment: &Figment,
    config: &mut Config,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, String> {
    let mut sources = BTreeMap::new();
    let all = keys::all().map(|key| (key, key.path()));
    apply_keys(figment, config, all, &mut sources, faults);
    #[cfg(feature = "cache")]
    apply_endpoints(figment, config, &mut sources, faults);
    sources
}

fn apply_keys(
    figment: &Figment,
    config: &mut Config,
    all: impl Iterator<Item = (&'static Key, String)>,
    sources: &mut BTreeMap<String, String>,
    faults: &mut Vec<Fault>,
) {
    for (key, path) in all {
        let Ok(value) = figment.find_value(&path) else { continue };
        let source = source_of(figment, &value);
        if let Err(refusal) = key.slot.set(config, &Given::from(&value)) {
            faults.push(Fault::new(&path, &source, refusal.given, refusal.wanted));
        }
        sources.insert(path, source);
    }
}

/// Reads one endpoint after the other. A key sets a field of `config.redis`, so each endpoint takes that place for a while.
#[cfg(feature = "cache")]
fn apply_endpoints(
    figment: &Figment,
    config: &mut Config,
    sources: &mut BTreeMap<String, String>,
    faults: &mut Vec<Fault>,
) {
    let Ok(Value::Dict(_, declared)) = figment.find_value(ENDPOINTS) else { return };
    for (name, value) in &declared {
        let section = Section::of_endpoint(REDIS, name);
        let endpoint = config.redis.elsewhere("");
        let default = std::mem::replace(&mut config.redis, endpoint);
        let all = keys::of_an_endpoint().map(|key| (key, key.path_in(section)));
        apply_keys(figment, config, all, sources, faults);
        let endpoint = std::mem::replace(&mut config.redis, default);
        let url = format!("{}.url", section.path());
        let source = source_of(figment, value);
        if !sources.contains_key(&url) {
            let wanted = endpoints::wanted_url(name, &declared);
            faults.push(Fault::new(&url, &source, "nothing", wanted));
        }
        sources.insert(section.path(), source);
        config.endpoints.insert(name.clone(), endpoint);
    }
}

fn source_of(figment: &Figment, value: &Value) -> String {
    figment.get_metadata(value.tag()).map(|metadata| metadata.name.to_string()).unwrap_or_default()
}

/// Checks the keys that bound each other. A key that already has a fault is left out.
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

/// Checks the keys of each endpoint against each other, which `redis::Config` does itself, and the number of endpoints.
#[cfg(feature = "cache")]
fn check_redis(config: &Config, sources: &BTreeMap<String, String>, faults: &mut Vec<Fault>) {
    check_endpoint(Section::of(REDIS), &config.redis, sources, faults);
    for (name, endpoint) in &config.endpoints {
        check_endpoint(Section::of_endpoint(REDIS, name), endpoint, sources, faults);
    }
    let given = config.endpoints.len();
    if given > MOST_ENDPOINTS {
        let last = config.endpoints.keys().last().map(|name| format!("{ENDPOINTS}.{name}"));
        let source = last.and_then(|path| sources.get(&path)).map_or(CODE, String::as_str);
        let wanted = format!("at most {MOST_ENDPOINTS}");
        faults.push(Fault::new(ENDPOINTS, source, format!("{given} endpoints"), wanted));
    }
}

#[cfg(feature = "cache")]
fn check_endpoint(
    section: Section<'_>,
    config: &redis::Config,
    sources: &BTreeMap<String, String>,
    faults: &mut Vec<Fault>,
) {
    let section = section.path();
    let tls = format!("{section}.tls.");
    let source_of_tls = sources.iter().find(|(key, _)| key.starts_with(&tls));
    for fault in config.validate() {
        let key = format!("{section}.{}", fault.key);
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
