//! Who is kept out, and what a ban tells whom.

use guildhall_guild::{Guild, GuildConfig};
use guildhall_members::{Base, Members, MembersConfig};
use guildhall_permissions::Rights;
use guildhall_proto::limits::BANS_MAX;
use guildhall_proto::{
    Actor, Ban, Command, CommandError, EventKind, GuildSettings, Limited, Permissions, Stage, Standing, Status,
    Structure,
};

use crate::world::*;

fn ban(user: u64, why: &str) -> Command {
    Command::Ban { user: user_id(user), reason: reason(why) }
}

fn unban(user: u64) -> Command {
    Command::Unban { user: user_id(user) }
}

fn banned(user: u64, why: &str) -> EventKind {
    EventKind::UserBanned { user: user_id(user), reason: reason(why) }
}

fn reasons(world: &mut World) -> Vec<(u64, Option<String>)> {
    let view = world.guild.view().unwrap();
    view.bans().behind(None).map(|ban| (ban.user.get(), ban.reason.map(|reason| reason.to_string()))).collect()
}

#[test]
fn a_banned_member_leaves_like_any_other_and_the_reason_is_a_fact_of_its_own() {
    let mut world = World::new();
    world.add(100..101, &[GUESTS]);
    world.attach(100, 1, Status::Online).unwrap();
    let member = world.guild.view().unwrap().member(user_id(100)).unwrap();

    let outcome = world.by(by(MOD), ban(100, "spam")).unwrap();
    assert_eq!(world.kinds(), [EventKind::MemberLeft { member }, banned(100, "spam")]);
    assert_eq!(outcome.at(), world.guild.position());
    assert_eq!((world.guild.sessions(), world.is_member(100)), (0, false));
    assert_eq!(reasons(&mut world), [(100, Some("spam".into()))]);
}

#[test]
fn who_is_banned_is_not_added_until_unbanned() {
    let mut world = World::new();
    world.system(ban(STRANGER, "raid"));
    assert_eq!(world.kinds(), [banned(STRANGER, "raid")]);
    let refused = CommandError::UserBanned { user: user_id(STRANGER) };
    assert_eq!(world.refuses(Actor::System, Command::AddMember(new_member(STRANGER, &[]))), refused);
    assert!(world.attach(STRANGER, 1, Status::Online).is_err());

    world.by(by(MOD), unban(STRANGER)).unwrap();
    assert_eq!(world.kinds().pop().unwrap(), EventKind::UserUnbanned { user: user_id(STRANGER) });
    world.system(Command::AddMember(new_member(STRANGER, &[])));
    assert!(world.is_member(STRANGER));
}

#[test]
fn a_second_ban_changes_the_reason_or_nothing() {
    let mut world = World::new();
    world.system(ban(STRANGER, "spam"));
    world.system(ban(STRANGER, "spam"));
    world.by(by(MOD), Command::Ban { user: user_id(STRANGER), reason: None }).unwrap();
    let last = EventKind::UserBanned { user: user_id(STRANGER), reason: None };
    assert_eq!(world.kinds(), [banned(STRANGER, "spam"), last]);
    assert_eq!(reasons(&mut world), [(STRANGER, None)]);
}

#[test]
fn a_ban_needs_its_permission_and_a_higher_rank_and_spares_the_owner() {
    let mut world = World::new();
    world.add(100..101, &[]);
    let missing = CommandError::MissingPermissions { missing: Permissions::BAN_MEMBERS };
    assert_eq!(world.refuses(by(100), ban(STRANGER, "spam")), missing);
    assert_eq!(world.refuses(by(100), unban(STRANGER)), missing);
    for above in [PEER, CHIEF, MOD] {
        assert_eq!(world.refuses(by(MOD), ban(above, "spam")), CommandError::Outranked);
    }
    for actor in [by(CHIEF), by(OWNER), Actor::System] {
        assert_eq!(world.refuses(actor, ban(OWNER, "spam")), CommandError::OwnerStays);
    }
    assert_eq!(world.refuses(by(MOD), unban(100)), CommandError::UnknownBan { user: user_id(100) });
    let stranger = CommandError::UnknownActor { actor: user_id(STRANGER) };
    assert_eq!(world.refuses(by(STRANGER), ban(100, "spam")), stranger);
}

#[test]
fn the_100_001st_ban_is_refused() {
    let mut world = World::new();
    let settings = GuildSettings { name: name("Ada's"), owner: user_id(OWNER) };
    let everyone = Rights::everyone_role(guild_id(), Permissions::NONE);
    let bans: Vec<Ban> = (0..BANS_MAX as u64).map(|at| Ban { user: user_id(1_000 + at), reason: None }).collect();
    let standing = Standing::Alive { settings, roles: vec![everyone], channels: Vec::new(), bans };
    let (position, clock, departed) = (world.guild.position(), world.now, world.now);
    let structure = Structure { position, records: 0, clock, departed, standing, operations: Vec::new() };
    world.guild = Guild::restore(GuildConfig::default(), guild_id(), structure, base());

    let over = CommandError::LimitExceeded { what: Limited::Bans, got: 100_001 };
    assert_eq!(world.refuses(Actor::System, ban(STRANGER, "spam")), over);
    // One that is there may still get another reason, and one that is lifted makes room.
    world.system(ban(1_000, "spam"));
    world.system(unban(1_001));
    world.system(ban(STRANGER, "spam"));
}

fn base() -> Base {
    Members::new(MembersConfig::default()).base()
}

#[test]
fn bans_outlive_the_owner_from_records_and_from_a_checkpoint() {
    let mut world = World::new();
    world.system(ban(STRANGER, "raid"));
    world.system(ban(98, "spam"));
    world.system(unban(98));
    let kept = [(STRANGER, Some("raid".to_owned()))];
    world.crash();
    assert_eq!(reasons(&mut world), kept);
    // Enough changes for a checkpoint.
    world.add(1_000..5_000, &[]);
    assert!(world.checkpoints > 0, "it covers the bans' records");
    world.crash();
    assert_eq!(reasons(&mut world), kept);
}

#[test]
fn a_ban_cut_between_its_two_records_is_finished_by_its_retry() {
    let mut world = World::new();
    world.add(100..101, &[]);
    let op = world.op();
    world.send(op, by(MOD), ban(100, "spam"));
    let last = world.records.pop().unwrap();
    assert_eq!((last.op.stage, world.records.last().unwrap().op.stage), (Stage::Finished, Stage::Unfinished));
    world.crash();
    assert_eq!((world.is_member(100), reasons(&mut world)), (false, vec![]));

    world.events.clear();
    let call = world.send(op, by(MOD), ban(100, "spam"));
    assert_eq!(outcome(world.answer(call).unwrap()).at(), world.guild.position());
    assert_eq!(world.kinds(), [banned(100, "spam")]);
    let again = world.send(op, by(MOD), ban(100, "spam"));
    assert_eq!(outcome(world.answer(again).unwrap()).at(), world.guild.position());
    assert_eq!(world.kinds().len(), 1);
}
