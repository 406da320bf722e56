//! The parts of a variable's name: `ACTON_REDIS_URL` is a prefix, a section and a key, separated by one underscore or
//! two.

use super::keys;

/// What follows the prefix in `name`, in lower case.
pub(super) fn without_prefix(name: &str, prefix: &str) -> Option<String> {
    let (head, rest) = name.split_at_checked(prefix.len())?;
    let rest = rest.strip_prefix('_').filter(|rest| !rest.is_empty())?;
    head.eq_ignore_ascii_case(prefix).then(|| rest.to_ascii_lowercase())
}

/// The section that `rest` begins with, and the key that follows it.
pub(super) fn section_and_key(rest: &str) -> Option<(&'static str, &str)> {
    keys::sections().find_map(|section| {
        let mut parts = section.split('.');
        let first = rest.strip_prefix(parts.next()?)?;
        let key =
            parts.try_fold(first, |rest, part| without_underscore(rest)?.strip_prefix(part))?;
        if key.is_empty() {
            return Some((section, key));
        }
        Some((section, without_underscore(key)?))
    })
}

/// What follows one underscore or two at the beginning of `rest`.
pub(super) fn without_underscore(rest: &str) -> Option<&str> {
    rest.strip_prefix("__").or_else(|| rest.strip_prefix('_'))
}
