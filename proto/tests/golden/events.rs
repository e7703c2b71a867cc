//! Samples of events and ephemerals.

use guildhall_proto::{Ephemeral, EphemeralKind, Event, EventKind, Mentions, Message, Millis, Role, Status};

use crate::sample::{Sample, variants, variants_of};
use crate::values::{
    ada, all_mentions, category, channel_id, everyone, general, moderators, name, nick, payload, position, reason,
    role_id, role_overwrite, session, settings, user, user_overwrite,
};

variants!(EventKind:
    GuildCreated, GuildUpdated, GuildDeleted, RoleCreated, RoleUpdated, RoleDeleted, RolesReordered, ChannelCreated,
    ChannelUpdated, ChannelDeleted, ChannelsReordered, OverwriteChanged, MemberJoined, MembersJoined, MemberUpdated,
    MemberLeft, MessagePublished, MembersLeft, UserBanned, UserUnbanned,
);

variants!(EphemeralKind: Typing, Presence);

pub(crate) fn variants() -> Vec<String> {
    variants_of::<EventKind>().chain(variants_of::<EphemeralKind>()).collect()
}

pub(crate) fn samples() -> Vec<Sample> {
    let event = Event { position: position(3, 1_000), at: Millis(1_700_000_000_005), kind: EventKind::GuildDeleted };
    let whole = vec![Sample::plain("Event", event)];
    [whole, guild_and_roles(), channels(), members(), messages(), ephemerals()].into_iter().flatten().collect()
}

fn guild_and_roles() -> Vec<Sample> {
    let (before, after) = (moderators(), Role { name: name("Mods"), ..moderators() });
    vec![
        Sample::variant(
            "",
            EventKind::GuildCreated { settings: settings("Guild"), everyone: everyone(), owner: ada() },
        ),
        Sample::variant("", EventKind::GuildUpdated { before: settings("Guild"), after: settings("Hall") }),
        Sample::variant("", EventKind::GuildDeleted),
        Sample::variant("", EventKind::RoleCreated { role: moderators() }),
        Sample::variant("", EventKind::RoleUpdated { before, after }),
        Sample::variant(
            "",
            EventKind::RoleDeleted {
                role: moderators(),
                overwrites: vec![(channel_id(30), role_overwrite()), (channel_id(31), role_overwrite())],
            },
        ),
        Sample::variant(
            "",
            EventKind::RolesReordered {
                before: vec![(role_id(20), 1), (role_id(21), 511)],
                after: vec![(role_id(20), 511), (role_id(21), 1)],
            },
        ),
    ]
}

fn channels() -> Vec<Sample> {
    let (channel, overwrite) = (channel_id(30), role_overwrite());
    let mut renamed = general();
    renamed.name = name("lobby");
    vec![
        Sample::variant(
            "text",
            EventKind::ChannelCreated { channel: general(), overwrites: vec![role_overwrite(), user_overwrite()] },
        ),
        Sample::variant("category", EventKind::ChannelCreated { channel: category(), overwrites: Vec::new() }),
        Sample::variant("", EventKind::ChannelUpdated { before: general(), after: renamed }),
        Sample::variant(
            "",
            EventKind::ChannelDeleted {
                channel: category(),
                overwrites: vec![user_overwrite()],
                children: vec![channel_id(30), channel_id(31)],
            },
        ),
        Sample::variant(
            "",
            EventKind::ChannelsReordered {
                before: vec![(channel, 0), (channel_id(31), 999)],
                after: vec![(channel, 999), (channel_id(31), 0)],
            },
        ),
        Sample::variant("new", EventKind::OverwriteChanged { channel, before: None, after: Some(overwrite) }),
        Sample::variant("gone", EventKind::OverwriteChanged { channel, before: Some(overwrite), after: None }),
    ]
}

fn members() -> Vec<Sample> {
    let (before, mut after) = (ada(), ada());
    after.nick = nick("Countess");
    after.roles.clear();
    let mut bob = ada();
    (bob.user, bob.nick) = (user(8), nick("Bob"));
    vec![
        Sample::variant("", EventKind::MemberJoined { member: ada() }),
        Sample::variant("", EventKind::MembersJoined { members: vec![ada(), bob] }),
        Sample::variant("", EventKind::MemberUpdated { before, after }),
        Sample::variant("", EventKind::MemberLeft { member: ada() }),
        Sample::variant("", EventKind::MembersLeft { users: vec![user(7), user(8)] }),
        Sample::variant("", EventKind::UserBanned { user: user(7), reason: Some(reason("spam")) }),
        Sample::variant("no reason", EventKind::UserBanned { user: user(7), reason: None }),
        Sample::variant("", EventKind::UserUnbanned { user: user(7) }),
    ]
}

fn messages() -> Vec<Sample> {
    let system = Message {
        channel: channel_id(30),
        author: None,
        session: None,
        echo: false,
        mentions: Mentions::default(),
        payload: payload(3),
    };
    let user = Message {
        author: Some(user(7)),
        session: Some(session(40)),
        echo: true,
        mentions: all_mentions(),
        ..system.clone()
    };
    vec![
        Sample::plain("Message", system.clone()),
        Sample::variant("by the system", EventKind::MessagePublished(system)),
        Sample::variant("by a user", EventKind::MessagePublished(user)),
    ]
}

fn ephemerals() -> Vec<Sample> {
    let typing = EphemeralKind::Typing { channel: channel_id(30), user: user(7), since: Millis(1_700_000_000_005) };
    vec![
        Sample::plain("Ephemeral", Ephemeral { at: position(3, 1_000), kind: typing }),
        Sample::variant("", typing),
        Sample::variant("", EphemeralKind::Presence { user: user(7), status: Status::DoNotDisturb }),
    ]
}
