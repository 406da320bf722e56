/// Why a reply that has arrived whole cannot be given to its caller. The connection is in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// Over 512 MiB, or a line over 1 MiB.
    #[error(
        "the reply is larger than 512 MiB, or has a line of more than 1 MiB; ask for less at once"
    )]
    TooLarge,
    /// Over 2^24 elements.
    #[error("the reply has more than 16777216 elements; ask for fewer at once")]
    TooManyElements,
    /// Over 128 levels.
    #[error("the reply is nested more than 128 deep")]
    TooDeep,
    /// A type of a later protocol, or of no protocol.
    #[error("the reply has a type that neither RESP2 nor RESP3 knows")]
    UnknownType,
    /// An element that is not what its type says, such as a number without digits.
    #[error("the reply has an element that cannot be read as its type")]
    Malformed,
}
