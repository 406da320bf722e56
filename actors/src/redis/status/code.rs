//! What the first word of a server's error means: the one table of codes.

use super::cause::Cause;
use super::server_state::ServerState;

/// The cause of an answer that says "not now" or "not you" rather than "not this".
pub(super) fn cause(code: &str) -> Option<Cause> {
    match code {
        "LOADING" => Some(Cause::Loading),
        "BUSY" => Some(Cause::Busy),
        "READONLY" => Some(Cause::ReadOnly),
        "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "UNBLOCKED" => Some(Cause::Down),
        "NOAUTH" | "WRONGPASS" => Some(Cause::Auth),
        "DENIED" => Some(Cause::Denied),
        _ => None,
    }
}

/// Why a login failed, if it did.
pub(super) fn cause_of_login(code: &str) -> Option<Cause> {
    match code {
        "NOAUTH" => Some(Cause::NoPassword),
        "WRONGPASS" => Some(Cause::Auth),
        _ => None,
    }
}

/// The state of the server in which it refuses with this code.
pub(super) fn server_state(code: &str) -> Option<ServerState> {
    match code {
        "OOM" => Some(ServerState::Full),
        "READONLY" => Some(ServerState::ReadOnly),
        "MISCONF" => Some(ServerState::Unsaved),
        "NOREPLICAS" => Some(ServerState::FewReplicas),
        "MOVED" | "ASK" => Some(ServerState::ClusterNode),
        _ => None,
    }
}

/// Whether the user lacks a permission.
pub(super) fn is_denial(code: &str) -> bool {
    code == "NOPERM"
}

/// `code` if it looks like a code, else `ERR`: a script may answer with any text, which must not be shown.
pub(super) fn presentable(code: &str) -> &str {
    let is_code = !code.is_empty()
        && code.len() <= 32
        && code
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    if is_code { code } else { "ERR" }
}
