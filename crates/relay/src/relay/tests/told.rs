//! What is told beside the events: who hears it, when, and that it displaces nothing.

use guildhall_proto::{Ephemeral, Level, OverwriteTarget, Seq, Status};
use guildhall_ring::{LatestConfig, RingConfig};

use super::stage::Heard::{self, Event as Ev, Gap as Lost, Presence, Typing};
use super::stage::*;
use super::*;
use crate::session::TellError;
use crate::{Attach, Delivery, DetachReason};

fn with_members(stage: &mut Stage, number: u64, of: u64) -> Stream {
    let accepted = stage.relay.position();
    stage.attach(Attach { accepted, members: true, ..as_of(0, number, of, &[]) })
}

/// A batch session as of now.
fn serve(stage: &mut Stage, number: u64, of: u64, roles: &[RoleId]) -> SessionKey {
    let attach = Attach { accepted: stage.relay.position(), ..as_of(0, number, of, roles) };
    stage.relay.attach_batch(attach, number).unwrap()
}

#[test]
fn typing_is_heard_by_active_sessions_that_see_the_channel_but_for_the_typists_own() {
    let mut stage = Stage::new();
    let mut ada = stage.join(1, ADA, &staff());
    let mut own = stage.join(2, BOB, &staff());
    let mut guest = stage.join(3, 14, &[]);
    let mut passive = stage.join_passive(4, ADA, &staff());
    for (token, of, roles) in [(5, ADA, &staff()[..]), (6, BOB, &staff()), (7, BOB, &staff()), (8, 14, &[])] {
        serve(&mut stage, token, of, roles);
    }

    stage.tell(typing(BOB, OFFICE, 1));
    assert_eq!(stage.woken, [ada.key()]);
    assert_eq!(stage.hear(&mut ada), [Typing(BOB, OFFICE, 1)]);
    for stream in [&mut own, &mut guest, &mut passive] {
        assert_eq!(stage.hear(stream), []);
    }
    assert_eq!(stage.hear_batch(), [(5, Typing(BOB, OFFICE, 1))]);
    // Said once.
    assert_eq!((stage.hear(&mut ada), stage.hear_batch()), (vec![], vec![]));
}

#[test]
fn presence_is_heard_by_active_sessions_that_want_members() {
    let mut stage = Stage::new();
    let mut wanting = with_members(&mut stage, 1, ADA);
    let mut other = stage.join(2, ADA, &[]);
    let accepted = stage.relay.position();
    let mut passive = stage.attach(Attach { accepted, members: true, level: Level::Passive, ..as_of(0, 3, ADA, &[]) });
    stage.relay.attach_batch(Attach { members: true, ..as_of(0, 4, ADA, &[]) }, 4).unwrap();
    serve(&mut stage, 5, ADA, &[]);

    stage.tell(presence(BOB, Status::Idle));
    assert_eq!(stage.woken, [wanting.key()]);
    assert_eq!(stage.hear(&mut wanting), [Presence(BOB, Status::Idle)]);
    assert_eq!((stage.hear(&mut other), stage.hear(&mut passive)), (vec![], vec![]));
    assert_eq!(stage.hear_batch(), [(4, Presence(BOB, Status::Idle))]);
}

#[test]
fn what_was_accepted_behind_an_event_is_held_back_until_that_is_applied() {
    let mut stage = Stage::new();
    let mut ada = stage.join(1, ADA, &[]);
    let early = Ephemeral { at: position(1), kind: typing(BOB, HALL, 1) };
    let ahead = TellError::Ahead { got: position(1), at: position(0) };
    assert_eq!(stage.relay.tell(early, &mut stage.woken), Err(ahead));
    assert_eq!(stage.hear(&mut ada), []);
    // The event hides the channel: nothing told later reaches those who no longer see it.
    let hidden = stage.apply(overwritten(HALL, None, Some(hide(everyone()))));
    assert_eq!(stage.relay.tell(early, &mut stage.woken), Ok(0));
    assert_eq!(stage.hear(&mut ada), [Ev(hidden)]);
}

#[test]
fn an_owner_of_the_past_tells_nothing() {
    let mut stage = Stage::new();
    let mut ada = stage.join(1, ADA, &[]);
    let old = Ephemeral { at: position(0), kind: typing(BOB, HALL, 1) };
    stage.relay.open_epoch(guildhall_proto::Epoch(2), Some(position(0)), &mut stage.woken).unwrap();
    let at = stage.relay.position();
    assert_eq!(stage.relay.tell(old, &mut stage.woken), Err(TellError::Stale { got: position(0), at }));
    assert_eq!(stage.hear(&mut ada), []);
}

#[test]
fn a_session_that_lags_hears_all_events_and_then_the_latest_of_each_subject() {
    let mut stage = Stage::new();
    let mut ada = with_members(&mut stage, 1, ADA);
    stage.relay.attach_batch(Attach { members: true, ..as_of(0, 2, ADA, &[]) }, 2).unwrap();
    let mut said = Vec::new();
    for time in 0..100 {
        said.push(Ev(stage.say(HALL)));
        stage.tell(typing(BOB, HALL, time));
        stage.tell(presence(BOB, if time % 2 == 0 { Status::Online } else { Status::Idle }));
        // Woken by the message once, and then lagging.
        assert_eq!(stage.woken, []);
    }
    said.extend([Typing(BOB, HALL, 99), Presence(BOB, Status::Idle)]);
    assert_eq!(stage.hear(&mut ada), said);
    assert_eq!(stage.hear_batch(), said.into_iter().map(|heard| (2, heard)).collect::<Vec<_>>());
}

#[test]
fn a_flood_of_typing_makes_no_gap_and_displaces_no_event() {
    let mut stage = Stage::with(RelayConfig {
        ring: RingConfig { entries_max: 16, ..RingConfig::default() },
        told: LatestConfig { subjects_max: 4, ..LatestConfig::default() },
        ..RelayConfig::default()
    });
    let mut ada = stage.join(1, ADA, &[]);
    serve(&mut stage, 2, ADA, &[]);
    let said = stage.say(HALL);
    let mut pushed_out = 0;
    for typist in 0..1_000 {
        pushed_out += stage.tell(typing(100 + typist, HALL, typist));
    }
    assert_eq!(pushed_out, 996);
    let heard: Vec<Heard> =
        [Ev(said)].into_iter().chain((996..1_000).map(|typist| Typing(100 + typist, HALL, typist))).collect();
    assert_eq!(stage.hear(&mut ada), heard);
    assert_eq!(stage.hear_batch(), heard.into_iter().map(|heard| (2, heard)).collect::<Vec<_>>());
}

#[test]
fn a_waiting_session_called_by_typing_loses_nothing_when_the_ring_passes_it_by() {
    let mut stage = Stage::with_ring(16);
    let mut guest = stage.join(1, BOB, &[]);
    stage.tell(typing(ADA, HALL, 1));
    assert_eq!(stage.woken, [guest.key()]);
    // None of these is for it.
    for _ in 0..100 {
        stage.say(OFFICE);
        assert_eq!(stage.woken, []);
    }
    stage.tell(typing(ADA, HALL, 2));
    // It was called already.
    assert_eq!(stage.woken, []);
    assert_eq!(stage.hear(&mut guest), [Typing(ADA, HALL, 2)]);
    stage.tell(typing(ADA, HALL, 3));
    assert_eq!(stage.woken, [guest.key()]);
    let said = stage.say(HALL);
    assert_eq!(stage.hear(&mut guest), [Ev(said), Typing(ADA, HALL, 3)]);
}

#[test]
fn who_falls_out_of_the_ring_is_told_the_gap_and_hears_on_from_there() {
    let mut stage = Stage::with_ring(16);
    let mut ada = stage.join(1, ADA, &[]);
    serve(&mut stage, 2, ADA, &[]);
    stage.say(HALL);
    stage.tell(typing(BOB, HALL, 1));
    let last = (0..100).map(|_| stage.say(HALL)).last().unwrap();
    assert_eq!(stage.hear(&mut ada), [Lost(0, last)]);
    assert_eq!(stage.hear_batch(), [(2, Lost(0, last))]);
    stage.tell(typing(BOB, HALL, 2));
    assert_eq!(stage.woken, [ada.key()]);
    assert_eq!(stage.hear(&mut ada), [Typing(BOB, HALL, 2)]);
    assert_eq!(stage.hear_batch(), [(2, Typing(BOB, HALL, 2))]);
}

#[test]
fn a_session_hears_nothing_told_before_it_came() {
    let mut stage = Stage::new();
    serve(&mut stage, 1, ADA, &[]);
    stage.say(HALL);
    stage.tell(typing(BOB, HALL, 1));
    let mut late = stage.join(2, ADA, &[]);
    let past = stage.attach(as_of(0, 3, ADA, &[]));
    let (mut past, said) = (past, stage.relay.position().seq.0);
    serve(&mut stage, 4, ADA, &[]);
    stage.relay.attach_batch(as_of(0, 5, ADA, &[]), 5).unwrap();
    assert_eq!(stage.hear(&mut late), []);
    assert_eq!(stage.hear(&mut past), [Ev(said)]);
    assert_eq!(stage.hear_batch(), [(1, Ev(said)), (1, Typing(BOB, HALL, 1)), (5, Ev(said))]);

    stage.tell(typing(BOB, HALL, 2));
    for stream in [&mut late, &mut past] {
        assert_eq!(stage.hear(stream), [Typing(BOB, HALL, 2)]);
    }
    assert_eq!(stage.hear_batch(), [1, 4, 5].map(|token| (token, Typing(BOB, HALL, 2))));
}

#[test]
fn a_session_attached_ahead_of_the_relay_hears_what_is_told_from_there_on() {
    let mut stage = Stage::new();
    let mut ahead = stage.attach(as_of(1, 1, ADA, &[]));
    stage.relay.attach_batch(as_of(1, 2, ADA, &[]), 2).unwrap();
    stage.tell(typing(BOB, HALL, 1));
    assert_eq!((stage.hear(&mut ahead), stage.hear_batch()), (vec![], vec![]));
    stage.say(HALL);
    stage.tell(typing(BOB, HALL, 2));
    assert_eq!(stage.hear(&mut ahead), [Typing(BOB, HALL, 2)]);
    assert_eq!(stage.hear_batch(), [(2, Typing(BOB, HALL, 2))]);
}

#[test]
fn rights_of_then_decide_for_who_reads_late() {
    let mut stage = Stage::new();
    let mut ada = stage.join(1, ADA, &staff());
    let mut bob = stage.join(2, BOB, &[]);
    for (token, of, roles) in [(3, ADA, &staff()[..]), (4, BOB, &[])] {
        serve(&mut stage, token, of, roles);
    }
    stage.tell(typing(14, OFFICE, 1));
    let lost = stage.apply(updated(ADA, &staff(), &[]));
    let won = stage.apply(updated(BOB, &[], &staff()));
    // Ada's rights changed meanwhile: as a stream she does not hear what was told under the old ones.
    assert_eq!(stage.hear(&mut ada), [Ev(lost)]);
    assert_eq!(stage.hear(&mut bob), [Ev(won)]);
    // The batch passes it at its place.
    assert_eq!(stage.hear_batch(), [(3, Typing(14, OFFICE, 1)), (3, Ev(lost)), (4, Ev(won))]);

    stage.tell(typing(14, OFFICE, 2));
    assert_eq!(stage.woken, [bob.key()]);
    assert_eq!((stage.hear(&mut ada), stage.hear(&mut bob)), (vec![], vec![Typing(14, OFFICE, 2)]));
    assert_eq!(stage.hear_batch(), [(4, Typing(14, OFFICE, 2))]);
}

#[test]
fn a_waiting_session_whose_rights_change_unheard_is_judged_by_each_in_its_time() {
    let mut stage = Stage::new();
    let mut bob = stage.join(1, BOB, &[]);
    let of_bob = OverwriteTarget::User(user(BOB));
    stage.tell(typing(ADA, HALL, 1));
    // Bob loses the office, which he never saw: he does not hear of it, and yet is in another cohort from here on.
    stage.apply(overwritten(OFFICE, None, Some(hide(of_bob))));
    stage.tell(typing(14, HALL, 2));
    assert_eq!(stage.hear(&mut bob), [Typing(14, HALL, 2)]);
}

#[test]
fn nothing_is_told_any_more_of_a_member_that_has_left() {
    let mut stage = Stage::new();
    let mut ada = with_members(&mut stage, 1, ADA);
    stage.relay.attach_batch(Attach { members: true, ..as_of(0, 2, ADA, &[]) }, 2).unwrap();
    stage.tell(presence(BOB, Status::Online));
    stage.tell(typing(BOB, HALL, 1));
    stage.tell(presence(14, Status::Online));
    let gone = stage.apply(left(BOB));
    assert_eq!(stage.hear(&mut ada), [Ev(gone), Presence(14, Status::Online)]);
    assert_eq!(stage.hear_batch(), [(2, Presence(14, Status::Online)), (2, Ev(gone))]);

    let mut bob = stage.join(3, 14, &[]);
    stage.tell(typing(ADA, HALL, 2));
    let gone = stage.apply(EventKind::MembersLeft { users: vec![user(14)] });
    assert_eq!(stage.hear(&mut bob), [Heard::Detached(DetachReason::MemberLeft)]);
    assert_eq!(stage.hear(&mut ada), [Ev(gone)]);
}

#[test]
fn a_resync_forgets_what_was_told_before_the_hole() {
    let mut stage = Stage::new();
    let mut ada = with_members(&mut stage, 1, ADA);
    stage.tell(presence(BOB, Status::Online));
    stage.resync(position(9), &[ADA]).unwrap();
    assert_eq!(stage.hear(&mut ada), [Lost(0, 9)]);
    stage.tell(presence(BOB, Status::Idle));
    assert_eq!(stage.hear(&mut ada), [Presence(BOB, Status::Idle)]);
}

#[test]
fn a_level_decides_from_its_position_on() {
    let mut stage = Stage::new();
    let mut ada = stage.join_passive(1, ADA, &[]);
    stage.tell(typing(BOB, HALL, 1));
    let at = stage.relay.position().seq.0;
    stage.set_level(&mut ada, Level::Active, at);
    assert_eq!(stage.hear(&mut ada), []);
    stage.tell(typing(BOB, HALL, 2));
    assert_eq!(stage.hear(&mut ada), [Typing(BOB, HALL, 2)]);
    stage.tell(typing(BOB, HALL, 3));
    stage.set_level(&mut ada, Level::Passive, at);
    stage.tell(typing(BOB, HALL, 4));
    assert_eq!(stage.hear(&mut ada), []);

    // A session that waits, and is switched at a position ahead.
    stage.woken.clear();
    let ahead = position(Seq(at).next().0);
    stage.relay.set_level(&mut ada, Level::Active, ahead, &mut stage.woken).unwrap();
    stage.tell(typing(BOB, HALL, 5));
    stage.say(OFFICE);
    stage.tell(typing(BOB, HALL, 6));
    assert_eq!(stage.woken, [ada.key()]);
    assert_eq!(stage.hear(&mut ada), [Typing(BOB, HALL, 6)]);
}

#[test]
fn nothing_is_kept_where_nobody_can_hear_it() {
    let mut stage = Stage::new();
    let empty = stage.relay.memory_bytes();
    for number in 0..100 {
        stage.tell(typing(100 + number, HALL, 1));
        stage.tell(presence(100 + number, Status::Online));
    }
    assert_eq!(stage.relay.memory_bytes(), empty);
    let _listening = stage.join(1, ADA, &[]);
    let before = stage.relay.memory_bytes();
    stage.tell(typing(100, HALL, 1));
    assert!(stage.relay.memory_bytes() > before);
}

#[test]
fn what_nobody_could_hear_is_still_later_than_what_was_told_before() {
    let mut stage = Stage::new();
    let mut ada = with_members(&mut stage, 1, ADA);
    let said = stage.say(HALL);
    stage.tell(presence(BOB, Status::Online));
    // It lags, and looks elsewhere for a while: by then nobody is left who could hear that Bob has gone.
    stage.set_level(&mut ada, Level::Passive, said);
    stage.tell(presence(BOB, Status::Offline));
    stage.set_level(&mut ada, Level::Active, said);
    assert_eq!(stage.hear(&mut ada), [Ev(said)]);
}

#[test]
fn presence_told_before_a_gap_is_in_the_view_that_the_session_begins_again_from() {
    let mut stage = Stage::with_ring(8);
    let mut ada = with_members(&mut stage, 1, ADA);
    stage.say(HALL);
    stage.tell(presence(BOB, Status::Idle));
    let last = (0..20).map(|_| stage.say(HALL)).last().unwrap();
    assert_eq!(stage.hear(&mut ada), [Lost(0, last)]);
}

#[test]
fn what_is_told_behind_an_event_that_a_read_does_not_see_yet_is_not_heard_before_it() {
    let mut stage = Stage::new();
    let mut ada = stage.join(1, ADA, &[]);
    stage.tell(typing(BOB, HALL, 1));
    let mut told = 0;
    // As it hears of the first, a message comes, and somebody types behind that.
    ada.read(100, |delivery| {
        assert!(matches!(delivery, Delivery::Ephemeral(_)));
        told += 1;
        if told == 1 {
            stage.say(HALL);
            stage.tell(typing(14, HALL, 2));
        }
    });
    assert_eq!(told, 1);
    assert_eq!(stage.hear(&mut ada), [Ev(1), Typing(14, HALL, 2)]);
}
