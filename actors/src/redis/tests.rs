use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{Address, Config, Endpoint, Error, Pace, Tls, Verdict};

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
            ("redis://[FD00::2]/1", "redis://[fd00::2]:6379/1"),
            ("redis://me:p%25q@[::1]", "redis://***@[::1]:6379/0"),
            ("redis://[::ffff:127.0.0.1]", "redis://[::ffff:127.0.0.1]:6379/0"),
            ("unix:///run/r.sock?db=2&pass=secret", "unix:///run/r.sock?db=2"),
            ("redis+unix:///run/r.sock", "unix:///run/r.sock?db=0"),
            ("embedded", "embedded"),
            // Forms of other libraries and of shells.
            ("REDIS://cache", "redis://cache:6379/0"),
            ("Unix:///Run/R.sock", "unix:///Run/R.sock?db=0"),
            ("\"redis://cache\"", "redis://cache:6379/0"),
            ("'unix:///run/r.sock'", "unix:///run/r.sock?db=0"),
            ("redis://cache?protocol=3", "redis://cache:6379/0"),
            ("unix:///run/r.sock?protocol=resp3&db=1", "unix:///run/r.sock?db=1"),
            ("unix:/run/r.sock", "unix:///run/r.sock?db=0"),
            ("redis://:a,b@cache", "redis://***@cache:6379/0"),
            ("unix:///run/redis@main.sock", "unix:///***@main.sock?db=0"),
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
            ("redis://a:1,b:2", "a cluster's list of nodes is not supported yet"),
            ("redis://:secret@a:1,b:2/0", "a cluster's list of nodes is not supported yet"),
            ("a:1,b:2", "a cluster's list of nodes is not supported yet"),
            ("\"redis://cache", "without quotation marks"),
            ("redis://cache'", "without quotation marks"),
            ("redis://cache?protocol=2", "without `protocol`"),
            ("unix:///run/r.sock?protocol=resp2", "without `protocol`"),
            ("unix:run/r.sock", "unix:///path"),
            ("redis://0.0.0.0:6379", "for listening only"),
            ("redis://:secret@[::]:6379", "for listening only"),
            ("unix:///:secret@/run/r.sock", "stand behind its path"),
            ("redis://[fe80::1%eth0]:6379", "without a zone"),
            ("redis://me:s%25x@[fe80::1%25eth0]", "without a zone"),
            ("redis://::1:6379", "percent-encoded"),
            ("redis://store?password=x", "with nothing after it"),
            ("redis://store#x", "with nothing after it"),
            ("unix:///run/r.sock?password=x", "user and pass besides"),
        ] {
            let fault = Address::parse(url).unwrap_err();
            assert!(fault.to_string().contains(wanted), "{url}: {fault}");
        }
    }

    #[test]
    fn a_login_that_was_asked_for_is_made_and_no_other() {
        let of = |url: &str, file: Option<&str>| {
            let login = Address::parse(url).unwrap().login(file.map(str::to_owned));
            let owned = |(user, password): (Option<&str>, &str)| {
                (user.map(str::to_owned), password.to_owned())
            };
            login.credentials().map(owned)
        };
        let some = |user: Option<&str>, password: &str| {
            Some((user.map(str::to_owned), password.to_owned()))
        };
        for (url, file, login) in [
            ("redis://h", None, None),
            ("redis://@h", None, None),
            ("redis://:@h", None, None),
            ("redis://me@h", None, some(Some("me"), "")),
            ("redis://me:@h", None, some(Some("me"), "")),
            ("redis://:pass@h", None, some(None, "pass")),
            ("redis://me:pass@h", None, some(Some("me"), "pass")),
            ("redis://m%65:p%20s@h", None, some(Some("me"), "p s")),
            ("redis://me:pass@h", Some("file"), some(Some("me"), "file")),
            ("redis://me@h", Some("file"), some(Some("me"), "file")),
            ("redis://h", Some("file"), some(None, "file")),
            ("unix:///r.sock", None, None),
            ("unix:///r.sock?user=me", None, some(Some("me"), "")),
            ("unix:///r.sock?pass=pass", None, some(None, "pass")),
            ("unix:///r.sock?user=me&pass=pass", Some("file"), some(Some("me"), "file")),
            ("embedded", None, None),
        ] {
            assert_eq!(of(url, file), login, "{url} {file:?}");
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
            "unix:///:s3cret@/run/r.sock",
            "unix:///me:s3cret@/run/r.sock",
            "unix:///s3cret@/run/r.sock",
            "unix:/:s3cret@/run/r.sock",
            "unix:///%3As3cret%40/run/r.sock",
            "unix://:s3cret@/run/r.sock",
            "redis+unix:///:s3cret@/run/r.sock?db=1",
            "REDIS://me:s3cret@host:port",
            "\"redis://me:s3cret@host",
            "'redis://me:s3cret@host'",
            "redis://me:s3cret@a:1,b:2",
            "me:s3cret@a:1,b:2",
            "redis://h?protocol=s3cret",
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
