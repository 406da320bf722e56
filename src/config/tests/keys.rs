use std::time::Duration;

use mainstay_actors::redis;
use proptest::prelude::*;
use proptest::sample::select;

use super::World;
use crate::config::Config;
use crate::config::keys::{self, Key};
use crate::config::slot::Slot;
use crate::config::value::{Given, size_text, time_text};

/// Every key that this build takes.
fn all() -> impl Iterator<Item = &'static Key> {
    keys::all().filter(|key| cfg!(feature = "tls") || key.section != "redis.tls")
}

/// A key, and a value that it takes.
pub(super) fn key_and_value() -> impl Strategy<Value = (&'static Key, Given)> {
    key().prop_flat_map(|key| (Just(key), value(key)))
}

fn key() -> impl Strategy<Value = &'static Key> {
    select(all().collect::<Vec<_>>())
}

/// A world where `key` can be set alone: files of TLS want TLS, and go together.
fn world(key: &Key) -> World {
    let world = World::new();
    if key.section == "redis.tls" {
        let text =
            "[redis]\nurl = 'rediss://store'\ntls = { cert_file = 'cert', key_file = 'key' }";
        world.file("/etc/acton-service/shop/config.toml", text)
    } else {
        world
    }
}

/// A value that `key` takes and that is not its default, as a file would write it.
fn value(key: &'static Key) -> BoxedStrategy<Given> {
    let quoted = |text: &str| Given::Text(text.to_owned());
    match key.slot {
        Slot::Name(_) => "[a-z0-9._-]{0,20}x".prop_map(Given::Text).boxed(),
        Slot::Url(_) => {
            let scheme = if cfg!(feature = "tls") { "rediss" } else { "redis" };
            "[a-z]{1,8}@[a-z]{1,8}:[1-9][0-9]{0,3}/[0-9]"
                .prop_map(move |rest| Given::Text(format!("{scheme}://:{rest}")))
                .boxed()
        }
        Slot::Levels(_) => {
            select(vec!["trace", "off", "info,redis=debug"]).prop_map(quoted).boxed()
        }
        Slot::Origins(_) => {
            select(vec!["*", "https://a.example, http://[::1]:8080"]).prop_map(quoted).boxed()
        }
        Slot::File(_) => "/[a-z]{1,8}/[a-z]{1,8}".prop_map(Given::Text).boxed(),
        Slot::Address(_) => {
            any::<std::net::IpAddr>().prop_map(|ip| Given::Text(ip.to_string())).boxed()
        }
        Slot::Port(_) => any::<u16>().prop_map(|port| Given::Whole(port.into())).boxed(),
        Slot::Switch(_) => any::<bool>().prop_map(Given::Switch).boxed(),
        Slot::Count(_, most) | Slot::Capacity(_, most) => {
            (1..=most).prop_map(|n| Given::Whole(n.into())).boxed()
        }
        Slot::Auto(_, most) => (1..=most).prop_map(|n| Given::Whole(n.into())).boxed(),
        Slot::Size(_, most) => (1..=most).prop_map(|bytes| Given::Text(size_text(bytes))).boxed(),
        // Between the bounds that other keys set: 0 s and 25 s, 100 ms and 10 s.
        Slot::Time(..) => (100_u64..=10_000)
            .prop_map(|ms| Given::Text(time_text(Duration::from_millis(ms))))
            .boxed(),
    }
}

/// `given` as a variable holds it.
pub(super) fn plain(given: &Given) -> String {
    given.text().map_or_else(|| given.to_string(), str::to_owned)
}

proptest! {
    // acton 23
    #[test]
    fn every_key_can_be_set_by_a_file_and_by_each_spelling_of_its_variable(
        (key, given) in key_and_value()
    ) {
        let mut expected = world(key).load();
        prop_assert!(key.slot.set(&mut expected, &given).is_ok());
        prop_assert_eq!(key.slot.get(&mut expected), Some(given.clone()), "what is read is what was given");
        let in_file = world(key).here(format!("[{}]\n{} = {given}", key.section, key.name));
        prop_assert_eq!(&in_file.load(), &expected);
        let (single, double) = (key.section.replace('.', "_"), key.section.replace('.', "__"));
        let (section, name) = (single.to_ascii_uppercase(), key.name.to_ascii_uppercase());
        for variable in [
            format!("ACTON_{section}_{name}"),
            format!("ACTON_{section}__{name}"),
            format!("MAINSTAY_{section}_{name}"),
            format!("MAINSTAY_{section}__{name}"),
            format!("acton_{single}_{}", key.name),
            format!("acton_{double}__{}", key.name),
        ] {
            prop_assert_eq!(&world(key).with(&variable, plain(&given)).load(), &expected, "{}", variable);
        }
    }

    #[test]
    fn a_whole_configuration_survives_being_written_to_a_file(
        values in all().map(value).collect::<Vec<_>>()
    ) {
        let text: Vec<_> = all()
            .zip(&values)
            .filter(|(key, _)| key.name != "backoff_min" && key.name != "drain_delay")
            .map(|(key, given)| format!("{}.{} = {given}", key.section, key.name))
            .collect();
        let config = World::new().here(text.join("\n")).load();
        let mut copy = config.clone();
        let text: Vec<_> = keys::all()
            .filter_map(|key| Some(format!("{}.{} = {}", key.section, key.name, key.slot.get(&mut copy)?)))
            .collect();
        prop_assert_eq!(World::new().here(text.join("\n")).load(), config);
    }

    #[test]
    fn whatever_is_given_is_taken_or_refused_by_name(key in key(), text in "\\PC{0,12}") {
        let variable = format!("ACTON_{}", key.variable());
        match World::new().with(&variable, &text).try_load() {
            Ok(loaded) => prop_assert_eq!(loaded.config.validate(), Ok(())),
            Err(error) => prop_assert_eq!(&error.faults()[0].source, &variable),
        }
    }

    #[test]
    fn a_duration_reads_as_it_is_written(ms in 0_u64..=31_536_000_000) {
        let time = Duration::from_millis(ms);
        prop_assert_eq!(Given::Text(time_text(time)).time(), Some(time));
    }

    #[test]
    fn a_size_reads_as_it_is_written(bytes in 0_u64..=1 << 40) {
        prop_assert_eq!(Given::Text(size_text(bytes)).size(), Some(bytes));
    }
}

#[test]
fn durations_read_as_seconds_or_with_their_unit() {
    let read = |text: &str| Given::Text(text.to_owned()).time();
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(Given::Whole(30).time(), seconds(30));
    assert_eq!(["30", "30s", " 30 s ", "30S"].map(read), [seconds(30); 4]);
    assert_eq!(["5m", "2h", "1d"].map(read), [seconds(300), seconds(7200), seconds(86_400)]);
    assert_eq!(read("500ms"), Some(Duration::from_millis(500)));
    let refused =
        ["", "s", "-1s", "1.5s", "1 fortnight", "1m30s", "+3", "٣", "99999999999999999999d"];
    assert_eq!(refused.map(read), [None; 9]);
    assert_eq!(Given::Whole(-1).time(), None);
}

#[test]
fn sizes_read_as_bytes_or_with_their_unit() {
    let read = |text: &str| Given::Text(text.to_owned()).size();
    assert_eq!(Given::Whole(1000).size(), Some(1000));
    assert_eq!(
        ["2MiB", "2 mib", "64KiB", "1kB", "7"].map(read),
        [2 << 20, 2 << 20, 64 << 10, 1000, 7].map(Some)
    );
    assert_eq!(["2Mb/s", "MiB", "-1B", "1e3"].map(read), [None; 4]);
}

#[test]
fn the_bounds_of_the_table_are_those_of_redis() {
    let accepts = |config: &redis::Config| config.validate().is_empty();
    for key in keys::all().filter(|key| key.section == "redis") {
        let edges = match key.slot {
            Slot::Count(_, most) => vec![Given::Whole(1), Given::Whole(most.into())],
            Slot::Time(..) => vec![Given::Text("1ms".to_owned()), Given::Text("365d".to_owned())],
            _ => continue,
        };
        for edge in edges {
            let mut config = Config::default();
            assert!(
                key.slot.set(&mut config, &edge).is_ok() && accepts(&config.redis),
                "{} {edge}",
                key.path()
            );
        }
    }
    let mut beyond = Config::default();
    beyond.redis.max_connections = 10_001;
    beyond.redis.connect_timeout = Duration::from_secs(365 * 24 * 3600 + 1);
    let faults: Vec<_> =
        beyond.redis.validate().into_iter().map(|fault| format!("redis.{}", fault.key)).collect();
    let ours: Vec<_> =
        beyond.validate().unwrap_err().faults().iter().map(|fault| fault.key.clone()).collect();
    assert_eq!(ours, faults);
}

#[test]
fn the_documentation_lists_every_key() {
    let document = include_str!("../../../docs/configuration.md");
    let table = Config::reference();
    assert!(document.contains(&table), "docs/configuration.md must hold this table:\n{table}");
}

// What the documentation shows as files must load, and must set something.
#[test]
fn every_example_of_the_documentation_loads() {
    let document = include_str!("../../../docs/configuration.md");
    let examples = document.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let examples: Vec<_> = examples
        .filter(|example| cfg!(feature = "tls") || !example.contains("[redis.tls]"))
        .collect();
    assert!(!examples.is_empty());
    for example in examples {
        assert_ne!(World::new().here(example).load(), World::new().load(), "{example}");
    }
}
