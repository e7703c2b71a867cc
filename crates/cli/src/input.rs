//! What a command cannot take of the files and addresses that it is given.

use std::io;
use std::path::PathBuf;

use guildhall_proto::GuildId;
use guildhall_transport::pki::PkiError;
use guildhall_transport::{CredentialsError, Identity};

/// The caller names another file, or mends the one it has named.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("{}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is there already", path.display())]
    Exists { path: PathBuf },
    #[error("{}: {source}", path.display())]
    Certificate { path: PathBuf, source: PkiError },
    #[error("{}: {source}", path.display())]
    Credentials { path: PathBuf, source: CredentialsError },
    #[error("a certificate that is good for {days} days would outlive the authority in {}, which expires on {expires}", path.display())]
    Outlives { path: PathBuf, days: u64, expires: String },
    #[error("{}: {why}", path.display())]
    Config { path: PathBuf, why: String },
    #[error("{} makes this {identity}, which is not a guild node", path.display())]
    NotGuildNode { path: PathBuf, identity: Identity },
    #[error("{}: {why}; without it, no session of before comes back", path.display())]
    Keys { path: PathBuf, why: String },
    #[error("{nodes} nodes are named: a backup is of one")]
    OneNode { nodes: usize },
    #[error("line {line}: {why}")]
    Line { line: usize, why: String },
    #[error("the guild {guild} is there already, with another name or owner")]
    OtherGuild { guild: GuildId },
    #[error("there are {guilds} guilds at the node: say which, as `guild list` names them")]
    WhichGuild { guilds: &'static str },
}
