//! Hand-made histories: each kind of fault is found and named by its promise, and what is right is not.

mod gaps;
mod relays;
mod scene;

use guildhall_proto::{Epoch, EventKind, Mentions, Message, Seq};

use super::*;
use crate::check::Promise;
use scene::*;

#[test]
fn a_session_that_hears_what_is_for_it_breaks_no_promise() {
    let mut scene = Scene::new();
    let ear = scene.attach(ADA, Level::Active);
    let said = [scene.say(OPEN), scene.say(HIDDEN), scene.say(OPEN)];
    let made = scene.make(EventKind::RoleCreated { role: role(GUESTS) });
    scene.hears(ear, &said[0]).unwrap();
    scene.hears(ear, &said[2]).unwrap();
    scene.hears(ear, &made).unwrap();
    scene.waits(ear).unwrap();
    scene.rests().unwrap();
    assert_eq!(scene.ears.tally(), Tally { events: 3, ..Tally::default() });
}

#[test]
fn what_was_not_heard_is_found_by_the_next_that_is_and_at_rest() {
    let mut scene = Scene::new();
    let (ear, other) = (scene.attach(ADA, Level::Active), scene.attach(BOB, Level::Active));
    scene.say(OPEN);
    let next = scene.say(OPEN);
    assert_breach(scene.hears(ear, &next), Promise::Order);
    assert_breach(scene.waits(other), Promise::Order);
    assert_breach(scene.rests(), Promise::Order);
}

#[test]
fn what_is_heard_again_or_out_of_order_is_found() {
    let mut scene = Scene::new();
    let (ear, other) = (scene.attach(ADA, Level::Active), scene.attach(BOB, Level::Active));
    let (first, second) = (scene.say(OPEN), scene.say(OPEN));
    scene.hears(ear, &first).unwrap();
    assert_breach(scene.hears(ear, &first), Promise::Order);
    assert_breach(scene.hears(other, &second), Promise::Order);
}

#[test]
fn what_is_from_before_its_attach_is_not_for_a_session() {
    let mut scene = Scene::new();
    let before = scene.say(OPEN);
    let ear = scene.attach(ADA, Level::Active);
    assert_breach(scene.hears(ear, &before), Promise::Order);
}

#[test]
fn what_a_member_may_not_see_is_a_leak() {
    let mut scene = Scene::new();
    let ear = scene.attach(ADA, Level::Active);
    let staff = scene.attach(CYD, Level::Active);
    let hidden = scene.say(HIDDEN);
    assert_breach(scene.hears(ear, &hidden), Promise::Rights);
    scene.hears(staff, &hidden).unwrap();

    let ban = scene.make(EventKind::UserBanned { user: user(99), reason: None });
    let ear = scene.attach_after(ADA, Level::Active, hidden.position);
    assert_breach(scene.hears(ear, &ban), Promise::Rights);
}

#[test]
fn what_comes_just_behind_a_revoke_is_a_leak_and_what_came_just_before_is_not() {
    let mut scene = Scene::new();
    let ear = scene.attach(CYD, Level::Active);
    let before = scene.say(HIDDEN);
    let revoke = scene.roles(CYD, &[STAFF], &[]);
    let after = scene.say(HIDDEN);
    scene.hears(ear, &before).unwrap();
    scene.hears(ear, &revoke).unwrap();
    assert_breach(scene.hears(ear, &after), Promise::Rights);
    assert_eq!(scene.ears.tally().hidden_meanwhile, 1);
}

#[test]
fn who_saw_a_channel_just_before_it_was_hidden_or_deleted_hears_of_that() {
    let mut scene = Scene::new();
    let ear = scene.attach(ADA, Level::Active);
    let hide = scene.overwrite(OPEN, everyone_denied());
    let deleted = scene.delete_channel(OPEN);
    scene.hears(ear, &hide).unwrap();
    assert_breach(scene.hears(ear, &deleted), Promise::Rights);

    let ear = scene.attach(ADA, Level::Active);
    let staff = [scene.attach(CYD, Level::Active), scene.attach(CYD, Level::Active)];
    let deleted = scene.delete_channel(HIDDEN);
    scene.waits(ear).unwrap();
    scene.hears(staff[0], &deleted).unwrap();
    assert_breach(scene.waits(staff[1]), Promise::Order);
}

#[test]
fn what_a_deleted_role_did_elsewhere_is_not_told() {
    let mut scene = Scene::new();
    let ears = [scene.attach(ADA, Level::Active), scene.attach(BOB, Level::Active)];
    let deleted = scene.delete_role(STAFF);
    assert_breach(scene.hears(ears[0], &deleted), Promise::Rights);
    scene.hears(ears[1], &told(&deleted)).unwrap();
    scene.waits(ears[1]).unwrap();
}

#[test]
fn an_event_that_is_altered_or_nobodys_is_found() {
    let mut scene = Scene::new();
    let ear = scene.attach(ADA, Level::Active);
    let said = scene.say(OPEN);
    let other = Arc::new(Event { at: said.at, position: said.position, kind: EventKind::GuildDeleted });
    assert_breach(scene.hears(ear, &other), Promise::Names);
    let unmade = Arc::new(Event { position: said.position.next(), ..(*said).clone() });
    assert_breach(scene.hears(ear, &unmade), Promise::Names);
    assert_breach(scene.ears.released(&scene.annals, &other), Promise::Names);
}

#[test]
fn a_gap_announces_what_lies_under_it_and_nothing_more() {
    let mut scene = Scene::new();
    let ear = scene.attach(ADA, Level::Active);
    let after = scene.head();
    let (first, second, third) = (scene.say(OPEN), scene.say(OPEN), scene.say(OPEN));
    scene.gap(ear, after, second.position).unwrap();
    assert_eq!((scene.ears.tally().gaps, scene.ears.tally().missed), (1, 2));
    assert_breach(scene.hears(ear, &second), Promise::Order);
    scene.hears(ear, &third).unwrap();
    // One that begins behind something lost leaves that unannounced.
    let (ear, late) = (scene.attach_after(ADA, Level::Active, after), scene.head());
    assert_breach(scene.gap(ear, first.position, late), Promise::Order);
    // One that ends ahead of the guild would announce what is not lost yet.
    let ear = scene.attach(ADA, Level::Active);
    assert_breach(scene.gap(ear, late, late.next()), Promise::Durable);
    scene.gap(ear, late, late).unwrap();
    assert_eq!(scene.ears.tally().gaps_over_nothing, 1);
}

#[test]
fn a_gap_without_its_marker_is_found() {
    let mut scene = Scene::new();
    let ear = scene.attach(ADA, Level::Active);
    scene.say(OPEN);
    scene.say(OPEN);
    let third = scene.say(OPEN);
    assert_breach(scene.hears(ear, &third), Promise::Order);
}

#[test]
fn a_replay_goes_by_past_rights() {
    let mut scene = Scene::new();
    let known = scene.head();
    let seen = scene.say(HIDDEN);
    let revoke = scene.roles(CYD, &[STAFF], &[]);
    let unseen = scene.say(HIDDEN);
    let ear = scene.resume(CYD, Level::Active, known);
    scene.hears(ear, &seen).unwrap();
    scene.hears(ear, &revoke).unwrap();
    scene.waits(ear).unwrap();
    assert_eq!((scene.ears.tally().replayed, scene.ears.tally().replayed_hidden), (2, 1));
    // Hidden today, and shown then.
    let ear = scene.resume(CYD, Level::Active, known);
    assert_breach(scene.hears(ear, &revoke), Promise::Past);
    // Hidden today and then.
    let ear = scene.resume(CYD, Level::Active, revoke.position);
    assert_breach(scene.hears(ear, &unseen), Promise::Rights);
}

#[test]
fn a_replay_does_not_show_what_was_hidden_then_and_is_shown_today() {
    let mut scene = Scene::new();
    let known = scene.head();
    let unseen = scene.say(HIDDEN);
    let grant = scene.roles(ADA, &[], &[STAFF]);
    let ears = [scene.resume(ADA, Level::Active, known), scene.resume(ADA, Level::Active, known)];
    assert_breach(scene.hears(ears[0], &unseen), Promise::Past);
    scene.hears(ears[1], &grant).unwrap();
    // What is simply lost of the past is no matter of rights.
    scene.say(OPEN);
    let ear = scene.resume(ADA, Level::Active, grant.position);
    assert_breach(scene.waits(ear), Promise::Order);
}

#[test]
fn a_member_that_left_hears_that_last_and_is_told_so() {
    let mut scene = Scene::new();
    let ears = [(); 6].map(|()| scene.attach(ADA, Level::Active));
    let (left, said) = (scene.leave(ADA), scene.say(OPEN));
    scene.hears(ears[0], &left).unwrap();
    scene.ends(ears[0], DetachReason::MemberLeft).unwrap();
    assert_breach(scene.hears(ears[0], &said), Promise::Order);
    // Heard behind its end, not told its end, told it without the event, for another reason.
    scene.hears(ears[1], &left).unwrap();
    assert_breach(scene.hears(ears[1], &said), Promise::Rights);
    scene.hears(ears[2], &left).unwrap();
    assert_breach(scene.waits(ears[2]), Promise::Order);
    assert_breach(scene.ends(ears[3], DetachReason::MemberLeft), Promise::Order);
    assert_breach(scene.ends(ears[4], DetachReason::GuildDeleted), Promise::Order);
    // Under a gap.
    scene.gap(ears[5], left.position, said.position).unwrap_err();
    assert_eq!(scene.ears.tally().removed, 1);
}

#[test]
fn a_member_that_left_under_a_gap_is_told_so_behind_it() {
    let mut scene = Scene::new();
    let ears = [scene.attach(ADA, Level::Active), scene.attach(ADA, Level::Active)];
    let after = scene.head();
    scene.leave(ADA);
    let back = scene.join(ADA);
    let said = scene.say(OPEN);
    for ear in ears {
        scene.gap(ear, after, back.position).unwrap();
    }
    scene.ends(ears[0], DetachReason::MemberLeft).unwrap();
    assert_breach(scene.hears(ears[1], &said), Promise::Rights);
}

#[test]
fn who_is_pruned_hears_of_the_others_only_if_it_asked_for_members() {
    let mut scene = Scene::new();
    let curious = scene.attach_with(ADA, Level::Passive, |begin| Begin { members: true, ..begin });
    let ears = [curious, scene.attach(ADA, Level::Passive), scene.attach(ADA, Level::Passive)];
    let pruned = scene.make(EventKind::MembersLeft { users: vec![user(ADA), user(BOB)] });
    scene.hears(ears[0], &pruned).unwrap();
    scene.ends(ears[0], DetachReason::MemberLeft).unwrap();
    scene.ends(ears[1], DetachReason::MemberLeft).unwrap();
    assert_breach(scene.hears(ears[2], &pruned), Promise::Order);
}

#[test]
fn a_deleted_guild_is_heard_last() {
    let mut scene = Scene::new();
    let ears = [(); 3].map(|()| scene.attach(ADA, Level::Passive));
    let before = scene.head();
    let deleted = scene.make(EventKind::GuildDeleted);
    scene.hears(ears[0], &deleted).unwrap();
    scene.ends(ears[0], DetachReason::GuildDeleted).unwrap();
    assert_breach(scene.ends(ears[1], DetachReason::GuildDeleted), Promise::Order);
    // Its relay never heard of it, and was told by others: a gap of no length stands for all up to there.
    scene.gap(ears[2], before, before).unwrap();
    scene.ends(ears[2], DetachReason::GuildDeleted).unwrap();
    assert_eq!(scene.ears.tally().deleted, 2);
}

#[test]
fn a_session_whose_relay_never_came_to_it_hears_of_the_end_of_its_guild_alone() {
    let mut scene = Scene::new();
    let relay_at = scene.head();
    scene.say(OPEN);
    let ahead = scene.attach_with(ADA, Level::Active, |begin| Begin { relay_at, ..begin });
    let there = scene.attach(ADA, Level::Active);
    scene.say(OPEN);
    scene.make(EventKind::GuildDeleted);
    scene.ends(ahead, DetachReason::GuildDeleted).unwrap();
    assert_breach(scene.ends(there, DetachReason::GuildDeleted), Promise::Order);
}

#[test]
fn who_comes_back_may_have_been_another_member_before_its_gap() {
    let mut scene = Scene::new();
    let known = scene.head();
    scene.leave(ADA);
    let joined = scene.join(ADA);
    let said = scene.say(OPEN);
    let ears = [scene.resume(ADA, Level::Active, known), scene.resume(ADA, Level::Active, known)];
    scene.gap(ears[0], known, joined.position).unwrap();
    scene.hears(ears[0], &said).unwrap();
    assert_breach(scene.hears(ears[1], &said), Promise::Order);
}

#[test]
fn an_end_that_nobody_asked_for_is_found() {
    let mut scene = Scene::new();
    let ears = [scene.attach(ADA, Level::Active), scene.attach(ADA, Level::Active)];
    assert_breach(scene.ends(ears[0], DetachReason::Requested), Promise::Order);
    assert_breach(scene.ends(ears[1], DetachReason::MemberLeft), Promise::Order);
}

#[test]
fn a_detached_session_hears_all_up_to_there_and_no_more() {
    let mut scene = Scene::new();
    let ears = [(); 4].map(|()| scene.attach(ADA, Level::Active));
    let (last, behind) = (scene.say(OPEN), scene.say(OPEN));
    ears.iter().for_each(|ear| scene.ears.detached(*ear, last.position));
    scene.hears(ears[0], &last).unwrap();
    scene.ends(ears[0], DetachReason::Requested).unwrap();
    assert_breach(scene.ends(ears[1], DetachReason::Requested), Promise::Order);
    scene.hears(ears[2], &last).unwrap();
    assert_breach(scene.hears(ears[2], &behind), Promise::Order);
    scene.hears(ears[3], &last).unwrap();
    assert_breach(scene.rests(), Promise::Order);

    // A batch may have been handed more.
    let batch = scene.attach_with(ADA, Level::Active, |begin| Begin { way: Way::Batch, ..begin });
    let (last, behind) = (scene.say(OPEN), scene.say(OPEN));
    scene.ears.detached(batch, last.position);
    scene.hears(batch, &last).unwrap();
    scene.hears(batch, &behind).unwrap();
    scene.ends(batch, DetachReason::Requested).unwrap();
}

#[test]
fn a_passive_session_hears_what_calls_it() {
    let mut scene = Scene::new();
    let calls = [
        Mentions { users: vec![user(CYD)], ..Mentions::default() },
        Mentions { roles: vec![role(STAFF).id], ..Mentions::default() },
        Mentions { everyone: true, ..Mentions::default() },
        Mentions { here: true, ..Mentions::default() },
    ];
    for mentions in calls {
        let here = mentions.here;
        let away = scene.attach_with(CYD, Level::Passive, |begin| Begin { status: Status::Offline, ..begin });
        let ears = [scene.attach(CYD, Level::Passive), scene.attach(CYD, Level::Passive)];
        let unseeing = scene.attach(BOB, Level::Passive);
        scene.say(HIDDEN);
        let call = scene.call(HIDDEN, mentions);
        scene.hears(ears[0], &call).unwrap();
        scene.waits(ears[0]).unwrap();
        assert_breach(scene.waits(ears[1]), Promise::Order);
        assert_breach(scene.hears(unseeing, &call), Promise::Rights);
        assert_eq!(scene.waits(away).is_ok(), here, "{:?}", call.kind);
    }
    assert_eq!(scene.ears.tally().calls, 4);
}

#[test]
fn what_is_not_for_a_session_as_it_listens_is_found() {
    let mut scene = Scene::new();
    let (passive, active) = (scene.attach(ADA, Level::Passive), scene.attach(ADA, Level::Active));
    let (own, session) = (scene.attach(ADA, Level::Active), scene.last_session());
    let said = scene.say(OPEN);
    assert_breach(scene.hears(passive, &said), Promise::Order);
    scene.hears(active, &said).unwrap();
    scene.hears(own, &said).unwrap();
    // Another's change, not asked for; its own message, without echo.
    let changed = scene.roles(BOB, &[], &[STAFF]);
    assert_breach(scene.hears(active, &changed), Promise::Order);
    let own_said = scene.publish(OPEN, |message| Message { session: Some(session), ..message });
    assert_breach(scene.hears(own, &own_said), Promise::Order);
    let echoed = scene.publish(OPEN, |message| Message { session: Some(session), echo: true, ..message });
    let own = scene.attach_with(ADA, Level::Active, |begin| Begin { session, after: own_said.position, ..begin });
    scene.hears(own, &echoed).unwrap();
    let member = scene.attach_with(ADA, Level::Active, |begin| Begin { members: true, ..begin });
    let changed = scene.roles(BOB, &[STAFF], &[]);
    scene.hears(member, &changed).unwrap();
}

#[test]
fn a_level_holds_from_its_place() {
    let mut scene = Scene::new();
    let ear = scene.attach(ADA, Level::Passive);
    let first = scene.say(OPEN);
    let (second, third) = (scene.say(OPEN), scene.say(OPEN));
    scene.waits(ear).unwrap();
    // It looks back: what it passed by is for it now.
    scene.turn(ear, Level::Active, first.position, first.position).unwrap();
    let lost = scene.attach(ADA, Level::Passive);
    scene.turn(lost, Level::Active, scene.head(), scene.head()).unwrap();
    scene.hears(ear, &second).unwrap();
    scene.hears(ear, &third).unwrap();
    scene.turn(ear, Level::Passive, third.position, third.position).unwrap();
    let fourth = scene.say(OPEN);
    assert_breach(scene.hears(ear, &fourth), Promise::Order);
    assert_breach(scene.waits(lost), Promise::Order);
    let ear = scene.attach(ADA, Level::Active);
    assert_breach(scene.turn(ear, Level::Passive, fourth.position, third.position), Promise::Order);
}

#[test]
fn a_status_holds_from_its_place() {
    let mut scene = Scene::new();
    let ear = scene.attach(ADA, Level::Passive);
    let here = || Mentions { here: true, ..Mentions::default() };
    let first = scene.call(OPEN, here());
    scene.show(ear, Status::Offline, first.position).unwrap();
    scene.call(OPEN, here());
    scene.hears(ear, &first).unwrap();
    scene.waits(ear).unwrap();
    scene.show(ear, Status::Idle, scene.head()).unwrap();
    let third = scene.call(OPEN, here());
    scene.hears(ear, &third).unwrap();
}

#[test]
fn a_summary_names_the_channels_with_news_and_no_other() {
    let mut scene = Scene::new();
    let ears = [(); 5].map(|()| scene.attach(ADA, Level::Passive));
    scene.say(OPEN);
    scene.say(HIDDEN);
    scene.unread(ears[0], &[OPEN]).unwrap();
    assert_breach(scene.unread(ears[0], &[OPEN]), Promise::Order);
    assert_breach(scene.unread(ears[1], &[OPEN, HIDDEN]), Promise::Rights);
    scene.say(GARDEN);
    assert_breach(scene.unread(ears[2], &[OPEN]), Promise::Order);
    scene.unread(ears[3], &[OPEN, GARDEN]).unwrap();
    scene.waits(ears[3]).unwrap();
    let active = scene.attach(ADA, Level::Active);
    assert_breach(scene.unread(active, &[OPEN]), Promise::Order);
    // What was never told is missed when all is over.
    (0..5).filter(|at| *at != 4).for_each(|at| scene.ears.cut(ears[at]));
    scene.waits(ears[4]).unwrap();
    assert_breach(scene.rests(), Promise::Order);
    assert_eq!(scene.ears.tally().summaries, 2);
}

#[test]
fn news_are_judged_by_the_rights_of_then_and_by_the_latest_message() {
    let mut scene = Scene::new();
    let ears = [scene.attach(CYD, Level::Passive), scene.attach(CYD, Level::Passive)];
    let session = scene.last_session();
    scene.say(HIDDEN);
    let revoke = scene.roles(CYD, &[STAFF], &[]);
    for ear in ears {
        scene.hears(ear, &revoke).unwrap();
    }
    scene.unread(ears[0], &[HIDDEN]).unwrap();
    scene.say(HIDDEN);
    assert_breach(scene.unread(ears[0], &[HIDDEN]), Promise::Rights);
    // The second session's own message is the latest in the garden.
    scene.say(GARDEN);
    scene.publish(GARDEN, |message| Message { session: Some(session), ..message });
    assert_breach(scene.unread(ears[1], &[GARDEN]), Promise::Order);
}

#[test]
fn news_from_before_the_end_of_a_gap_may_be_missing() {
    let mut scene = Scene::new();
    let ears = [scene.attach(ADA, Level::Passive), scene.attach(ADA, Level::Passive)];
    let after = scene.head();
    let said = scene.say(OPEN);
    scene.say(GARDEN);
    for ear in ears {
        scene.gap(ear, after, said.position).unwrap();
    }
    scene.unread(ears[0], &[GARDEN]).unwrap();
    scene.unread(ears[1], &[OPEN, GARDEN]).unwrap();
    scene.rests().unwrap();
}

#[test]
fn an_epoch_that_begins_without_all_of_the_one_before_is_announced() {
    let mut scene = Scene::new();
    let ears = [(); 4].map(|()| scene.attach(ADA, Level::Active));
    let begin = scene.head();
    let lost = scene.say(OPEN);
    scene.hears(ears[1], &lost).unwrap();
    scene.open_epoch(begin);
    let said = scene.say(OPEN);
    assert_eq!(said.position, Position { epoch: Epoch(2), seq: lost.position.seq });
    assert_breach(scene.hears(ears[0], &said), Promise::Order);
    assert_breach(scene.hears(ears[1], &said), Promise::Order);
    let behind = Position { epoch: Epoch(2), ..begin };
    scene.gap(ears[2], begin, behind).unwrap();
    scene.hears(ears[2], &said).unwrap();
    // An owner that was shut out is heard on by those who do not know; not by those who do.
    let late = scene.say_in(Epoch(1), lost.position.next());
    assert_breach(scene.hears(ears[2], &late), Promise::Order);
    scene.hears(ears[3], &lost).unwrap();
    scene.hears(ears[3], &late).unwrap();
    scene.gap(ears[3], late.position, behind).unwrap();
    scene.hears(ears[3], &said).unwrap();
    assert_eq!(scene.ears.tally().epochs_over_gaps, 2);
}

#[test]
fn an_epoch_that_begins_with_all_of_the_one_before_needs_no_gap() {
    let mut scene = Scene::new();
    let ear = scene.attach(ADA, Level::Active);
    let first = scene.say(OPEN);
    scene.open_epoch(first.position);
    let second = scene.say(OPEN);
    scene.hears(ear, &first).unwrap();
    scene.hears(ear, &second).unwrap();
    assert_eq!(scene.ears.tally().epochs_continued, 1);
}

#[test]
fn what_the_store_alone_kept_of_an_epoch_is_under_the_gap_or_lost() {
    let mut scene = Scene::new();
    let ears = [scene.attach(ADA, Level::Active), scene.attach(ADA, Level::Active)];
    let begin = scene.head();
    // Stored, and never let out.
    let stored = scene.make(EventKind::RoleCreated { role: role(GUESTS) });
    scene.open_epoch(stored.position);
    let said = scene.say(OPEN);
    assert_breach(scene.hears(ears[0], &said), Promise::Order);
    scene.gap(ears[1], begin, Position { epoch: Epoch(2), ..stored.position }).unwrap();
    scene.hears(ears[1], &said).unwrap();
}

#[test]
fn what_is_told_of_now_never_goes_backwards_and_is_somebodys() {
    let mut scene = Scene::new();
    let ear = scene.attach(ADA, Level::Active);
    let (first, second) = (scene.types(BOB, OPEN, 1), scene.types(BOB, OPEN, 2));
    let third = scene.types(BOB, GARDEN, 1);
    scene.is_told(ear, second).unwrap();
    scene.is_told(ear, third).unwrap();
    assert_breach(scene.is_told(ear, first), Promise::Order);
    assert_breach(scene.is_told(ear, second), Promise::Order);
    let unsaid = Ephemeral { at: Position::default(), ..first };
    assert_breach(scene.is_told(ear, unsaid), Promise::Names);
    // The latest may be lost.
    scene.types(BOB, OPEN, 3);
    scene.rests().unwrap();
    assert_eq!(scene.ears.tally().told, 2);
}

#[test]
fn what_is_told_of_now_is_for_those_who_may_see_it() {
    let mut scene = Scene::new();
    let ears = [scene.attach(ADA, Level::Active), scene.attach(CYD, Level::Active), scene.attach(CYD, Level::Passive)];
    let hidden = scene.types(BOB, HIDDEN, 1);
    assert_breach(scene.is_told(ears[0], hidden), Promise::Rights);
    scene.is_told(ears[1], hidden).unwrap();
    assert_breach(scene.is_told(ears[2], hidden), Promise::Rights);
    // Nobody hears that it types itself; presence is for those who asked.
    let own = scene.types(CYD, OPEN, 1);
    assert_breach(scene.is_told(ears[1], own), Promise::Rights);
    let presence = scene.is_there(BOB, Status::Idle);
    assert_breach(scene.is_told(ears[1], presence), Promise::Rights);
    let curious = scene.attach_with(ADA, Level::Active, |begin| Begin { members: true, ..begin });
    scene.is_told(curious, presence).unwrap();
}

#[test]
fn what_is_told_of_now_does_not_overtake_a_change_of_rights() {
    let mut scene = Scene::new();
    let ear = scene.attach(CYD, Level::Active);
    let revoke = scene.roles(CYD, &[STAFF], &[]);
    let hidden = scene.types(BOB, HIDDEN, 1);
    scene.hears(ear, &revoke).unwrap();
    assert_breach(scene.is_told(ear, hidden), Promise::Rights);
    // Nor a grant: what is accepted before it is told before it, or not at all.
    let early = scene.types(BOB, HIDDEN, 2);
    let grant = scene.roles(CYD, &[], &[STAFF]);
    let ears = [(); 2].map(|()| scene.attach_after(CYD, Level::Active, revoke.position));
    scene.is_told(ears[0], early).unwrap();
    assert_breach(scene.hears(ears[0], &grant), Promise::Rights);
    scene.hears(ears[1], &grant).unwrap();
    scene.is_told(ears[1], early).unwrap();
}

#[test]
fn what_is_told_of_now_comes_behind_the_events_before_it() {
    let mut scene = Scene::new();
    let ear = scene.attach(ADA, Level::Active);
    scene.say(OPEN);
    let typing = scene.types(BOB, OPEN, 1);
    assert_breach(scene.is_told(ear, typing), Promise::Order);
}

#[test]
fn who_is_no_member_is_not_taken() {
    let mut scene = Scene::new();
    scene.leave(ADA);
    let begin = scene.begin(ADA, Level::Active);
    assert_breach(scene.ears.begins(&scene.annals, EarId(77), begin), Promise::Rights);
}

fn assert_breach(result: Result<(), Breach>, promise: Promise) {
    assert_eq!(result.as_ref().map_err(|breach| breach.promise), Err(promise), "{result:?}");
}

/// What a session is told of an event.
fn told(event: &Arc<Event>) -> Arc<Event> {
    super::eye::stripped(event).map_or_else(|| Arc::clone(event), Arc::new)
}

#[test]
fn a_range_of_nothing_is_nothing() {
    let mut scene = Scene::new();
    scene.say(OPEN);
    let past = &scene.ears.pasts[&scene.annals.guild()];
    let at = |seq| Position { epoch: Epoch(1), seq: Seq(seq) };
    assert_eq!(past.between(at(3), at(3)).count() + past.between(at(4), at(2)).count(), 0);
    assert_eq!(past.between(at(0), at(2)).count(), 2);
    assert_eq!(past.head(), scene.head());
    let gap = Gap { after: at(0), through: at(0) };
    assert_eq!(gap.after, gap.through);
}
