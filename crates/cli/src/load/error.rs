//! Why a load cannot be as it is asked to be.

use guildhall_proto::GuildId;

/// What is asked for does not go together with the guilds that there are.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The caller takes fewer sessions, or a guild with more members.
    #[error(
        "{sessions} sessions are too many for the guild {guild} with {members} members: at most {most}, as a user may have few at a time"
    )]
    TooManySessions { guild: GuildId, sessions: u64, members: u64, most: u64 },
    /// The caller leaves `--members` out, or names another guild.
    #[error("the guild {guild} is there already: leave --members out to load it as it is")]
    GuildExists { guild: GuildId },
    /// The caller names another guild, or asks for no messages.
    #[error("the guild {guild} has no channel for messages")]
    NoChannels { guild: GuildId },
    /// The caller names each guild once.
    #[error("the guild {guild} is named twice")]
    NamedTwice { guild: GuildId },
    /// The caller takes more sessions, or more of them active.
    #[error(
        "to be tampered with there must be active sessions, and for a leak one that may not see what another sees: take more sessions"
    )]
    NobodyToTamper,
    /// The credentials are not a backend's.
    #[error("the certificate is of the role {role}: a load takes a backend's")]
    NoBackend { role: String },
}
