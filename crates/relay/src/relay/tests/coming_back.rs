//! Sessions that come back: from where on they hear, and what they are told they have lost.

use guildhall_proto::Epoch;

use super::stage::Heard::{self, Event as Ev};
use super::stage::*;
use super::*;

#[test]
fn one_whose_record_was_rewritten_after_a_role_was_deleted_is_told_a_gap_up_to_that() {
    let mut stage = Stage::new();
    stage.say(OFFICE);
    let deleted = stage.delete_role(STAFF);
    // Whether Ada held the role cannot be known any more: her record names only roles that there are.
    let updated = stage.apply(updated(ADA, &[], &[]));
    let mut ada = stage.come_back(position(0), as_of(0, 1, ADA, &[]));
    assert_eq!(stage.hear(&mut ada), [Heard::Gap(0, deleted), Ev(updated)]);
}

#[test]
fn one_that_comes_back_over_a_hole_hears_all_that_came_behind_it() {
    let mut stage = Stage::new();
    (0..8).for_each(|_| _ = stage.say(HALL));
    let at = stage.relay.position();
    stage.relay.open_epoch(Epoch(2), Some(at), &mut stage.woken).unwrap();
    stage.say(HALL);
    let known = stage.relay.position();
    // The owner that follows lost some of these events: its numbers are lower.
    let behind = Position { epoch: Epoch(3), seq: Seq(3) };
    stage.resync(behind, &[]).unwrap();
    let said: Vec<Heard> = (0..8).map(|_| Ev(stage.say(HALL))).collect();

    let mut ada = stage.come_back(known, as_of(0, 1, ADA, &[]));
    let gap = Heard::Gap(known.seq.0, behind.seq.0);
    assert_eq!(stage.hear(&mut ada), [vec![gap], said].concat());
}
