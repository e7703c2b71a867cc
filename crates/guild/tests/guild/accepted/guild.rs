//! The guild's life: made, changed, handed over, ended.

use guildhall_guild::{Effect, Reply};
use guildhall_proto::{
    Actor, Command, EventKind, GuildEdit, GuildSettings, Member, MemberFlags, Outcome, Permissions, Status,
};

use crate::world::*;

#[test]
fn a_guild_begins_with_its_everyone_role_and_its_owner() {
    let mut world = World::uncreated();
    assert!(world.guild.view().is_none());
    let everyone = Permissions::VIEW_CHANNEL;
    let create = Command::CreateGuild { name: name("Ada's"), everyone, owner: new_member(OWNER, &[]) };
    let event = world.applies(Actor::System, create);

    let settings = GuildSettings { name: name("Ada's"), owner: user_id(OWNER) };
    let mut role = role(GUILD, 0, everyone);
    role.name = name("@everyone");
    let owner = Member {
        user: user_id(OWNER),
        nick: nick("user 10"),
        roles: vec![],
        joined_at: world.now,
        flags: MemberFlags::NONE,
    };
    assert_eq!(event, EventKind::GuildCreated { settings, everyone: role, owner: owner.clone() });
    let view = world.guild.view().unwrap();
    assert_eq!((view.len(), view.member(owner.user)), (1, Some(owner.clone())));
    assert_eq!(view.can(owner.user, None), Ok(Permissions::ALL));
}

#[test]
fn a_guild_is_renamed() {
    let mut world = World::new();
    let rename = |to| Command::UpdateGuild(GuildEdit { name: Some(name(to)) });
    let before = GuildSettings { name: name("Ada's"), owner: user_id(OWNER) };
    let after = GuildSettings { name: name("Ours"), ..before.clone() };
    assert_eq!(world.applies(by(MOD), rename("Ours")), EventKind::GuildUpdated { before, after });
    world.changes_nothing(by(MOD), rename("Ours"));
}

#[test]
fn a_guild_gets_a_new_owner_who_may_do_all_while_the_old_one_may_go() {
    let mut world = World::new();
    let hand_over = |to| Command::TransferOwnership { to: user_id(to) };
    let before = GuildSettings { name: name("Ada's"), owner: user_id(OWNER) };
    let after = GuildSettings { owner: user_id(PLAIN), ..before.clone() };
    assert_eq!(world.applies(by(OWNER), hand_over(PLAIN)), EventKind::GuildUpdated { before, after });
    world.changes_nothing(by(PLAIN), hand_over(PLAIN));
    world.applies(by(PLAIN), Command::RemoveMember { user: user_id(OWNER) });
}

#[test]
fn a_deleted_guild_shows_nothing_and_its_retries_are_still_known() {
    let mut world = World::new();
    world.attach(PLAIN, 1, Status::Online);
    let op = world.op();
    let first = world.call(op, Actor::System, rename(PLAIN, "Bob")).0;
    assert_eq!(world.applies(by(OWNER), Command::DeleteGuild), EventKind::GuildDeleted);
    assert!(world.guild.view().is_none());
    assert_eq!(world.guild.sessions(), 0);
    assert_eq!(world.call(op, Actor::System, rename(PLAIN, "Bob")).0, first);
}

#[test]
fn what_a_deleted_guild_held_dies_on_a_worker() {
    let mut world = World::new();
    let op = world.op();
    let (answer, others) = world.call(op, Actor::System, Command::DeleteGuild);
    assert!(matches!(answer, Ok(Reply::Outcome(Outcome::Applied { .. }))));
    assert!(others.iter().any(|effect| matches!(effect, Effect::Discard(_))));
}
