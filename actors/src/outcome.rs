use std::time::Duration;

/// What a failure means to the caller: whether the call may be made again, and whether it may have taken effect
/// already.
///
/// Every room's error has one, so that an HTTP layer, a queue consumer or a test needs one `match` for all of them. The
/// list is closed on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Something that the call needs is away. Nothing happened; the same call may be made again after `retry_after`.
    Unavailable {
        /// How long to wait before the next try.
        retry_after: Duration,
    },
    /// Something that the call needs is full. Nothing happened; the same call may be made again after `retry_after`,
    /// and fewer calls at a time would help.
    Overloaded {
        /// How long to wait before the next try.
        retry_after: Duration,
    },
    /// The time ran out before anything was sent, or during a read. Nothing changed; trying again is safe.
    Deadline,
    /// A change was sent and its answer never came: it may or may not have happened. Trying again is safe only for a
    /// change that may happen twice; otherwise read back first.
    OutcomeUnknown,
    /// The call was understood and refused. Nothing happened; the same call will be refused again.
    Refused,
    /// The program asked for something that cannot be right, or Mainstay has a defect. Trying again does not help.
    Bug,
}
