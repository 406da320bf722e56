//! What somebody may have meant by a name that is not known.

use super::keys;
use super::section::{ENDPOINTS, Section};

/// A hint for the unknown `name` in `section`: the key that was probably meant, else all that there are.
pub(super) fn key_hint(
    section: Section<'_>,
    name: &str,
    spell: impl Fn(&keys::Key) -> String,
) -> String {
    let first_word = name.split('_').next().unwrap_or_default();
    if section.has_endpoints() && nearest(first_word, ["endpoints"].into_iter()).is_some() {
        return format!("[{ENDPOINTS}.<name>], or as a variable ACTON_REDIS_ENDPOINTS_<NAME>_..?");
    }
    let section = section.keys;
    let elsewhere = keys::all().find(|key| key.section != section && key.name == name);
    let within = || keys::all().filter(|key| key.section == section);
    let holding = || {
        within().find(|key| name.len() > 2 && (key.name.contains(name) || name.contains(key.name)))
    };
    let near =
        nearest(name, within().map(|key| key.name)).and_then(|near| keys::find(section, near));
    match elsewhere.or(near).or_else(holding) {
        Some(key) => format!("{}?", spell(key)),
        None => format!("one of {}", within().map(spell).collect::<Vec<_>>().join(", ")),
    }
}

/// The one of `known` that is spelt most like `name`, if any is.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (name.len() / 3).max(1);
    known
        .map(|known| (distance(name, known), known))
        .filter(|(steps, _)| *steps <= most)
        .min()
        .map(|(_, known)| known)
}

/// The steps from one spelling to the other, a step being a letter more, less, other, or two in the wrong order (the
/// optimal string alignment distance, <https://en.wikipedia.org/wiki/Damerau-Levenshtein_distance>). In bytes.
fn distance(from: &str, to: &str) -> usize {
    let (from, to) = (from.as_bytes(), to.as_bytes());
    let mut steps = vec![(0..=to.len()).collect::<Vec<usize>>()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let replaced = steps[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut least = replaced.min(steps[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                least = least.min(steps[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        steps.push(row);
    }
    steps[from.len()][to.len()]
}
