//! The table of docs/outages.md as data.

use std::fmt;
use std::time::Duration;

use mainstay::Config;

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// The service started, and Redis has never been there.
    ColdStart,
    /// Redis was killed.
    Away,
    /// Redis stands still (SIGSTOP), and no probe has found out yet.
    Frozen,
    /// Redis stands still, and the breaker is open.
    FrozenAndNoticed,
    /// The pool manager fell and waits for its restart.
    NoManager,
    /// The health monitor fell, and its last verdict still counts.
    NoMonitor,
    /// The health monitor fell, and its last verdict has grown old.
    Stale,
    /// Redis holds back writes (CLIENT PAUSE WRITE), and a write is under way on each lane.
    WritesPaused,
    /// Redis takes no new connection, and the lanes are answered.
    Full,
    /// The threads of the service do nothing else for a while.
    HeldUp,
}

/// What a client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// 200, by the way that it takes with Redis.
    Done,
    /// 200, by the way that it takes without Redis.
    Without,
    /// 200 with a report that says whether Redis answers.
    Reports {
        healthy: bool,
    },
    /// `/ready` says so with 200.
    Ready,
    /// `/ready` says so with 503.
    NotReady,
    Unavailable,
    Deadline,
    OutcomeUnknown,
}

/// The longest that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    /// As long as the answer itself takes.
    Now,
    /// A caller without any connection waits so long for a second attempt to connect.
    Patience,
    CommandTimeout,
    ProbeTimeout,
    /// Two attempts to connect and the pause between them.
    TwoConnects,
    /// The rest of a probe, the time to the next one, and that one.
    NextProbe,
    /// What the command itself asked for.
    Block,
    /// The same, and what a server may be late with it.
    BlockAndMore,
    /// As soon as the process goes on.
    HeldUp,
}

/// One cell: what is answered, and in which time.
pub(super) type Cell = Option<(Answer, Within)>;

/// What a service does, and what becomes of it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) what: &'static str,
    /// Where the service of the test does it.
    pub(super) path: &'static str,
    pub(super) cells: [Cell; COLUMNS.len()],
}

pub(super) const COLUMNS: [When; 10] = [
    When::ColdStart,
    When::Away,
    When::Frozen,
    When::FrozenAndNoticed,
    When::NoManager,
    When::NoMonitor,
    When::Stale,
    When::WritesPaused,
    When::Full,
    When::HeldUp,
];

/// For how long the service does nothing else.
pub(super) const HELD_UP: Duration = Duration::from_millis(400);

/// For how long a command of the table blocks.
pub(super) const BLOCK: Duration = Duration::from_secs(1);

use Answer::{Deadline, Done, NotReady, OutcomeUnknown, Ready, Reports, Unavailable, Without};
use Within::{
    Block, BlockAndMore, CommandTimeout, HeldUp, NextProbe, Now, Patience, ProbeTimeout,
    TwoConnects,
};

const FINE: Cell = Some((Done, Now));
const REFUSED: Cell = Some((Unavailable, Now));
const REFUSED_SOON: Cell = Some((Unavailable, Patience));
const NO_CONNECTION: Cell = Some((Unavailable, TwoConnects));
const HEALTHY: Cell = Some((Reports { healthy: true }, Now));
const UNHEALTHY: Cell = Some((Reports { healthy: false }, Now));
const HEALTHY_LATER: Cell = Some((Reports { healthy: true }, NextProbe));
const BLOCKED: Cell = Some((Done, Block));
const LATER: Cell = Some((Done, HeldUp));
const UNHEALTHY_LATER: Cell = Some((Reports { healthy: false }, NextProbe));

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row {
        what: "a read by `CacheConn`",
        path: "/read",
        cells: [
            REFUSED_SOON, REFUSED, Some((Deadline, CommandTimeout)), REFUSED, FINE, FINE, FINE,
            Some((Deadline, CommandTimeout)), FINE, LATER,
        ],
    },
    Row {
        what: "a write by `CacheConn`",
        path: "/write",
        cells: [
            REFUSED_SOON, REFUSED, Some((OutcomeUnknown, CommandTimeout)), REFUSED, FINE, FINE, FINE,
            Some((OutcomeUnknown, CommandTimeout)), FINE, LATER,
        ],
    },
    Row {
        what: "a read by `Option<CacheConn>`, else done without",
        path: "/optional",
        cells: [
            Some((Without, Patience)), Some((Without, Now)), Some((Without, CommandTimeout)), Some((Without, Now)),
            FINE, FINE, FINE,
            Some((Without, CommandTimeout)), FINE, LATER,
        ],
    },
    Row {
        what: "a `Script`",
        path: "/script",
        cells: [
            REFUSED_SOON, REFUSED, Some((OutcomeUnknown, CommandTimeout)), REFUSED, FINE, FINE, FINE,
            Some((OutcomeUnknown, CommandTimeout)), FINE, LATER,
        ],
    },
    Row {
        what: "`pin()` and a read",
        path: "/pinned",
        cells: [
            REFUSED_SOON, REFUSED, NO_CONNECTION, REFUSED, FINE, FINE, FINE,
            FINE, NO_CONNECTION, LATER,
        ],
    },
    Row {
        what: "a `transaction`",
        path: "/transaction",
        cells: [
            REFUSED_SOON, REFUSED, NO_CONNECTION, REFUSED, FINE, FINE, FINE,
            Some((OutcomeUnknown, CommandTimeout)), NO_CONNECTION, LATER,
        ],
    },
    Row {
        what: "a read that blocks, under way when it happens",
        path: "/blocking-read",
        cells: [
            None, REFUSED, Some((Deadline, BlockAndMore)), None,
            BLOCKED, BLOCKED, BLOCKED,
            BLOCKED, None, BLOCKED,
        ],
    },
    Row {
        what: "a write that blocks, under way when it happens",
        path: "/blocking-write",
        cells: [
            None, Some((OutcomeUnknown, Now)), Some((OutcomeUnknown, BlockAndMore)), None,
            BLOCKED, BLOCKED, BLOCKED,
            BLOCKED, None, BLOCKED,
        ],
    },
    Row {
        what: "`/ready`",
        path: "/ready",
        cells: [
            Some((NotReady, Now)), Some((NotReady, Now)), Some((Ready, Now)), Some((NotReady, Now)),
            Some((Ready, Now)), Some((Ready, Now)), Some((NotReady, Now)),
            Some((Ready, Now)), Some((Ready, Now)), Some((Ready, HeldUp)),
        ],
    },
    Row {
        what: "`/health`",
        path: "/health",
        cells: [
            FINE, FINE, FINE, FINE, FINE, FINE, FINE,
            FINE, FINE, LATER,
        ],
    },
    Row {
        what: "`ask(GetPoolStatus)`",
        path: "/pool",
        cells: [
            FINE, FINE, FINE, FINE, REFUSED, FINE, FINE,
            FINE, FINE, LATER,
        ],
    },
    Row {
        what: "`ask(GetHealth)`",
        path: "/verdict",
        cells: [
            UNHEALTHY, UNHEALTHY, HEALTHY, UNHEALTHY, HEALTHY, REFUSED, REFUSED,
            HEALTHY, HEALTHY, Some((Reports { healthy: true }, HeldUp)),
        ],
    },
    Row {
        what: "`ask(ProbeNow)`",
        path: "/probe",
        cells: [
            UNHEALTHY_LATER, UNHEALTHY_LATER, Some((Reports { healthy: false }, ProbeTimeout)), UNHEALTHY_LATER,
            HEALTHY, REFUSED, REFUSED,
            HEALTHY, HEALTHY_LATER, Some((Reports { healthy: true }, HeldUp)),
        ],
    },
    Row {
        what: "`ask(RebuildPool)`",
        path: "/rebuild",
        cells: [
            FINE, FINE, FINE, FINE, REFUSED, FINE, FINE,
            FINE, FINE, LATER,
        ],
    },
];

impl Within {
    pub(super) fn longest(self, config: &Config) -> Duration {
        let redis = &config.redis;
        match self {
            Self::Now => Duration::ZERO,
            Self::Patience => Duration::from_millis(250),
            Self::CommandTimeout => redis.command_timeout,
            Self::ProbeTimeout => redis.probe_timeout,
            Self::TwoConnects => redis.connect_timeout * 2 + Duration::from_millis(500),
            Self::NextProbe => redis.probe_interval + redis.connect_timeout * 2,
            Self::Block => BLOCK,
            Self::HeldUp => HELD_UP,
            Self::BlockAndMore => BLOCK + redis.command_timeout + Duration::from_secs(1),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "200",
            Self::Without => "200, done without",
            Self::Reports { healthy: true } => "200, healthy",
            Self::Reports { healthy: false } => "200, not healthy",
            Self::Ready => "200, ready",
            Self::NotReady => "503, not ready",
            Self::Unavailable => "503 `unavailable`",
            Self::Deadline => "504 `deadline`",
            Self::OutcomeUnknown => "504 `outcome-unknown`",
        })
    }
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Now => "",
            Self::Patience => ", 250 ms",
            Self::CommandTimeout => ", 500 ms (a)",
            Self::ProbeTimeout => ", 250 ms (b)",
            Self::TwoConnects => ", 2.5 s (c)",
            Self::NextProbe => ", 2.5 s (d)",
            Self::Block => ", its own time",
            Self::BlockAndMore => ", its own time + 1.5 s (e)",
            Self::HeldUp => " (f)",
        })
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ColdStart => "cold start",
            Self::Away => "Redis away",
            Self::Frozen => "Redis frozen",
            Self::FrozenAndNoticed => "frozen, noticed",
            Self::NoManager => "`pool-manager` down",
            Self::NoMonitor => "`health-monitor` down",
            Self::Stale => "verdict stale",
            Self::WritesPaused => "writes paused",
            Self::Full => "no new connections",
            Self::HeldUp => "process held up",
        })
    }
}

/// The table as it is to be written.
fn markdown() -> String {
    let shown = |cell: &Cell| match cell {
        Some((answer, within)) => format!("{answer}{within}"),
        None => "–".to_owned(),
    };
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let heads = std::iter::once("what a service does".to_owned());
    let mut table = line(heads.chain(COLUMNS.iter().map(ToString::to_string)).collect());
    table.push_str(&line(vec!["---".to_owned(); COLUMNS.len() + 1]).replace(' ', ""));
    for row in ROWS {
        let what = std::iter::once(row.what.to_owned());
        table.push_str(&line(what.chain(row.cells.iter().map(shown)).collect()));
    }
    table
}

#[test]
fn the_documentation_holds_this_table() {
    let document = include_str!("../../../docs/outages.md");
    let table = markdown();
    assert!(document.contains(&table), "docs/outages.md must hold this table:\n{table}");
}

/// The letters of the table stand for sums of defaults.
#[test]
fn the_times_of_the_table_are_those_of_the_defaults() {
    let config = Config::default();
    let times = [
        (Within::CommandTimeout, 500),
        (Within::ProbeTimeout, 250),
        (Within::TwoConnects, 2500),
        (Within::NextProbe, 2500),
        (Within::BlockAndMore, 2500),
    ];
    for (within, milliseconds) in times {
        let longest = Duration::from_millis(milliseconds);
        assert_eq!(within.longest(&config), longest, "{within:?}");
    }
}
