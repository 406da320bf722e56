// What a configuration of acton-service 0.47 means here, in files and in variables.

use std::collections::BTreeSet;
use std::time::Duration;

use super::World;
use crate::config::keys;
use crate::config::old::{Became, KEYS, SECTIONS, reference};

/// The keys of acton-service 0.47.0 in the sections that we have too, from its `ServiceConfig` and `RedisConfig`, with
/// a value of their kind.
const THEIRS: [(&str, &str, &str); 14] = [
    ("service", "name", "'till'"),
    ("service", "bind", "'127.0.0.1'"),
    ("service", "port", "9000"),
    ("service", "log_level", "'debug'"),
    ("service", "timeout_secs", "7"),
    ("service", "environment", "'staging'"),
    ("service", "trust_forwarded_headers", "true"),
    ("redis", "url", "'redis://store:6379'"),
    ("redis", "max_connections", "20"),
    ("redis", "connection_timeout_secs", "7"),
    ("redis", "max_retries", "5"),
    ("redis", "retry_delay_secs", "2"),
    ("redis", "optional", "true"),
    ("redis", "lazy_init", "true"),
];

/// `key` alone, as each source may give it.
fn worlds((section, name, value): (&str, &str, &str)) -> Vec<(String, World)> {
    let file = "/srv/config.toml".to_owned();
    let mut worlds = vec![(file, World::new().here(format!("[{section}]\n{name} = {value}")))];
    for (prefix, separator) in
        [("ACTON", "_"), ("ACTON", "__"), ("MAINSTAY", "_"), ("MAINSTAY", "__")]
    {
        let variable = format!("{prefix}_{section}{separator}{name}").to_ascii_uppercase();
        let world = World::new().with(&variable, value.trim_matches('\''));
        worlds.push((variable, world));
    }
    worlds
}

// acton 23
#[test]
fn every_key_of_theirs_has_effect_or_is_refused_with_what_replaced_it() {
    for key in THEIRS {
        let path = format!("{}.{}", key.0, key.1);
        for (source, world) in worlds(key) {
            let became = KEYS.iter().find(|old| (old.0, old.1) == (key.0, key.1)).map(|old| old.2);
            match became {
                None => assert_ne!(world.load(), World::new().load(), "{path} in {source}"),
                Some(Became::Key(new)) => {
                    assert_ne!(world.load(), World::new().load(), "{path} in {source}");
                    let note = format!("{path} in {source} is read as {}.{new}", key.0);
                    assert!(world.notes().contains(&note), "{}", world.notes());
                }
                Some(Became::Nothing(wanted)) => {
                    let fault = (
                        path.clone(),
                        source,
                        "a key of acton-service".to_owned(),
                        wanted.to_owned(),
                    );
                    assert_eq!(world.fault(), fault);
                }
            }
        }
    }
}

#[test]
fn a_key_that_is_read_as_another_sets_that_other() {
    for (_, world) in worlds(("redis", "connection_timeout_secs", "7")) {
        assert_eq!(world.load().redis.connection_timeout, Duration::from_secs(7));
    }
    for (_, world) in worlds(("service", "timeout_secs", "7")) {
        assert_eq!(world.load().service.request_timeout, Duration::from_secs(7));
    }
}

#[test]
fn an_old_key_beside_its_new_one_is_refused() {
    let world = World::new().here("[redis]\nconnection_timeout_secs = 7\nconnection_timeout = 8");
    assert_eq!(world.fault().3, "connection_timeout alone");
}

// acton 23
#[test]
fn a_section_of_theirs_that_we_lack_is_told_and_warned_of_where_it_would_protect() {
    for absent in &SECTIONS {
        let section = absent.section;
        let variable = format!("ACTON_{}__SECRET", section.to_ascii_uppercase());
        let world =
            World::new().here(format!("[{section}]\nsecret = 'sesame'")).with(&variable, "sesame");
        assert_eq!(world.load(), World::new().load());
        let lines = if absent.protects { world.warnings().join("\n") } else { world.notes() };
        for named in [format!("[{section}] in /srv/config.toml"), variable] {
            let line = format!("{named} has no effect here: {}", absent.instead);
            assert!(lines.lines().any(|known| known == line), "{line} is not in\n{lines}");
        }
        assert!(!lines.contains("sesame"), "{lines}");
        assert_eq!(world.warnings().is_empty(), !absent.protects, "{section}");
    }
}

// Once we have one of them it must not be said to have no effect.
#[test]
fn no_section_of_ours_and_no_key_of_ours_is_told_to_be_absent() {
    let ours: BTreeSet<_> = keys::sections().collect();
    assert!(SECTIONS.iter().all(|absent| !ours.contains(absent.section)));
    assert!(KEYS.iter().all(|(section, name, _)| keys::find(section, name).is_none()));
}

#[test]
fn the_documentation_says_what_became_of_each() {
    let document = include_str!("../../../docs/configuration.md");
    let [keys, sections] = reference();
    let holds = |table: &str| document.contains(table);
    let wanted = "docs/configuration.md must hold these tables";
    assert!(holds(&keys) && holds(&sections), "{wanted}:\n{keys}\n{sections}");
}
