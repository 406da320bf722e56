/// More bytes than [`Decoder::decode`](super::Decoder::decode) ever leaves to be given again. Today it leaves at most
/// one: half of a line's end.
pub(crate) const KEPT_BYTES: usize = 16 * 1024;

/// The longest number in front of a string or an aggregate, in bytes. An `i64` has at most 20.
pub(super) const LENGTH_BYTES: u64 = 32;

/// The largest length that is taken for one: no server has a string or an aggregate of 2^40, so it is no length.
pub(super) const LENGTH_MAX: u64 = 1 << 40;

/// What a frame may have. What is over a limit is skipped without being kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Aggregates within each other. To drop, print or convert a `Value` recurses, so its depth is stack:
    /// `extract_error` takes 450 KiB for the deepest in an unoptimised build, and a thread of tokio has 2 MiB. The redis crate stops at 100.
    pub(super) depth: usize,
    /// Elements of all aggregates and attributes of a frame together. Each occupies `size_of::<Value>()`, 56 bytes,
    /// for as few as 3 on the wire: a frame of this many occupies 896 MiB.
    pub(super) elements: u64,
    /// Bytes of all texts of a frame together, without their types, lengths and line ends: the `proto-max-bulk-len` that
    /// Redis has by default, so that its longest string can be read.
    pub(super) bytes: u64,
    /// Bytes of one line; at least 18, which short numbers are not checked for. Servers send long text as a bulk
    /// string, which has a length.
    pub(super) line: u64,
    /// Bytes that are kept of an error.
    pub(super) error: u64,
}

impl Limits {
    pub(super) const DEFAULT: Self = Self {
        depth: 128,
        elements: 16 * 1024 * 1024,
        bytes: 512 * 1024 * 1024,
        line: 1024 * 1024,
        error: 16 * 1024,
    };
}
