//! Why a demo cannot be as it is asked to be.

/// What is asked for does not go together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// The caller takes fewer sessions or more members.
    #[error(
        "{sessions} sessions are too many for a guild of {members}: at most {most}, as a user may have few at a time"
    )]
    TooManySessions { sessions: u64, members: u64, most: u64 },
    /// The caller takes fewer sessions or less time.
    #[error("{sessions} sessions are too many to be checked for {seconds} seconds: at most {most} for that time")]
    TooLong { sessions: u64, seconds: u64, most: u64 },
    /// The caller takes more sessions.
    #[error("a leak needs a session that may not see a channel, and there is none: take more sessions")]
    NobodyKeptOut,
}
