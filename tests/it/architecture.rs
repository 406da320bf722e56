//! The rules of the architecture. ARCHITECTURE.md says what they are for; these tests enforce them.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use figment::providers::{Format, Toml};
use serde_json::Value;

use crate::support::imports::Imports;
use crate::support::source::{Source, Token, close, mark_tests, workspace};

/// A line that breaks a rule.
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

/// Checks `rule` on every file below `directory`.
#[track_caller]
fn check(directory: &str, rule: impl Fn(&Source) -> Vec<Breach>) {
    let sources = Source::below(directory);
    assert!(!sources.is_empty(), "there is nothing below {directory}");
    no_breach(&sources.iter().flat_map(rule).collect::<Vec<_>>());
}

#[track_caller]
fn no_breach(breaches: &[Breach]) {
    let lines: Vec<_> = breaches.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

// --- dependencies -------------------------------------------------------------------------------

#[test]
fn src_never_names_the_actor_library() {
    check("src", |source| named(source, &["ractor"], "src never names ractor"));
}

#[test]
fn actors_never_names_http() {
    let http = ["axum", "tower", "http", "hyper", "StatusCode"];
    check("actors/src", |source| named(source, &http, "actors never names HTTP"));
}

#[test]
fn supervision_names_neither_redis_nor_http_nor_a_room() {
    let mut words = vec!["redis".to_owned(), "axum".to_owned(), "http".to_owned()];
    words.extend(rooms());
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let rule = "supervision names neither Redis nor HTTP nor a room";
    check("supervision/src", |source| named(source, &words, rule));
}

/// The places that name one of `forbidden`. `redis` is named by `redis::Client`, `RedisClient` and
/// `redis_client`, and by a string that is exactly that word.
fn named(source: &Source, forbidden: &[&str], rule: &str) -> Vec<Breach> {
    let is_forbidden = |word: &str| forbidden.contains(&word);
    let mut breaches = Vec::new();
    for (line, token) in &source.tokens {
        let found = match token {
            Token::Word(word) => {
                is_forbidden(word) || words_in(word).any(|word| is_forbidden(&word))
            }
            Token::Text(text) => is_forbidden(text),
            Token::Mark(_) => false,
        };
        if found {
            let (Token::Word(word) | Token::Text(word)) = token else { continue };
            breaches.push(breach(source, *line, format!("`{word}`: {rule}")));
        }
    }
    breaches
}

/// The words of a name, in lower case.
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

/// All dependencies of a package, those of its tests too, by their real names.
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
    check("actors/src", |source| foreign_rooms(source, &rooms));
}

/// Imports of one room in another. Every room may import `redis`, and the files outside of the rooms may import all.
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

/// The first segment of each path in a `use`: `a` in `a::b`; `a` and `c` in `{a::b, c}`.
fn first_segments(rest: &[(usize, Token)]) -> Vec<&str> {
    match rest.first() {
        Some((_, Token::Word(word))) => vec![word],
        Some((_, Token::Mark('{'))) => {
            let end = close(rest, 0).unwrap_or(rest.len());
            let mut found = Vec::new();
            let mut depth = 0_usize;
            let mut is_first = true;
            for (_, token) in &rest[1..end] {
                match token {
                    Token::Mark('{') => depth += 1,
                    Token::Mark('}') => depth = depth.saturating_sub(1),
                    Token::Mark(',') if depth == 0 => is_first = true,
                    Token::Word(word) if is_first && depth == 0 => {
                        found.push(word.as_str());
                        is_first = false;
                    }
                    Token::Mark(_) | Token::Word(_) | Token::Text(_) => {}
                }
            }
            found
        }
        _ => Vec::new(),
    }
}

/// The code of each package.
const PACKAGES: [&str; 3] = ["src", "actors/src", "supervision/src"];

/// No two folders of a package and no two files of a folder import each other, not even through a third.
#[test]
fn imports_run_one_way() {
    for root in PACKAGES {
        let imports = Imports::read(root, &Source::below(root));
        assert!(imports.len() > 100, "only {} imports are found in {root}", imports.len());
        let unresolved = &imports.unresolved;
        assert!(unresolved.is_empty(), "\n{}\n", unresolved.join("\n"));
        let circles: Vec<_> = imports.circles().iter().map(ToString::to_string).collect();
        assert!(circles.is_empty(), "\n{}\n", circles.join("\n"));
    }
}

#[test]
fn doors_hold_no_code() {
    for root in PACKAGES {
        check(root, code_in_a_door);
    }
}

/// A `lib.rs` or `mod.rs` is a door: it declares modules, imports and exports, and defines nothing.
fn code_in_a_door(source: &Source) -> Vec<Breach> {
    if !source.path.ends_with("lib.rs") && !source.path.ends_with("mod.rs") {
        return Vec::new();
    }
    let source = source.without_tests();
    let is = |at: usize, mark: char| {
        source.tokens.get(at).is_some_and(|(_, token)| *token == Token::Mark(mark))
    };
    let word = |at: usize| match source.tokens.get(at) {
        Some((_, Token::Word(word))) => word.as_str(),
        _ => "",
    };
    let closing = |at| close(&source.tokens, at).unwrap_or(source.tokens.len());
    let mut breaches = Vec::new();
    let mut at = 0;
    while at < source.tokens.len() {
        if is(at, '#') {
            at = closing(at + 1 + usize::from(is(at + 1, '!'))) + 1;
            continue;
        }
        if word(at) == "pub" {
            at = if is(at + 1, '(') { closing(at + 1) + 1 } else { at + 1 };
        }
        let begin = at;
        while at < source.tokens.len() && !is(at, ';') {
            if is(at, '{') && word(begin) != "use" {
                at = closing(at);
                break;
            }
            at = if is(at, '(') || is(at, '[') || is(at, '{') { closing(at) + 1 } else { at + 1 };
        }
        let is_door = matches!(word(begin), "mod" | "use") && is(at, ';');
        if !is_door {
            let rule =
                format!("`{} {}`: lib.rs and mod.rs hold no code", word(begin), word(begin + 1));
            breaches.push(breach(&source, source.tokens[begin].0, rule));
        }
        at += 1;
    }
    breaches
}

// --- responsibilities ---------------------------------------------------------------------------

#[test]
fn only_the_tree_adds_actors() {
    for directory in ["src", "actors/src"] {
        check(directory, added_actors);
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
        check(directory, environment_reads);
    }
}

fn environment_reads(source: &Source) -> Vec<Breach> {
    if source.path.starts_with("src/config") {
        return Vec::new();
    }
    let source = source.without_tests();
    let found = source.find("env ::").filter_map(|(line, rest)| match rest.first() {
        // These only split or join a path that they are given.
        Some((_, Token::Word(word))) if matches!(word.as_str(), "split_paths" | "join_paths") => {
            None
        }
        _ => Some(line),
    });
    found.map(|line| breach(&source, line, "only src/config reads the environment")).collect()
}

#[test]
fn nothing_runs_on_the_blocking_threads_of_the_runtime() {
    for directory in PACKAGES {
        check(directory, blocking_threads);
    }
}

/// A runtime that is dropped waits for its blocking threads, and so the end of the process would.
fn blocking_threads(source: &Source) -> Vec<Breach> {
    let source = source.without_tests();
    let rule = "the end of the process would wait for it; actors/src/blocking.rs has calls that it does not wait for";
    let words = ["spawn_blocking", "lookup_host", "block_in_place"];
    let words = source.words().filter(|(_, word)| words.contains(word)).map(|(line, _)| line);
    let files = source.find("tokio :: fs").map(|(line, _)| line);
    words.chain(files).map(|line| breach(&source, line, rule)).collect()
}

#[test]
fn no_state_waits_or_reads_a_clock_or_does_io() {
    let is_state = |source: &Source| source.path.file_name().is_some_and(|name| name == "state.rs");
    let states = Source::below("actors/src").into_iter().filter(is_state).count();
    assert!(states > 2, "only {states} files are called state.rs");
    check("actors/src", |source| if is_state(source) { impurities(source) } else { Vec::new() });
}

/// A state gets the time and random numbers as arguments, and returns its decisions as values.
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
        if !matches!(rest.first(), Some((_, Token::Word(word))) if word == "time") {
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
        check(directory.to_str().unwrap(), |source| foreign_includes(source, package, others));
    }
}

/// `others` are packages below the root of this one that are published separately.
fn foreign_includes(source: &Source, package: &str, others: &[&str]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for include in ["include_str ! (", "include_bytes ! (", "include ! ("] {
        for (line, rest) in source.find(include) {
            let Some((_, Token::Text(given))) = rest.first() else {
                let rule = "only a path in one literal can be checked";
                breaches.push(breach(source, line, rule));
                continue;
            };
            let target = normal(&source.path.parent().unwrap_or(Path::new("")).join(given));
            let is_within = target.as_ref().is_some_and(|target| {
                target.starts_with(package) && !others.iter().any(|other| target.starts_with(other))
            });
            if !is_within {
                let rule = format!("{given:?} is outside of the package that includes it");
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

// --- size ---------------------------------------------------------------------------------------

/// The most lines of a file, its tests not counted.
const MOST_LINES: usize = 450;

#[test]
fn no_file_is_too_long() {
    for directory in ["src", "actors/src", "supervision/src"] {
        check(directory, too_long);
    }
}

fn too_long(source: &Source) -> Vec<Breach> {
    let lines = source.without_tests().line_count();
    let rule = format!("{lines} lines without tests, at most {MOST_LINES}: split the file");
    if lines > MOST_LINES { vec![breach(source, lines, rule)] } else { Vec::new() }
}

// --- each rule finds what breaks it -------------------------------------------------------------

/// The lines of `text` that break `rule`, if `path` is its file.
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
fn an_import_of_another_room_is_found() {
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

/// The circles in a package of these files, each by its members.
fn circles(files: &[(&str, &str)]) -> Vec<String> {
    let imports = imports(files);
    assert_eq!(imports.unresolved, [] as [String; 0]);
    imports.circles().iter().map(|circle| circle.members.join(" ")).collect()
}

fn imports(files: &[(&str, &str)]) -> Imports {
    let source = |(path, text): &(&str, &str)| Source::new(Path::new("src").join(path), text);
    Imports::read("src", &files.iter().map(source).collect::<Vec<_>>())
}

#[test]
fn a_circle_is_shown_with_an_import_for_each_of_its_steps() {
    let a = ("a.rs", "use std::fmt;\nuse crate::b::B;\npub struct A;");
    let b = ("b.rs", "pub struct B(super::a::A);");
    let found = imports(&[("lib.rs", "mod a; mod b;"), a, b]).circles();
    assert_eq!(found.len(), 1, "{found:?}");
    let shown = [
        "a circle of imports, a -> b -> a:",
        "    src/a.rs:2 imports `crate::b::B` from src/b.rs",
        "    src/b.rs:1 imports `super::a::A` from src/a.rs",
    ];
    assert_eq!(found[0].to_string(), shown.join("\n"));
}

#[test]
fn a_circle_through_a_third_file_is_found() {
    let root = ("lib.rs", "mod a; mod b; mod c; mod d;");
    let a = ("a.rs", "use crate::b::B; pub struct A;");
    let b = ("b.rs", "use crate::c::C; pub struct B;");
    let d = ("d.rs", "use crate::{a::A, b::B, c::C};");
    assert_eq!(circles(&[root, a, b, ("c.rs", "use crate::a::A; pub struct C;"), d]), ["a b c"]);
    assert_eq!(circles(&[root, a, b, ("c.rs", "pub struct C;"), d]), [] as [&str; 0]);
}

#[test]
fn a_circle_through_doors_is_found() {
    let root = ("lib.rs", "mod room; pub use room::{First as One, Second};");
    let door = ("room/mod.rs", "mod inner; mod second; pub use self::{inner::*, second::Second};");
    let inner = ("room/inner/mod.rs", "mod first; pub use first::First;");
    let first = ("room/inner/first.rs", "use crate::Second; pub struct First;");
    let uses = |second| circles(&[root, door, inner, first, ("room/second.rs", second)]);
    assert_eq!(uses("use crate::One; pub struct Second;"), ["inner second"]);
    assert_eq!(uses("use super::First; pub struct Second;"), ["inner second"]);
    assert_eq!(uses("use crate::room; pub struct Second(room::First);"), ["inner second"]);
    assert_eq!(
        uses("use crate::{room::{inner as i}}; fn f() { i::First }\npub struct Second;"),
        ["inner second"]
    );
    assert_eq!(uses("pub struct Second;"), [] as [&str; 0]);
}

#[test]
fn a_circle_by_paths_without_an_import_is_found() {
    let root = ("lib.rs", "mod a; mod b;");
    let a = (
        "a.rs",
        "pub fn f() { super::b::g() } pub trait Name { const N: u8; } pub enum Kind { Odd }",
    );
    let uses = |b: &str| circles(&[root, a, ("b.rs", &format!("pub fn g() {{}} {b}"))]);
    for path in [
        "fn h() { crate::a::f() }",
        "fn h() { vec![1..crate::a::Kind::Odd as u8] }",
        "fn h(kind: Option<&super::a::Kind>) {}",
        "impl super::a::Name for u8 {}",
        "fn h() -> u8 { <u8 as crate::a::Name>::N }",
        "fn h() { collect::<crate::a::Kind>() }",
        "#[tokio::main(crate = crate::a::f)] fn h() {}",
        "fn h() { use super::a as one; one::f() }",
        "macro_rules! h { () => { $crate::a::f() } }",
    ] {
        assert_eq!(uses(path), ["a b"], "{path}");
    }
    for path in [
        "pub(in crate::a) fn h() {}",
        "fn h() { ::a::f(); x.a::<u8>(); <T>::a::f() }",
        "// crate::a::f()\nfn h() { \"crate::a::f\" }",
        "fn h() { self.a.f(); Self::f(); T::f(); a::f() }",
    ] {
        assert_eq!(uses(path), [] as [&str; 0], "{path}");
    }
}

#[test]
fn a_circle_through_a_glob_is_found() {
    let root = ("lib.rs", "mod a; mod b; pub mod all;");
    let all = ("all.rs", "pub use crate::a::*; pub use crate::b::*; pub use std::fmt::*;");
    let a = ("a.rs", "use super::all::*; pub struct A(B);");
    let uses = |b| circles(&[root, all, a, ("b.rs", b)]);
    assert_eq!(uses("use crate::all::*; fn f(_: A) {}\npub struct B;"), ["a b"]);
    assert_eq!(uses("use crate::all::A; pub struct B;"), ["a b"]);
    // A name of its own comes before those of the glob.
    assert_eq!(uses("use crate::all::*; struct A; fn f(_: A) {}\npub struct B;"), [] as [&str; 0]);
}

#[test]
fn a_circle_between_a_file_and_a_folder_is_found() {
    let root = ("lib.rs", "mod state; mod web; pub use state::State;");
    let state = ("state.rs", "pub struct State; fn routes() { crate::web::routes() }");
    let door = ("web/mod.rs", "mod edge; mod health; pub use health::routes;");
    let health = ("web/health.rs", "pub fn routes() {}");
    let uses = |edge| circles(&[root, state, door, health, ("web/edge.rs", edge)]);
    assert_eq!(uses("use crate::State;"), ["state web"]);
    assert_eq!(uses("use super::routes;"), [] as [&str; 0]);
}

#[test]
fn a_circle_of_folders_is_found_where_no_files_import_each_other() {
    let root = ("lib.rs", "mod a; mod b;");
    let doors = [("a/mod.rs", "mod x; pub mod y;"), ("b/mod.rs", "pub mod x; mod y;")];
    let a = [("a/x.rs", "use crate::b::x::X;"), ("a/y.rs", "pub struct Y;")];
    let b = [("b/x.rs", "pub struct X;"), ("b/y.rs", "use crate::a::y::Y;")];
    assert_eq!(circles(&[&[root], &doors[..], &a, &b].concat()), ["a b"]);
}

#[test]
fn what_only_looks_like_a_circle_is_none() {
    // By way of the root each seems to import what imports it.
    let root = ("lib.rs", "mod a; mod b; mod c; pub use a::A; pub use b::B; pub use c::C;");
    let a = ("a.rs", "use crate::B; pub struct A;");
    let b = ("b.rs", "use crate::C; pub struct B; #[cfg(test)] mod tests { use crate::A; }");
    assert_eq!(circles(&[root, a, b, ("c.rs", "pub struct C;")]), [] as [&str; 0]);

    // A door that hands on what another folder defines.
    let root = ("lib.rs", "mod redis; mod room;");
    let door = ("room/mod.rs", "mod actor; pub use crate::redis::Status;");
    let actor = ("room/actor.rs", "use super::Status;");
    let redis =
        ("redis.rs", "use crate::room::Status as Own; pub struct Status; use ::redis::Client;");
    assert_eq!(circles(&[root, door, actor, redis]), [] as [&str; 0]);

    // The modules of one file are one.
    let file = "mod x { use super::y::Y; pub struct X; }\nmod y { pub struct Y(super::x::X); }";
    assert_eq!(circles(&[("lib.rs", "mod a;"), ("a.rs", file)]), [] as [&str; 0]);
}

#[test]
fn a_name_may_be_defined_twice_by_a_macro_or_as_a_variant() {
    let root = ("lib.rs", "mod a; mod b; mod c; mod door;");
    let door = "#[cfg(x)] pub use crate::a::Thing; #[cfg(not(x))] pub use crate::b::Thing;";
    let a = ("a.rs", "pub enum Thing { One } tokio::task_local! { pub static NOW: u8; }");
    let b = ("b.rs", "use crate::c::list; pub enum Thing { One }");
    let uses = |c: &str| circles(&[root, a, b, ("c.rs", c), ("door.rs", door)]);
    let list = "macro_rules! list { () => {} } pub(crate) use list;";
    assert_eq!(uses(&format!("{list} fn f() {{ crate::door::Thing::One }}")), ["b c"]);
    assert_eq!(uses(&format!("{list} use crate::door::Thing::*; use crate::a::NOW;")), ["b c"]);
    assert_eq!(uses(&format!("{list} use crate::a::{{NOW, Thing::One}};")), [] as [&str; 0]);
}

#[test]
fn a_path_of_ours_that_leads_nowhere_is_found() {
    let root = ("lib.rs", "mod a; mod b; pub use serde_json;");
    let lost = |a| imports(&[root, ("a.rs", a), ("b.rs", "pub enum B { One }")]).unresolved;
    assert_eq!(lost("\nuse super::gone::A;"), ["src/a.rs:2: nothing is found at `super::gone::A`"]);
    for path in
        ["use crate::b::Gone;", "use super::b; b::gone();", "self::gone()", "use crate::{b::{C}};"]
    {
        assert_eq!(lost(path).len(), 1, "{path}");
    }
    let fine = "use crate::serde_json::Value; use super::b::{self, B::One}; fn f() { T::new(); std::x::y(); B::Two }";
    assert_eq!(lost(fine), [] as [&str; 0]);
}

#[test]
fn code_in_a_door_is_found() {
    let finds = |path: &str, text: &str| lines_of(path, text, code_in_a_door);
    let door = "//! Docs.\n#![doc = include_str!(\"a.md\")]\nmod a;\npub(crate) mod b;\n#[cfg(test)]\nmod tests;\n\
                pub use a::{A, b::{C, D}};\n#[expect(x, reason = \"y\")]\npub(in crate::x) use b::*;\n";
    assert_eq!(finds("src/a/mod.rs", door), [] as [usize; 0]);
    for code in [
        "pub struct A { a: u8 }",
        "pub(crate) const fn a() { b(); }",
        "const A: [u8; 2] = [1; 2];",
        "impl A {\n}",
        "mod c { fn d() {} }",
        "tokio::task_local! { static A: u8; }",
    ] {
        let text = format!("{door}{code}\nmod d;\n{code}");
        let second = 12 + code.matches('\n').count();
        assert_eq!(finds("src/lib.rs", &text), [10, second], "{code}");
        assert_eq!(finds("src/a/tests/mod.rs", &text), [] as [usize; 0], "{code}");
        assert_eq!(finds("src/a.rs", &text), [] as [usize; 0], "{code}");
    }
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
fn a_read_of_the_environment_is_found() {
    let reads = |path: &str, text: &str| lines_of(path, text, environment_reads);
    assert_eq!(reads("src/state.rs", "\nlet port = std::env::var(\"PORT\");"), [2]);
    assert_eq!(reads("actors/src/a.rs", "use std::env::{self, temp_dir};"), [1]);
    let fine =
        "let paths = std::env::split_paths(path); const V: &str = env!(\"CARGO_PKG_VERSION\");";
    assert_eq!(reads("actors/src/a.rs", fine), [] as [usize; 0]);
    assert_eq!(reads("src/config/environment.rs", "std::env::vars_os()"), [] as [usize; 0]);
}

#[test]
fn a_use_of_the_blocking_threads_is_found() {
    let text = "tokio::task::spawn_blocking(f);\ntokio::net::lookup_host(h);\nuse tokio::fs::File;\nuse std::fs;\n#[cfg(test)]\nmod tests { fn f() { block_in_place(g) } }";
    assert_eq!(lines_of("src/a.rs", text, blocking_threads), [1, 2, 3]);
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
fn an_include_from_outside_of_the_package_is_found() {
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
