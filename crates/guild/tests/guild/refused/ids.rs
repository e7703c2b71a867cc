//! Ids that name nothing, and ids that are none.

use guildhall_guild::SessionRequest;
use guildhall_proto::{
    Actor, ChannelEdit, ChannelId, ClientId, Command, CommandError, Generation, GuildEdit, GuildId, IdError,
    MemberEdit, Mentions, NodeId, Publish, RoleEdit, RoleId, SessionId, Status, UserId,
};

use crate::world::*;

#[test]
fn zero_and_the_maximum_are_no_ids_of_any_kind() {
    for value in [0, u64::MAX] {
        assert_eq!(UserId::new(value), Err(IdError { kind: "user", value }));
        assert_eq!(GuildId::new(value), Err(IdError { kind: "guild", value }));
        assert_eq!(ChannelId::new(value), Err(IdError { kind: "channel", value }));
        assert_eq!(RoleId::new(value), Err(IdError { kind: "role", value }));
        assert_eq!(SessionId::new(value), Err(IdError { kind: "session", value }));
        assert_eq!(NodeId::new(value), Err(IdError { kind: "node", value }));
        assert_eq!(ClientId::new(value), Err(IdError { kind: "client", value }));
    }
    let refused = UserId::new(0).unwrap_err().to_string();
    assert_eq!(refused, "0 is not a user id: 0 and 18446744073709551615 are reserved");
}

#[test]
fn a_guild_that_was_never_created_knows_no_command_but_its_creation() {
    let mut world = World::uncreated();
    for command in
        [Command::DeleteGuild, Command::UpdateGuild(GuildEdit::default()), Command::Publish(message(GENERAL))]
    {
        assert_eq!(world.refuses(Actor::System, command), CommandError::UnknownGuild);
    }
    let attach = SessionRequest::Attach { user: user_id(OWNER), status: Status::Online };
    assert_eq!(world.refuses_session(1, attach), CommandError::UnknownGuild);
    assert_eq!(world.refuses_session(1, SessionRequest::Detach { user: user_id(OWNER) }), CommandError::UnknownGuild);
}

#[test]
fn a_deleted_guild_is_unknown_and_is_not_created_again() {
    let mut world = World::new();
    world.applies(Actor::System, Command::DeleteGuild);
    assert_eq!(world.refuses(Actor::System, Command::Publish(message(GENERAL))), CommandError::UnknownGuild);
    let create =
        Command::CreateGuild { name: name("again"), everyone: Default::default(), owner: new_member(OWNER, &[]) };
    assert_eq!(world.refuses(Actor::System, create), CommandError::GuildExists);
    let attach = SessionRequest::Attach { user: user_id(OWNER), status: Status::Online };
    assert_eq!(world.refuses_session(1, attach), CommandError::UnknownGuild);
}

#[test]
fn a_guild_is_created_once() {
    let create =
        Command::CreateGuild { name: name("again"), everyone: Default::default(), owner: new_member(OWNER, &[]) };
    assert_eq!(World::new().refuses(Actor::System, create), CommandError::GuildExists);
}

#[test]
fn an_owner_to_be_holds_no_role() {
    let owner = new_member(OWNER, &[MODS]);
    let create = Command::CreateGuild { name: name("Ada's"), everyone: Default::default(), owner };
    assert_eq!(World::uncreated().refuses(Actor::System, create), CommandError::UnknownRole { role: role_id(MODS) });
}

#[test]
fn who_is_no_member_does_nothing_and_nothing_is_done_to_them() {
    let mut world = World::new();
    let unknown = CommandError::UnknownMember { user: user_id(STRANGER) };
    let actor = user_id(STRANGER);
    assert_eq!(world.refuses(by(STRANGER), Command::Publish(message(GENERAL))), CommandError::UnknownActor { actor });
    for command in [
        rename(STRANGER, "Eve"),
        Command::RemoveMember { user: user_id(STRANGER) },
        Command::TransferOwnership { to: user_id(STRANGER) },
        mentioning(GENERAL, Mentions { users: vec![user_id(STRANGER)], ..Mentions::default() }),
    ] {
        assert_eq!(world.refuses(Actor::System, command), unknown);
    }
    let theirs = set_overwrite(GENERAL, overwrite(for_user(STRANGER), Default::default(), Default::default()));
    assert_eq!(world.refuses(by(OWNER), theirs), unknown);
    let attach = SessionRequest::Attach { user: user_id(STRANGER), status: Status::Online };
    assert_eq!(world.refuses_session(1, attach), unknown);
}

#[test]
fn a_role_that_is_not_there_is_refused_wherever_it_is_named() {
    let mut world = World::new();
    let (no_role, unknown) = (role_id(NO_ROLE), CommandError::UnknownRole { role: role_id(NO_ROLE) });
    let overwritten = vec![overwrite(for_role(NO_ROLE), Default::default(), Default::default())];
    for command in [
        Command::UpdateRole { role: no_role, edit: RoleEdit::default() },
        Command::DeleteRole { role: no_role },
        Command::ReorderRoles { positions: vec![(no_role, 1)] },
        Command::AddMember(new_member(STRANGER, &[NO_ROLE])),
        grant(PLAIN, &[NO_ROLE]),
        // A foreign role: of another guild, or of none.
        set_overwrite(GENERAL, overwritten[0]),
        Command::CreateChannel { channel: text(NO_CHANNEL), overwrites: overwritten },
        mentioning(GENERAL, Mentions { roles: vec![no_role], ..Mentions::default() }),
    ] {
        assert_eq!(world.refuses(Actor::System, command), unknown);
    }
}

#[test]
fn a_channel_that_is_not_there_is_refused_wherever_it_is_named() {
    let mut world = World::new();
    let (channel, unknown) = (channel_id(NO_CHANNEL), CommandError::UnknownChannel { channel: channel_id(NO_CHANNEL) });
    let mut child = text(80);
    child.parent = Some(channel);
    let under_it = ChannelEdit { parent: Some(Some(channel)), ..ChannelEdit::default() };
    for command in [
        Command::UpdateChannel { channel, edit: ChannelEdit::default() },
        Command::DeleteChannel { channel },
        Command::ReorderChannels { positions: vec![(channel, 1)] },
        set_overwrite(NO_CHANNEL, overwrite(for_role(MODS), Default::default(), Default::default())),
        Command::RemoveOverwrite { channel, target: for_role(MODS) },
        Command::CreateChannel { channel: child, overwrites: vec![] },
        Command::UpdateChannel { channel: channel_id(GENERAL), edit: under_it },
        Command::Publish(message(NO_CHANNEL)),
    ] {
        assert_eq!(world.refuses(Actor::System, command), unknown);
    }
}

#[test]
fn an_overwrite_that_is_not_there_cannot_be_taken_away() {
    let (channel, target) = (channel_id(GENERAL), for_role(MODS));
    let refused = World::new().refuses(Actor::System, Command::RemoveOverwrite { channel, target });
    assert_eq!(refused, CommandError::UnknownOverwrite { channel, target });
}

#[test]
fn a_session_that_is_not_attached_is_refused() {
    let mut world = World::new();
    let unknown = CommandError::UnknownSession { session: session_id(9) };
    assert_eq!(world.refuses_session(9, SessionRequest::Detach { user: user_id(MOD) }), unknown);
    let generation = Generation::default();
    let status = SessionRequest::SetStatus { user: user_id(MOD), status: Status::Idle, generation };
    assert_eq!(world.refuses_session(9, status), unknown);
    let publish = Publish { session: Some(session_id(9)), ..message(GENERAL) };
    assert_eq!(world.refuses(by(MOD), Command::Publish(publish)), unknown);
}

#[test]
fn another_users_session_is_refused() {
    let mut world = World::new();
    world.attach(MOD, 9, Status::Online);
    let foreign = CommandError::ForeignSession { session: session_id(9) };
    let attach = SessionRequest::Attach { user: user_id(PLAIN), status: Status::Online };
    assert_eq!(world.refuses_session(9, attach), foreign);
    assert_eq!(world.refuses_session(9, SessionRequest::Detach { user: user_id(PLAIN) }), foreign);
    let generation = Generation::default();
    let hide = SessionRequest::SetStatus { user: user_id(PLAIN), status: Status::Offline, generation };
    assert_eq!(world.refuses_session(9, hide), foreign);
    let publish = Publish { session: Some(session_id(9)), ..message(GENERAL) };
    assert_eq!(world.refuses(by(PLAIN), Command::Publish(publish.clone())), foreign);
    assert_eq!(world.refuses(Actor::System, Command::Publish(publish)), foreign);
}

#[test]
fn ids_that_are_taken_are_refused() {
    let mut world = World::new();
    let member = Command::AddMember(new_member(PLAIN, &[]));
    assert_eq!(world.refuses(Actor::System, member), CommandError::MemberExists { user: user_id(PLAIN) });
    let taken = Command::CreateRole(role(MODS, 1, Default::default()));
    assert_eq!(world.refuses(Actor::System, taken), CommandError::RoleExists { role: role_id(MODS) });
    let taken = Command::CreateChannel { channel: text(GENERAL), overwrites: vec![] };
    assert_eq!(world.refuses(Actor::System, taken), CommandError::ChannelExists { channel: channel_id(GENERAL) });
}

#[test]
fn what_no_edit_changes_is_still_looked_up() {
    let mut world = World::new();
    let command = Command::UpdateMember { user: user_id(STRANGER), edit: MemberEdit::default() };
    assert_eq!(world.refuses(Actor::System, command), CommandError::UnknownMember { user: user_id(STRANGER) });
}
