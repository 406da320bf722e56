//! The links and paths of the documents lead somewhere.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::support::source::workspace;

/// Every `*.md` of the checkout. What cargo builds is passed over, and what is hidden.
fn documents(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let is_hidden = path.file_name().unwrap().to_string_lossy().starts_with('.');
        if path.is_dir() && !is_hidden && !path.join("CACHEDIR.TAG").exists() {
            documents(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The lines outside of fenced blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_fenced = false;
    text.lines().zip(1..).filter_map(move |(line, number)| {
        let is_fence = line.trim_start().starts_with("```");
        is_fenced ^= is_fence;
        (!is_fence && !is_fenced).then_some((number, line))
    })
}

/// The anchors of the headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen = HashMap::new();
    let headings = prose(text).filter(|(_, line)| line.starts_with('#'));
    headings
        .map(|(_, line)| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
            let before: &mut usize = seen.entry(anchor.clone()).or_default();
            *before += 1;
            if *before == 1 { anchor } else { format!("{anchor}-{}", *before - 1) }
        })
        .collect()
}

/// The targets of `[..](target)`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0))
}

/// What reads as a path of this repository, in a link or as a word.
fn paths(line: &str) -> impl Iterator<Item = &str> {
    let homes = ["actors", "benches", "docs", "examples", "scripts", "src", "supervision", "tests"];
    let words = line.split(|c: char| !c.is_ascii_alphanumeric() && !"_-./".contains(c));
    words
        .map(|word| word.trim_end_matches('.'))
        .filter(move |word| word.split_once('/').is_some_and(|(home, _)| homes.contains(&home)))
}

fn dead_link(document: &Path, text: &str, link: &str) -> Option<String> {
    if link.starts_with("https://") {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = document.parent().unwrap().join(file);
    if !file.is_empty() && !target.exists() {
        return Some(format!("there is no {file}"));
    }
    let other = (!file.is_empty()).then(|| std::fs::read_to_string(&target).unwrap_or_default());
    let is_known = anchor.is_empty() || anchors(other.as_deref().unwrap_or(text)).contains(anchor);
    (!is_known).then(|| format!("{link} has no such heading"))
}

#[test]
fn no_link_and_no_path_of_a_document_is_dead() {
    let root = workspace();
    let mut found = Vec::new();
    documents(root, &mut found);
    let (mut dead, mut tried) = (Vec::new(), 0);
    for document in found {
        let text = std::fs::read_to_string(&document).unwrap();
        // The paths of a package's own page begin at the package.
        let homes = [root, document.parent().unwrap()];
        for (number, line) in prose(&text) {
            let faults = links(line).filter_map(|link| dead_link(&document, &text, link));
            let missing =
                paths(line).filter(|path| !homes.iter().any(|home| home.join(path).exists()));
            let missing = missing.map(|path| format!("there is no {path}"));
            for fault in faults.chain(missing) {
                dead.push(format!("{}:{number}: {fault}", document.display()));
            }
            tried += links(line).count() + paths(line).count();
        }
    }
    assert!(tried > 60, "only {tried} links and paths were found");
    assert!(dead.is_empty(), "\n{}\n", dead.join("\n"));
}

#[test]
fn an_anchor_is_that_of_github() {
    let text = "# /ready\n## What is said of it\n```sh\n# no heading\n```\n## `with_actor`, twice\n## /ready\n";
    let wanted = ["ready", "what-is-said-of-it", "with_actor-twice", "ready-1"];
    assert_eq!(anchors(text), wanted.map(str::to_owned).into());
}
