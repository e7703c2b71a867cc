//! Samples of ids, numbers, texts, permission bits and the things a guild is made of.

use guildhall_proto::limits::{
    MENTION_ROLES_MAX, MENTION_USERS_MAX, NAME_CHARS_MAX, NICK_CHARS_MAX, PAYLOAD_BYTES_MAX, REASON_CHARS_MAX,
};
use guildhall_proto::{
    Actor, BodyHash, Channel, ChannelId, ChannelKind, ClientId, Epoch, Grant, GuildId, GuildSettings, Level, Limited,
    ListedThing, Member, MemberFlags, Mentions, Millis, Name, Nick, NodeId, OpId, Overwrite, OverwriteTarget, Payload,
    Permissions, Position, Reason, Role, RoleId, Seq, SessionId, Status, Unread, UserId,
};

use crate::sample::{Sample, variants, variants_of};

variants!(Actor: System, User);
variants!(ChannelKind: Text, Category);
variants!(OverwriteTarget: Role, User);
variants!(Status: Offline, Idle, DoNotDisturb, Online);
variants!(Level: Active, Passive);
variants!(ListedThing: User, Role, Channel);
variants!(Limited:
    Roles, Channels, Overwrites, MemberRoles, Members, BulkMembers, MentionUsers, MentionRoles, UserSessions,
    GuildSessions, Clients, ClientOutcomes, Bans, LongOperations, OperationCalls, LongOperationsBytes,
);

pub(crate) fn variants() -> Vec<String> {
    variants_of::<Actor>()
        .chain(variants_of::<ChannelKind>())
        .chain(variants_of::<OverwriteTarget>())
        .chain(variants_of::<Status>())
        .chain(variants_of::<Level>())
        .chain(variants_of::<ListedThing>())
        .chain(variants_of::<Limited>())
        .collect()
}

pub(crate) fn samples() -> Vec<Sample> {
    [ids(), numbers(), texts(), enums(), things()].into_iter().flatten().collect()
}

/// Least and greatest of each kind; one kind shows every width.
fn ids() -> Vec<Sample> {
    macro_rules! edges {
        ($($id:ident),*) => {
            [$(
                Sample::plain(concat!(stringify!($id), "/least"), $id::MIN),
                Sample::plain(concat!(stringify!($id), "/greatest"), $id::new(u64::MAX - 1).unwrap()),
            )*]
        };
    }
    let widths = [250, 251, 65_535, 65_536, 4_294_967_295, 4_294_967_296]
        .map(|value| Sample::plain(&format!("UserId/{value}"), UserId::new(value).unwrap()));
    edges!(UserId, GuildId, ChannelId, RoleId, SessionId, NodeId, ClientId).into_iter().chain(widths).collect()
}

fn numbers() -> Vec<Sample> {
    let permissions = Permissions::NAMED.iter().map(|(name, bit)| Sample::plain(&format!("Permissions/{name}"), *bit));
    [
        Sample::plain("Millis/zero", Millis(0)),
        Sample::plain("Millis/in 2023", Millis(1_700_000_000_000)),
        Sample::plain("Seq/before the first", Seq(0)),
        Sample::plain("Seq/greatest", Seq(u64::MAX - 1)),
        Sample::plain("Epoch/3", Epoch(3)),
        Sample::plain("Grant/300", Grant(300)),
        Sample::plain("Position/3.1000", position(3, 1_000)),
        Sample::plain("MemberFlags/none", MemberFlags::NONE),
        Sample::plain("MemberFlags/all", MemberFlags(u16::MAX)),
        Sample::plain("BodyHash/greatest", BodyHash(u64::MAX)),
        Sample::plain("OpId", op()),
        Sample::plain("Permissions/none", Permissions::NONE),
        Sample::plain("Permissions/all", Permissions::ALL),
    ]
    .into_iter()
    .chain(permissions)
    .collect()
}

fn texts() -> Vec<Sample> {
    vec![
        Sample::plain("Nick/one letter", nick("a")),
        Sample::plain("Nick/longest, one byte a character", nick(&"a".repeat(NICK_CHARS_MAX))),
        Sample::plain("Nick/longest, four bytes a character", nick(&"\u{1f3db}".repeat(NICK_CHARS_MAX))),
        Sample::plain("Nick/white space inside", nick("Ada  Lovelace")),
        Sample::plain("Name/one letter", name("g")),
        Sample::plain("Name/longest, one byte a character", name(&"n".repeat(NAME_CHARS_MAX))),
        Sample::plain("Name/longest, four bytes a character", name(&"\u{1f3db}".repeat(NAME_CHARS_MAX))),
        Sample::plain("Reason/two lines", reason("spam\nagain")),
        Sample::plain("Reason/longest", reason(&"\u{1f3db}".repeat(REASON_CHARS_MAX))),
        Sample::plain("Payload/empty", payload(0)),
        Sample::plain("Payload/250 bytes", payload(250)),
        Sample::plain("Payload/251 bytes", payload(251)),
        Sample::plain("Payload/longest", payload(PAYLOAD_BYTES_MAX)),
    ]
}

fn enums() -> Vec<Sample> {
    let limited = [
        Limited::Roles,
        Limited::Channels,
        Limited::Overwrites,
        Limited::MemberRoles,
        Limited::Members,
        Limited::BulkMembers,
        Limited::MentionUsers,
        Limited::MentionRoles,
        Limited::UserSessions,
        Limited::GuildSessions,
        Limited::Clients,
        Limited::ClientOutcomes,
        Limited::Bans,
        Limited::LongOperations,
        Limited::OperationCalls,
        Limited::LongOperationsBytes,
    ];
    let listed = [ListedThing::User, ListedThing::Role, ListedThing::Channel];
    let status = [Status::Offline, Status::Idle, Status::DoNotDisturb, Status::Online];
    [
        Sample::variant("", Actor::System),
        Sample::variant("", Actor::User(user(7))),
        Sample::variant("", ChannelKind::Text),
        Sample::variant("", ChannelKind::Category),
        Sample::variant("", OverwriteTarget::Role(role_id(20))),
        Sample::variant("", OverwriteTarget::User(user(7))),
    ]
    .into_iter()
    .chain(status.map(|value| Sample::variant("", value)))
    .chain([Level::Active, Level::Passive].map(|value| Sample::variant("", value)))
    .chain(listed.map(|value| Sample::variant("", value)))
    .chain(limited.map(|value| Sample::variant("", value)))
    .collect()
}

fn things() -> Vec<Sample> {
    vec![
        Sample::plain("GuildSettings", settings("Guild")),
        Sample::plain("Role/everyone", everyone()),
        Sample::plain("Role/moderators", moderators()),
        Sample::plain("Channel/general", general()),
        Sample::plain("Channel/category", category()),
        Sample::plain("Overwrite/for a role", role_overwrite()),
        Sample::plain("Overwrite/for a user", user_overwrite()),
        Sample::plain("Member/ada", ada()),
        Sample::plain("Member/without roles", Member { roles: Vec::new(), ..ada() }),
        Sample::plain("Mentions/nobody", Mentions::default()),
        Sample::plain("Mentions/as many as allowed", all_mentions()),
        Sample::plain(
            "Unread/two channels",
            Unread { at: position(3, 1_000), channels: vec![channel_id(30), channel_id(31)] },
        ),
    ]
}

pub(crate) fn user(value: u64) -> UserId {
    UserId::new(value).unwrap()
}

pub(crate) fn role_id(value: u64) -> RoleId {
    RoleId::new(value).unwrap()
}

pub(crate) fn channel_id(value: u64) -> ChannelId {
    ChannelId::new(value).unwrap()
}

pub(crate) fn session(value: u64) -> SessionId {
    SessionId::new(value).unwrap()
}

pub(crate) fn nick(text: &str) -> Nick {
    Nick::parse(text).unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn reason(text: &str) -> Reason {
    Reason::parse(text).unwrap()
}

pub(crate) fn payload(bytes: usize) -> Payload {
    Payload::new(vec![b'p'; bytes]).unwrap()
}

pub(crate) fn position(epoch: u64, seq: u64) -> Position {
    Position { epoch: Epoch(epoch), seq: Seq(seq) }
}

pub(crate) fn op() -> OpId {
    OpId { client: ClientId::new(5).unwrap(), counter: 300, issued_at: Millis(1_700_000_000_000) }
}

pub(crate) fn settings(text: &str) -> GuildSettings {
    GuildSettings { name: name(text), owner: user(7) }
}

pub(crate) fn everyone() -> Role {
    Role {
        id: RoleId::everyone(GuildId::new(1_000).unwrap()),
        name: name("@everyone"),
        position: 0,
        permissions: Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES,
        hoist: false,
        mentionable: false,
    }
}

pub(crate) fn moderators() -> Role {
    Role {
        id: role_id(20),
        name: name("Moderators"),
        position: 511,
        permissions: Permissions::ALL,
        hoist: true,
        mentionable: true,
    }
}

pub(crate) fn general() -> Channel {
    Channel {
        id: channel_id(30),
        name: name("general"),
        kind: ChannelKind::Text,
        parent: Some(channel_id(31)),
        position: 1,
    }
}

pub(crate) fn category() -> Channel {
    Channel { id: channel_id(31), name: name("Halls"), kind: ChannelKind::Category, parent: None, position: 999 }
}

pub(crate) fn role_overwrite() -> Overwrite {
    Overwrite {
        target: OverwriteTarget::Role(role_id(20)),
        allow: Permissions::VIEW_CHANNEL,
        deny: Permissions::PIN_MESSAGES,
    }
}

pub(crate) fn user_overwrite() -> Overwrite {
    Overwrite { target: OverwriteTarget::User(user(7)), allow: Permissions::NONE, deny: Permissions::SEND_MESSAGES }
}

pub(crate) fn ada() -> Member {
    Member {
        user: user(7),
        nick: nick("Ada"),
        roles: vec![role_id(20), role_id(21)],
        joined_at: Millis(1_700_000_000_000),
        flags: MemberFlags(2),
    }
}

pub(crate) fn all_mentions() -> Mentions {
    Mentions {
        users: (1..=MENTION_USERS_MAX as u64).map(user).collect(),
        roles: (1..=MENTION_ROLES_MAX as u64).map(role_id).collect(),
        everyone: true,
        here: true,
    }
}
