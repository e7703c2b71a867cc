//! How much of everything a guild may hold or a call may carry. Past a limit there is a typed refusal, never a truncation.

use std::time::Duration;

/// Roles of a guild, the everyone role among them.
pub const ROLES_MAX: usize = 512;
/// Channels of a guild, categories among them.
pub const CHANNELS_MAX: usize = 1_000;
/// Overwrites of one channel, for roles and users together.
pub const OVERWRITES_MAX: usize = 512;
/// Roles that one member may hold, the everyone role apart.
pub const MEMBER_ROLES_MAX: usize = 250;
/// Members of one import or list of absent ones.
pub const BULK_MEMBERS_MAX: usize = 10_000;
/// Members of one guild; what the member store's 32-bit counts leave ample room for.
pub const MEMBERS_MAX: usize = 20_000_000;
/// Bans of one guild.
pub const BANS_MAX: usize = 100_000;
/// Characters (Unicode scalar values) of a ban's reason after trimming.
pub const REASON_CHARS_MAX: usize = 512;
/// Characters (Unicode scalar values) of a nick after trimming.
pub const NICK_CHARS_MAX: usize = 32;
/// Characters of a guild's, role's or channel's name after trimming.
pub const NAME_CHARS_MAX: usize = 100;
/// Bytes of one message's opaque payload.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// Users that one message may mention.
pub const MENTION_USERS_MAX: usize = 100;
/// Roles that one message may mention.
pub const MENTION_ROLES_MAX: usize = 100;
/// Sessions that one user may have attached to one guild.
pub const USER_SESSIONS_MAX: usize = 64;
/// Sessions attached to one guild.
pub const GUILD_SESSIONS_MAX: usize = 4_000_000;

/// How long a client shows that somebody types, from the time it was told of.
pub const TYPING_SHOWN: Duration = Duration::from_secs(10);
/// The least time between two times that one member is told of as typing in one channel: what comes sooner is accepted and not told
/// again. Short enough that who goes on typing is shown without a break.
pub const TYPING_EVERY: Duration = Duration::from_secs(4);

/// Outcomes kept of one client, and counters that it may hold open.
pub const CLIENT_OUTCOMES_MAX: usize = 1_024;
/// Operations spread over turns that one guild has under way: prunes and imports.
pub const LONG_OPERATIONS_MAX: usize = 16;
/// Bytes in memory of what these have still to do, counted when they begin: two or three of the largest imports.
pub const LONG_OPERATIONS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Calls that wait for one of these: the first and its retries.
pub const OPERATION_CALLS_MAX: usize = 64;
/// Clients whose outcomes one guild keeps at a time.
pub const GUILD_CLIENTS_MAX: usize = 4_096;
/// How long past its issue time an operation's outcome is kept.
pub const OUTCOME_KEPT: Duration = Duration::from_secs(600);
/// How far an operation's issue time may lie ahead of the owner's clock.
pub const ISSUE_AHEAD_MAX: Duration = Duration::from_secs(10);

/// Bytes of the largest encoded command, outcome, event or record: an import of [`BULK_MEMBERS_MAX`] members of the
/// greatest size (250 roles of 10 bytes, 32 characters of 4 bytes) fits.
pub const ENCODED_BYTES_MAX: usize = 32 * 1024 * 1024;

const _: () = assert!(BULK_MEMBERS_MAX * (MEMBER_ROLES_MAX * 10 + NICK_CHARS_MAX * 4 + 64) <= ENCODED_BYTES_MAX);
const _: () = assert!(PAYLOAD_BYTES_MAX + (MENTION_USERS_MAX + MENTION_ROLES_MAX) * 10 + 1024 <= ENCODED_BYTES_MAX);
const _: () =
    assert!(BULK_MEMBERS_MAX * (MEMBER_ROLES_MAX * 8 + NICK_CHARS_MAX * 4 + 128) <= LONG_OPERATIONS_BYTES_MAX);
const _: () = assert!(TYPING_EVERY.as_millis() * 2 <= TYPING_SHOWN.as_millis());
