use std::time::Duration;

/// What a failure means to the one who called: may it be tried again, and may the deed have happened already?
///
/// Every room's error answers with one of these, so that whoever speaks to the outside (an HTTP layer, a queue
/// consumer, a test) needs one `match` for all of them. The list is closed on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// What was needed is away. Nothing happened; the same call may be made again after `retry_after`.
    Unavailable {
        /// How long to wait before the next try.
        retry_after: Duration,
    },
    /// What was needed is there and has no room. Nothing happened; the same call may be made again after
    /// `retry_after`, and fewer calls at a time would help.
    Overloaded {
        /// How long to wait before the next try.
        retry_after: Duration,
    },
    /// The time ran out before anything was sent, or while only reading. Nothing changed; trying again is safe.
    Deadline,
    /// A change was sent and its answer never came: it may have happened or not. Trying again is safe only for
    /// deeds that may happen twice; otherwise read back first.
    OutcomeUnknown,
    /// The call was understood and declined as it stands. Nothing happened; the same call will be declined again.
    Refused,
    /// The program asked for something that cannot be right, or we have a defect. Trying again does not help.
    Bug,
}
