//! When a membership began tells it from every other of its user, however fast that left and came back.

use guildhall_proto::{Actor, Command, Millis, PruneBy};

use crate::world::*;

const USER: u64 = 98;

fn joined_at(world: &mut World) -> Millis {
    world.guild.view().unwrap().with_member(user_id(USER), |member| member.joined_at).unwrap()
}

fn come(world: &mut World) -> Millis {
    world.system(Command::AddMember(new_member(USER, &[])));
    joined_at(world)
}

/// In each way that there is; the clock stands still.
fn go(world: &mut World, way: usize) {
    let user = user_id(USER);
    match way % 3 {
        0 => drop(world.system(Command::RemoveMember { user })),
        1 => {
            world.system(Command::Ban { user, reason: None });
            world.system(Command::Unban { user });
        }
        _ => {
            world.by(Actor::System, Command::PruneMembers(PruneBy::Absent(vec![user]))).unwrap();
        }
    }
    assert!(!world.is_member(USER));
}

#[test]
fn who_comes_back_within_the_millisecond_has_joined_later() {
    let mut world = World::new();
    let mut before = come(&mut world);
    assert_eq!(before, world.now);
    for way in 0..6 {
        go(&mut world, way);
        let after = come(&mut world);
        assert!(after > before, "joined at {before:?}, and again at {after:?}");
        before = after;
    }
}

#[test]
fn a_crash_does_not_make_two_memberships_one() {
    let mut world = World::new();
    let mut before = come(&mut world);
    for way in 0..3 {
        go(&mut world, way);
        // From its record, and then from a checkpoint.
        world.crash();
        let checkpoints = world.checkpoints;
        let first = 1_000 + 4_000 * way as u64;
        world.add(first..first + 4_000, &[]);
        assert!(world.checkpoints > checkpoints);
        world.crash();
        let after = come(&mut world);
        assert!(after > before, "joined at {before:?}, and again at {after:?}");
        before = after;
    }
}

#[test]
fn the_next_join_after_that_is_by_the_clock_again() {
    let mut world = World::new();
    come(&mut world);
    go(&mut world, 0);
    world.now = Millis(world.now.0 + 2);
    assert_eq!(come(&mut world), world.now);
}
