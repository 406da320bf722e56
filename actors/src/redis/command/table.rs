//! The table of known commands, and what each does to its connection.

/// What a command does, or which of its arguments say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    Reads,
    Writes,
    /// It leaves state behind on its connection.
    Binds,
    /// It executes what was queued on its connection.
    Executes,
    /// The server may answer more or fewer times than once.
    Miscounts,
    /// It blocks, and its first argument says for how many seconds.
    BlocksByFirst,
    /// It blocks, and its last argument says for how many seconds.
    BlocksByLast,
    /// It waits until replicas or the disk have the earlier writes of its connection.
    Waits,
    StreamRead,
    StreamReadOfGroup,
    Client,
    Config,
    Function,
    Script,
    /// It would harm its connection. The text says what to do instead.
    Refused(&'static str),
}

/// Finds a command by its name in any case, and returns the name in capitals.
pub(super) fn find(name: &[u8]) -> Option<&'static (&'static str, Behaviour)> {
    // Spares the hash of a long word.
    if name.len() > LEN_BYTES_MAX {
        return None;
    }
    let mut slot = slot_of(name);
    while let Some(found) = &TABLE[slot] {
        if found.0.as_bytes().eq_ignore_ascii_case(name) {
            return Some(found);
        }
        slot = (slot + 1) % SLOTS;
    }
    None
}

/// No name in the table is longer.
const LEN_BYTES_MAX: usize = 20;
/// A power of two, about twice the number of commands.
const SLOTS: usize = 512;
static TABLE: [Option<(&str, Behaviour)>; SLOTS] = {
    let mut table = [const { None }; SLOTS];
    let mut list = 0;
    while list < COMMANDS.len() {
        let (behaviour, names) = COMMANDS[list];
        let mut index = 0;
        while index < names.len() {
            let name = names[index];
            assert!(name.len() <= LEN_BYTES_MAX);
            let mut slot = slot_of(name.as_bytes());
            while table[slot].is_some() {
                slot = (slot + 1) % SLOTS;
            }
            table[slot] = Some((name, behaviour));
            index += 1;
        }
        list += 1;
    }
    table
};

/// FNV-1a of the bytes without the bit that tells a small letter from a capital.
const fn slot_of(name: &[u8]) -> usize {
    let mut hash = 0x811c_9dc5_u32;
    let mut index = 0;
    while index < name.len() {
        hash = (hash ^ (name[index] & !0x20) as u32).wrapping_mul(0x0100_0193);
        index += 1;
    }
    (hash ^ (hash >> 16)) as usize % SLOTS
}

const LOGIN: &str = "the login belongs to the configuration: set the url or password_file";
const SHARED: &str = "it would change the connection for whoever uses it next";
const SUBSCRIBE: &str = "use cache.subscribe(..)";
const DROP: &str = "drop the connection instead";
const NAME: &str = "the connection is named by the configuration";

#[rustfmt::skip]
pub(super) const COMMANDS: &[(Behaviour, &[&str])] = &[
    (Behaviour::Reads, READS),
    (Behaviour::Writes, WRITES),
    (Behaviour::Binds, &["ASKING", "DISCARD", "MULTI", "READONLY", "READWRITE", "SELECT", "UNWATCH", "WATCH"]),
    (Behaviour::Executes, &["EXEC"]),
    (Behaviour::Miscounts, &["DEBUG"]),
    (Behaviour::BlocksByFirst, &["BLMPOP", "BZMPOP"]),
    (Behaviour::BlocksByLast, &["BLMOVE", "BLPOP", "BRPOP", "BRPOPLPUSH", "BZPOPMAX", "BZPOPMIN"]),
    (Behaviour::Waits, &["WAIT", "WAITAOF"]),
    (Behaviour::StreamRead, &["XREAD"]),
    (Behaviour::StreamReadOfGroup, &["XREADGROUP"]),
    (Behaviour::Client, &["CLIENT"]),
    (Behaviour::Config, &["CONFIG"]),
    (Behaviour::Function, &["FUNCTION"]),
    (Behaviour::Script, &["SCRIPT"]),
    (Behaviour::Refused(LOGIN), &["AUTH", "HELLO"]),
    (Behaviour::Refused(SUBSCRIBE), &[
        "PSUBSCRIBE", "PUNSUBSCRIBE", "SSUBSCRIBE", "SUBSCRIBE", "SUNSUBSCRIBE", "UNSUBSCRIBE",
    ]),
    (Behaviour::Refused(DROP), &["QUIT", "RESET"]),
    (Behaviour::Refused(SHARED), &["PSYNC", "REPLCONF", "SYNC"]),
    (Behaviour::Refused("it turns the connection into a log: use redis-cli"), &["MONITOR"]),
];
pub(super) const READS_OF_CLIENT: &[&str] =
    &["GETNAME", "GETREDIR", "HELP", "ID", "INFO", "LIST", "TRACKINGINFO"];
pub(super) const WRITES_OF_CLIENT: &[&str] = &["KILL", "PAUSE", "UNBLOCK", "UNPAUSE"];
pub(super) const REFUSED_OF_CLIENT: &[(&str, &str)] = &[
    ("CLIENT CACHING", SHARED),
    ("CLIENT NO-EVICT", SHARED),
    ("CLIENT NO-TOUCH", SHARED),
    ("CLIENT REPLY", "replies are how commands are told apart"),
    ("CLIENT SETINFO", NAME),
    ("CLIENT SETNAME", "the connection is named by the configuration: set client_name"),
    ("CLIENT TRACKING", SHARED),
];

// Redis 7.0's COMMAND reply by its flags `readonly` and `write`, with what 7.2, 7.4 and 8 added, and the commands
// with neither flag that neither block nor leave state behind.
#[rustfmt::skip]
const READS: &[&str] = &[
    "BITCOUNT", "BITFIELD_RO", "BITPOS", "COMMAND", "DBSIZE", "DIGEST", "DUMP", "ECHO", "EVALSHA_RO", "EVAL_RO",
    "EXISTS", "EXPIRETIME", "FCALL_RO", "GEODIST", "GEOHASH", "GEOPOS", "GEORADIUSBYMEMBER_RO", "GEORADIUS_RO",
    "GEOSEARCH", "GET", "GETBIT", "GETRANGE", "HEXISTS", "HEXPIRETIME", "HGET", "HGETALL", "HKEYS", "HLEN", "HMGET",
    "HPEXPIRETIME", "HPTTL", "HRANDFIELD", "HSCAN", "HSTRLEN", "HTTL", "HVALS", "INFO", "KEYS", "LASTSAVE", "LCS",
    "LINDEX", "LLEN", "LOLWUT", "LPOS", "LRANGE", "MEMORY", "MGET", "OBJECT", "PEXPIRETIME", "PFCOUNT", "PFSELFTEST",
    "PING", "PTTL", "PUBSUB", "RANDOMKEY", "ROLE", "SCAN", "SCARD", "SDIFF", "SINTER", "SINTERCARD", "SISMEMBER",
    "SMEMBERS", "SMISMEMBER", "SORT_RO", "SRANDMEMBER", "SSCAN", "STRLEN", "SUBSTR", "SUNION", "TIME", "TOUCH", "TTL",
    "TYPE", "XINFO", "XLEN", "XPENDING", "XRANGE", "XREVRANGE", "ZCARD", "ZCOUNT", "ZDIFF", "ZINTER", "ZINTERCARD",
    "ZLEXCOUNT", "ZMSCORE", "ZRANDMEMBER", "ZRANGE", "ZRANGEBYLEX", "ZRANGEBYSCORE", "ZRANK", "ZREVRANGE",
    "ZREVRANGEBYLEX", "ZREVRANGEBYSCORE", "ZREVRANK", "ZSCAN", "ZSCORE", "ZUNION",
];
#[rustfmt::skip]
const WRITES: &[&str] = &[
    "ACL", "APPEND", "BGREWRITEAOF", "BGSAVE", "BITFIELD", "BITOP", "CLUSTER", "COPY", "DECR", "DECRBY", "DEL",
    "DELEX", "EVAL", "EVALSHA", "EXPIRE", "EXPIREAT", "FAILOVER", "FCALL", "FLUSHALL", "FLUSHDB", "GEOADD", "GEORADIUS",
    "GEORADIUSBYMEMBER", "GEOSEARCHSTORE", "GETDEL", "GETEX", "GETSET", "HDEL", "HEXPIRE", "HEXPIREAT", "HGETDEL",
    "HGETEX", "HINCRBY", "HINCRBYFLOAT", "HMSET", "HPERSIST", "HPEXPIRE", "HPEXPIREAT", "HSET", "HSETEX", "HSETNX",
    "INCR", "INCRBY", "INCRBYFLOAT", "INCREX", "LATENCY", "LINSERT", "LMOVE", "LMPOP", "LPOP", "LPUSH", "LPUSHX",
    "LREM", "LSET", "LTRIM", "MIGRATE", "MODULE", "MOVE", "MSET", "MSETEX", "MSETNX", "PERSIST", "PEXPIRE", "PEXPIREAT",
    "PFADD", "PFDEBUG", "PFMERGE", "PSETEX", "PUBLISH", "RENAME", "RENAMENX", "REPLICAOF", "RESTORE", "RESTORE-ASKING",
    "RPOP", "RPOPLPUSH", "RPUSH", "RPUSHX", "SADD", "SAVE", "SDIFFSTORE", "SET", "SETBIT", "SETEX", "SETNX", "SETRANGE",
    "SHUTDOWN", "SINTERSTORE", "SLAVEOF", "SLOWLOG", "SMOVE", "SORT", "SPOP", "SPUBLISH", "SREM", "SUNIONSTORE",
    "SWAPDB", "UNLINK", "XACK", "XACKDEL", "XADD", "XAUTOCLAIM", "XCLAIM", "XDEL", "XDELEX", "XGROUP", "XSETID",
    "XTRIM", "ZADD", "ZDIFFSTORE", "ZINCRBY", "ZINTERSTORE", "ZMPOP", "ZPOPMAX", "ZPOPMIN", "ZRANGESTORE", "ZREM",
    "ZREMRANGEBYLEX", "ZREMRANGEBYRANK", "ZREMRANGEBYSCORE", "ZUNIONSTORE",
];
