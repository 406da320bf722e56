//! What README.md lists. Its commands and samples are run by scripts/readme and by the tests of the documentation.

use std::collections::{BTreeMap, BTreeSet};

const README: &str = include_str!("../../README.md");
const MANIFEST: &str = include_str!("../../Cargo.toml");

/// The lines of a section of the manifest that set something, as name and value.
fn manifest(section: &str) -> BTreeMap<&'static str, &'static str> {
    let lines = MANIFEST.lines().skip_while(|line| *line != section).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = ")).collect()
}

#[test]
fn every_feature_is_listed_with_its_default_and_what_it_adds() {
    let features = manifest("[features]");
    let defaults: BTreeSet<_> = features["default"].split('"').skip(1).step_by(2).collect();
    let known = features.into_keys().filter(|name| *name != "default");
    let known: BTreeMap<_, _> = known.map(|name| (name, defaults.contains(name))).collect();
    assert!(known.len() >= 4, "hardly any feature was found: {known:?}");

    let rows = README.lines().skip_while(|line| *line != "## Features").skip(1);
    let rows = rows.take_while(|line| !line.starts_with("## "));
    let mut listed = BTreeMap::new();
    for row in rows.filter(|row| row.starts_with("| `")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let ["", name, default, adds, ""] = cells[..] else { panic!("not three cells: {row}") };
        assert!(!adds.is_empty() && ["yes", "no"].contains(&default), "{row}");
        listed.insert(name.trim_matches('`'), default == "yes");
    }
    assert_eq!(listed, known);
}

#[test]
fn every_example_is_listed() {
    let manifest = include_str!("../../examples/Cargo.toml");
    let examples: Vec<_> =
        manifest.lines().filter_map(|line| line.strip_prefix("name = ")).skip(1).collect();
    assert!(examples.len() > 3, "hardly any example was found: {examples:?}");
    for example in examples {
        let row = format!("| `cargo run --example {}` |", example.trim_matches('"'));
        assert!(README.contains(&row), "README.md has no {row}");
    }
}
