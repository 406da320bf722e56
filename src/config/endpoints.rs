//! `[redis.endpoints.<name>]`: endpoints besides the default one, each with the keys of `[redis]`.

#[cfg(feature = "cache")]
use figment::value::Dict;

use super::error::Fault;
use super::keys::{self, Key};
use super::nearest::nearest;
use super::section::ENDPOINTS;
use super::variable_name::without_underscore;

/// The meaning of a variable: a key, known or not, of an endpoint.
#[derive(Debug)]
pub(super) struct Told<'a> {
    /// Its name has `-` where the variable has `_`.
    pub(super) endpoint: String,
    /// `redis` or `redis.tls`.
    pub(super) keys: &'static str,
    pub(super) name: &'a str,
}

/// What follows `redis_endpoints_` in the name of a variable, without its prefix and in lower case.
pub(super) fn of_variable(rest: &str) -> Option<&str> {
    if !cfg!(feature = "cache") {
        return None;
    }
    let rest = without_underscore(rest.strip_prefix("redis")?)?.strip_prefix("endpoints")?;
    if rest.is_empty() { Some(rest) } else { without_underscore(rest) }
}

/// Reads what follows `redis_endpoints_`; `None` if it names no endpoint.
pub(super) fn read(rest: &str) -> Option<Told<'_>> {
    // No key's name ends in `_` and the name of another key, so at most one key fits.
    if let Some((name, key)) =
        keys::of_an_endpoint().find_map(|key| Some((name_before(rest, key)?, key)))
    {
        return (!name.is_empty()).then(|| told(name, key.section, key.name));
    }
    guess(rest)
}

/// The name of the endpoint in front of `key`; empty if there is none.
fn name_before<'a>(rest: &'a str, key: &Key) -> Option<&'a str> {
    let mut parts = vec![key.name];
    parts.extend(key.section.split('.').skip(1));
    let mut left = rest;
    for part in parts {
        left = left.strip_suffix(part)?;
        if left.is_empty() {
            return Some(left);
        }
        left = left.strip_suffix("__").or_else(|| left.strip_suffix('_'))?;
    }
    Some(left)
}

/// Guesses where an unknown key begins: after two underscores, else where the rest resembles a key, else after the first
/// word.
fn guess(rest: &str) -> Option<Told<'_>> {
    let at = |(name, key)| {
        let (keys, key) = section_of(key);
        told(name, keys, key)
    };
    let mut all = rest.match_indices('_').map(|(at, _)| (&rest[..at], &rest[at + 1..]));
    let resembles = |(_, key): &(&str, &str)| {
        let (keys, key) = section_of(key);
        let names = keys::all().filter(|known| known.section == keys).map(|known| known.name);
        nearest(key, names).is_some()
    };
    let split =
        rest.split_once("__").or_else(|| all.clone().find(resembles)).or_else(|| all.next());
    let split = split.unwrap_or((rest, ""));
    (!split.0.is_empty()).then(|| at(split))
}

/// The section of a key, which is `redis.tls` if it begins with `tls_`, and the key without that.
fn section_of(key: &str) -> (&'static str, &str) {
    match key.strip_prefix("tls").and_then(without_underscore) {
        Some(rest) => ("redis.tls", rest),
        None => ("redis", key),
    }
}

fn told<'a>(name: &str, keys: &'static str, key: &'a str) -> Told<'a> {
    Told { endpoint: name.replace('_', "-"), keys, name: key }
}

/// The fault of a variable that names a key of an endpoint and no endpoint.
pub(super) fn nameless(variable: &str, prefix: &str) -> Fault {
    let wanted = format!("{prefix}_REDIS_ENDPOINTS_<NAME>_URL, or another key");
    Fault::new(ENDPOINTS, variable, "a key of no endpoint", wanted)
}

/// The fault of an endpoint's name, if it has one.
#[cfg(feature = "cache")]
pub(super) fn fault_of_name(name: &str, source: &str) -> Option<Fault> {
    let fault = mainstay_actors::redis::fault_of_name(name)?;
    Some(Fault::new(ENDPOINTS, source, fault.given, fault.wanted))
}

#[cfg(not(feature = "cache"))]
pub(super) fn fault_of_name(_name: &str, _source: &str) -> Option<Fault> {
    None
}

/// What is wanted instead of the endpoint `name`, which has no URL: a URL, or one of `declared` that `name` may misspell.
#[cfg(feature = "cache")]
pub(super) fn wanted_url(name: &str, declared: &Dict) -> String {
    let others = || declared.keys().map(String::as_str).filter(|other| *other != name);
    let is_longer =
        |other: &&str| name.strip_prefix(*other).is_some_and(|rest| rest.starts_with('-'));
    let wanted = "a URL of its own, since it has none from [redis]";
    match nearest(name, others()).or_else(|| others().find(is_longer)) {
        Some(meant) => format!("{wanted}; or is the endpoint {meant} meant?"),
        None => wanted.to_owned(),
    }
}
