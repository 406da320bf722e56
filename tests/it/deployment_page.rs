//! docs/deployment.md and docs/health-checks.md: the files they show go together, and with the service.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay::Config;
use mainstay::config::Environment;
use mainstay::prelude::*;

use crate::support::source::workspace;
use crate::support::{App, Server, config};

const DEPLOYMENT: &str = include_str!("../../docs/deployment.md");
const HEALTH_CHECKS: &str = include_str!("../../docs/health-checks.md");

/// The code blocks of a page in one language.
fn blocks<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The values of a YAML document, each by the way to it, as in `spec/ports/0/name`.
#[derive(Debug, Default)]
struct Yaml(BTreeMap<String, String>);

impl Yaml {
    /// Reads as much of YAML as the pages use: maps, lists, and both of them in one line.
    fn of(document: &str) -> Self {
        let (mut yaml, mut items) = (Self::default(), BTreeMap::<String, usize>::new());
        let mut way: Vec<(usize, String)> = Vec::new();
        for line in document.lines() {
            let line = line.split(" #").next().unwrap_or_default().trim_end();
            let mut text = line.trim_start();
            let mut indent = line.len() - text.len();
            let mut step = |indent: usize, key: Option<&str>| {
                way.retain(|(outer, _)| *outer < indent);
                let outer = way.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>().join("/");
                let item = items.entry(outer.clone()).or_default();
                let key = key.map_or_else(|| item.to_string(), str::to_owned);
                *item += 1;
                way.push((indent, key.clone()));
                format!("{outer}/{key}").trim_start_matches('/').to_owned()
            };
            let mut here = String::new();
            while let Some(item) = text.strip_prefix("- ") {
                here = step(indent, None);
                (text, indent) = (item, indent + 2);
            }
            if text.starts_with('{') {
                yaml.add(&here, text);
            } else if let Some((key, value)) = text.split_once(": ") {
                yaml.add(&step(indent, Some(key)), value.trim());
            } else if let Some(key) = text.strip_suffix(':') {
                step(indent, Some(key));
            } else if !text.is_empty() {
                yaml.add(&here, text);
            }
        }
        yaml
    }

    fn add(&mut self, way: &str, value: &str) {
        let within = |open, close| value.strip_prefix(open)?.strip_suffix(close);
        if let Some(entries) = within('{', '}') {
            for entry in parts(entries) {
                let (key, value) = entry.split_once(':').expect("an entry is `key: value`");
                self.add(&format!("{way}/{}", key.trim()), value.trim());
            }
        } else if let Some(entries) = within('[', ']') {
            for (at, entry) in parts(entries).enumerate() {
                self.add(&format!("{way}/{at}"), entry);
            }
        } else {
            let before = self.0.insert(way.to_owned(), value.trim_matches('"').to_owned());
            assert_eq!(before, None, "{way} is given twice");
        }
    }

    #[track_caller]
    fn get(&self, way: &str) -> &str {
        self.0.get(way).unwrap_or_else(|| panic!("no {way} in {:#?}", self.0))
    }

    /// What stands below a place.
    fn below(&self, way: &str) -> Self {
        let prefix = format!("{way}/");
        let inner = |(way, value): (&String, &String)| {
            Some((way.strip_prefix(&prefix)?.to_owned(), value.clone()))
        };
        Self(self.0.iter().filter_map(inner).collect())
    }

    /// The items of a list.
    fn items(&self, way: &str) -> Vec<Self> {
        let items = (0..).map(|at| self.below(&format!("{way}/{at}")));
        items.take_while(|item| !item.0.is_empty()).collect()
    }
}

/// The entries of a map or list in one line.
fn parts(entries: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let at_top = move |c| {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            _ => {}
        }
        depth == 0 && c == ','
    };
    entries.split(at_top).map(str::trim).filter(|entry| !entry.is_empty())
}

/// The pod, the Deployment around it, and the Service before it.
fn kubernetes() -> (Yaml, Yaml, Yaml) {
    let both = blocks(DEPLOYMENT, "yaml")[0];
    let (deployment, service) = both.split_once("---\n").unwrap();
    let (deployment, service) = (Yaml::of(deployment), Yaml::of(service));
    assert_eq!((deployment.get("kind"), service.get("kind")), ("Deployment", "Service"));
    (deployment.below("spec/template/spec"), deployment, service)
}

/// A machine with these variables and no files.
struct Machine(Vec<(String, String)>);

impl Machine {
    /// Loads as the service would, which refuses what it does not know.
    fn load(&self) -> Config {
        let known = Config::reference();
        for (name, _) in &self.0 {
            assert!(known.contains(&format!("`{name}`")), "{name} is no variable of ours");
        }
        assert!(self.0.len() > 3, "hardly any variable was found: {:?}", self.0);
        Config::load_from(self, Some("shop")).unwrap().config
    }
}

impl Environment for Machine {
    fn variables(&self) -> Vec<(OsString, OsString)> {
        self.0.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn current_directory(&self) -> Option<PathBuf> {
        None
    }

    fn program(&self) -> Option<String> {
        None
    }

    fn read(&self, _path: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn sees(&self, _path: &Path) -> bool {
        true
    }
}

fn of_the_pod() -> Config {
    let (pod, ..) = kubernetes();
    let variables = pod.items("containers/0/env");
    let variable = |v: &Yaml| (v.get("name").to_owned(), v.get("value").to_owned());
    Machine(variables.iter().map(variable).collect()).load()
}

fn seconds(text: &str) -> Duration {
    Duration::from_secs(text.parse().unwrap())
}

#[test]
fn a_pod_has_the_time_that_its_service_takes_to_end() {
    let (pod, ..) = kubernetes();
    let service = of_the_pod().service;
    assert!(seconds(pod.get("terminationGracePeriodSeconds")) > service.shutdown_timeout);
    assert!(service.is_production());
    let last_request = service.shutdown_timeout * 4 / 5;
    assert!(service.drain_delay + service.request_timeout <= last_request);
    let end = DEPLOYMENT.split("### How a pod ends").nth(1).unwrap();
    for time in [service.drain_delay, last_request, service.shutdown_timeout] {
        let row = format!("\n| {} s", time.as_secs());
        assert!(end.contains(&row), "no {row:?} in {end}");
    }
}

#[test]
fn what_the_deployment_names_is_there() {
    let (pod, deployment, service) = kubernetes();
    let loaded = of_the_pod();
    assert_eq!(deployment.get("metadata/name"), loaded.service.name);
    let app = deployment.get("spec/template/metadata/labels/app");
    assert_eq!(deployment.get("spec/selector/matchLabels/app"), app);
    assert_eq!(service.get("spec/selector/app"), app);

    let port = pod.get("containers/0/ports/0/name");
    assert_eq!(pod.get("containers/0/ports/0/containerPort"), loaded.service.port.to_string());
    assert_eq!(service.get("spec/ports/0/targetPort"), port);
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        assert_eq!(pod.get(&format!("containers/0/{probe}/httpGet/port")), port);
    }

    let mount = pod.below("containers/0/volumeMounts/0");
    let volume = pod.below("volumes/0");
    assert_eq!(mount.get("name"), volume.get("name"));
    let secret = volume.get("secret/secretName");
    let create = blocks(DEPLOYMENT, "sh").into_iter().find(|sh| sh.contains("create secret"));
    let create = create.unwrap();
    assert!(create.contains(&format!("generic {secret} ")), "{create}");
    let files = [loaded.redis.password_file.unwrap(), loaded.redis.tls.ca_file.unwrap()];
    for file in files {
        let name = file.strip_prefix(mount.get("mountPath")).unwrap().to_str().unwrap();
        assert!(create.contains(&format!("--from-file={name}")), "{name}: {create}");
    }
    let url = Yaml::of(blocks(DEPLOYMENT, "yaml")[1]);
    assert_eq!(url.get("env/0/name"), "ACTON_REDIS_URL");
    assert_eq!(url.get("env/0/valueFrom/secretKeyRef/name"), secret);
}

#[tokio::test]
async fn each_probe_asks_what_a_service_answers() {
    let server = Server::start().await;
    let app = App::start(config(server.url()), Router::new()).await;
    app.becomes_ready().await;
    let (pod, ..) = kubernetes();
    for (probe, path) in
        [("startupProbe", "/health"), ("livenessProbe", "/health"), ("readinessProbe", "/ready")]
    {
        assert_eq!(pod.get(&format!("containers/0/{probe}/httpGet/path")), path);
        assert_eq!(app.get(path).await.status, 200, "{path}");
    }
    app.end().await;

    // Both pages show the same ones.
    let shown = blocks(HEALTH_CHECKS, "yaml")[0];
    let lines = |text: &str| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
    assert!(lines(DEPLOYMENT).join("\n").contains(&lines(shown).join("\n")), "{shown}");
}

#[test]
fn the_unit_gives_its_service_what_it_needs() {
    let unit = blocks(DEPLOYMENT, "ini")[0];
    let all = |key: &str| {
        let values = unit.lines().filter_map(|line| line.strip_prefix(&format!("{key}=")));
        values.map(str::to_owned).collect::<Vec<_>>()
    };
    let pair = |line: String| {
        let (name, value) = line.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    };
    let loaded = Machine(all("Environment").into_iter().map(pair).collect()).load();
    assert!(seconds(&all("TimeoutStopSec")[0]) > loaded.service.shutdown_timeout);
    let name = unit.lines().next().unwrap().rsplit('/').next().unwrap();
    let credential = all("LoadCredential")[0].split(':').next().unwrap().to_owned();
    let file = Path::new("/run/credentials").join(name).join(credential);
    assert_eq!(loaded.redis.password_file, Some(file));
}

#[test]
fn the_connections_of_all_replicas_are_counted_as_the_page_says() {
    let (_, deployment, _) = kubernetes();
    let mut redis = of_the_pod().redis;
    redis.lanes = Some(4);
    let count = |way: &str| deployment.get(way).parse::<usize>().unwrap();
    let replicas = count("spec/replicas") + count("spec/strategy/rollingUpdate/maxSurge");
    let (one, all) = (redis.most_connections(), redis.most_connections() * replicas);
    let said = format!(
        "With `max_connections` {} and at most 4 lanes that is {one} for a replica, and {all} for",
        redis.max_connections
    );
    assert!(DEPLOYMENT.contains(&said), "{said}");
}

#[test]
fn the_messages_of_ready_are_those_of_the_page() {
    let sources = ["redis/status/cause.rs", "redis/status/health.rs", "tree.rs"];
    let read = |name| std::fs::read_to_string(workspace().join("actors/src").join(name)).unwrap();
    let mut code: String = sources.into_iter().map(read).collect();
    // The beginning of a message that ends in a cause.
    let state = std::fs::read_to_string(workspace().join("actors/src/health/state.rs")).unwrap();
    code.push_str(&state.replace("{cause}", ""));
    let table = HEALTH_CHECKS.split("| Redis | `message` |").nth(1).unwrap();
    let rows: Vec<_> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 4, "{rows:?}");
    for row in rows {
        let cell = row.split('|').nth(2).unwrap();
        for message in cell.split('`').skip(1).step_by(2) {
            assert!(code.contains(&format!("\"{message}\"")), "nothing says {message:?}");
        }
    }
}

#[test]
fn yaml_is_read_as_it_is_meant() {
    let yaml = Yaml::of(
        "a:\n  b: 1   # one\n  c:\n    - x\n    - { d: [e, f], g: { h: \"2: 3\" } }\n    - i: 4\n      j: 5\nk: 6\n",
    );
    let read: Vec<_> = yaml.0.iter().map(|(way, value)| format!("{way}={value}")).collect();
    let meant = [
        "a/b=1",
        "a/c/0=x",
        "a/c/1/d/0=e",
        "a/c/1/d/1=f",
        "a/c/1/g/h=2: 3",
        "a/c/2/i=4",
        "a/c/2/j=5",
        "k=6",
    ];
    assert_eq!(read, meant);
}
