//! The rules of the house. ARCHITECTURE.md says what they are for; here they are held.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use figment::providers::{Format, Toml};
use serde_json::Value;

use crate::support::source::{Piece, Source, close, mark_tests, workspace};

/// Where a rule does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Breach {
    path: PathBuf,
    line: usize,
    rule: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.rule)
    }
}

fn breach(source: &Source, line: usize, rule: impl Into<String>) -> Breach {
    Breach { path: source.path.clone(), line, rule: rule.into() }
}

/// Holds `rule` over every file below `directory`.
#[track_caller]
fn hold(directory: &str, rule: impl Fn(&Source) -> Vec<Breach>) {
    let sources = Source::below(directory);
    assert!(!sources.is_empty(), "there is nothing below {directory}");
    no_breach(&sources.iter().flat_map(rule).collect::<Vec<_>>());
}

#[track_caller]
fn no_breach(breaches: &[Breach]) {
    let lines: Vec<_> = breaches.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

// --- who knows whom ----------------------------------------------------------------------------

#[test]
fn the_face_never_names_the_actor_library() {
    hold("src", |source| named(source, &["ractor"], "src never names ractor"));
}

#[test]
fn the_rooms_never_name_http() {
    let http = ["axum", "tower", "http", "hyper", "StatusCode"];
    hold("actors/src", |source| named(source, &http, "actors never names HTTP"));
}

#[test]
fn the_ground_names_neither_redis_nor_http_nor_a_room() {
    let mut words = vec!["redis".to_owned(), "axum".to_owned(), "http".to_owned()];
    words.extend(rooms());
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let rule = "supervision names neither Redis nor HTTP nor a room";
    hold("supervision/src", |source| named(source, &words, rule));
}

/// A name counts wherever it is a word of its own: in `redis::Client`, `RedisClient` and
/// `redis_client`, and in a string that is nothing but that word.
fn named(source: &Source, forbidden: &[&str], rule: &str) -> Vec<Breach> {
    let is_forbidden = |word: &str| forbidden.contains(&word);
    let mut breaches = Vec::new();
    for (line, piece) in &source.pieces {
        let found = match piece {
            Piece::Word(word) => {
                is_forbidden(word) || words_in(word).any(|word| is_forbidden(&word))
            }
            Piece::Text(text) => is_forbidden(text),
            Piece::Mark(_) => false,
        };
        if found {
            let (Piece::Word(word) | Piece::Text(word)) = piece else { continue };
            breaches.push(breach(source, *line, format!("`{word}`: {rule}")));
        }
    }
    breaches
}

/// The words that a name is made of, in small letters.
fn words_in(name: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for c in name.chars() {
        if c == '_' || (c.is_uppercase() && was_small) {
            words.push(String::new());
        }
        was_small = c.is_lowercase() || c.is_numeric();
        if c != '_' {
            words.last_mut().expect("there is always one").extend(c.to_lowercase());
        }
    }
    words.into_iter()
}

fn rooms() -> Vec<String> {
    let entries = std::fs::read_dir(workspace().join("actors/src")).unwrap();
    let entries = entries.map(|entry| entry.unwrap());
    let directories = entries.filter(|entry| entry.path().is_dir());
    directories.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
fn dependencies_run_one_way() {
    let manifest = |directory: &str| workspace().join(directory).join("Cargo.toml");
    let http = ["axum", "http", "hyper", "hyper-util", "tower", "tower-http", "reqwest"];
    let redis = ["bb8", "bb8-redis", "redis"];
    let cases = [
        ("", vec!["ractor", "bb8", "bb8-redis", "mainstay-supervision"]),
        ("actors", [&http[..], &["ractor", "mainstay"]].concat()),
        ("supervision", [&http[..], &redis, &["mainstay", "mainstay-actors"]].concat()),
    ];
    for (directory, forbidden) in cases {
        let path = manifest(directory);
        let found = dependencies(&Toml::from_path::<Value>(&path).unwrap());
        assert!(found.len() > 3, "{} lists hardly any dependencies: {found:?}", path.display());
        for dependency in found {
            let is_ours = !forbidden.contains(&dependency.as_str());
            assert!(is_ours, "{}: `{dependency}` is against the arrows", path.display());
        }
    }
}

/// Whatever a package is built or tested with, by its real name.
fn dependencies(manifest: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (key, value) in manifest.as_object().into_iter().flatten() {
        let tables = match key.as_str() {
            "dependencies" | "dev-dependencies" | "build-dependencies" => vec![value],
            "target" => {
                found.extend(
                    value
                        .as_object()
                        .into_iter()
                        .flat_map(|targets| targets.values().flat_map(dependencies)),
                );
                continue;
            }
            _ => continue,
        };
        for (name, said) in tables.into_iter().filter_map(Value::as_object).flatten() {
            found.push(said["package"].as_str().unwrap_or(name).to_owned());
        }
    }
    found
}

#[test]
fn rooms_never_import_rooms() {
    let rooms = rooms();
    assert!(rooms.len() > 2, "{rooms:?}");
    hold("actors/src", |source| foreign_rooms(source, &rooms));
}

/// Every room may use `redis`. The files beside the rooms tie them together.
fn foreign_rooms(source: &Source, rooms: &[String]) -> Vec<Breach> {
    let inner = source.path.strip_prefix("actors/src").unwrap_or(&source.path);
    let parts: Vec<_> = inner.iter().filter_map(|part| part.to_str()).collect();
    let [own, .., file] = parts[..] else { return Vec::new() };
    // `mod.rs` is the room itself; any other file is one step deeper.
    let depth = parts.len() - usize::from(file == "mod.rs");
    let from_root = std::iter::once("crate ::".to_owned());
    let upwards = ["super ::"].repeat(depth).join(" ");
    let mut breaches = Vec::new();
    for root in from_root.chain([upwards]) {
        for (line, rest) in source.find(&root) {
            for room in first_segments(rest) {
                if room != own && room != "redis" && rooms.iter().any(|known| known == room) {
                    let rule = format!("`{own}` uses `{room}`: rooms never import rooms");
                    breaches.push(breach(source, line, rule));
                }
            }
        }
    }
    breaches
}

/// `a` of `a::b`; `a` and `c` of `{a::b, c}`.
fn first_segments(rest: &[(usize, Piece)]) -> Vec<&str> {
    match rest.first() {
        Some((_, Piece::Word(word))) => vec![word],
        Some((_, Piece::Mark('{'))) => {
            let end = close(rest, 0).unwrap_or(rest.len());
            let mut found = Vec::new();
            let mut depth = 0_usize;
            let mut is_first = true;
            for (_, piece) in &rest[1..end] {
                match piece {
                    Piece::Mark('{') => depth += 1,
                    Piece::Mark('}') => depth = depth.saturating_sub(1),
                    Piece::Mark(',') if depth == 0 => is_first = true,
                    Piece::Word(word) if is_first && depth == 0 => {
                        found.push(word.as_str());
                        is_first = false;
                    }
                    Piece::Mark(_) | Piece::Word(_) | Piece::Text(_) => {}
                }
            }
            found
        }
        _ => Vec::new(),
    }
}

// --- who may do what ---------------------------------------------------------------------------

#[test]
fn only_the_tree_adds_actors() {
    for directory in ["src", "actors/src"] {
        hold(directory, added_actors);
    }
}

fn added_actors(source: &Source) -> Vec<Breach> {
    if source.path == Path::new("actors/src/tree.rs") {
        return Vec::new();
    }
    let source = source.without_tests();
    let ways = [
        ". actor (",
        ". supervisor (",
        "add_to (",
        "Actor :: new",
        "Supervisor :: new",
        "System :: start",
    ];
    let lines = ways.iter().flat_map(|way| source.find(way)).map(|(line, _)| line);
    lines.map(|line| breach(&source, line, "only actors/src/tree.rs adds actors")).collect()
}

#[test]
fn only_the_configuration_reads_the_environment() {
    for directory in ["src", "actors/src", "supervision/src"] {
        hold(directory, environment_reads);
    }
}

fn environment_reads(source: &Source) -> Vec<Breach> {
    if source.path.starts_with("src/config") {
        return Vec::new();
    }
    let source = source.without_tests();
    let found = source.find("env ::").filter_map(|(line, rest)| match rest.first() {
        // These take a path apart that is given to them.
        Some((_, Piece::Word(word))) if matches!(word.as_str(), "split_paths" | "join_paths") => {
            None
        }
        _ => Some(line),
    });
    found.map(|line| breach(&source, line, "only src/config reads the environment")).collect()
}

#[test]
fn no_state_waits_or_reads_a_clock_or_does_io() {
    let is_state = |source: &Source| source.path.file_name().is_some_and(|name| name == "state.rs");
    let states = Source::below("actors/src").into_iter().filter(is_state).count();
    assert!(states > 2, "only {states} files are called state.rs");
    hold("actors/src", |source| if is_state(source) { impurities(source) } else { Vec::new() });
}

/// Time and chance come in as arguments, decisions go out as values.
fn impurities(source: &Source) -> Vec<Breach> {
    let source = source.without_tests();
    let words = [
        "async",
        "await",
        "elapsed",
        "fastrand",
        "now_or_never",
        "println",
        "rand",
        "sleep",
        "spawn",
        "SystemTime",
        "tracing",
    ];
    let mut breaches = Vec::new();
    for (line, word) in source.words().filter(|(_, word)| words.contains(word)) {
        breaches.push(breach(&source, line, format!("`{word}` in a state.rs")));
    }
    for path in ["Instant :: now", "std :: fs", "std :: net", "std :: process", "std :: io"] {
        for (line, _) in source.find(path) {
            breaches.push(breach(&source, line, format!("`{path}` in a state.rs")));
        }
    }
    for (line, rest) in source.find("tokio ::") {
        if !matches!(rest.first(), Some((_, Piece::Word(word))) if word == "time") {
            breaches.push(breach(&source, line, "`tokio` in a state.rs, apart from its Instant"));
        }
    }
    breaches
}

#[test]
fn packages_include_only_what_they_are_published_with() {
    let packages = ["actors", "benches", "examples/quickstart", "supervision"];
    for root in packages.iter().map(|package| (*package, &[][..])).chain([("", &packages[..])]) {
        let (package, others) = root;
        let directory = Path::new(package).join("src");
        hold(directory.to_str().unwrap(), |source| foreign_includes(source, package, others));
    }
}

/// `others` are packages that lie below this one's root and are published by themselves.
fn foreign_includes(source: &Source, package: &str, others: &[&str]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for include in ["include_str ! (", "include_bytes ! (", "include ! ("] {
        for (line, rest) in source.find(include) {
            let Some((_, Piece::Text(given))) = rest.first() else {
                let rule = "a path that is put together cannot be checked: write it out";
                breaches.push(breach(source, line, rule));
                continue;
            };
            let target = normal(&source.path.parent().unwrap_or(Path::new("")).join(given));
            let is_within = target.as_ref().is_some_and(|target| {
                target.starts_with(package) && !others.iter().any(|other| target.starts_with(other))
            });
            if !is_within {
                let rule = format!("{given:?} lies outside of the package that includes it");
                breaches.push(breach(source, line, rule));
            }
        }
    }
    breaches
}

/// The path without `..`; `None` if it leads out of the workspace.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => normal.pop().then_some(())?,
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    Some(normal)
}

// --- size --------------------------------------------------------------------------------------

/// The most lines of a file, its tests not counted.
const MOST_LINES: usize = 450;

#[test]
fn files_can_be_read_at_one_go() {
    for directory in ["src", "actors/src", "supervision/src"] {
        hold(directory, too_long);
    }
}

fn too_long(source: &Source) -> Vec<Breach> {
    let lines = source.without_tests().line_count();
    let rule =
        format!("{lines} lines without tests, at most {MOST_LINES}: find a part to take out");
    if lines > MOST_LINES { vec![breach(source, lines, rule)] } else { Vec::new() }
}

// --- the rules bite ----------------------------------------------------------------------------

/// The lines at which `rule` finds fault with `text`, read as the file `path`.
fn lines_of(path: &str, text: &str, rule: impl Fn(&Source) -> Vec<Breach>) -> Vec<usize> {
    rule(&Source::new(path, text)).into_iter().map(|breach| breach.line).collect()
}

#[test]
fn a_breach_is_shown_with_its_file_line_and_rule() {
    let source = Source::new("src/a.rs", "\nuse ractor::Actor;");
    let shown = named(&source, &["ractor"], "src never names ractor")[0].to_string();
    assert_eq!(shown, "src/a.rs:2: `ractor`: src never names ractor");
}

#[test]
fn a_name_is_found_in_code_and_not_in_comments() {
    let names = |text: &str| lines_of("src/a.rs", text, |source| named(source, &["redis"], ""));
    assert_eq!(names("use redis::Client;"), [1]);
    assert_eq!(names("let a = 1;\nlet redis_url = a;"), [2]);
    assert_eq!(names("struct RedisClient;\nfn of(client: RESP3Redis) {}"), [1, 2]);
    assert_eq!(names("x(\"redis\"); // redis"), [1]);
    assert_eq!(names("// redis\n/* redis /* redis */ redis */\n/// redis"), [] as [usize; 0]);
    assert_eq!(names("let predisposed = \"redis is away\"; let c: &'redis str;"), [] as [usize; 0]);
    assert_eq!(names("let a = r#\"a \" b\"#; redis();\nlet b = '\"'; redis();"), [1, 2]);
    assert_eq!(names("let c = '\\''; // '\nredis();"), [2]);
}

#[test]
fn a_dependency_is_found_under_every_name_and_for_every_target() {
    let manifest = r#"
        [dependencies]
        tokio = "1"
        http-types = { package = "axum", version = "1" }
        [dev-dependencies]
        proptest = { workspace = true }
        [target.'cfg(unix)'.dependencies]
        ractor = "1"
        [features]
        redis = []
    "#;
    let mut found = dependencies(&Toml::from_str::<Value>(manifest).unwrap());
    found.sort_unstable();
    assert_eq!(found, ["axum", "proptest", "ractor", "tokio"]);
}

#[test]
fn a_room_in_a_room_is_found() {
    let rooms = ["pool", "health", "redis"].map(str::to_owned);
    let uses =
        |path: &str, text: &str| lines_of(path, text, |source| foreign_rooms(source, &rooms));
    let actor = "actors/src/pool/actor.rs";
    assert_eq!(uses(actor, "\nuse crate::health::Report;"), [2]);
    assert_eq!(uses(actor, "use crate::{ask, redis::{self, health}, health};"), [1]);
    assert_eq!(uses(actor, "fn a() { super::super::health::probe() }"), [1]);
    assert_eq!(uses("actors/src/pool/mod.rs", "use super::health;"), [1]);
    let fine = "use crate::redis::health; use super::health; use crate::{deadline, pool};";
    assert_eq!(uses(actor, fine), [] as [usize; 0]);
    assert_eq!(uses("actors/src/tree.rs", "use crate::{health, pool};"), [] as [usize; 0]);
}

#[test]
fn an_actor_that_is_added_elsewhere_is_found() {
    let adds = |path: &str, text: &str| lines_of(path, text, added_actors);
    let text =
        "fn a(supervisor: &mut Supervisor) {\n    supervisor.actor(Actor::new(\"a\", A));\n}";
    assert_eq!(adds("actors/src/pool/mod.rs", text), [2, 2]);
    assert_eq!(adds("src/service/run.rs", "Nursery::add_to(&mut root);"), [1]);
    assert_eq!(adds("actors/src/tree.rs", text), [] as [usize; 0]);
    assert_eq!(adds("src/service/tests.rs", text), [] as [usize; 0]);
    let tested = format!("fn b() {{}}\n#[cfg(test)]\nmod tests {{ {text} }}\nroot.supervisor(b);");
    assert_eq!(adds("src/service/run.rs", &tested), [6]);
}

#[test]
fn a_file_that_only_tests_have_is_a_test() {
    let mut sources = [
        Source::new("src/lib.rs", "#[cfg(test)]\nmod relay;\nmod tree;"),
        Source::new("src/relay.rs", "Supervisor::new(\"relay\");"),
        Source::new("src/relay/parts.rs", "Supervisor::new(\"parts\");"),
        Source::new("src/tree.rs", "Supervisor::new(\"tree\");"),
    ];
    mark_tests(&mut sources);
    let found: Vec<_> = sources.iter().flat_map(added_actors).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].path, Path::new("src/tree.rs"));
}

#[test]
fn a_look_at_the_environment_is_found() {
    let reads = |path: &str, text: &str| lines_of(path, text, environment_reads);
    assert_eq!(reads("src/state.rs", "\nlet port = std::env::var(\"PORT\");"), [2]);
    assert_eq!(reads("actors/src/a.rs", "use std::env::{self, temp_dir};"), [1]);
    let fine =
        "let paths = std::env::split_paths(path); const V: &str = env!(\"CARGO_PKG_VERSION\");";
    assert_eq!(reads("actors/src/a.rs", fine), [] as [usize; 0]);
    assert_eq!(reads("src/config/environment.rs", "std::env::vars_os()"), [] as [usize; 0]);
}

#[test]
fn an_impure_state_is_found() {
    let finds = |text: &str| lines_of("actors/src/pool/state.rs", text, impurities);
    assert_eq!(finds("\npub(crate) async fn next(&self) {}"), [2]);
    assert_eq!(finds("let now = Instant::now();\nlet age = since.elapsed();"), [2, 1]);
    assert_eq!(
        finds("let a = fastrand::f64();\nlet b = std::fs::read(a);\ntokio::spawn(b);"),
        [1, 3, 2, 3]
    );
    let fine = "use tokio::time::Instant; fn at(now: Instant) -> Duration { now - self.since }";
    assert_eq!(finds(fine), [] as [usize; 0]);
    assert_eq!(
        finds("#[cfg(test)] mod tests { async fn a() { Instant::now(); } }"),
        [] as [usize; 0]
    );
}

#[test]
fn an_include_from_elsewhere_is_found() {
    let finds = |path: &str, package: &str, text: &str| {
        lines_of(path, text, |source| foreign_includes(source, package, &["actors"]))
    };
    let path = "actors/src/lib.rs";
    assert_eq!(finds(path, "actors", "\n#![doc = include_str!(\"../../README.md\")]"), [2]);
    assert_eq!(finds(path, "actors", "include_str!(concat!(\"a\", \"b\"))"), [1]);
    assert_eq!(finds("src/lib.rs", "", "include_str!(\"../actors/README.md\")"), [1]);
    assert_eq!(finds("src/lib.rs", "", "include_str!(\"../../README.md\")"), [1]);
    assert_eq!(finds("src/lib.rs", "", "include_str!(\"../docs/a.md\")"), [] as [usize; 0]);
}

#[test]
fn a_file_that_is_too_long_is_found_and_tests_do_not_count() {
    let lines = |count: usize| "fn a() {}\n".repeat(count);
    let finds = |path: &str, text: &str| lines_of(path, text, too_long);
    assert_eq!(finds("src/a.rs", &lines(451)), [451]);
    assert_eq!(finds("src/a.rs", &lines(450)), [] as [usize; 0]);
    let tests = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", lines(449), lines(100));
    assert_eq!(finds("src/a.rs", &tests), [] as [usize; 0]);
    assert_eq!(finds("src/a/tests.rs", &lines(1000)), [] as [usize; 0]);
}
