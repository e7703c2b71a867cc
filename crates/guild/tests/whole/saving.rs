//! When a checkpoint is worth its cost.

use guildhall_proto::{Command, MemberEdit, Nick};

use crate::world::*;

impl World {
    fn rename(&mut self, user: u64, times: usize) {
        for time in 0..times {
            let nick = Some(Nick::parse(&format!("nick {time}")).unwrap());
            self.system(Command::UpdateMember {
                user: user_id(user),
                edit: MemberEdit { nick, ..MemberEdit::default() },
            });
            self.settle();
        }
    }
}

#[test]
fn a_small_guild_is_saved_after_a_thousand_changes_and_folds_meanwhile_are_not_written() {
    let mut world = World::new();
    let before = world.records.len();
    for user in 1_000..2_000 - before as u64 {
        world.add(user..user + 1, &[]);
    }
    assert_eq!((world.records.len(), world.checkpoints), (1_000, 0));
    world.rename(1_000, 24);
    assert_eq!((world.records.len(), world.checkpoints), (0, 1));
    world.rename(1_000, 1_023);
    assert_eq!((world.records.len(), world.checkpoints), (1_023, 1));
}

#[test]
fn imported_members_count_each_and_a_larger_guild_is_saved_after_an_eighth_of_its_members() {
    let mut world = World::new();
    world.add(1_000..21_000, &[]);
    let (records, saved) = (world.records.len(), world.checkpoints);
    assert!(
        records < 20_000 / BATCH / 4 && saved > 2,
        "{records} records of {BATCH} members each, {saved} checkpoints"
    );
    while world.checkpoints == saved {
        world.rename(1_000, 1);
    }
    world.rename(1_000, 2_499);
    assert_eq!((world.records.len(), world.checkpoints), (2_499, saved + 1));
    world.rename(1_000, 2);
    assert!(world.records.len() <= 1 && world.checkpoints == saved + 2);
}

#[test]
fn what_recovery_has_replayed_counts_as_changed() {
    let mut world = World::new();
    let left = 1_024 - world.records.len();
    world.rename(OWNER, left - 1);
    for _ in 0..3 {
        world.crash();
    }
    assert_eq!(world.checkpoints, 0);
    world.rename(OWNER, 1);
    assert_eq!((world.records.len(), world.checkpoints), (0, 1));
}
