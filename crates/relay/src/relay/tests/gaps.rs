//! Gaps: what a reader that fell out of a ring, or whose relay has a hole, is told, and that nobody else is told one.

use super::stage::Heard::{self, Detached, Event as Ev};
use super::stage::*;
use super::*;
use crate::{Attach, Delivery, DetachReason, Resume, StaleResync, Wait};

#[test]
fn a_reader_that_falls_out_of_the_ring_is_told_one_gap_and_goes_on_after_it() {
    let mut stage = Stage::with_ring(8);
    let mut ada = stage.join(1, ADA, &[]);
    let heard = stage.say(HALL);
    assert_eq!(stage.hear(&mut ada), [Ev(heard)]);
    for _ in 0..20 {
        stage.say(HALL);
    }
    let last = stage.relay.position().seq.0;

    assert_eq!(stage.hear(&mut ada), [Heard::Gap(heard, last)]);
    let next = stage.say(HALL);
    assert_eq!(stage.hear(&mut ada), [Ev(next)]);
}

#[test]
fn what_was_not_for_a_session_is_no_loss() {
    let mut stage = Stage::with_ring(8);
    let mut guest = stage.join(1, BOB, &[]);
    for _ in 0..20 {
        stage.say(OFFICE);
    }
    let said = stage.say(HALL);
    assert_eq!(stage.hear(&mut guest), [Ev(said)]);
}

#[test]
fn a_resync_tells_every_session_a_gap_and_ends_those_who_are_gone() {
    let mut stage = Stage::new();
    let mut ada = stage.join(1, ADA, &[]);
    let mut bob = stage.join(2, BOB, &[]);
    let mut within = stage.attach(as_of(5, 3, ADA, &[]));
    let mut at_view = stage.attach(as_of(9, 4, ADA, &[]));
    stage.relay.attach_batch(as_of(0, 5, ADA, &[]), 5).unwrap();
    let said = stage.say(HALL);

    assert_eq!(stage.resync(position(0), &[]), Err(StaleResync { got: position(0), at: position(1) }));
    stage.resync(position(9), &[ADA, OWNER]).unwrap();
    let next = stage.say(HALL);

    assert_eq!(stage.hear(&mut ada), [Ev(said), Heard::Gap(said, 9), Ev(next)]);
    assert_eq!(stage.hear(&mut bob), [Ev(said), Heard::Gap(said, 9), Detached(DetachReason::MemberLeft)]);
    assert_eq!(stage.hear(&mut within), [Heard::Gap(5, 9), Ev(next)]);
    assert_eq!(stage.hear(&mut at_view), [Ev(next)]);
    assert_eq!(stage.hear_batch(), [(5, Ev(said)), (5, Heard::Gap(said, 9)), (5, Ev(next))]);
    assert!(!stage.relay.attach_stream(as_of(8, 6, ADA, &[])).unwrap_err().to_string().is_empty());
}

#[test]
fn a_session_of_a_membership_that_ended_in_a_hole_ends_though_its_user_is_back_and_listens_anew() {
    let mut stage = Stage::new();
    let mut before = stage.join(1, ADA, &[]);
    let mut since = stage.attach(as_of(5, 2, ADA, &[]));
    let mut other = stage.join(3, BOB, &[]);

    let rights = stage.relay.rights().clone();
    let outlived = [before.key()];
    let find = |user: UserId| Some(member(user.get(), &[]));
    stage.relay.resync(position(9), rights, find, &outlived, &mut Vec::new()).unwrap();
    let next = stage.say(HALL);

    assert_eq!(stage.hear(&mut before), [Heard::Gap(0, 9), Detached(DetachReason::MemberLeft)]);
    assert_eq!(stage.hear(&mut since), [Heard::Gap(5, 9), Ev(next)]);
    assert_eq!(stage.hear(&mut other), [Heard::Gap(0, 9), Ev(next)]);
}

#[test]
fn a_guild_deleted_unheard_ends_every_session_after_a_gap() {
    let mut stage = Stage::new();
    let mut ada = stage.join(1, ADA, &[]);
    let mut ahead = stage.attach(as_of(9, 2, BOB, &[]));
    stage.relay.attach_batch(as_of(0, 3, ADA, &[]), 3).unwrap();

    stage.relay.end_guild(position(8), &mut stage.woken).unwrap();

    let end = Detached(DetachReason::GuildDeleted);
    assert_eq!(stage.hear(&mut ada), [Heard::Gap(0, 8), end.clone()]);
    assert_eq!(stage.hear(&mut ahead), std::slice::from_ref(&end));
    assert_eq!(stage.hear_batch(), [(3, Heard::Gap(0, 8)), (3, end)]);
    assert_eq!(stage.relay.sessions(), 0);
}

#[test]
fn a_guild_deleted_unheard_where_the_relay_stood_still_tells_a_lost_batch_its_gap() {
    let mut stage = Stage::new();
    let at = stage.say(HALL);
    let here = stage.relay.position();
    stage.relay.attach_batch(as_of(at, 1, ADA, &[]), 1).unwrap();

    stage.relay.end_guild(here, &mut stage.woken).unwrap();
    stage.relay.set_bytes_max(0, 0);

    assert_eq!(stage.hear_batch(), [(1, Heard::Gap(at, at)), (1, Detached(DetachReason::GuildDeleted))]);
}

#[test]
fn a_guild_deleted_unheard_where_the_relay_stood_still_tells_a_lost_stream_its_gap() {
    let mut stage = Stage::new();
    let before = stage.relay.position().seq.0;
    let at = stage.say(HALL);
    let here = stage.relay.position();
    let mut ada = stage.attach(as_of(before, 1, ADA, &[]));
    // It has read all there is, and has not begun to wait.
    let mut events = 0;
    ada.read(100, |delivery| events += usize::from(matches!(delivery, Delivery::Event(_))));

    stage.relay.end_guild(here, &mut stage.woken).unwrap();
    stage.relay.set_bytes_max(0, 0);

    assert_eq!(events, 1);
    assert_eq!(stage.hear(&mut ada), [Heard::Gap(at, at), Detached(DetachReason::GuildDeleted)]);
}

#[test]
fn the_gap_of_one_that_comes_back_ends_in_the_epoch_of_what_it_hears_next() {
    let mut stage = Stage::with_ring(8);
    let known = position(stage.say(HALL));
    for epoch in 2..=4 {
        let at = stage.relay.position();
        stage.relay.open_epoch(guildhall_proto::Epoch(epoch), Some(at), &mut stage.woken).unwrap();
        for _ in 0..6 {
            stage.say(HALL);
        }
    }

    let attach = Attach { accepted: stage.relay.position(), ..as_of(0, 1, ADA, &[]) };
    let resume = Resume { attach, known, deleted_roles: &[], deletions_unknown_to: Seq(0) };
    let (mut stream, gap) = stage.relay.resume_stream(resume).unwrap();
    let mut heard = Vec::new();
    stream.read(100, |delivery| {
        if let Delivery::Event(event) = delivery {
            heard.push(event.position);
        }
    });
    assert_eq!(gap.map(|gap| gap.through.next()), heard.first().copied());
    assert_eq!(heard[0].epoch, guildhall_proto::Epoch(3));
}

#[test]
fn a_batch_that_falls_out_of_the_ring_tells_all_its_sessions() {
    let mut stage = Stage::with_ring(8);
    stage.relay.attach_batch(as_of(0, 1, ADA, &[]), 1).unwrap();
    stage.relay.attach_batch(as_of(0, 2, BOB, &staff()), 2).unwrap();
    assert_eq!(stage.hear_batch(), []);
    let gone = stage.relay.attach_batch(as_of(0, 3, BOB, &[]), 3).unwrap();
    stage.say(HALL);
    stage.relay.detach(gone, position(1), &mut Vec::new()).unwrap();
    for _ in 0..20 {
        stage.say(HALL);
    }
    stage.apply(updated(BOB, &staff(), &[]));

    let gap = Heard::Gap(0, 22);
    let end = Detached(DetachReason::Requested);
    assert_eq!(stage.hear_batch(), [(1, gap.clone()), (2, gap.clone()), (3, gap), (3, end)]);
    stage.say(OFFICE);
    let next = stage.say(HALL);
    assert_eq!(stage.hear_batch(), [(1, Ev(next)), (2, Ev(next))]);
}

#[test]
fn a_gap_that_is_not_told_yet_grows_when_the_ring_passes_the_stream_by_again() {
    let mut stage = Stage::with_ring(8);
    let known = stage.say(HALL);
    (0..20).for_each(|_| _ = stage.say(HALL));
    let mut ada = stage.come_back(position(known), as_of(0, 1, ADA, &[]));
    let last = (0..20).map(|_| stage.say(HALL)).last().unwrap();

    assert_eq!(stage.relay.wait(&mut ada), Ok(Wait::Gap));
    assert_eq!(ada.known(), position(known));
    assert_eq!(stage.hear(&mut ada), [Heard::Gap(known, last)]);
}

#[test]
fn a_batch_that_the_ring_passes_by_twice_unread_tells_one_gap_over_both() {
    let mut stage = Stage::with_ring(8);
    stage.relay.attach_batch(as_of(0, 1, ADA, &[]), 1).unwrap();
    let heard = stage.say(HALL);
    assert_eq!(stage.hear_batch(), [(1, Ev(heard))]);
    for _ in 0..2 {
        (0..20).for_each(|_| _ = stage.say(HALL));
        stage.relay.fill(&mut stage.batch);
    }
    assert_eq!(stage.hear_batch(), [(1, Heard::Gap(heard, heard + 40))]);
}

#[test]
fn a_lost_summary_is_told_as_a_gap_though_the_session_has_heard_the_latest_event() {
    let mut stage = Stage::new();
    let mut ada = stage.join_passive(1, ADA, &staff());
    stage.say(HALL);
    let called = stage.call(OFFICE);
    let mut events = 0;
    ada.read(100, |_| events += 1);
    stage.tick(10_000);
    stage.relay.set_bytes_max(1024 * 1024, 0);

    assert_eq!(events, 1);
    assert_eq!(stage.hear(&mut ada), [Heard::Gap(called, called)]);
}
