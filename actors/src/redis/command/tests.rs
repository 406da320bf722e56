use std::time::Duration;

use ::redis::{Cmd, ErrorKind, RedisError, RedisResult, Value, cmd, pipe};
use proptest::prelude::*;

use super::learned::{COMMANDS_MAX, Class, NAMES_PER_QUESTION, Unlearned};
use super::name::{LEN_BYTES_MAX, Name};
use super::plan::len_bytes;
use super::plan::reply_len_bytes;
use super::table::{self, COMMANDS, REFUSED_OF_CLIENT};
use super::{Block, LearnedCommands, Plan, Reading};
use crate::redis::Error;

fn command(words: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command
}

fn read(words: &[&str]) -> Result<Plan, Error> {
    Plan::of([&command(words)], &LearnedCommands::default()).map(Reading::cautious)
}

fn plan(words: &[&str]) -> Plan {
    read(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

fn split(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

mod classes {
    use super::*;

    #[test]
    fn every_name_of_the_table_is_found_once() {
        let mut names: Vec<_> = COMMANDS.iter().flat_map(|(_, names)| *names).collect();
        for (behaviour, listed) in COMMANDS {
            for name in *listed {
                let found = table::find(name.to_lowercase().as_bytes());
                assert_eq!(found, Some(&(*name, *behaviour)));
            }
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "no name has two classes");
        assert!(REFUSED_OF_CLIENT.iter().all(|(name, _)| name.starts_with("CLIENT ")));
    }

    #[test]
    fn what_only_reads_rides_with_others() {
        for line in [
            "get k",
            "GET k",
            "Mget a b",
            "EVAL_RO x 0",
            "FCALL_RO f 0",
            "XREAD STREAMS s 0",
            "XREAD STREAMS BLOCK 0",
            "PUBSUB CHANNELS",
            "CONFIG get save",
            "CLIENT ID",
            "client Info",
            "CLIENT GETREDIR",
            "COMMAND INFO get",
        ] {
            assert_eq!(plan(&split(line)), Plan::READ, "{line}");
        }
    }

    #[test]
    fn what_writes_and_leaves_nothing_behind_rides_with_others() {
        for line in [
            "SET k v",
            "EVAL x 0",
            "FCALL f 0",
            "PUBLISH c m",
            "SPUBLISH c m",
            "XREADGROUP GROUP g c STREAMS s >",
            "XREADGROUP GROUP block block STREAMS s >",
            "CONFIG SET save x",
            "CONFIG",
            "CLIENT KILL ID 3",
            "CLIENT PAUSE 100",
            "SCRIPT LOAD x",
            "FUNCTION FLUSH",
            "SORT k STORE d",
        ] {
            assert_eq!(plan(&split(line)), Plan::WRITE, "{line}");
        }
    }

    #[test]
    fn what_leaves_state_behind_pins_and_binds_and_writes_nothing() {
        for line in [
            "WATCH k",
            "UNWATCH",
            "MULTI",
            "DISCARD",
            "SELECT 1",
            "select 1",
            "ASKING",
            "READONLY",
            "READWRITE",
        ] {
            assert_eq!(plan(&split(line)), Plan::BIND, "{line}");
        }
        for line in ["EXEC", "DEBUG SLEEP 0", "debug protocol push"] {
            assert_eq!(plan(&split(line)), Plan { writes: true, ..Plan::BIND }, "{line}");
        }
    }

    #[test]
    fn what_is_not_known_writes_pins_and_binds() {
        let long = "X".repeat(300);
        for words in [&["NO.SUCH", "k"][..], &["CLIENT", "NO-SUCH"], &["CLIENT"], &[""], &[&long]] {
            assert_eq!(plan(words), Plan::UNKNOWN, "{words:?}");
        }
        let mut cursor = Cmd::new();
        cursor.cursor_arg(7);
        let Ok(Reading::Known(plan)) = Plan::of([&cursor], &LearnedCommands::default()) else {
            panic!("nothing to ask about");
        };
        assert_eq!(plan, Plan::UNKNOWN);
    }

    #[test]
    fn what_would_harm_the_connection_is_refused_with_an_alternative() {
        for (line, alternative) in [
            ("subscribe c", "cache.subscribe(..)"),
            ("PSUBSCRIBE c", "cache.subscribe(..)"),
            ("UNSUBSCRIBE", "cache.subscribe(..)"),
            ("MONITOR", "redis-cli"),
            ("SYNC", "whoever uses it next"),
            ("RESET", "drop the connection"),
            ("QUIT", "drop the connection"),
            ("AUTH x", "password_file"),
            ("HELLO 3", "password_file"),
            ("client reply off", "told apart"),
            ("CLIENT SETNAME x", "client_name"),
            ("CLIENT TRACKING ON", "whoever uses it next"),
            ("CLIENT CACHING YES", "whoever uses it next"),
            ("CLIENT NO-EVICT on", "whoever uses it next"),
            ("script debug yes", "redis-cli"),
        ] {
            let Err(Error::Refused { command, instead }) = read(&split(line)) else {
                panic!("{line}")
            };
            assert!(line.to_uppercase().starts_with(command), "{line}: {command}");
            assert!(instead.contains(alternative), "{line}: {instead}");
        }
    }

    #[test]
    fn a_script_is_ended_from_another_connection_than_its_own() {
        for words in [["SCRIPT", "KILL"], ["function", "kill"]] {
            assert!(plan(&words).pins && !plan(&words).binds, "{words:?}");
        }
    }

    // redis R8
    #[test]
    fn a_blocking_command_pins_and_says_for_how_long() {
        let seconds = |seconds| Block::For(Duration::from_secs_f64(seconds));
        for (line, block) in [
            ("BLPOP a b 2.5", seconds(2.5)),
            ("blpop a 2.5", seconds(2.5)),
            ("BZPOPMIN a 1", seconds(1.0)),
            ("BLMOVE a b LEFT LEFT 1", seconds(1.0)),
            ("BLMPOP 3 1 a LEFT", seconds(3.0)),
            ("BZMPOP 3 1 a MIN", seconds(3.0)),
            ("BRPOP a 0", Block::Forever),
            ("BRPOP a 1e300", Block::Forever),
            ("BRPOP a nonsense", seconds(0.0)),
            ("BRPOP a -1", seconds(0.0)),
            ("BRPOP", seconds(0.0)),
            ("XREAD COUNT 1 BLOCK 800 STREAMS s $", seconds(0.8)),
            ("xread block 0 STREAMS s $", Block::Forever),
            ("XREAD BLOCK 1 BLOCK 800 STREAMS s $", seconds(0.8)),
            ("XREADGROUP GROUP block block BLOCK 800 STREAMS s >", seconds(0.8)),
        ] {
            let plan = plan(&split(line));
            assert!(plan.pins && !plan.binds && !plan.waits_for_earlier, "{line}");
            assert_eq!(plan.blocks, block, "{line}");
            assert_eq!(plan.writes, !line.to_uppercase().starts_with("XREAD "), "{line}");
        }
        for line in ["XREADGROUP GROUP block", "XREADGROUP group block 500 STREAMS s >", "GET a"] {
            assert!(!plan(&split(line)).pins && plan(&split(line)).blocks == Block::NONE, "{line}");
        }
    }

    #[test]
    fn a_wait_waits_for_earlier_writes_unless_its_own_pipeline_has_made_one() {
        for line in ["WAIT 1 700", "waitaof 1 0 700"] {
            let plan = plan(&split(line));
            assert!(plan.pins && plan.waits_for_earlier && !plan.binds && !plan.writes, "{line}");
            assert_eq!(plan.blocks, Block::For(Duration::from_millis(700)), "{line}");
        }
        assert_eq!(plan(&["WAIT", "1", "0"]).blocks, Block::Forever);
        for (lines, waits_for_earlier) in [
            (&["SET a 1", "WAIT 1 100"][..], false),
            (&["GET a", "WAIT 1 100"], true),
            (&["SELECT 1", "WAIT 1 100"], true),
            (&["WAIT 1 100", "SET a 1"], true),
            (&["WAIT 1 100", "SET a 1", "WAIT 1 100"], true),
            (&["EVAL x 0", "GET a", "WAIT 1 100", "WAIT 1 100"], false),
        ] {
            let commands: Vec<_> = lines.iter().map(|line| command(&split(line))).collect();
            let plan = Plan::of(&commands, &LearnedCommands::default()).unwrap().cautious();
            assert!(plan.pins, "{lines:?}");
            assert_eq!(plan.waits_for_earlier, waits_for_earlier, "{lines:?}");
        }
    }

    #[test]
    fn a_pipeline_is_as_its_strictest_command() {
        let plan = |pipeline: &::redis::Pipeline| {
            Plan::of(pipeline.cmd_iter(), &LearnedCommands::default()).map(Reading::cautious)
        };
        let mut pipeline = pipe();
        assert_eq!(plan(&pipeline), Ok(Plan::READ));
        pipeline.get("a").get("b");
        assert_eq!(plan(&pipeline), Ok(Plan::READ));
        pipeline.set("a", 1);
        assert_eq!(plan(&pipeline), Ok(Plan::WRITE));
        pipeline.cmd("BLPOP").arg("l").arg(2).cmd("BLPOP").arg("l").arg(3).get("a");
        let blocking = Block::For(Duration::from_secs(5));
        assert_eq!(plan(&pipeline), Ok(Plan { blocks: blocking, ..Plan::PIN }));
        pipeline.cmd("SELECT").arg(1).get("a");
        assert_eq!(plan(&pipeline), Ok(Plan { blocks: blocking, ..Plan::UNKNOWN }));
        pipeline.cmd("SUBSCRIBE").arg("c");
        assert!(plan(&pipeline).is_err());
    }

    proptest! {
        #[test]
        fn the_case_of_a_word_is_of_no_account(
            list in 0..COMMANDS.len(),
            place in any::<prop::sample::Index>(),
            part in "(|id|reply|get|kill|debug|caching|block|1)",
            flips in prop::collection::vec(any::<bool>(), 64),
        ) {
            let names = COMMANDS[list].1;
            let flip = |word: &str| -> String {
                word.chars().zip(&flips).map(|(letter, flip)| {
                    if *flip { letter.to_ascii_lowercase() } else { letter.to_ascii_uppercase() }
                }).collect()
            };
            let name = names[place.index(names.len())];
            prop_assert_eq!(read(&[&flip(name), &flip(&part), "1"]), read(&[name, &part, "1"]));
        }

        #[test]
        fn no_bytes_make_it_panic(words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..6)) {
            let mut any = Cmd::new();
            for word in &words {
                any.arg(&word[..]);
            }
            prop_assert_eq!(Plan::of([&any], &LearnedCommands::default()).is_err(), words.is_empty());
            prop_assert_eq!(len_bytes([&any]), words.concat().len());
        }

        #[test]
        fn no_arguments_of_a_known_command_make_it_panic(
            list in 0..COMMANDS.len(),
            words in prop::collection::vec("(block|group|streams|[ -~]{0,3}|-?[0-9]{0,30}(e[0-9]{0,4})?|nan|-?inf)", 0..6),
        ) {
            let words: Vec<_> = std::iter::once(COMMANDS[list].1[0]).chain(words.iter().map(String::as_str)).collect();
            drop(read(&words));
        }
    }
}

mod sizes {
    use super::*;

    #[test]
    fn the_size_of_a_pipeline_is_that_of_its_arguments() {
        let mut pipeline = pipe();
        assert_eq!(len_bytes(pipeline.cmd_iter()), 0);
        pipeline.set("key", vec![0_u8; 70_000]).get("a");
        assert_eq!(len_bytes(pipeline.cmd_iter()), 3 + 3 + 70_000 + 3 + 1);
    }

    #[test]
    fn the_size_of_a_reply_is_that_of_its_texts_and_lists() {
        let text = || Value::BulkString(vec![0; 10]);
        let verbatim = Value::VerbatimString {
            format: ::redis::VerbatimFormat::Text,
            text: "four".to_owned(),
        };
        for (reply, len_bytes) in [
            (Value::Nil, 0),
            (Value::Int(1), 0),
            (text(), 10),
            (Value::SimpleString("PONG".to_owned()), 4),
            (verbatim, 4),
            (Value::Array(vec![text(), Value::Int(1), text()]), 20),
            (Value::Set(vec![text()]), 10),
            (Value::Map(vec![(text(), text())]), 20),
            (Value::Array(vec![Value::Array(vec![text()])]), 0),
        ] {
            assert_eq!(reply_len_bytes(&reply), len_bytes, "{reply:?}");
        }
    }
}

mod learning {
    use super::*;

    /// Names to ask about, had from a pipeline of them.
    fn unlearned(names: &[&str], learned: &LearnedCommands) -> Unlearned {
        let commands: Vec<_> = names.iter().map(|name| command(&[name, "k"])).collect();
        match Plan::of(&commands, learned).unwrap() {
            Reading::Unlearned { names, .. } => names,
            Reading::Known(plan) => panic!("known: {plan:?}"),
        }
    }

    fn simple(text: &str) -> Value {
        Value::SimpleString(text.to_owned())
    }

    fn answer(name: &str, flags: &[&str], parts: Option<Vec<Value>>) -> Value {
        let mut answer = vec![
            Value::BulkString(name.into()),
            Value::Int(-2),
            Value::Set(flags.iter().copied().map(simple).collect()),
        ];
        answer.extend([Value::Int(1), Value::Int(1), Value::Int(1)]);
        if let Some(parts) = parts {
            answer.extend([Value::Set(vec![]), Value::Array(vec![]), Value::Array(vec![])]);
            answer.push(Value::Array(parts));
        }
        Value::Array(answer)
    }

    fn learned(name: &str, reply: Value) -> Option<Class> {
        let learned = LearnedCommands::default();
        learned.learn(&unlearned(&[name], &learned), &Ok(reply));
        learned.known(name.as_bytes())
    }

    const READING: Class = Class::Ordinary { writes: false };
    const WRITING: Class = Class::Ordinary { writes: true };

    #[test]
    fn the_servers_flags_decide() {
        for (flags, class) in [
            (&["readonly", "fast"][..], READING),
            (&["write", "denyoom"], WRITING),
            (&["write", "readonly"], WRITING),
            (&[], WRITING),
            (&["readonly", "blocking"], Class::Bound),
            (&["pubsub"], Class::Bound),
            (&["readonly", "noscript"], Class::Bound),
        ] {
            let answer = answer("json.get", flags, None);
            let learned = learned("JSON.GET", Value::Array(vec![answer]));
            assert_eq!(learned, Some(class), "{flags:?}");
        }
    }

    #[test]
    fn a_commands_parts_count_as_the_command_does() {
        for (flags, class) in [
            (&["readonly"][..], READING),
            (&["write"], WRITING),
            (&["readonly", "noscript"], Class::Bound),
        ] {
            let parts = vec![answer("my|get", &["readonly"], None), answer("my|x", flags, None)];
            let answer = answer("my", &["readonly"], Some(parts));
            assert_eq!(learned("my", Value::Array(vec![answer])), Some(class), "{flags:?}");
        }
        let odd = answer("my", &["readonly"], Some(vec![Value::Int(1)]));
        assert_eq!(learned("my", Value::Array(vec![odd])), Some(Class::Bound));
    }

    #[test]
    fn a_reply_that_cannot_be_read_binds() {
        let flags = |flags| Value::Array(vec![simple("json.get"), Value::Int(1), flags]);
        for reply in [
            Value::Nil,
            Value::Okay,
            Value::Array(vec![]),
            Value::Array(vec![Value::Nil]),
            Value::Array(vec![Value::Array(vec![])]),
            Value::Array(vec![flags(Value::Nil)]),
            Value::Array(vec![flags(Value::Array(vec![Value::Int(1)]))]),
            Value::Array(vec![answer("select", &["fast"], None)]),
        ] {
            assert_eq!(learned("JSON.GET", reply.clone()), Some(Class::Bound), "{reply:?}");
        }
        let old = flags(Value::Array(vec![simple("readonly")]));
        assert_eq!(learned("JSON.GET", Value::Array(vec![old])), Some(READING), "before Redis 7");
    }

    #[test]
    fn what_is_learned_holds_in_every_case_and_is_not_asked_again() {
        let learned = LearnedCommands::default();
        let names = unlearned(&["JSON.GET", "json.get", "JSON.SET"], &learned);
        let question: Vec<u8> = names.question().get_packed_command();
        assert_eq!(
            question,
            command(&["COMMAND", "INFO", "JSON.GET", "JSON.SET"]).get_packed_command()
        );
        let answers =
            vec![answer("json.get", &["readonly"], None), answer("json.set", &["write"], None)];
        learned.learn(&names, &Ok(Value::Array(answers)));
        for (words, wanted) in [(["json.Get", "k"], Plan::READ), (["JSON.SET", "k"], Plan::WRITE)] {
            let Ok(Reading::Known(plan)) = Plan::of([&command(&words)], &learned) else {
                panic!("{words:?}")
            };
            assert_eq!(plan, wanted, "{words:?}");
        }
        assert_eq!(format!("{learned:?}"), "LearnedCommands { commands: 2 }");
    }

    #[test]
    fn a_denial_binds_and_a_passing_objection_teaches_nothing() {
        let error = |code: &str| -> RedisResult<Value> {
            Err(::redis::parse_redis_value(format!("-{code} no\r\n").as_bytes())
                .and_then(Value::extract_error)
                .unwrap_err())
        };
        let inside = |code: &str| ::redis::parse_redis_value(format!("-{code} no\r\n").as_bytes());
        let broken = Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe)));
        let unsent = Err(RedisError::from((ErrorKind::Client, "no")));
        for (reply, known) in [
            (error("NOPERM"), Some(Class::Bound)),
            (error("ERR"), Some(Class::Bound)),
            (inside("NOPERM"), Some(Class::Bound)),
            (error("BUSY"), None),
            (error("LOADING"), None),
            (inside("BUSY"), None),
            (broken, None),
            (unsent, None),
        ] {
            let learned = LearnedCommands::default();
            learned.learn(&unlearned(&["JSON.GET"], &learned), &reply);
            assert_eq!(learned.known(b"JSON.GET"), known, "{reply:?}");
        }
    }

    #[test]
    fn names_that_cannot_be_commands_are_not_asked_about() {
        let learned = LearnedCommands::default();
        let longest = "x".repeat(LEN_BYTES_MAX);
        assert_eq!(learned.known(longest.as_bytes()), None);
        let long = "x".repeat(LEN_BYTES_MAX + 1);
        for name in ["", "client|id", "CLIENT ID", "a\0b", "caf\u{e9}", "a\r\nb", &long] {
            assert_eq!(learned.known(name.as_bytes()), Some(Class::Bound), "{name:?}");
        }
    }

    #[test]
    fn a_question_and_what_is_learned_have_a_bound() {
        let learned = LearnedCommands::default();
        let names: Vec<_> = (0..COMMANDS_MAX + 100).map(|number| format!("X{number}")).collect();
        let words: Vec<_> = names.iter().map(String::as_str).collect();
        let mut questions = 0;
        for words in words[..COMMANDS_MAX].chunks(NAMES_PER_QUESTION * 2) {
            for _ in 0..2 {
                let names = unlearned(words, &learned);
                assert!(names.question().args_iter().len() <= NAMES_PER_QUESTION + 2);
                learned.learn(&names, &Ok(Value::Array(vec![])));
                questions += 1;
            }
        }
        assert_eq!(questions, COMMANDS_MAX / NAMES_PER_QUESTION);
        assert_eq!(
            format!("{learned:?}"),
            format!("LearnedCommands {{ commands: {COMMANDS_MAX} }}")
        );
        assert_eq!(learned.known(b"one.more"), Some(Class::Bound));
        assert!(matches!(
            Plan::of([&command(&["ONE.MORE"])], &learned),
            Ok(Reading::Known(Plan::UNKNOWN))
        ));
    }

    proptest! {
        #[test]
        fn no_reply_makes_learning_panic(bytes in "([*~][0-3]|[$]2|:1|[+-](get|blocking|ERR)|_|ab|\r\n){0,24}") {
            if let Ok(reply) = ::redis::parse_redis_value(bytes.as_bytes()) {
                learned("NO.SUCH", reply);
            }
        }
    }
}

/// The table against what a real server says about itself.
mod against_a_server {
    use std::process::{Child, Command, Stdio};

    use ::redis::aio::MultiplexedConnection;
    use ::redis::{AsyncConnectionConfig, Client};
    use tokio::time::{Instant, sleep};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    struct Server {
        child: Child,
        home: tempfile::TempDir,
    }

    impl Server {
        fn start(arguments: &[&str]) -> Self {
            let home = tempfile::tempdir().unwrap();
            let child = Command::new("redis-server")
                .args(["--port", "0", "--save", "", "--unixsocket"])
                .arg(home.path().join("redis.sock"))
                .args(arguments)
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            Self { child, home }
        }

        async fn connect(&self, protocol: u8) -> MultiplexedConnection {
            let socket = self.home.path().join("redis.sock");
            let client = Client::open(format!("unix://{}?protocol={protocol}", socket.display()));
            let client = client.unwrap();
            let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
            let until = Instant::now() + PATIENCE;
            loop {
                match client.get_multiplexed_async_connection_with_config(&config).await {
                    Ok(connection) => return connection,
                    Err(error) if Instant::now() > until => panic!("{error}"),
                    Err(_) => sleep(Duration::from_millis(5)).await,
                }
            }
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }

    /// One command, or one part of a command, as the server describes it.
    struct Described {
        words: Vec<String>,
        flags: Vec<String>,
    }

    impl Described {
        fn has(&self, flag: &str) -> bool {
            self.flags.iter().any(|has| has == flag)
        }

        /// As it would be sent, in a form that blocks if it can.
        fn plan(&self) -> Result<Plan, Error> {
            let mut words: Vec<_> = self.words.iter().map(String::as_str).collect();
            words.extend(["1", "BLOCK", "1"]);
            read(&words)
        }
    }

    async fn described(connection: &mut MultiplexedConnection) -> Vec<Described> {
        let reply: Vec<Value> = cmd("COMMAND").query_async(connection).await.unwrap();
        assert!(reply.len() > 200);
        let mut described = Vec::new();
        for command in &reply {
            describe(command, &mut described);
        }
        described
    }

    fn describe(command: &Value, described: &mut Vec<Described>) {
        let Value::Array(parts) = command else { panic!("{command:?}") };
        let text = |value: &Value| ::redis::from_redis_value_ref::<String>(value).unwrap();
        let name = text(&parts[0]);
        let (Value::Set(flags) | Value::Array(flags)) = &parts[2] else { panic!("{command:?}") };
        let flags = flags.iter().map(text).collect();
        match &parts[9] {
            Value::Array(commands) if !commands.is_empty() => {
                for command in commands {
                    describe(command, described);
                }
            }
            _ => described
                .push(Described { words: name.split('|').map(str::to_owned).collect(), flags }),
        }
    }

    /// What the flags do not tell: each with the reason that it is classed as it is.
    const EXCEPTIONS: &[(&str, &str)] = &[
        // They read, and carry no flag because they touch no key.
        ("READ", "echo ping time info lastsave role command|* pubsub|* xinfo|help object|help"),
        ("READ", "memory|* config|get pfselftest"),
        ("READ", "client|id client|info client|list client|getname client|getredir client|help"),
        ("READ", "client|trackinginfo"),
        // They may run whatever the script does.
        ("WRITE", "eval evalsha fcall"),
        // They change the server, not its data, or may.
        ("WRITE", "acl|* bgrewriteaof bgsave save cluster|* config|* failover latency|*"),
        ("WRITE", "module|* replicaof slaveof slowlog|* shutdown publish spublish"),
        ("WRITE", "client|kill client|pause client|unpause client|unblock"),
        ("WRITE", "function|* script|* xgroup|help"),
        // They work on another connection than the one that is stuck.
        ("PIN", "function|kill script|kill"),
        ("BIND", "asking discard multi readonly readwrite select unwatch watch"),
        ("UNKNOWN", "debug exec"),
    ];

    fn expected_without_flags(name: &str) -> Option<Plan> {
        let (class, _) = EXCEPTIONS
            .iter()
            .rev()
            .find(|(_, names)| names.split(' ').any(|listed| listed == name))
            .or_else(|| {
                let parent = format!("{}|*", name.split('|').next()?);
                EXCEPTIONS.iter().find(|(_, names)| names.split(' ').any(|listed| listed == parent))
            })?;
        Some(match *class {
            "READ" => Plan::READ,
            "WRITE" => Plan::WRITE,
            "PIN" => Plan::PIN,
            "BIND" => Plan::BIND,
            "UNKNOWN" => Plan::UNKNOWN,
            other => panic!("{other}"),
        })
    }

    #[tokio::test]
    async fn every_command_of_the_server_is_in_the_table_and_as_its_flags_say() {
        let server = Server::start(&[]);
        let mut refused = Vec::new();
        for command in described(&mut server.connect(3).await).await {
            let name = command.words.join("|");
            let known = table::find(command.words[0].as_bytes());
            assert!(known.is_some(), "{name} is not in the table");
            let Ok(plan) = command.plan() else {
                refused.push(name);
                continue;
            };
            if name == "wait" {
                assert!(plan.pins && plan.waits_for_earlier && !plan.writes, "{plan:?}");
            } else if command.has("blocking") {
                assert!(plan.pins && !plan.binds && plan.blocks != Block::NONE, "{name}: {plan:?}");
                assert_eq!(plan.writes, command.has("write"), "{name}");
            } else if command.has("write") {
                assert_eq!(plan, Plan::WRITE, "{name}");
            } else if command.has("readonly") {
                assert_eq!(plan, Plan::READ, "{name}");
            } else {
                assert_eq!(Some(plan), expected_without_flags(&name), "{name} {:?}", command.flags);
            }
        }
        refused.sort_unstable();
        let wanted = "auth client|caching client|no-evict client|reply client|setname client|tracking hello monitor \
            psubscribe psync punsubscribe quit replconf reset script|debug ssubscribe subscribe sunsubscribe sync \
            unsubscribe";
        assert_eq!(refused.join(" "), wanted);
    }

    /// What the server says of the commands that we do know would never have let one of them do harm, but for those
    /// which the table is there for.
    #[tokio::test]
    async fn what_would_be_learned_of_the_known_commands_is_never_more_trusting_than_the_table() {
        let server = Server::start(&[]);
        for protocol in [2, 3] {
            let mut connection = server.connect(protocol).await;
            let mut trusted = Vec::new();
            let mut compared = 0;
            for name in COMMANDS.iter().flat_map(|(_, names)| *names) {
                let learned = LearnedCommands::default();
                let mut names = Unlearned::default();
                names.push(Name::new(name.as_bytes()).unwrap());
                let reply = connection.send_packed_command(&names.question()).await;
                learned.learn(&names, &reply);
                let class = learned.known(name.as_bytes()).unwrap();
                let table = read(&[name, "1", "BLOCK", "1"]);
                compared += usize::from(class != Class::Bound);
                let is_safe = match class {
                    Class::Bound => true,
                    Class::Ordinary { writes: true } => table.is_ok_and(|table| !table.pins),
                    Class::Ordinary { writes: false } => table == Ok(Plan::READ),
                };
                if !is_safe {
                    trusted.push(*name);
                }
            }
            trusted.sort_unstable();
            assert_eq!(trusted, ["ASKING", "READONLY", "READWRITE", "SELECT"], "RESP{protocol}");
            assert!(compared > 150, "{compared} were learned as ordinary");
        }
    }

    #[tokio::test]
    async fn a_renamed_command_is_not_trusted_by_its_flags() {
        let server = Server::start(&["--rename-command", "SELECT", "CHOOSE"]);
        let mut connection = server.connect(3).await;
        let learned = LearnedCommands::default();
        let choose = command(&["CHOOSE", "1"]);
        let Ok(Reading::Unlearned { cautious, names }) = Plan::of([&choose], &learned) else {
            panic!("known")
        };
        assert_eq!(cautious, Plan::UNKNOWN);
        let reply = connection.send_packed_command(&names.question()).await;
        assert!(
            matches!(&reply, Ok(Value::Array(answers)) if answers[0] != Value::Nil),
            "{reply:?}"
        );
        learned.learn(&names, &reply);
        assert_eq!(learned.known(b"choose"), Some(Class::Bound));
    }

    #[tokio::test]
    async fn a_user_who_may_not_ask_pins() {
        let server =
            Server::start(&["--user", "default", "on", "nopass", "~*", "+@all", "-command"]);
        let mut connection = server.connect(3).await;
        let learned = LearnedCommands::default();
        let get = command(&["JSON.GET", "k"]);
        let Ok(Reading::Unlearned { names, .. }) = Plan::of([&get], &learned) else {
            panic!("known")
        };
        let reply = connection.send_packed_command(&names.question()).await;
        learned.learn(&names, &reply);
        assert_eq!(learned.known(b"json.get"), Some(Class::Bound), "{reply:?}");
    }

    // redis R1
    #[tokio::test]
    async fn a_command_without_a_name_in_a_pipeline_would_take_a_reply_of_others() {
        let server = Server::start(&[]);
        let mut connection = server.connect(3).await;
        let mut other = connection.clone();
        let mut pipeline = pipe();
        pipeline.add_command(Cmd::new()).add_command(command(&["ECHO", "own"]));
        let theirs = command(&["ECHO", "theirs"]);
        let taken = tokio::select! {
            biased;
            taken = connection.send_packed_commands(&pipeline, 0, 2) => taken,
            answered = other.send_packed_command(&theirs) => panic!("{answered:?}"),
        };
        let text = |text: &str| Value::BulkString(text.into());
        assert_eq!(taken, Ok(vec![text("own"), text("theirs")]), "the reason to refuse it");
        let read = Plan::of(pipeline.cmd_iter(), &LearnedCommands::default());
        assert!(matches!(read, Err(Error::Refused { .. })));
    }
}
