//! Why a directory is not acceptable to a command.

use std::io;
use std::path::{Path, PathBuf};

use guildhall_proto::GuildId;
use guildhall_store::{ArchiveError, DirectoryError, IdentityError, OpenError};

/// The caller names another directory, file or guild.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("{}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is not empty, and there is no data of Guildhall in it", path.display())]
    Foreign { path: PathBuf },
    #[error("{}: {source}", path.display())]
    Identity { path: PathBuf, source: IdentityError },
    #[error(
        "the data in {} belongs to cluster {found:032x}, and this command writes that of cluster {expected:032x} alone",
        path.display()
    )]
    Cluster { path: PathBuf, found: u128, expected: u128 },
    #[error("{} is there already", path.display())]
    FileExists { path: PathBuf },
    #[error("{} holds data of Guildhall already", path.display())]
    HasData { path: PathBuf },
    #[error("{}: {source}", path.display())]
    Backup { path: PathBuf, source: ArchiveError },
    #[error("there is no guild {guild} in {}", path.display())]
    UnknownGuild { path: PathBuf, guild: GuildId },
    #[error("there are {guilds} guilds in {}: say which, as `guild list` names them", path.display())]
    WhichGuild { path: PathBuf, guilds: usize },
}

impl DataError {
    /// Tells a directory that is another one than was meant from one that is damaged.
    pub(crate) fn opening(path: &Path, error: OpenError) -> anyhow::Error {
        match error {
            OpenError::Identity(
                source @ (IdentityError::Missing | IdentityError::Unfinished | IdentityError::Format { .. }),
            ) => Self::Identity { path: path.into(), source }.into(),
            error @ (OpenError::Identity(IdentityError::Damaged { .. } | IdentityError::Io { .. })
            | OpenError::Exists
            | OpenError::Log { .. }
            | OpenError::Content { .. }) => {
                anyhow::Error::new(error).context(format!("the data in {} cannot be opened", path.display()))
            }
        }
    }
}
