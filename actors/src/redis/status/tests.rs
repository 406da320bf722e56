use std::time::Duration;

use ::redis::{ErrorKind, RedisError, Value, parse_redis_value};
use tokio::time::Instant;

use super::{Breaker, Cause, Error, Health, Meaning, ServerState, Verdict};
use crate::Outcome;
use crate::redis::config::Config;

mod scripts {
    use super::super::{Hint, of_script};
    use super::*;

    fn reply(line: &str) -> Value {
        parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap()
    }

    fn error(line: &str) -> Error {
        let Value::ServerError(error) = reply(line) else { unreachable!("it is an error") };
        of_script(&error)
    }

    #[test]
    fn what_servers_before_7_say_of_a_refusal_inside_a_script_is_read_like_the_refusal() {
        let inside = |reason| {
            format!(
                "ERR Error running script (call to f_0a): @user_script:1: @user_script: 1: -{reason}"
            )
        };
        for (reason, code, state) in [
            (
                "READONLY You can't write against a read only replica. ",
                "READONLY",
                ServerState::ReadOnly,
            ),
            ("OOM command not allowed when used memory > 'maxmemory'. ", "OOM", ServerState::Full),
            (
                "MISCONF Redis is configured to save RDB snapshots, but",
                "MISCONF",
                ServerState::Unsaved,
            ),
            (
                "NOREPLICAS Not enough good replicas to write. ",
                "NOREPLICAS",
                ServerState::FewReplicas,
            ),
        ] {
            let said = inside(reason);
            assert_eq!(error(&said), Error::Partial { code: code.into() });
            let meaning = Meaning::of_script(&reply(&said));
            assert_eq!((meaning.state, meaning.objection), (Some(state), None));
        }
        let said = inside("READONLY You can't write against a read only replica. ");
        assert_eq!(Hint::of(&reply(&said)), Some(Hint::Role));
        let own = error(&inside("a script's own - dash"));
        assert_eq!(own, Error::Server { code: "ERR".into() });
    }

    #[test]
    fn only_the_servers_own_sentences_mean_that_a_script_has_not_run() {
        let busy = "is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
        for line in [
            "LOADING Redis is loading the dataset in memory",
            "LOADING Valkey is loading the dataset in memory",
            &format!("BUSY Redis {busy}"),
            &format!("BUSY Valkey {busy}"),
            "NOAUTH Authentication required.",
        ] {
            assert!(matches!(error(line).outcome(), Outcome::Unavailable { .. }), "{line}");
            assert!(Meaning::of_script(&reply(line)).objection.is_some(), "{line}");
        }
        for line in
            ["NOSCRIPT No matching script. Please use EVAL.", "NOSCRIPT No matching script."]
        {
            assert_eq!(error(line), Error::Server { code: "NOSCRIPT".into() }, "{line}");
        }
        for line in [
            "NOPERM this user has no permissions to run the 'eval' command",
            "NOPERM User bob has no permissions to run the 'evalsha' command",
        ] {
            assert_eq!(error(line).outcome(), Outcome::Refused, "{line}");
        }
        for line in ["BUSY x", "LOADING x", "NOPERM x", "NOAUTH x", "WRONGPASS x", "DENIED x"] {
            assert_eq!(error(line).outcome(), Outcome::OutcomeUnknown, "{line}");
            assert_eq!(Meaning::of_script(&reply(line)), Meaning::default(), "{line}");
        }
    }
}

mod transactions {
    use super::super::{executed, has_ended};
    use super::*;

    fn replies(lines: &[&str]) -> Vec<Value> {
        lines
            .iter()
            .map(|line| parse_redis_value(format!("{line}\r\n").as_bytes()).unwrap())
            .collect()
    }

    #[test]
    fn only_a_transaction_that_the_server_has_ended_or_never_begun_has_ended() {
        let ended: [&[&str]; 5] = [
            &["+OK", "+QUEUED", "*1\r\n+OK"],
            &["+OK", "+QUEUED", "*-1"],
            &["+OK", "-ERR no", "-EXECABORT Transaction discarded because of previous errors."],
            &["-NOPERM no", ":1", "-ERR EXEC without MULTI"],
            &["-LOADING", "-LOADING", "-LOADING"],
        ];
        for lines in ended {
            assert!(has_ended(&replies(lines)), "{lines:?}");
        }
        let not: [&[&str]; 7] = [
            &["+OK", "+QUEUED", "-ERR unknown command 'EXEC'"],
            // Servers before 7 refuse it so, and wait for another.
            &["+OK", "+QUEUED", "-OOM command not allowed"],
            &["-ERR MULTI calls can not be nested", "+QUEUED", "-ERR unknown command 'EXEC'"],
            &["-ERR MULTI calls can not be nested", "+QUEUED", "*2\r\n:1\r\n:1"],
            &["+QUEUED", "+QUEUED", "+QUEUED"],
            &["+OK", "+QUEUED", "+QUEUED"],
            &["+OK"],
        ];
        for lines in not {
            assert!(!has_ended(&replies(lines)), "{lines:?}");
        }
    }

    #[test]
    fn the_error_of_a_transaction_says_what_became_of_it() {
        let error = |lines: &[&str]| executed(replies(lines), false).unwrap_err();
        let abort = "-EXECABORT Transaction discarded because of previous errors.";
        assert_eq!(error(&["+OK", "-OOM full", abort]), Error::Server { code: "OOM".into() });
        assert_eq!(error(&["+OK", "-LOADING", abort]).cause(), Some(Cause::Loading));
        let unknown = "-ERR unknown command 'EXEC'";
        assert_eq!(error(&["+OK", "+QUEUED", unknown]), Error::Server { code: "ERR".into() });
        let without = "-ERR EXEC without MULTI";
        let partial = Error::Partial { code: "NOPERM".into() };
        assert_eq!(error(&["-NOPERM no", ":1", without]), partial);
        assert_eq!(
            error(&["-NOPERM no", "-ERR syntax", without]),
            partial,
            "a script may have written"
        );
        let all = ["-LOADING", "-LOADING", "-LOADING"];
        assert_eq!(error(&all).cause(), Some(Cause::Loading), "nothing was executed");
        let scripted = executed(replies(&["-NOPERM no", "-NOPERM x", without]), true).unwrap_err();
        assert_eq!(scripted, partial, "the script may have written first");
        let twice = ["+OK", "+QUEUED", "*1\r\n:1", "-OOM full", "-ERR EXEC without MULTI"];
        assert_eq!(error(&twice).outcome(), Outcome::OutcomeUnknown, "an EXEC of its own");
        for strange in [&["+QUEUED", "+QUEUED", "+QUEUED"], &["-ERR nested", "+QUEUED", "*1\r\n:1"]]
        {
            assert_eq!(error(strange).outcome(), Outcome::OutcomeUnknown);
        }
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

mod meanings {
    use super::*;

    fn of(replies: &[&str]) -> Meaning {
        let replies: Vec<Value> =
            replies.iter().map(|reply| parse_redis_value(reply.as_bytes()).unwrap()).collect();
        Meaning::of(replies.iter())
    }

    #[test]
    fn a_reply_without_an_error_means_nothing() {
        assert_eq!(of(&["+OK\r\n", "$1\r\nv\r\n", "-WRONGTYPE no\r\n"]), Meaning::default());
    }

    #[test]
    fn the_first_objection_and_the_first_state_are_read_of_several_replies() {
        let meaning = of(&["+OK\r\n", "-OOM no\r\n", "-READONLY no\r\n", "-BUSY no\r\n"]);
        assert_eq!(meaning.objection, Some(Cause::ReadOnly));
        assert_eq!(meaning.state, Some(ServerState::Full));
    }

    #[test]
    fn a_discarded_transaction_means_what_it_was_discarded_for() {
        let answer = "-EXECABORT Transaction discarded because of: READONLY You can't write.\r\n";
        let found = of(&[answer]);
        assert_eq!(found.objection, Some(Cause::ReadOnly));
        assert_eq!(found.state, Some(ServerState::ReadOnly));
    }

    #[test]
    fn a_refused_transaction_counts_for_the_state_that_it_was_discarded_for() {
        for code in ["OOM", "MISCONF", "NOREPLICAS", "READONLY"] {
            let answer =
                format!("-EXECABORT Transaction discarded because of: {code} no writes.\r\n");
            let reply = parse_redis_value(answer.as_bytes()).unwrap();
            let error = reply.clone().extract_error().unwrap_err();
            let meaning = Meaning::of_error(&error);
            assert!(meaning.state.is_some(), "{code}");
            assert_eq!(meaning, Meaning::of([&reply].into_iter()), "{code}");
        }
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
        assert!(!health.is_healthy() && health.message().contains("not reported lately"));

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

mod errors_of_the_system {
    use std::io::{Error, ErrorKind};

    use super::super::{Cause, ConfigFile};

    const SHORTAGES: [i32; 2] = [23, 24];

    #[test]
    fn no_descriptor_left_is_its_own_cause_whatever_it_was_wanted_for() {
        for number in SHORTAGES {
            let error = Error::from_raw_os_error(number);
            for cause in [
                Cause::of_tcp(&error),
                Cause::of_unix(&error),
                Cause::of_io(&error),
                Cause::of_system(&error),
                ConfigFile::Ca.unreadable(number),
            ] {
                assert_eq!(cause, Cause::NoDescriptors, "{error}");
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_system_says_while_connecting_is_not_taken_for_a_closed_connection() {
        let (tcp, unix): (fn(&_) -> _, fn(&_) -> _) = (Cause::of_tcp, Cause::of_unix);
        for (number, of, cause) in [
            (1, tcp, Cause::Blocked),           // EPERM
            (13, tcp, Cause::Blocked),          // EACCES
            (97, tcp, Cause::Unreachable),      // EAFNOSUPPORT
            (99, tcp, Cause::NoPorts),          // EADDRNOTAVAIL
            (100, tcp, Cause::Unreachable),     // ENETDOWN
            (110, tcp, Cause::Timeout),         // ETIMEDOUT
            (111, tcp, Cause::Refused),         // ECONNREFUSED
            (113, tcp, Cause::Unreachable),     // EHOSTUNREACH
            (103, tcp, Cause::HandshakeClosed), // ECONNABORTED
            (104, tcp, Cause::HandshakeClosed), // ECONNRESET
            (12, tcp, Cause::System(12)),       // ENOMEM
            (105, tcp, Cause::System(105)),     // ENOBUFS
            (22, tcp, Cause::System(22)),       // EINVAL
            (1, unix, Cause::Denied),
            (2, unix, Cause::Refused), // ENOENT
            (13, unix, Cause::Denied),
            (20, unix, Cause::SocketPath), // ENOTDIR
            (36, unix, Cause::SocketPath), // ENAMETOOLONG
            (40, unix, Cause::SocketPath), // ELOOP
            (88, unix, Cause::SocketPath), // ENOTSOCK
            (91, unix, Cause::SocketPath), // EPROTOTYPE
            (12, unix, Cause::System(12)),
            (105, unix, Cause::System(105)),
        ] {
            let error = Error::from_raw_os_error(number);
            assert_eq!(of(&error), cause, "{error}");
        }
        let said = Cause::System(105).to_string();
        assert!(said.contains("No buffer space available (os error 105); check"), "{said}");
    }

    #[test]
    fn only_a_connection_that_was_made_can_be_closed() {
        for kind in [
            ErrorKind::ConnectionReset,
            ErrorKind::ConnectionAborted,
            ErrorKind::BrokenPipe,
            ErrorKind::NotConnected,
            ErrorKind::UnexpectedEof,
        ] {
            assert_eq!(Cause::of_io(&kind.into()), Cause::Closed, "{kind}");
        }
        for (number, cause) in [(12, Cause::System(12)), (1, Cause::Blocked)] {
            assert_eq!(Cause::of_io(&Error::from_raw_os_error(number)), cause);
        }
        assert_eq!(Cause::of_io(&ErrorKind::InvalidData.into()), Cause::Protocol);
    }
}
