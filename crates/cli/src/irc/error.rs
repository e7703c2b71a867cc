//! Why an IRC log is refused.

use std::io;
use std::path::PathBuf;

use guildhall_proto::{PayloadTooLong, TextError, UserId};

/// A log that cannot be replayed. Paths and nicks are quoted with their control characters escaped: both come from outside.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IrcError {
    /// The caller names a file that exists.
    #[error("{path:?} does not exist")]
    Missing { path: PathBuf },
    /// The caller names a file, not a folder or a device.
    #[error("{path:?} is not a file")]
    NotAFile { path: PathBuf },
    /// The caller gets itself the right to read the file, or repairs the disk.
    #[error("{path:?} cannot be read")]
    Unreadable { path: PathBuf, source: io::Error },
    /// The caller leaves the file out.
    #[error("{path:?} is empty")]
    Empty { path: PathBuf },
    /// The caller splits the file.
    #[error("{path:?} has more than {max} bytes, the most that a log may have")]
    TooLarge { path: PathBuf, max: u64 },
    /// The file is no text; the caller looks at it.
    #[error("{path:?} is no text: a NUL byte stands at byte {at}")]
    Nul { path: PathBuf, at: usize },
    /// The line names somebody whom no guild can hold.
    #[error("{path:?}, line {line}: {nick:?} cannot be a member")]
    Nick { path: PathBuf, line: usize, nick: String, source: TextError },
    /// Two nicks have one user id. Replaying them as one member would be wrong without a sign of it.
    #[error("{path:?}, line {line}: the nicks {nick:?} and {other:?} have the same user id {user}")]
    NickCollision { path: PathBuf, line: usize, nick: String, other: String, user: UserId },
    /// The line's text does not fit into a message.
    #[error("{path:?}, line {line}: the text is too long for a message")]
    Text { path: PathBuf, line: usize, source: PayloadTooLong },
}
