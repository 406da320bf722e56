use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ::redis::{ConnectionAddr, IntoConnectionInfo};

/// Where an endpoint is, and the login for it. Shows neither user nor password.
#[derive(Clone)]
pub enum Address {
    /// A host and a port.
    Tcp {
        /// A name or an IP address.
        host: String,
        /// Default 6379.
        port: u16,
        /// Whether the connection is encrypted.
        is_tls: bool,
        /// The user, password and database.
        login: Login,
    },
    /// A socket on this machine.
    Unix {
        /// The socket's path.
        path: PathBuf,
        /// Whether only a server of this process' own user is spoken to.
        is_private: bool,
        /// The user, password and database.
        login: Login,
    },
    /// A private server that the tree starts. It becomes an [`Address::private`] once its directory is known.
    Embedded,
}

/// The user, password and database that a connection starts with.
#[derive(Clone, Default)]
pub struct Login {
    user: Option<String>,
    password: Option<String>,
    database: i64,
}

/// Why a URL cannot be used. Shows no user and no password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("redis url {given} cannot be used, wanted is {wanted}")]
pub struct Fault {
    /// The URL as far as it can be shown.
    pub given: String,
    /// What is accepted instead.
    pub wanted: &'static str,
}

impl Address {
    /// Reads an address from a URL. White space and quotation marks around it do not count, nor does the case of the
    /// scheme. Answers from memory.
    ///
    /// # Errors
    /// A [`Fault`] that says what is wanted instead; clusters and sentinels are not supported yet.
    pub fn parse(url: &str) -> Result<Self, Fault> {
        let url = &*normal(url);
        if url == "embedded" {
            return Ok(Self::Embedded);
        }
        let fault = |wanted| Fault { given: shown(url), wanted };
        if url.starts_with(QUOTES) || url.ends_with(QUOTES) {
            return Err(fault("a url without quotation marks, or with the same one at both ends"));
        }
        if is_list(url) {
            return Err(fault("one address: a cluster's list of nodes is not supported yet"));
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(fault(FORMS));
        };
        let is_tls = matches!(scheme, "rediss" | "valkeys");
        match scheme {
            "redis" | "valkey" | "unix" | "redis+unix" | "valkey+unix" => {}
            "rediss" | "valkeys" if cfg!(feature = "tls") => {}
            "rediss" | "valkeys" => {
                return Err(fault(
                    "redis:// or unix://: TLS needs the feature `tls`, which this build does not have",
                ));
            }
            "sentinel" | "redis-sentinel" => {
                return Err(fault("the address of the primary: sentinel:// is not supported yet"));
            }
            _ => return Err(fault(FORMS)),
        }
        if has_zone(rest) {
            return Err(fault(NO_ZONE));
        }
        // TLS is done here and not by the redis crate, so its parser gets the URL without it.
        let plain = if is_tls { format!("redis://{rest}") } else { url.to_owned() };
        let Some(parsed) = ::redis::parse_redis_url(&plain) else {
            return Err(fault(
                "redis://[user][:password@]host[:port][/database], special characters percent-encoded",
            ));
        };
        if parsed.fragment() == Some("insecure") {
            return Err(fault(
                "the same without #insecure: certificates are always verified, and tls.ca_file names authorities of \
                 your own",
            ));
        }
        if parsed.query_pairs().any(|(key, value)| key == "protocol" && !is_resp3(&value)) {
            return Err(fault(
                "the same without `protocol`: RESP3 is spoken where the server has it, and RESP2 where it has not",
            ));
        }
        let is_unix = scheme.ends_with("unix");
        let reads = |key: &str| key == "protocol" || (is_unix && UNIX_QUERY.contains(&key));
        if parsed.fragment().is_some() || parsed.query_pairs().any(|(key, _)| !reads(&key)) {
            return Err(fault(
                "redis://[user][:password@]host[:port][/database] with nothing after it, or unix:///path?db=0 with \
                 user and pass besides",
            ));
        }
        if !is_unix && parsed.host_str().is_none_or(str::is_empty) {
            return Err(fault("a host, as in redis://localhost:6379"));
        }
        if !is_unix && parsed.host_str().is_some_and(is_unspecified) {
            return Err(fault(
                "the address of a host: 0.0.0.0 and [::] are for listening only, 127.0.0.1 is this machine",
            ));
        }
        if is_unix
            && (parsed.host_str().is_some_and(|host| !host.is_empty()) || parsed.path().len() < 2)
        {
            return Err(fault("the absolute path of a socket, as in unix:///run/redis/redis.sock"));
        }
        let database = if is_unix {
            parsed
                .query_pairs()
                .find(|(key, _)| key == "db")
                .map(|(_, database)| database.into_owned())
        } else {
            Some(parsed.path().trim_matches('/').to_owned()).filter(|database| !database.is_empty())
        };
        if database.is_some_and(|database| !database.parse::<i64>().is_ok_and(|number| number >= 0))
        {
            return Err(fault(
                "a database number, as in redis://localhost:6379/0 or unix:///path?db=0",
            ));
        }
        let info = parsed
            .into_connection_info()
            .map_err(|_| fault("an address to connect to, with user and password in UTF-8"))?;
        let login = Login {
            user: info.redis_settings().username().map(str::to_owned),
            password: info.redis_settings().password().map(str::to_owned),
            database: info.redis_settings().db(),
        };
        match info.addr().clone() {
            ConnectionAddr::Tcp(host, port) => Ok(Self::Tcp { host, port, is_tls, login }),
            ConnectionAddr::Unix(path) if holds_login(&path) => Err(fault(
                "unix:///path?user=name&pass=word: the user and password of a socket stand behind its path",
            )),
            ConnectionAddr::Unix(path) => Ok(Self::Unix { path, is_private: false, login }),
            _ => Err(fault(FORMS)),
        }
    }

    /// A socket on this machine, with no login. Answers from memory.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::Unix { path: path.into(), is_private: false, login: Login::default() }
    }

    /// A socket on this machine, with no login, that only a server of this process' own user counts behind. Answers
    /// from memory.
    pub fn private(path: impl Into<PathBuf>) -> Self {
        Self::Unix { path: path.into(), is_private: true, login: Login::default() }
    }

    /// The login, with `password` in place of that of the URL.
    pub(crate) fn login(&self, password: Option<String>) -> Login {
        let login = match self {
            Self::Tcp { login, .. } | Self::Unix { login, .. } => login.clone(),
            Self::Embedded => Login::default(),
        };
        Login { password: password.or(login.password), ..login }
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Tcp { is_tls: true, .. })
    }

    /// The server, whatever the login and the database.
    pub(crate) fn server(&self) -> String {
        match self {
            Self::Tcp { host, port, .. } => format!("{}:{port}", host.to_ascii_lowercase()),
            Self::Unix { path, .. } => path.display().to_string(),
            Self::Embedded => String::new(),
        }
    }

    /// The database that every connection starts in.
    pub(crate) fn database(&self) -> i64 {
        match self {
            Self::Tcp { login, .. } | Self::Unix { login, .. } => login.database,
            Self::Embedded => 0,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, is_tls, login } => {
                let scheme = if *is_tls { "rediss" } else { "redis" };
                let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
                let (mask, database) = (login.mask(), login.database);
                write!(f, "{scheme}://{mask}{open}{host}{close}:{port}/{database}")
            }
            Self::Unix { path, login, .. } => {
                let path = path.display().to_string();
                // A user's name may have been meant.
                let path =
                    path.rsplit_once('@').map_or(path.clone(), |(_, end)| format!("/***@{end}"));
                write!(f, "unix://{path}?db={}", login.database)
            }
            Self::Embedded => f.write_str("embedded"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl Login {
    /// The user and password to log in with; `None` if both are empty. A user alone logs in with the empty password: the
    /// server decides whether that is enough.
    pub(crate) fn credentials(&self) -> Option<(Option<&str>, &str)> {
        let given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        let password = self.password.as_deref().unwrap_or_default();
        match (given(&self.user), given(&self.password)) {
            (true, _) => Some((self.user.as_deref(), password)),
            (false, true) => Some((None, password)),
            (false, false) => None,
        }
    }

    pub(crate) fn database(&self) -> i64 {
        self.database
    }

    /// Stands for the login without showing it.
    fn mask(&self) -> &'static str {
        if self.password.is_some() || self.user.is_some() { "***@" } else { "" }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("database", &self.database).finish_non_exhaustive()
    }
}

/// The URL in the form that the rest of this file reads.
fn normal(url: &str) -> Cow<'_, str> {
    let url = url.trim();
    let quoted = |quote| url.strip_prefix(quote)?.strip_suffix(quote);
    let url = QUOTES.into_iter().find_map(quoted).unwrap_or(url).trim();
    let Some((scheme, rest)) = url.split_once(':') else { return Cow::Borrowed(url) };
    let scheme = scheme.to_ascii_lowercase();
    // A URL may leave out an empty authority.
    let slashes = if scheme.ends_with("unix") && is_path(rest) { "//" } else { "" };
    Cow::Owned(format!("{scheme}:{slashes}{rest}"))
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.starts_with("//")
}

/// Whether several addresses were given: two URLs, or two hosts with or without a scheme.
fn is_list(url: &str) -> bool {
    let after_scheme = url.split_once("://").map(|(_, rest)| rest);
    let authority = |rest: &str| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        rest[..end].rsplit_once('@').map_or(rest[..end].to_owned(), |(_, hosts)| hosts.to_owned())
    };
    match after_scheme {
        Some(rest) => {
            url.matches("://").count() > 1 && url.contains(',') || authority(rest).contains(',')
        }
        None => url.contains(',') && url.split(',').all(is_host_and_port),
    }
}

/// Whether the host is an IPv6 address with a zone (RFC 6874), which names an interface of one machine.
fn has_zone(rest: &str) -> bool {
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host.starts_with('[') && host.split(']').next().is_some_and(|host| host.contains('%'))
}

fn is_host_and_port(text: &str) -> bool {
    text.trim()
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn is_unspecified(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.is_ok_and(|address| address.is_unspecified())
}

fn is_resp3(protocol: &str) -> bool {
    matches!(protocol, "3" | "resp3")
}

/// Whether a path begins with what looks like a user and a password.
fn holds_login(path: &Path) -> bool {
    let path = path.to_string_lossy();
    path.rsplit_once('@').is_some_and(|(before, _)| before.contains(':'))
}

/// The parts of a text that may be shown before it is known to be a URL: scheme, host and port. Whatever precedes the
/// last `@` or follows the host could be a secret, and so could a text without a scheme, or a host that is not valid.
fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return if url.is_empty() {
            "empty".to_owned()
        } else {
            "a text without a scheme".to_owned()
        };
    };
    if !scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')) {
        return "a text without a scheme".to_owned();
    }
    let (mask, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, rest)| ("***@", rest));
    let (authority, after) =
        rest.find(['/', '\\', '?', '#']).map_or((rest, ""), |end| rest.split_at(end));
    let after = if after.len() > 1 { "/***" } else { after };
    let end = if authority.starts_with('[') {
        authority.find(']').map_or(0, |end| end + 1)
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at(end);
    // Without an `@` the text after a colon may be a password whose host was forgotten.
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => "",
        Some(number) if number.is_empty() || number.parse::<u16>().is_ok() => port,
        Some(text) if !text.contains(':') => ":***",
        _ => return format!("{scheme}://{mask}***"),
    };
    format!("{scheme}://{mask}{host}{port}{after}")
}

const QUOTES: [char; 2] = ['"', '\''];
/// The query parameters that the redis crate reads for a unix socket.
const UNIX_QUERY: &[&str] = &["db", "user", "pass"];
const NO_ZONE: &str =
    "an IPv6 address without a zone (%eth0), as in redis://[fd00::1]:6379, or a host name";
const FORMS: &str = "redis://host:port, valkey://host:port, with TLS rediss:// or valkeys://, unix:///path or embedded";
