//! How sessions end: with their member, with the guild, or because somebody asked for it.

use super::stage::Heard::{self, Detached, Event as Ev};
use super::stage::*;
use super::*;
use crate::{Attach, DetachReason, UnknownSession};

#[test]
fn the_sessions_of_a_member_that_left_hear_that_last() {
    let mut stage = Stage::new();
    let mut waiting = stage.join(1, ADA, &[]);
    let mut lagging = stage.join(2, ADA, &[]);
    let mut other = stage.join(3, BOB, &[]);
    let said = stage.say(HALL);
    stage.hear(&mut waiting);

    let gone = stage.apply(left(ADA));
    assert_eq!(stage.woken, [waiting.key()]);
    let later = stage.say(HALL);

    assert_eq!(stage.hear(&mut waiting), [Ev(gone), Detached(DetachReason::MemberLeft)]);
    assert_eq!(stage.hear(&mut lagging), [Ev(said), Ev(gone), Detached(DetachReason::MemberLeft)]);
    assert_eq!(stage.hear(&mut other), [Ev(said), Ev(later)]);
    assert_eq!(stage.relay.sessions(), 1);
}

#[test]
fn all_sessions_of_a_deleted_guild_hear_that_last() {
    let mut stage = Stage::new();
    let mut ada = stage.join(1, ADA, &[]);
    let mut pending = stage.attach(as_of(9, 2, BOB, &[]));
    stage.relay.attach_batch(as_of(0, 3, BOB, &[]), 7).unwrap();

    let deleted = stage.apply(EventKind::GuildDeleted);

    assert_eq!(stage.hear(&mut ada), [Ev(deleted), Detached(DetachReason::GuildDeleted)]);
    assert_eq!(stage.hear(&mut pending), [Ev(deleted), Detached(DetachReason::GuildDeleted)]);
    assert_eq!(stage.hear_batch(), [(7, Ev(deleted)), (7, Detached(DetachReason::GuildDeleted))]);
    assert_eq!((stage.relay.sessions(), stage.relay.cohorts(), stage.relay.batch_sessions()), (0, 0, 0));
}

#[test]
fn a_detached_session_hears_up_to_where_that_was_accepted() {
    let mut stage = Stage::new();
    let mut past = stage.join(1, ADA, &[]);
    let mut ahead = stage.join(2, ADA, &[]);
    let waiting = stage.join(3, BOB, &[]);
    let first = stage.say(HALL);
    let second = stage.say(HALL);
    let mut woken = Vec::new();

    stage.relay.detach(past.key(), position(first), &mut woken).unwrap();
    stage.relay.detach(ahead.key(), position(second + 1), &mut woken).unwrap();
    assert_eq!(woken, []);
    let third = stage.say(HALL);
    stage.say(HALL);

    let end = Detached(DetachReason::Requested);
    assert_eq!(stage.hear(&mut past), [Ev(first), end.clone()]);
    assert_eq!(stage.hear(&mut ahead), [Ev(first), Ev(second), Ev(third), end.clone()]);
    assert_eq!(stage.relay.sessions(), 1);

    let mut waiting = waiting;
    stage.hear(&mut waiting);
    let now = stage.relay.position();
    stage.relay.detach(waiting.key(), now, &mut woken).unwrap();
    assert_eq!(woken, [waiting.key()]);
    assert_eq!(stage.hear(&mut waiting), [end]);
}

#[test]
fn a_detached_session_that_lags_too_far_is_told_its_gap_first() {
    let mut stage = Stage::with_ring(8);
    let mut ada = stage.join(1, ADA, &[]);
    let first = stage.say(HALL);
    stage.relay.detach(ada.key(), position(first), &mut Vec::new()).unwrap();
    for _ in 0..20 {
        stage.say(HALL);
    }
    assert_eq!(stage.hear(&mut ada), [Heard::Gap(0, first), Detached(DetachReason::Requested)]);
}

#[test]
fn a_session_that_goes_on_elsewhere_hears_all_up_to_now_and_nothing_after_that() {
    let mut stage = Stage::new();
    let mut lagging = stage.join(1, ADA, &[]);
    let served = stage.relay.attach_batch(as_of(0, 2, ADA, &[]), 2).unwrap();
    let said = stage.say(HALL);
    let mut waiting = stage.join(3, ADA, &[]);

    stage.woken.clear();
    for key in [lagging.key(), served, waiting.key()] {
        stage.relay.supersede(key, &mut stage.woken).unwrap();
        assert_eq!(stage.relay.supersede(key, &mut stage.woken), Err(UnknownSession { key }));
    }
    assert_eq!(stage.woken, [waiting.key()]);
    assert_eq!((stage.relay.sessions(), stage.relay.batch_sessions()), (0, 0));
    stage.say(HALL);

    let end = Detached(DetachReason::Superseded);
    assert_eq!(stage.hear(&mut lagging), [Ev(said), end.clone()]);
    assert_eq!(stage.hear(&mut waiting), std::slice::from_ref(&end));
    assert_eq!(stage.hear_batch(), [(2, Ev(said)), (2, end)]);
}

#[test]
fn a_session_detached_where_it_had_read_to_is_told_no_gap_though_its_ring_has_passed_it() {
    let mut stage = Stage::with_slow_ring(8);
    let mut ada = stage.join_passive(1, ADA, &[]);
    let called = stage.call(HALL);
    // It has read all there is, and has not begun to wait.
    let mut events = 0;
    ada.read(100, |_| events += 1);
    for _ in 0..20 {
        stage.call(HALL);
    }
    stage.relay.detach(ada.key(), position(called), &mut Vec::new()).unwrap();

    assert_eq!(events, 1);
    assert_eq!(stage.hear(&mut ada), [Detached(DetachReason::Requested)]);
}

#[test]
fn a_session_that_ends_with_an_event_it_does_not_hear_has_lost_nothing_though_the_ring_passes_that_by() {
    let mut stage = Stage::with_ring(8);
    let mut ada = stage.join(1, ADA, &[]);
    stage.apply(EventKind::MembersLeft { users: vec![user(ADA)] });
    for _ in 0..20 {
        stage.say(HALL);
    }
    assert_eq!(stage.hear(&mut ada), [Detached(DetachReason::MemberLeft)]);
}

#[test]
fn a_late_attach_of_one_whom_a_prune_has_removed_meanwhile_hears_of_that_only_if_it_wants_members() {
    let mut stage = Stage::new();
    let said = stage.say(HALL);
    let gone = stage.apply(EventKind::MembersLeft { users: vec![user(ADA)] });
    stage.say(HALL);
    let mut plain = stage.attach(as_of(0, 1, ADA, &[]));
    let mut wanting = stage.attach(Attach { members: true, ..as_of(0, 2, ADA, &[]) });
    stage.relay.attach_batch(as_of(0, 3, ADA, &[]), 3).unwrap();

    let end = Detached(DetachReason::MemberLeft);
    assert_eq!(stage.hear(&mut plain), [Ev(said), end.clone()]);
    assert_eq!(stage.hear(&mut wanting), [Ev(said), Ev(gone), end.clone()]);
    assert_eq!(stage.hear_batch(), [(3, Ev(said)), (3, end)]);
}
