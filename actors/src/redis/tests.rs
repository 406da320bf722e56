use std::sync::Arc;
use std::time::Duration;

use ::redis::{ErrorKind, RedisError};
use proptest::prelude::*;
use tokio::time::{Instant, timeout};

use super::connect::{Connector, Failure, jittered, pause};
use super::socket::{Load, Purpose};
use super::{Address, Breaker, Cause, Config, Endpoint, Error, Health, Pace, Tls, Ttl, Verdict};
use crate::Outcome;

mod addresses {
    use super::*;

    #[test]
    fn every_form_of_the_documentation_is_read() {
        for (url, shown) in [
            ("redis://localhost:6379", "redis://localhost:6379/0"),
            ("  redis://localhost\n", "redis://localhost:6379/0"),
            ("valkey://cache:7000/3", "redis://cache:7000/3"),
            ("redis://me:secret@cache/1", "redis://***@cache:6379/1"),
            ("redis://:secret@[::1]:1", "redis://***@[::1]:1/0"),
            ("unix:///run/r.sock?db=2&pass=secret", "unix:///run/r.sock?db=2"),
            ("redis+unix:///run/r.sock", "unix:///run/r.sock?db=0"),
            ("embedded", "embedded"),
        ] {
            assert_eq!(Address::parse(url).unwrap().to_string(), shown, "{url}");
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_is_asked_for_by_the_scheme_and_never_unverified() {
        for (url, shown) in [
            ("rediss://localhost", "rediss://localhost:6379/0"),
            ("valkeys://me:secret@cache:7000/3", "rediss://***@cache:7000/3"),
            ("rediss://:secret@[::1]:1", "rediss://***@[::1]:1/0"),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!(address.to_string(), shown, "{url}");
            assert!(address.is_tls(), "{url}");
        }
        for url in ["rediss://cache#insecure", "rediss://:s3cret@cache:1/0#insecure"] {
            let fault = Address::parse(url).unwrap_err().to_string();
            assert!(fault.contains("without #insecure"), "{fault}");
            assert!(!fault.contains("s3cret"), "{fault}");
        }
        let fault = Address::parse("rediss://cache#other").unwrap_err();
        assert!(fault.wanted.contains("with nothing after it"), "{fault}");
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn tls_without_its_feature_is_refused_by_its_name() {
        for url in ["rediss://localhost", "valkeys://localhost"] {
            let fault = Address::parse(url).unwrap_err();
            assert!(fault.wanted.contains("TLS needs the feature `tls`"), "{fault}");
        }
    }

    #[test]
    fn what_cannot_be_used_says_what_is_wanted() {
        for (url, wanted) in [
            ("", "redis://host:port"),
            ("localhost:6379", "redis://host:port"),
            ("http://localhost", "redis://host:port"),
            ("redis://", "a host"),
            ("redis://localhost/x", "a database number"),
            ("redis://localhost/-1", "a database number"),
            ("redis://localhost:x", "percent-encoded"),
            ("unix://", "absolute path"),
            ("unix://run/r.sock", "absolute path"),
            ("unix:///run/r.sock?db=x", "a database number"),
            ("sentinel://localhost/main", "sentinel:// is not supported yet"),
            ("redis://a:1,redis://b:2", "not supported yet"),
            ("redis://store?password=x", "with nothing after it"),
            ("redis://store#x", "with nothing after it"),
            ("unix:///run/r.sock?password=x", "user and pass besides"),
        ] {
            let fault = Address::parse(url).unwrap_err();
            assert!(fault.to_string().contains(wanted), "{url}: {fault}");
        }
    }

    // redis R23
    #[test]
    fn no_secret_is_shown_by_any_message() {
        for url in [
            "redis://me:s3cret@host:6379/0",
            "redis://me:s3cret@host:6379/x",
            "redis://me:s3cret@",
            "redis://me:s3cret@host:port",
            "redis://me:a@s3cret@host:port",
            "rediss://me:s3cret@host",
            "rediss://me:s3cret@host#s3cret",
            "unix:///run/r.sock?pass=s3cret",
            "unix:///run/r.sock?db=x&pass=s3cret",
            "redis://a:s3cret@h:1,redis://b:s3cret@h:2",
            "redis:me:s3cret@host",
            "redis://:s3cret",
            "redis://me:s3cret",
            "redis://me:s3cret/0",
            "redis://me:s3cret:6379/0",
            "redis://[::1:s3cret",
            "redis://me:66666s3cret",
            "redis://h/s3cret",
            "redis://h:1/0/s3cret",
            "redis://h?password=s3cret",
            "redis://h#s3cret",
            "unix://run/s3cret",
            "s3cret",
        ] {
            let config = Config { url: url.to_owned(), ..Config::default() };
            let mut said = format!("{config:?} {:?} {:?}", config.validate(), Address::parse(url));
            if let Err(fault) = Address::parse(url) {
                said += &fault.to_string();
            }
            assert!(!said.contains("s3cret"), "{url}: {said}");
        }
    }

    #[test]
    fn a_fault_shows_host_and_port_where_they_are_no_secret() {
        for (url, shown) in [
            ("redis://cache:7000/x", "redis://cache:7000/***"),
            ("redis://[::1]:7000/x", "redis://[::1]:7000/***"),
            ("redis://me:s3cret@cache:7000/x", "redis://***@cache:7000/***"),
            ("redis://me:s3cret:6379/0", "redis://***"),
            ("redis://cache:123456", "redis://cache:***"),
        ] {
            assert_eq!(Address::parse(url).unwrap_err().given, shown, "{url}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_parsing_panic(url in "(rediss?|unix|valkeys?)?(://)?[a-z0-9:@/?#,\\[\\]%=-]{0,24}") {
            drop(Address::parse(&url));
        }
    }
}

mod configurations {
    use super::*;

    #[test]
    fn the_defaults_have_no_fault() {
        assert_eq!(Config::default().validate(), []);
    }

    #[test]
    fn every_zero_is_reported_at_once() {
        let config = Config {
            url: String::new(),
            max_connections: 0,
            connection_timeout: Duration::ZERO,
            connect_timeout: Duration::ZERO,
            command_timeout: Duration::ZERO,
            recycle_timeout: Duration::ZERO,
            probe_interval: Duration::ZERO,
            probe_timeout: Duration::ZERO,
            drain_timeout: Duration::ZERO,
            ..Config::default()
        };
        assert_eq!(config.validate().len(), 9);
        assert!(config.validate().iter().all(|fault| !fault.wanted.is_empty()));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn files_of_tls_want_tls_and_each_other() {
        let faults = |url: &str, [ca_file, cert_file, key_file]: [Option<&str>; 3]| {
            let [ca_file, cert_file, key_file] =
                [ca_file, cert_file, key_file].map(|file| file.map(Into::into));
            let tls = Tls { ca_file, cert_file, key_file };
            let config = Config { url: url.to_owned(), tls, ..Config::default() };
            config.validate().iter().map(|fault| fault.key).collect::<Vec<_>>()
        };
        let (file, none) = (Some("file"), None);
        for files in [[none; 3], [file, none, none], [none, file, file], [file; 3]] {
            assert_eq!(faults("rediss://store", files), [""; 0]);
        }
        assert_eq!(faults("rediss://store", [none, file, none]), ["tls.cert_file"]);
        assert_eq!(faults("rediss://store", [none, none, file]), ["tls.key_file"]);
        for url in ["redis://store", "unix:///run/r.sock", "embedded"] {
            assert_eq!(faults(url, [none; 3]), [""; 0]);
            assert_eq!(faults(url, [file, none, none]), ["url"]);
            assert_eq!(faults(url, [none, none, file]), ["tls.key_file", "url"]);
        }
        assert_eq!(faults("what?", [none, file, none]), ["url", "tls.cert_file"]);
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn files_of_tls_without_its_feature_are_refused_by_its_name() {
        let ca_file = Some("file".into());
        let config = Config { tls: Tls { ca_file, ..Tls::default() }, ..Config::default() };
        let faults = config.validate();
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].key, "tls.ca_file");
        assert!(faults[0].wanted.contains("TLS needs the feature `tls`"), "{faults:?}");
    }

    #[test]
    fn an_endpoint_that_cannot_stand_is_refused_with_every_fault() {
        let config = Config {
            url: "http://localhost".to_owned(),
            max_connections: 0,
            recycle_timeout: Duration::MAX,
            connect_timeout: Duration::MAX,
            ..Config::default()
        };
        let pace = || Arc::new(Pace::new());
        let error = Endpoint::new("main", config.clone(), pace()).unwrap_err();
        assert_eq!(error, Error::Config(config.validate()));
        for key in ["url", "max_connections", "recycle_timeout", "connect_timeout"] {
            assert!(error.to_string().contains(key), "{key}: {error}");
        }
        let address = Address::unix("/run/r.sock");
        let error = Endpoint::at("main", config, address, pace()).unwrap_err();
        let Error::Config(faults) = &error else { panic!("{error:?}") };
        assert_eq!(faults.len(), 3, "the address stands for the url");
    }

    #[tokio::test(start_paused = true)]
    async fn a_verdict_outlives_three_probes_and_the_time_of_the_last() {
        let config = Config {
            probe_interval: Duration::from_millis(100),
            probe_timeout: Duration::from_secs(2),
            ..Config::default()
        };
        let endpoint = Endpoint::new("main", config, Arc::new(Pace::new())).unwrap();
        endpoint.health().publish(Verdict { healthy: true, ..Verdict::unknown() });
        tokio::time::advance(Duration::from_millis(2300)).await;
        assert!(endpoint.health().is_healthy());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!endpoint.health().is_healthy());
    }

    #[test]
    fn an_embedded_endpoint_waits_for_its_socket() {
        let config = Config { url: "embedded".to_owned(), ..Config::default() };
        let pace = Arc::new(Pace::new());
        assert_eq!(
            Endpoint::new("main", config.clone(), Arc::clone(&pace)).unwrap_err(),
            Error::NotBuilt
        );
        Endpoint::at("main", config, Address::unix("/run/r.sock"), pace).unwrap();
    }
}

mod errors {
    use super::*;

    fn all() -> Vec<Error> {
        let wait = Duration::from_millis(7);
        vec![
            Error::Unavailable { cause: Cause::Dns, retry_after: wait },
            Error::Exhausted { max_connections: 3, waited: wait },
            Error::Deadline { waited: wait },
            Error::OutcomeUnknown { cause: Cause::Timeout },
            Error::Server { code: "WRONGTYPE".into() },
            Error::Value,
            Error::Refused { command: "MONITOR", instead: "use redis-cli" },
            Error::Ttl { given: -5 },
            Error::NotBuilt,
            Error::Config(Config { max_connections: 0, ..Config::default() }.validate()),
        ]
    }

    #[test]
    fn our_errors_survive_the_way_through_the_redis_crate() {
        for error in all() {
            let there = RedisError::from(error.clone());
            assert_eq!(Error::from(there.clone()), error);
            assert_eq!(there.to_string(), error.to_string());
        }
    }

    #[test]
    fn a_deadline_looks_like_a_timeout_to_the_redis_crate() {
        assert!(RedisError::from(Error::Deadline { waited: Duration::ZERO }).is_timeout());
        assert!(!RedisError::from(Error::OutcomeUnknown { cause: Cause::Timeout }).is_timeout());
    }

    #[test]
    fn each_outcome_says_whether_a_retry_is_safe() {
        let outcomes: Vec<_> = all().iter().map(Error::outcome).collect();
        assert_eq!(
            outcomes,
            [
                Outcome::Unavailable { retry_after: Duration::from_millis(7) },
                Outcome::Overloaded { retry_after: Duration::from_secs(1) },
                Outcome::Deadline,
                Outcome::OutcomeUnknown,
                Outcome::Bug,
                Outcome::Bug,
                Outcome::Refused,
                Outcome::Refused,
                Outcome::Unavailable { retry_after: Duration::from_secs(1) },
                Outcome::Bug,
            ]
        );
    }

    #[test]
    fn an_objection_that_passes_may_be_tried_again() {
        let answer = |code: &str| Error::from(::redis::make_extension_error(code.to_owned(), None));
        let retry_after = Duration::from_secs(1);
        assert_eq!(answer("BUSY").cause(), Some(Cause::Busy));
        assert_eq!(answer("BUSY").outcome(), Outcome::Unavailable { retry_after });
        assert_eq!(answer("OOM").outcome(), Outcome::Overloaded { retry_after });
        assert_eq!(answer("MISCONF").outcome(), Outcome::Unavailable { retry_after });
        assert_eq!(answer("NOREPLICAS").outcome(), Outcome::Unavailable { retry_after });
        assert_eq!(answer("BUSYGROUP").outcome(), Outcome::Bug);
    }

    #[test]
    fn exhaustion_says_whether_the_caller_waited() {
        let said = |waited| Error::Exhausted { max_connections: 3, waited }.to_string();
        assert!(said(Duration::from_millis(7)).starts_with("all 3 leases stayed in use for 7 ms;"));
        assert!(said(Duration::ZERO).contains("too many callers wait"));
    }

    #[test]
    fn a_servers_answer_keeps_its_code_and_loses_its_words() {
        let answer = |code: &str| {
            ::redis::make_extension_error(code.to_owned(), Some("of key s3cret".to_owned()))
        };
        assert_eq!(Error::from(answer("WRONGTYPE")), Error::Server { code: "WRONGTYPE".into() });
        assert_eq!(Error::from(answer("my s3cret")), Error::Server { code: "ERR".into() });
        assert_eq!(Error::from(answer("LOADING")).cause(), Some(Cause::Loading));
        assert_eq!(Error::from(answer("NOPERM")).outcome(), Outcome::Refused);
        assert!(!Error::from(answer("WRONGTYPE")).to_string().contains("s3cret"));
    }

    #[test]
    fn a_foreign_io_error_leaves_the_outcome_unknown() {
        let error = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(Error::from(error), Error::OutcomeUnknown { cause: Cause::Closed });
        let error = RedisError::from((ErrorKind::UnexpectedReturnType, "no"));
        assert_eq!(Error::from(error), Error::Value);
    }
}

mod times_to_live {
    use super::*;

    #[test]
    fn whole_seconds_of_every_type_are_taken() {
        let millis = [
            300_i32.millis(),
            300_i64.millis(),
            300_u32.millis(),
            300_u64.millis(),
            300_usize.millis(),
        ];
        assert!(millis.iter().all(|millis| *millis == Ok(300_000)));
        assert_eq!(u32::MAX.millis(), Ok(i64::from(u32::MAX) * 1000));
    }

    #[test]
    fn parts_of_a_millisecond_round_up() {
        assert_eq!(Duration::from_nanos(1).millis(), Ok(1));
        assert_eq!(Duration::from_millis(1500).millis(), Ok(1500));
    }

    #[test]
    fn what_is_not_in_the_future_is_refused() {
        assert_eq!(0.millis(), Err(Error::Ttl { given: 0 }));
        assert_eq!((-7_i64).millis(), Err(Error::Ttl { given: -7 }));
        assert_eq!((-7_i64).cast_unsigned().millis(), Err(Error::Ttl { given: -7 }));
        assert_eq!((-7_isize).cast_unsigned().millis(), Err(Error::Ttl { given: -7 }));
        assert_eq!(Duration::ZERO.millis(), Err(Error::Ttl { given: 0 }));
        assert!(
            Duration::MAX.millis().is_err()
                && i64::MAX.millis().is_err()
                && u64::MAX.millis().is_err()
        );
    }
}

mod verdicts {
    use super::*;

    fn open(as_of: Instant) -> Verdict {
        let breaker = Breaker::Open {
            cause: Cause::Refused,
            since: as_of,
            retry_after: Duration::from_secs(2),
        };
        Verdict { breaker, as_of, ..Verdict::unknown() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_verdict_counts_until_its_maximum_age() {
        let health = Health::new(Duration::from_millis(1500));
        assert!(!health.is_healthy() && health.opened().is_none());
        health.publish(Verdict { healthy: true, ..Verdict::unknown() });
        assert!(health.is_healthy());
        tokio::time::advance(Duration::from_millis(1501)).await;
        assert!(!health.is_healthy() && health.fresh().is_none());

        health.publish(open(Instant::now()));
        let error =
            Error::Unavailable { cause: Cause::Refused, retry_after: Duration::from_secs(2) };
        assert_eq!(health.opened(), Some(error));
        tokio::time::advance(Duration::from_millis(1501)).await;
        assert_eq!(health.opened(), None);
    }

    #[test]
    fn a_success_counts_for_every_mark_before_it_and_none_after() {
        let health = Health::new(Duration::from_secs(1));
        let (first, second) = (health.mark(), health.mark());
        assert!(!health.succeeded_since(first) && !health.succeeded_since(second));
        health.succeeded();
        assert!(health.succeeded_since(first) && health.succeeded_since(second));
        assert!(!health.succeeded_since(health.mark()));
    }
}

mod attempts {
    use super::*;

    const LANE: Purpose = Purpose::Lane(Load::Ordinary);

    fn connector() -> Connector {
        let pace = Arc::new(Pace::new());
        let config = Arc::new(Config::default());
        Connector::new("main", Address::unix("/run/r.sock"), config, pace)
    }

    #[test]
    fn no_failure_is_forgotten_when_several_fail_at_once() {
        const EACH: u32 = 5_000;
        let connector = connector();
        std::thread::scope(|threads| {
            for failure in [Failure::Unanswered, Failure::Connect(Purpose::Probe)].repeat(2) {
                let connector = &connector;
                threads.spawn(move || {
                    for _ in 0..EACH {
                        connector.backoff().failed(Cause::Closed, failure);
                    }
                });
            }
        });
        assert_eq!(connector.backoff().failures(), 4 * EACH);
    }

    // redis R26
    #[tokio::test]
    async fn a_panic_while_connecting_is_an_attempt_that_failed_and_leaves_its_place() {
        let connector = connector();
        let lanes = connector.config().connections()[1];
        for _ in 0..=lanes {
            let place = connector.budget().of(LANE).take().await;
            let panics = async move {
                let _place = place;
                panic!("on purpose");
            };
            assert_eq!(connector.once::<()>(LANE, panics).await, Err(Cause::Defect));
        }
        assert_eq!(connector.backoff().cause(), Some(Cause::Defect));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_sockets_are_opened_than_there_are_places() {
        let connector = connector();
        let most = connector.config().connections()[1];
        let mut held = Vec::new();
        for _ in 0..most {
            held.push(connector.budget().of(LANE).take().await);
        }
        let mut next = std::pin::pin!(connector.budget().of(LANE).take());
        assert!(timeout(Duration::from_secs(60), &mut next).await.is_err());
        held.pop();
        drop(next.await);
        drop(connector.budget().of(Purpose::Lease).take().await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_does_not_wait_for_ever_where_the_sockets_of_others_do_not_close() {
        let connector = connector();
        let most = connector.config().connections()[2];
        let mut held = Vec::new();
        for _ in 0..most {
            held.push(connector.budget().of(Purpose::Probe).take().await);
        }
        let found = timeout(Duration::from_secs(60), connector.connect_probe()).await;
        assert!(matches!(found, Ok(Err(Cause::Timeout))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probes_answer_does_not_hide_that_leases_are_lost() {
        let connector = connector();
        connector.backoff().failed(Cause::Refused, Failure::Connect(Purpose::Lease));
        connector.backoff().probe_answered();
        assert_eq!(connector.backoff().cause(), None);
        connector.backoff().failed(Cause::Closed, Failure::Unanswered);
        connector.backoff().probe_answered();
        assert_eq!(connector.backoff().cause(), Some(Cause::Closed));
        tokio::time::advance(Duration::from_secs(2)).await;
        connector.backoff().probe_answered();
        assert_eq!(connector.backoff().cause(), None);
        connector.backoff().failed(Cause::Closed, Failure::Unanswered);
        connector.backoff().answered();
        assert_eq!(connector.backoff().cause(), None);
    }

    #[test]
    fn connecting_counts_as_failing_from_the_second_failure_on_or_from_the_first_failed_login() {
        let connector = connector();
        connector.backoff().failed(Cause::Refused, Failure::Connect(Purpose::Lease));
        assert_eq!(connector.backoff().standing(), None);
        connector.backoff().failed(Cause::Timeout, Failure::Connect(Purpose::Lease));
        assert_eq!(connector.backoff().standing(), Some(Cause::Timeout));
        connector.backoff().answered();
        connector.backoff().failed(Cause::Auth, Failure::Connect(Purpose::Probe));
        assert_eq!(connector.backoff().standing(), Some(Cause::Auth));
    }
}

proptest! {
    // redis R4
    #[test]
    fn the_pause_between_attempts_stays_in_bounds(failures in 0_u32.., chance in 0.0..1.0_f64) {
        let refused = pause(failures, Cause::Refused, chance);
        prop_assert!((Duration::from_millis(125)..=Duration::from_millis(750)).contains(&refused));
        prop_assert_eq!(pause(failures, Cause::Auth, chance), Duration::from_secs(2));
    }

    #[test]
    fn the_age_of_replacement_is_spread_by_a_fifth(chance in 0.0..1.0_f64) {
        let age = jittered(Duration::from_secs(100), chance);
        prop_assert!((Duration::from_secs(80)..=Duration::from_secs(120)).contains(&age));
    }
}
