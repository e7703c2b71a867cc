//! Samples of commands.

use guildhall_proto::{
    ChannelEdit, Command, GuildEdit, MemberEdit, MemberFlags, Mentions, Millis, NewMember, OverwriteTarget,
    Permissions, PruneBy, Publish, RoleEdit,
};

use crate::sample::{Sample, variants, variants_of};
use crate::values::{
    all_mentions, category, channel_id, general, moderators, name, nick, payload, reason, role_id, role_overwrite,
    session, user, user_overwrite,
};

variants!(Command:
    CreateGuild, UpdateGuild, DeleteGuild, TransferOwnership, CreateRole, UpdateRole, DeleteRole, ReorderRoles,
    CreateChannel, UpdateChannel, DeleteChannel, ReorderChannels, SetOverwrite, RemoveOverwrite, AddMember,
    UpdateMember, RemoveMember, Publish, Ban, Unban, PruneMembers, ImportMembers,
);
variants!(PruneBy: Role, Idle, Absent);

pub(crate) fn variants() -> Vec<String> {
    variants_of::<Command>().chain(variants_of::<PruneBy>()).collect()
}

pub(crate) fn samples() -> Vec<Sample> {
    [guild(), roles(), channels(), members(), messages(), many_members()].into_iter().flatten().collect()
}

fn guild() -> Vec<Sample> {
    vec![
        Sample::variant(
            "",
            Command::CreateGuild {
                name: name("Guild"),
                everyone: Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES,
                owner: NewMember { roles: Vec::new(), ..ada() },
            },
        ),
        Sample::plain("GuildEdit", GuildEdit { name: Some(name("Hall")) }),
        Sample::variant("nothing", Command::UpdateGuild(GuildEdit::default())),
        Sample::variant("name", Command::UpdateGuild(GuildEdit { name: Some(name("Hall")) })),
        Sample::variant("", Command::DeleteGuild),
        Sample::variant("", Command::TransferOwnership { to: user(8) }),
    ]
}

fn roles() -> Vec<Sample> {
    let edit = RoleEdit {
        name: Some(name("Mods")),
        permissions: Some(Permissions::KICK_MEMBERS),
        hoist: Some(true),
        mentionable: Some(false),
    };
    vec![
        Sample::plain("RoleEdit", edit.clone()),
        Sample::variant("", Command::CreateRole(moderators())),
        Sample::variant("nothing", Command::UpdateRole { role: role_id(20), edit: RoleEdit::default() }),
        Sample::variant("all", Command::UpdateRole { role: role_id(20), edit }),
        Sample::variant("", Command::DeleteRole { role: role_id(20) }),
        Sample::variant("", Command::ReorderRoles { positions: vec![(role_id(20), 511), (role_id(21), 1)] }),
        Sample::variant("none", Command::ReorderRoles { positions: Vec::new() }),
    ]
}

fn channels() -> Vec<Sample> {
    let orphan = ChannelEdit { name: None, parent: Some(None) };
    let moved = ChannelEdit { name: Some(name("lobby")), parent: Some(Some(channel_id(31))) };
    vec![
        Sample::plain("ChannelEdit", moved.clone()),
        Sample::variant(
            "text",
            Command::CreateChannel { channel: general(), overwrites: vec![role_overwrite(), user_overwrite()] },
        ),
        Sample::variant("category", Command::CreateChannel { channel: category(), overwrites: Vec::new() }),
        Sample::variant("nothing", Command::UpdateChannel { channel: channel_id(30), edit: ChannelEdit::default() }),
        Sample::variant("no parent", Command::UpdateChannel { channel: channel_id(30), edit: orphan }),
        Sample::variant("all", Command::UpdateChannel { channel: channel_id(30), edit: moved }),
        Sample::variant("", Command::DeleteChannel { channel: channel_id(30) }),
        Sample::variant("", Command::ReorderChannels { positions: vec![(channel_id(30), 999), (channel_id(31), 0)] }),
        Sample::variant("", Command::SetOverwrite { channel: channel_id(30), overwrite: role_overwrite() }),
        Sample::variant(
            "role",
            Command::RemoveOverwrite { channel: channel_id(30), target: OverwriteTarget::Role(role_id(20)) },
        ),
        Sample::variant(
            "user",
            Command::RemoveOverwrite { channel: channel_id(30), target: OverwriteTarget::User(user(7)) },
        ),
    ]
}

fn members() -> Vec<Sample> {
    let edit =
        MemberEdit { nick: Some(nick("Countess")), roles: Some(vec![role_id(21)]), flags: Some(MemberFlags(u16::MAX)) };
    vec![
        Sample::plain("NewMember", ada()),
        Sample::plain("MemberEdit", edit.clone()),
        Sample::variant("", Command::AddMember(ada())),
        Sample::variant("nothing", Command::UpdateMember { user: user(7), edit: MemberEdit::default() }),
        Sample::variant("all", Command::UpdateMember { user: user(7), edit }),
        Sample::variant("", Command::RemoveMember { user: user(7) }),
    ]
}

fn messages() -> Vec<Sample> {
    let plain = Publish {
        channel: channel_id(30),
        payload: payload(3),
        mentions: Mentions::default(),
        session: None,
        echo: false,
    };
    let full = Publish { mentions: all_mentions(), session: Some(session(40)), echo: true, ..plain.clone() };
    vec![
        Sample::plain("Publish", plain.clone()),
        Sample::variant("plain", Command::Publish(plain)),
        Sample::variant("full", Command::Publish(full)),
    ]
}

fn many_members() -> Vec<Sample> {
    let by = [
        PruneBy::Role(role_id(20)),
        PruneBy::Idle { joined_before: Millis(1_700_000_000_000) },
        PruneBy::Absent(vec![user(7), user(8)]),
    ];
    let notes = ["role", "idle", "absent"];
    [
        Sample::variant("", Command::Ban { user: user(7), reason: Some(reason("spam\nagain")) }),
        Sample::variant("no reason", Command::Ban { user: user(7), reason: None }),
        Sample::variant("", Command::Unban { user: user(7) }),
        Sample::variant("", Command::ImportMembers(vec![ada()])),
    ]
    .into_iter()
    .chain(by.clone().map(|by| Sample::variant("", by)))
    .chain(notes.into_iter().zip(by).map(|(note, by)| Sample::variant(note, Command::PruneMembers(by))))
    .collect()
}

fn ada() -> NewMember {
    NewMember { user: user(7), nick: nick("Ada"), roles: vec![role_id(20), role_id(21)], flags: MemberFlags(2) }
}
