//! Kubernetes service links: variables that a cluster sets in every pod for every service it has. A service called
//! `acton-redis` gives `ACTON_REDIS_PORT=tcp://10.0.0.7:6379` and more, which mean nothing to us.
//!
//! <https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables>

use std::collections::BTreeMap;
use std::ffi::OsString;

/// Whether the variable `name` is a service link; `all` are the variables it stands among.
///
/// Two underscores after the section never make a link: no service's name gives them.
pub(super) fn is_link(name: &str, all: &BTreeMap<String, OsString>) -> bool {
    if name.contains("__") {
        return false;
    }
    // Each underscore is tried, for in `ACTON_SERVICE_SERVICE_HOST` two `_SERVICE_` share one.
    let is_of_service = name.match_indices('_').any(|(at, _)| is_service(name, at, all));
    (name.ends_with("_PORT") && is_address(all, name)) || is_port_of_protocol(name) || is_of_service
}

/// `<stem>_SERVICE_HOST`, `<stem>_SERVICE_PORT` and `<stem>_SERVICE_PORT_<NAME>`, the stem ending at `at`.
///
/// A bare prefix as the stem is doubtful, for `ACTON_SERVICE_PORT` is our own key: the other two variables that the
/// cluster sets with it decide.
fn is_service(name: &str, at: usize, all: &BTreeMap<String, OsString>) -> bool {
    let (stem, rest) = name.split_at(at);
    let Some(rest) = rest.strip_prefix("_SERVICE_") else { return false };
    let is_shaped = rest == "HOST" || rest == "PORT" || rest.starts_with("PORT_");
    let is_bare = !stem.contains('_');
    let has_siblings = || {
        all.contains_key(&format!("{stem}_SERVICE_HOST"))
            && is_address(all, &format!("{stem}_PORT"))
    };
    is_shaped && (!is_bare || has_siblings())
}

/// `.._PORT_<number>_<PROTOCOL>`, and the same with `_PROTO`, `_PORT` or `_ADDR` behind it.
fn is_port_of_protocol(name: &str) -> bool {
    name.match_indices("_PORT_").any(|(at, found)| {
        let mut parts = name[at + found.len()..].split('_');
        let is_number = parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
        let is_protocol = parts.next().is_some_and(|part| ["TCP", "UDP", "SCTP"].contains(&part));
        let detail = parts.next().is_none_or(|part| ["PROTO", "PORT", "ADDR"].contains(&part));
        is_number && is_protocol && detail && parts.next().is_none()
    })
}

fn is_address(all: &BTreeMap<String, OsString>, name: &str) -> bool {
    let value = all.get(name).and_then(|value| value.to_str()).unwrap_or_default().trim();
    ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme))
}
