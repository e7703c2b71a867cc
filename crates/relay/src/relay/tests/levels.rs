//! Levels: what passive sessions hear, and how a session comes from one level to the other.

use guildhall_proto::{Epoch, Level, Mentions, OverwriteTarget, Seq, Status};
use guildhall_ring::RingConfig;

use super::stage::Heard::{self, Detached, Event as Ev};
use super::stage::*;
use super::*;
use crate::{Attach, DetachReason, ListenError};

const NOBODY: Mentions = Mentions { users: Vec::new(), roles: Vec::new(), everyone: false, here: false };

#[test]
fn a_busy_channel_wakes_no_passive_session() {
    let mut stage = Stage::new();
    let mut ada = stage.join_passive(1, ADA, &staff());
    for _ in 0..10 {
        stage.say(HALL);
        assert_eq!(stage.woken, []);
    }
    assert_eq!(stage.hear(&mut ada), []);
}

#[test]
fn a_call_reaches_exactly_the_passive_sessions_it_calls() {
    let mut stage = Stage::new();
    let mut ada = stage.join_passive(1, ADA, &staff());
    let mut bob = stage.join_passive(2, BOB, &[]);
    let accepted = stage.relay.position();
    let offline = Attach { accepted, level: Level::Passive, status: Status::Offline, ..as_of(0, 3, BOB, &[]) };
    let mut hidden = stage.attach(offline);
    stage.relay.attach_batch(Attach { level: Level::Passive, ..as_of(0, 4, ADA, &staff()) }, 4).unwrap();
    stage.relay.attach_batch(Attach { level: Level::Passive, ..as_of(0, 5, BOB, &[]) }, 5).unwrap();
    stage.relay.attach_batch(Attach { session: session(6), ..offline }, 6).unwrap();

    let of_bob = stage.apply(calling(HALL, None, Mentions { users: vec![user(BOB)], ..NOBODY }));
    assert_eq!(stage.woken, [hidden.key(), bob.key()]);
    let unseen = stage.apply(calling(OFFICE, None, Mentions { users: vec![user(BOB)], everyone: true, ..NOBODY }));
    assert_eq!(stage.woken, [ada.key()]);
    let of_staff = stage.apply(calling(HALL, None, Mentions { roles: staff().to_vec(), ..NOBODY }));
    let here = stage.apply(calling(HALL, None, Mentions { here: true, users: vec![user(BOB)], ..NOBODY }));
    let online = stage.apply(calling(HALL, None, Mentions { here: true, ..NOBODY }));

    let (adas, bobs, offlines) =
        ([unseen, of_staff, here, online].map(Ev), [of_bob, here, online].map(Ev), [of_bob, here].map(Ev));
    assert_eq!(stage.hear(&mut ada), adas);
    assert_eq!(stage.hear(&mut bob), bobs);
    assert_eq!(stage.hear(&mut hidden), offlines);
    let by_token =
        |token: u64, heard: &[Heard]| -> Vec<_> { heard.iter().map(|heard| (token, heard.clone())).collect() };
    let all = [by_token(4, &adas), by_token(5, &bobs), by_token(6, &offlines)].concat();
    assert_eq!(stage.hear_batch(), all);
}

#[test]
fn an_author_is_called_in_its_other_sessions_alone() {
    let mut stage = Stage::new();
    let mut publishing = stage.join_passive(1, ADA, &[]);
    let mut other = stage.join_passive(2, ADA, &[]);
    let called =
        stage.apply(calling(HALL, Some((ADA, 1)), Mentions { everyone: true, users: vec![user(ADA)], ..NOBODY }));
    assert_eq!(stage.woken, [other.key()]);
    assert_eq!(stage.hear(&mut publishing), []);
    assert_eq!(stage.hear(&mut other), [Ev(called)]);
}

#[test]
fn a_passive_session_hears_of_guild_roles_channels_and_its_own_member() {
    let mut stage = Stage::new();
    let mut ada = stage.join_passive(1, ADA, &[]);
    let members = Attach { level: Level::Passive, members: true, ..as_of(0, 2, BOB, &[]) };
    let mut watching = stage.attach(members);

    let guild = stage.apply(EventKind::GuildUpdated { before: settings(OWNER), after: settings(OWNER) });
    let made = stage.apply(EventKind::RoleCreated { role: role(22) });
    let hidden = stage.apply(overwritten(HALL, None, Some(hide(everyone()))));
    stage.apply(EventKind::ChannelUpdated { before: channel(HALL), after: channel(HALL) });
    let own = stage.apply(updated(ADA, &[], &staff()));
    let office = stage.apply(EventKind::ChannelUpdated { before: channel(OFFICE), after: channel(OFFICE) });
    stage.apply(updated(13, &[], &[]));
    let many = stage.apply(EventKind::MembersJoined { members: vec![member(14, &[])] });
    let gone = stage.apply(left(ADA));

    let heard = [guild, made, hidden, own, office, gone].map(Ev);
    assert_eq!(stage.hear(&mut ada), [&heard[..], &[Detached(DetachReason::MemberLeft)]].concat());
    assert_eq!(stage.hear(&mut watching), [guild, made, hidden, many].map(Ev));
}

#[test]
fn a_summary_names_the_channels_with_news_that_a_session_sees() {
    let mut stage = Stage::new();
    let mut ada = stage.join_passive(1, ADA, &staff());
    let mut bob = stage.join_passive(2, BOB, &[]);
    let mut active = stage.join(3, ADA, &[]);
    stage.relay.attach_batch(Attach { level: Level::Passive, ..as_of(0, 4, BOB, &[]) }, 4).unwrap();
    assert_eq!(stage.relay.unread_due(), None);
    let said = stage.say(OFFICE);

    stage.tick(10_000);
    assert_eq!(stage.woken, [ada.key()]);
    assert_eq!(stage.hear(&mut ada), [Heard::Unread(vec![OFFICE])]);
    let (again, hall) = (stage.say(OFFICE), stage.say(HALL));
    assert_eq!(stage.relay.unread_due(), Some(Millis(15_000)));
    stage.tick(14_999);
    assert_eq!(stage.hear(&mut ada), []);
    stage.tick(15_000);

    assert_eq!(stage.hear(&mut ada), [Heard::Unread(vec![HALL, OFFICE])]);
    assert_eq!(stage.hear(&mut bob), [Heard::Unread(vec![HALL])]);
    assert_eq!(stage.hear_batch(), [(4, Heard::Unread(vec![HALL]))]);
    assert_eq!(stage.hear(&mut active), [Ev(hall)]);
    stage.tick(30_000);
    assert_eq!(stage.woken, []);
    assert!(said < again);
}

#[test]
fn a_summary_judges_by_the_rights_as_of_each_message() {
    let mut stage = Stage::new();
    let mut ada = stage.join_passive(1, ADA, &[]);
    let mut bob = stage.join_passive(2, BOB, &staff());
    stage.relay.attach_batch(Attach { level: Level::Passive, ..as_of(0, 3, ADA, &[]) }, 3).unwrap();
    stage.relay.attach_batch(Attach { level: Level::Passive, ..as_of(0, 4, BOB, &staff()) }, 4).unwrap();
    stage.say(HALL);
    stage.say(OFFICE);
    let granted = stage.apply(updated(ADA, &[], &staff()));
    let revoked = stage.apply(updated(BOB, &staff(), &[]));
    let mut late = stage.join_passive(5, ADA, &staff());
    stage.tick(10_000);

    let (hall, both) = (Heard::Unread(vec![HALL]), Heard::Unread(vec![HALL, OFFICE]));
    assert_eq!(stage.hear(&mut ada), [Ev(granted), hall.clone()]);
    assert_eq!(stage.hear(&mut bob), [Ev(revoked), both.clone()]);
    assert_eq!(stage.hear(&mut late), []);
    let heard = [(3, Ev(granted)), (3, hall), (4, Ev(revoked)), (4, both)];
    assert_eq!(stage.hear_batch(), heard);
}

#[test]
fn the_publishing_session_is_not_told_of_its_own_news() {
    let mut stage = Stage::new();
    let mut publishing = stage.join_passive(1, ADA, &[]);
    let mut other = stage.join_passive(2, ADA, &[]);
    stage.apply(message(HALL, Some((ADA, 1)), false));
    stage.tick(10_000);
    assert_eq!(stage.hear(&mut publishing), []);
    assert_eq!(stage.hear(&mut other), [Heard::Unread(vec![HALL])]);
}

#[test]
fn a_level_holds_from_where_it_was_accepted_whether_the_relay_is_behind_or_past_it() {
    let mut stage = Stage::new();
    let mut waiting = stage.join_passive(1, ADA, &[]);
    let mut ahead = stage.join_passive(2, ADA, &[]);
    let mut lagging = stage.join(3, ADA, &[]);
    stage.say(HALL);
    let second = stage.say(HALL);
    let third = stage.say(HALL);

    assert_eq!(stage.set_level(&mut waiting, Level::Active, 1), 1);
    assert_eq!(stage.woken, [waiting.key()]);
    assert_eq!(stage.set_level(&mut ahead, Level::Active, 4), 4);
    assert_eq!(stage.set_level(&mut lagging, Level::Passive, 2), 2);
    let fourth = stage.say(HALL);
    let fifth = stage.apply(calling(HALL, None, Mentions { everyone: true, ..NOBODY }));
    stage.set_level(&mut lagging, Level::Active, fifth);
    let sixth = stage.say(HALL);

    assert_eq!(stage.hear(&mut waiting), [second, third, fourth, fifth, sixth].map(Ev));
    assert_eq!(stage.hear(&mut ahead), [fifth, sixth].map(Ev));
    assert_eq!(stage.hear(&mut lagging), [1, second, fifth, sixth].map(Ev));
    assert_eq!(stage.relay.waiting(), 3);
}

#[test]
fn what_a_session_has_heard_does_not_change_with_its_level() {
    let mut stage = Stage::new();
    let mut ada = stage.join_passive(1, ADA, &[]);
    stage.say(HALL);
    let called = stage.apply(calling(HALL, None, Mentions { everyone: true, ..NOBODY }));
    assert_eq!(stage.hear(&mut ada), [Ev(called)]);
    let later = stage.say(HALL);
    // Accepted before what it has heard by now.
    assert_eq!(stage.set_level(&mut ada, Level::Active, 0), called);
    assert_eq!(stage.hear(&mut ada), [Ev(later)]);
}

#[test]
fn a_session_that_looks_back_is_filtered_by_its_rights_of_then() {
    let mut stage = Stage::new();
    let of_ada = OverwriteTarget::User(user(ADA));
    let mut ada = stage.join_passive(1, ADA, &staff());
    stage.apply(overwritten(OFFICE, None, Some(hide(of_ada))));
    stage.hear(&mut ada);
    stage.say(OFFICE);
    // Hidden from all others too, and then no more from Ada alone: she hears of neither.
    let by_role = OverwriteTarget::Role(role(STAFF).id);
    stage.apply(overwritten(OFFICE, Some(show(by_role)), None));
    stage.apply(overwritten(OFFICE, Some(hide(of_ada)), None));
    assert_eq!(stage.woken, []);
    let said = stage.say(HALL);

    stage.set_level(&mut ada, Level::Active, 1);

    assert_eq!(stage.hear(&mut ada), [Ev(said)]);
}

#[test]
fn a_passive_session_lags_through_what_flushes_the_ring() {
    let mut stage = Stage::with_ring(8);
    let mut ada = stage.join_passive(1, ADA, &[]);
    let called = stage.apply(calling(HALL, None, Mentions { everyone: true, ..NOBODY }));
    for _ in 0..50 {
        stage.say(HALL);
    }
    assert_eq!(stage.hear(&mut ada), [Ev(called)]);
}

#[test]
fn a_passive_session_that_falls_out_of_the_slow_ring_is_told_one_gap() {
    let slow_ring = RingConfig { entries_max: 8, ..RingConfig::default() };
    let mut stage = Stage::with(RelayConfig { slow_ring, ..RelayConfig::default() });
    let mut ada = stage.join_passive(1, ADA, &[]);
    for _ in 0..20 {
        stage.apply(calling(HALL, None, Mentions { everyone: true, ..NOBODY }));
        stage.say(HALL);
    }
    assert_eq!(stage.hear(&mut ada), [Heard::Gap(0, 40)]);
    let next = stage.apply(calling(HALL, None, Mentions { everyone: true, ..NOBODY }));
    assert_eq!(stage.hear(&mut ada), [Ev(next)]);
}

#[test]
fn a_late_passive_attach_hears_what_called_it_since() {
    let mut stage = Stage::new();
    let called = stage.apply(calling(HALL, None, Mentions { everyone: true, ..NOBODY }));
    let own = stage.apply(updated(ADA, &[], &[]));
    stage.say(HALL);
    let mut ada = stage.attach(Attach { level: Level::Passive, ..as_of(0, 1, ADA, &[]) });
    stage.relay.attach_batch(Attach { level: Level::Passive, ..as_of(0, 2, ADA, &[]) }, 2).unwrap();
    let again = stage.apply(calling(HALL, None, Mentions { everyone: true, ..NOBODY }));
    stage.tick(10_000);

    let heard = [Ev(called), Ev(own), Ev(again), Heard::Unread(vec![HALL])];
    assert_eq!(stage.hear(&mut ada), heard);
    assert_eq!(stage.hear_batch(), heard.map(|heard| (2, heard)));
}

#[test]
fn a_batch_session_changes_its_level_behind_what_was_applied() {
    let mut stage = Stage::new();
    let key = stage.relay.attach_batch(as_of(0, 1, ADA, &[]), 1).unwrap();
    let first = stage.say(HALL);
    assert_eq!(stage.relay.set_level_batch(key, Level::Passive, position(0)), Ok(position(first)));
    assert_eq!(stage.relay.set_level_batch(key, Level::Active, position(3)), Ok(position(3)));
    stage.say(HALL);
    let third = stage.apply(calling(HALL, None, Mentions { everyone: true, ..NOBODY }));
    let fourth = stage.say(HALL);
    assert_eq!(stage.hear_batch(), [first, third, fourth].map(|seq| (1, Ev(seq))));
}

#[test]
fn a_status_decides_about_here_from_where_it_was_accepted() {
    let mut stage = Stage::new();
    let mut ada = stage.join_passive(1, ADA, &[]);
    let here = || calling(HALL, None, Mentions { here: true, ..NOBODY });
    assert_eq!(stage.relay.set_status(ada.key(), Status::Offline, position(1)), Ok(position(1)));
    let first = stage.apply(here());
    stage.apply(here());
    assert_eq!(stage.relay.set_status(ada.key(), Status::Idle, position(0)), Ok(position(2)));
    let third = stage.apply(here());
    assert_eq!(stage.hear(&mut ada), [Ev(first), Ev(third)]);
}

#[test]
fn a_session_that_turns_too_often_unread_is_refused() {
    let mut stage = Stage::new();
    let mut ada = stage.join(1, ADA, &[]);
    stage.say(HALL);
    let mut switches = 0;
    let refused = loop {
        let level = if switches % 2 == 0 { Level::Passive } else { Level::Active };
        match stage.relay.set_level(&mut ada, level, stage.relay.position(), &mut stage.woken) {
            Ok(_) => switches += 1,
            Err(refused) => break refused,
        }
        stage.say(HALL);
    };
    assert_eq!(refused, ListenError::Switching { switches });
    let mut stage = Stage::with(RelayConfig { pending_max: 1, ..RelayConfig::default() });
    let mut ada = stage.join(1, ADA, &[]);
    stage.set_level(&mut ada, Level::Passive, 5);
    let refused = stage.relay.set_level(&mut ada, Level::Active, position(6), &mut Vec::new());
    assert_eq!(refused, Err(ListenError::PendingFull { max: 1 }));
}

#[test]
fn a_change_that_the_ring_does_not_reach_back_to_is_refused() {
    let mut stage = Stage::with_ring(8);
    let mut ada = stage.join_passive(1, ADA, &[]);
    for _ in 0..20 {
        stage.say(HALL);
    }
    let refused = stage.relay.set_level(&mut ada, Level::Active, position(2), &mut stage.woken);
    assert_eq!(refused, Err(ListenError::TooOld { accepted: position(2), at: position(20) }));
    assert_eq!(stage.relay.waiting(), 1);
    let next = stage.apply(calling(HALL, None, Mentions { everyone: true, ..NOBODY }));
    assert_eq!(stage.hear(&mut ada), [Ev(next)]);
}

#[test]
fn a_session_that_turns_behind_a_hole_after_which_seqs_are_lower_is_told_its_gap() {
    let mut stage = Stage::new();
    let mut ada = stage.join_passive(1, ADA, &[]);
    for _ in 0..8 {
        stage.apply(EventKind::GuildUpdated { before: settings(OWNER), after: settings(OWNER) });
    }
    assert_eq!(stage.hear(&mut ada).len(), 8);

    stage.resync(Position { epoch: Epoch(2), seq: Seq(3) }, &[ADA]).unwrap();
    stage.say(HALL);
    let accepted = stage.relay.position();
    let said = stage.say(HALL);
    stage.relay.set_level(&mut ada, Level::Active, accepted, &mut Vec::new()).unwrap();

    assert_eq!(stage.hear(&mut ada), [Heard::Gap(8, 3), Ev(said)]);
}

#[test]
fn a_level_accepted_before_the_session_was_attached_here_holds_from_there() {
    let mut stage = Stage::new();
    let heard: Vec<u64> = (0..3).map(|_| stage.say(HALL)).collect();
    let mut ada = stage.attach(as_of(0, 1, ADA, &[]));
    stage.say(HALL);
    assert_eq!(stage.set_level(&mut ada, Level::Passive, 1), 3);
    assert_eq!(stage.hear(&mut ada), heard.into_iter().map(Ev).collect::<Vec<_>>());
}

#[test]
fn a_session_that_turns_passive_where_the_slow_ring_reaches_back_no_more_is_told_a_gap() {
    let mut stage = Stage::with_slow_ring(8);
    let mut ada = stage.join(1, ADA, &[]);
    let heard = stage.say(HALL);
    let last = (0..20).map(|_| stage.call(HALL)).last().unwrap();
    assert_eq!(stage.set_level(&mut ada, Level::Passive, heard), heard);
    assert_eq!(stage.hear(&mut ada), [Ev(heard), Heard::Gap(heard, last)]);
}

#[test]
fn a_late_passive_attach_is_told_the_news_by_its_rights_of_then() {
    let mut stage = Stage::new();
    // So that there is news to be noted.
    let _waiting = stage.join_passive(1, BOB, &[]);
    stage.say(OFFICE);
    let revoked = stage.apply(updated(ADA, &staff(), &[]));
    let mut ada = stage.attach(Attach { level: Level::Passive, ..as_of(0, 2, ADA, &staff()) });
    stage.tick(10_000);
    assert_eq!(stage.hear(&mut ada), [Ev(revoked), Heard::Unread(vec![OFFICE])]);
}

#[test]
fn one_that_comes_back_to_the_batch_is_told_what_was_news_though_it_leaves_at_once() {
    let mut stage = Stage::new();
    stage.say(HALL);
    let passive = |number| Attach { level: Level::Passive, ..as_of(0, number, ADA, &[]) };
    stage.come_back_in_batch(position(0), passive(1));
    let leaving = stage.come_back_in_batch(position(0), passive(2));
    let mut stream = stage.come_back(position(0), passive(3));
    for key in [leaving, stream.key()] {
        stage.relay.detach(key, position(1), &mut Vec::new()).unwrap();
    }

    let (news, end) = (Heard::Unread(vec![HALL]), Detached(DetachReason::Requested));
    assert_eq!(stage.hear(&mut stream), [news.clone(), end.clone()]);
    assert_eq!(stage.hear_batch(), [(1, news.clone()), (2, news), (2, end)]);
}

#[test]
fn one_that_turned_active_behind_the_gap_of_a_lost_batch_is_told_no_summary() {
    let mut stage = Stage::with_ring(8);
    let passive = |number, accepted| Attach { level: Level::Passive, ..as_of(accepted, number, ADA, &[]) };
    stage.relay.attach_batch(passive(1, 0), 1).unwrap();
    assert_eq!(stage.hear_batch(), []);
    let last = (0..20).map(|_| stage.say(HALL)).last().unwrap();
    // Both come where the gap ends, and have heard nothing of the last message.
    stage.relay.attach_batch(passive(2, last - 1), 2).unwrap();
    let turned = stage.relay.attach_batch(passive(3, last - 1), 3).unwrap();
    stage.relay.set_level_batch(turned, Level::Active, position(last)).unwrap();
    stage.tick(10_000);

    assert_eq!(stage.hear_batch(), [(1, Heard::Gap(0, last)), (2, Heard::Unread(vec![HALL]))]);
}
