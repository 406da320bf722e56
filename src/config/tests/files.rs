use std::io::ErrorKind;

use mainstay_actors::redis;

use super::World;
use crate::config::{Config, Environment, Process};

const ETC: &str = "/etc/acton-service/shop/config.toml";
const HOME: &str = "/home/ada/.config/acton-service/shop/config.toml";

#[test]
fn the_users_directory_is_xdg_config_home_if_that_is_absolute() {
    let world = World::new()
        .file("/xdg/acton-service/shop/config.toml", "[service]\nport = 1")
        .file(HOME, "[service]\nport = 2");
    assert_eq!(world.load().service.port, 2);
    let world = world.with("XDG_CONFIG_HOME", "xdg");
    assert_eq!(world.load().service.port, 2);
    assert!(world.notes().contains("XDG_CONFIG_HOME is not absolute"), "{}", world.notes());
    assert_eq!(world.with("XDG_CONFIG_HOME", "/xdg").load().service.port, 1);
}

#[test]
fn a_note_says_which_files_were_read_and_which_were_not_there() {
    let notes = World::new().file(ETC, "").here("").notes();
    assert!(
        notes.contains(&format!("the last wins: {ETC}, /srv/config.toml; not there: {HOME}, ")),
        "{notes}"
    );
}

#[test]
fn a_refusal_says_which_files_were_read_and_which_were_not_there() {
    let world = World::new().file(ETC, "").here("[redis]\nmax_connections = 0");
    let text = world.try_load().unwrap_err().to_string();
    let line = format!(
        "\n  configuration files read, the last wins: {ETC}, /srv/config.toml; not there: {HOME}, \
         /etc/mainstay/shop/config.toml, /home/ada/.config/mainstay/shop/config.toml"
    );
    assert!(text.ends_with(&line), "{text}");
    let in_code = Config::default();
    let in_code = Config { redis: redis::Config { lanes: Some(0), ..in_code.redis }, ..in_code };
    let text = in_code.validate().unwrap_err().to_string();
    assert_eq!(text.lines().count(), 2, "no file was looked for: {text}");
}

#[test]
fn a_file_that_is_not_toml_is_one_fault_with_its_line_and_none_of_its_text() {
    let world = World::new()
        .here("[redis]\nmax_connections = 5\nurl = redis://:sesame@store\noptional = 7\n");
    let (key, source, given, wanted) = world.fault();
    assert_eq!(
        (key.as_str(), source.as_str(), wanted.as_str()),
        ("line 3", "/srv/config.toml", "TOML")
    );
    assert!(!given.is_empty() && !given.contains("sesame"), "{given}");
}

#[test]
fn a_file_that_is_not_toml_does_not_hide_the_faults_of_others() {
    let world = World::new()
        .here("[redis")
        .file(ETC, "[redis]\nmax_connections = 0")
        .with("ACTON_SERVICE_PORT", "high");
    let mut sources: Vec<String> = world.faults().into_iter().map(|fault| fault.source).collect();
    sources.sort();
    assert_eq!(sources, [ETC, "/srv/config.toml", "ACTON_SERVICE_PORT"]);
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault() {
    for kind in [ErrorKind::PermissionDenied, ErrorKind::IsADirectory, ErrorKind::InvalidData] {
        for path in [ETC, HOME, "/srv/config.toml"] {
            let (key, source, given, _) = World::new().broken(path, kind).fault();
            assert_eq!((key.as_str(), source.as_str()), ("the file", path));
            assert!(given.starts_with("a file that cannot be read ("), "{given}");
        }
    }
}

#[test]
fn a_closed_directory_is_a_fault_except_under_another_users_home() {
    let notes = World::new().closed(HOME).notes();
    assert!(notes.contains(&format!("{HOME} (its directory is closed to us)")), "{notes}");
    assert_eq!(World::new().closed(ETC).fault().1, ETC);
    let chosen = World::new().with("XDG_CONFIG_HOME", "/home/ada/.config").closed(HOME);
    assert_eq!(chosen.fault().1, HOME);
}

#[test]
fn sections_that_are_not_ours_are_passed_over_with_a_note() {
    let world = World::new().here(
        "motto = 'x'\n[till]\nsecret = 'sesame'\n[redi]\nurl = 'embedded'\n[service]\nport = 1",
    );
    assert_eq!(world.load().service.port, 1);
    let notes = world.notes();
    assert!(notes.contains("passed over in /srv/config.toml, not ours: motto, till"), "{notes}");
    assert!(!notes.contains("sesame"), "{notes}");
    let warned = "[redi] in /srv/config.toml has no effect; is [redis] meant?";
    assert_eq!(world.warnings(), [warned]);
}

#[test]
fn the_real_process_tells_an_absent_file_from_one_that_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    let kind = |path: &std::path::Path| Process.read(path).unwrap_err().kind();
    assert_eq!(kind(&file), ErrorKind::NotFound);
    std::fs::write(&file, "[redis]").unwrap();
    assert_eq!(Process.read(&file).unwrap(), "[redis]");
    assert_eq!(kind(&file.join("config.toml")), ErrorKind::NotADirectory);
    assert_eq!(kind(directory.path()), ErrorKind::IsADirectory);
    assert!(Process.sees(&file));
}
