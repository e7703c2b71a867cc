//! Members coming, changing, going.

use guildhall_proto::{Actor, Command, EventKind, Member, MemberEdit, MemberFlags, NewMember, Permissions};

use crate::world::*;

fn joined(world: &World, user: u64, roles: &[u64]) -> Member {
    let NewMember { user, nick, roles, flags } = new_member(user, roles);
    Member { user, nick, roles, joined_at: world.now, flags }
}

#[test]
fn a_member_joins_with_roles_in_order() {
    let mut world = World::new();
    let event = world.applies(Actor::System, Command::AddMember(new_member(98, &[HELPERS, CHIEFS])));
    let member = joined(&world, 98, &[CHIEFS, HELPERS]);
    assert_eq!(event, EventKind::MemberJoined { member: member.clone() });
    assert_eq!(world.member(98), Some(member));
}

#[test]
fn a_nick_is_changed_by_its_member_or_by_who_ranks_higher() {
    let mut world = World::new();
    for (actor, to) in [(by(PLAIN), "Bob"), (by(MOD), "Eve"), (Actor::System, "Ann")] {
        let before = world.member(PLAIN).unwrap();
        let after = Member { nick: nick(to), ..before.clone() };
        assert_eq!(world.applies(actor, rename(PLAIN, to)), EventKind::MemberUpdated { before, after });
        world.changes_nothing(actor, rename(PLAIN, to));
    }
}

#[test]
fn roles_below_the_own_are_given_and_taken_even_at_higher_members() {
    let mut world = World::new();
    for (user, roles, expected) in
        [(PLAIN, &[HELPERS][..], &[HELPERS][..]), (CHIEF, &[HELPERS, CHIEFS], &[CHIEFS, HELPERS])]
    {
        let before = world.member(user).unwrap();
        let after = Member { roles: expected.iter().copied().map(role_id).collect(), ..before.clone() };
        assert_eq!(world.applies(by(MOD), grant(user, roles)), EventKind::MemberUpdated { before, after });
        world.changes_nothing(by(MOD), grant(user, roles));
    }
    world.applies(by(MOD), grant(CHIEF, &[CHIEFS]));
}

#[test]
fn an_edit_changes_all_at_once() {
    let mut world = World::new();
    let before = world.member(PLAIN).unwrap();
    let after = Member { nick: nick("Bob"), roles: vec![role_id(HELPERS)], flags: MemberFlags(7), ..before.clone() };
    let edit = MemberEdit { nick: Some(nick("Bob")), roles: Some(vec![role_id(HELPERS)]), flags: Some(MemberFlags(7)) };
    let event = world.applies(Actor::System, Command::UpdateMember { user: before.user, edit });
    assert_eq!(event, EventKind::MemberUpdated { before, after });
}

#[test]
fn a_member_is_removed_or_leaves() {
    let mut world = World::new();
    for (actor, user) in [(by(MOD), HELPER), (by(PLAIN), PLAIN), (Actor::System, CHIEF)] {
        let member = world.member(user).unwrap();
        let event = world.applies(actor, Command::RemoveMember { user: member.user });
        assert_eq!(event, EventKind::MemberLeft { member });
        assert_eq!(world.member(user), None);
    }
}

#[test]
fn who_comes_back_is_a_new_member() {
    let mut world = World::new();
    world.system(Command::RemoveMember { user: user_id(MOD) });
    world.now = guildhall_proto::Millis(world.now.0 + 1);
    world.system(Command::AddMember(new_member(MOD, &[])));
    let member = world.member(MOD).unwrap();
    assert_eq!((member.joined_at, &member.roles[..]), (world.now, &[][..]));
    let view = world.guild.view().unwrap();
    assert!(!view.can(member.user, None).unwrap().contains(Permissions::MANAGE_ROLES));
}
