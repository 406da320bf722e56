use std::time::Duration;

use ::redis::{Arg, Cmd};

use super::error::Error;

/// What a command, or a pipeline of them, asks of the connection that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// Whether it may change data. What is not known is taken to.
    pub(super) writes: bool,
    /// Whether it leaves state behind, so that the connection must not go to anyone else.
    pub(super) binds: bool,
    /// How long the server itself may take its time.
    pub(super) blocks: Block,
}

/// A command's own waiting time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    For(Duration),
    Forever,
}

impl Plan {
    const READS: Self = Self { writes: false, binds: false, blocks: Block::NONE };
    const WRITES: Self = Self { writes: true, ..Self::READS };
    const BINDS: Self = Self { binds: true, ..Self::WRITES };

    /// Reads every command.
    ///
    /// # Errors
    /// [`Error::Refused`] for the first one that would harm the connection.
    pub(super) fn of<'a>(commands: impl IntoIterator<Item = &'a Cmd>) -> Result<Self, Error> {
        commands
            .into_iter()
            .try_fold(Self::READS, |plan, command| Ok(plan.and(Self::of_one(command)?)))
    }

    fn of_one(command: &Cmd) -> Result<Self, Error> {
        let mut arguments = command.args_iter().map(|argument| match argument {
            Arg::Simple(bytes) => bytes,
            _ => b"",
        });
        let name = Upper::new(arguments.next().unwrap_or_default());
        if let Some((command, instead)) =
            REFUSED.iter().find(|(refused, _)| *refused == name.as_str())
        {
            return Err(Error::Refused { command, instead });
        }
        Ok(match name.as_str() {
            known if READS.binary_search(&known).is_ok() => Self::READS,
            known if WRITES.binary_search(&known).is_ok() => Self::WRITES,
            "CLIENT" => return Self::of_client(arguments.next().unwrap_or_default()),
            "CONFIG" if arguments.next().is_some_and(|part| part.eq_ignore_ascii_case(b"GET")) => {
                Self::READS
            }
            "CONFIG" => Self::WRITES,
            "BLPOP" | "BRPOP" | "BRPOPLPUSH" | "BLMOVE" | "BZPOPMIN" | "BZPOPMAX" => {
                Self::WRITES.blocking(arguments.last(), SECONDS)
            }
            "BLMPOP" | "BZMPOP" => Self::WRITES.blocking(arguments.next(), SECONDS),
            "WAIT" | "WAITAOF" => Self::READS.blocking(arguments.last(), MILLISECONDS),
            "XREAD" => Self::READS.blocking_if_asked(arguments),
            "XREADGROUP" => Self::WRITES.blocking_if_asked(arguments),
            _ => Self::BINDS,
        })
    }

    fn of_client(part: &[u8]) -> Result<Self, Error> {
        let part = Upper::new(part);
        if let Some((command, instead)) = REFUSED_OF_CLIENT.iter().find(|(refused, _)| {
            refused.strip_prefix("CLIENT ").is_some_and(|refused| refused == part.as_str())
        }) {
            return Err(Error::Refused { command, instead });
        }
        Ok(match part.as_str() {
            "ID" | "INFO" | "LIST" | "GETNAME" | "GETREDIR" | "TRACKINGINFO" | "HELP" => {
                Self::READS
            }
            "KILL" | "PAUSE" | "UNPAUSE" | "UNBLOCK" => Self::WRITES,
            _ => Self::BINDS,
        })
    }

    fn and(self, other: Self) -> Self {
        Self {
            writes: self.writes || other.writes,
            binds: self.binds || other.binds,
            blocks: self.blocks.and(other.blocks),
        }
    }

    /// A time that cannot be read is left to the server, which will refuse it at once.
    fn blocking(self, time: Option<&[u8]>, unit: f64) -> Self {
        let time = time.and_then(|time| std::str::from_utf8(time).ok()?.parse::<f64>().ok());
        let blocks = match time.map(|time| Duration::try_from_secs_f64(time * unit)) {
            Some(Ok(Duration::ZERO) | Err(_)) => Block::Forever,
            Some(Ok(time)) => Block::For(time),
            None => Block::NONE,
        };
        Self { blocks, ..self }
    }

    fn blocking_if_asked<'a>(self, mut arguments: impl Iterator<Item = &'a [u8]>) -> Self {
        while let Some(option) = arguments.next() {
            match Upper::new(option).as_str() {
                "BLOCK" => return self.blocking(arguments.next(), MILLISECONDS),
                // A group or a consumer may well be called "block".
                "GROUP" => drop(arguments.nth(1)),
                // And so may everything from here on, which is keys and ids.
                "STREAMS" => break,
                _ => {}
            }
        }
        self
    }
}

impl Block {
    pub(super) const NONE: Self = Self::For(Duration::ZERO);

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::For(one), Self::For(other)) => Self::For(one.saturating_add(other)),
            _ => Self::Forever,
        }
    }
}

/// A command's name in capitals, without an allocation; no name that we know is longer.
struct Upper {
    bytes: [u8; 24],
    len_bytes: usize,
}

impl Upper {
    fn new(name: &[u8]) -> Self {
        let mut bytes = [0; 24];
        let Some(upper) = bytes.get_mut(..name.len()) else {
            return Self { bytes, len_bytes: 0 };
        };
        upper.copy_from_slice(name);
        upper.make_ascii_uppercase();
        Self { bytes, len_bytes: name.len() }
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len_bytes]).unwrap_or_default()
    }
}

const SECONDS: f64 = 1.0;
const MILLISECONDS: f64 = 0.001;

const SUBSCRIBE: &str = "a subscription needs a connection of its own: use cache.subscribe";
const LOGIN: &str = "the login belongs to the configuration: set the url or password_file";
const SHARED: &str = "it would change the connection for whoever uses it next";
const REFUSED: &[(&str, &str)] = &[
    ("AUTH", LOGIN),
    ("HELLO", LOGIN),
    ("MONITOR", "it turns the connection into a log: use redis-cli"),
    ("PSUBSCRIBE", SUBSCRIBE),
    ("PSYNC", SHARED),
    ("PUNSUBSCRIBE", SUBSCRIBE),
    ("QUIT", "drop the connection instead"),
    ("REPLCONF", SHARED),
    ("RESET", "drop the connection instead"),
    ("SSUBSCRIBE", SUBSCRIBE),
    ("SUBSCRIBE", SUBSCRIBE),
    ("SUNSUBSCRIBE", SUBSCRIBE),
    ("SYNC", SHARED),
    ("UNSUBSCRIBE", SUBSCRIBE),
];
const REFUSED_OF_CLIENT: &[(&str, &str)] = &[
    ("CLIENT CACHING", SHARED),
    ("CLIENT NO-EVICT", SHARED),
    ("CLIENT NO-TOUCH", SHARED),
    ("CLIENT REPLY", "replies are how commands are told apart"),
    ("CLIENT SETINFO", "the connection is named by the configuration"),
    ("CLIENT SETNAME", "the connection is named by the configuration: set client_name"),
    ("CLIENT TRACKING", SHARED),
];

// Redis 7.0's COMMAND reply by its flags `readonly` and `write`, with what 7.2, 7.4 and 8 added, and the commands
// with neither flag that neither block nor leave state behind. Sorted, because they are searched.
#[rustfmt::skip]
pub(super) const READS: &[&str] = &[
    "BITCOUNT", "BITFIELD_RO", "BITPOS", "COMMAND", "DBSIZE", "DIGEST", "DUMP", "ECHO", "EVALSHA_RO", "EVAL_RO", "EXISTS",
    "EXPIRETIME", "FCALL_RO", "GEODIST", "GEOHASH", "GEOPOS", "GEORADIUSBYMEMBER_RO", "GEORADIUS_RO", "GEOSEARCH", "GET",
    "GETBIT", "GETRANGE", "HEXISTS", "HEXPIRETIME", "HGET", "HGETALL", "HKEYS", "HLEN", "HMGET", "HPEXPIRETIME", "HPTTL",
    "HRANDFIELD", "HSCAN", "HSTRLEN", "HTTL", "HVALS", "INFO", "KEYS", "LASTSAVE", "LCS", "LINDEX", "LLEN", "LOLWUT",
    "LPOS", "LRANGE", "MEMORY", "MGET", "OBJECT", "PEXPIRETIME", "PFCOUNT", "PING", "PTTL", "PUBSUB", "RANDOMKEY", "ROLE",
    "SCAN", "SCARD", "SDIFF", "SINTER", "SINTERCARD", "SISMEMBER", "SMEMBERS", "SMISMEMBER", "SORT_RO", "SRANDMEMBER",
    "SSCAN", "STRLEN", "SUBSTR", "SUNION", "TIME", "TOUCH", "TTL", "TYPE", "XINFO", "XLEN", "XPENDING", "XRANGE",
    "XREVRANGE", "ZCARD", "ZCOUNT", "ZDIFF", "ZINTER", "ZINTERCARD", "ZLEXCOUNT", "ZMSCORE", "ZRANDMEMBER", "ZRANGE",
    "ZRANGEBYLEX", "ZRANGEBYSCORE", "ZRANK", "ZREVRANGE", "ZREVRANGEBYLEX", "ZREVRANGEBYSCORE", "ZREVRANK", "ZSCAN",
    "ZSCORE", "ZUNION",
];
#[rustfmt::skip]
pub(super) const WRITES: &[&str] = &[
    "ACL", "APPEND", "BGREWRITEAOF", "BGSAVE", "BITFIELD", "BITOP", "CLUSTER", "COPY", "DEBUG", "DECR", "DECRBY", "DEL",
    "DELEX", "EVAL", "EVALSHA", "EXPIRE", "EXPIREAT", "FAILOVER", "FCALL", "FLUSHALL", "FLUSHDB", "FUNCTION", "GEOADD",
    "GEORADIUS", "GEORADIUSBYMEMBER", "GEOSEARCHSTORE", "GETDEL", "GETEX", "GETSET", "HDEL", "HEXPIRE", "HEXPIREAT",
    "HGETDEL", "HGETEX", "HINCRBY", "HINCRBYFLOAT", "HMSET", "HPERSIST", "HPEXPIRE", "HPEXPIREAT", "HSET", "HSETEX",
    "HSETNX", "INCR", "INCRBY", "INCRBYFLOAT", "INCREX", "LATENCY", "LINSERT", "LMOVE", "LMPOP", "LPOP", "LPUSH", "LPUSHX",
    "LREM", "LSET", "LTRIM", "MIGRATE", "MODULE", "MOVE", "MSET", "MSETEX", "MSETNX", "PERSIST", "PEXPIRE", "PEXPIREAT",
    "PFADD", "PFDEBUG", "PFMERGE", "PSETEX", "PUBLISH", "RENAME", "RENAMENX", "REPLICAOF", "RESTORE", "RPOP", "RPOPLPUSH",
    "RPUSH", "RPUSHX", "SADD", "SAVE", "SCRIPT", "SDIFFSTORE", "SET", "SETBIT", "SETEX", "SETNX", "SETRANGE", "SHUTDOWN",
    "SINTERSTORE", "SLAVEOF", "SLOWLOG", "SMOVE", "SORT", "SPOP", "SPUBLISH", "SREM", "SUNIONSTORE", "SWAPDB", "UNLINK",
    "XACK", "XADD", "XAUTOCLAIM", "XCLAIM", "XDEL", "XGROUP", "XSETID", "XTRIM", "ZADD", "ZDIFFSTORE", "ZINCRBY",
    "ZINTERSTORE", "ZMPOP", "ZPOPMAX", "ZPOPMIN", "ZRANGESTORE", "ZREM", "ZREMRANGEBYLEX", "ZREMRANGEBYRANK",
    "ZREMRANGEBYSCORE", "ZUNIONSTORE",
];
