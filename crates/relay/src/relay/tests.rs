mod churn;
mod coming_back;
mod ends;
mod gaps;
mod levels;
mod stage;
mod told;

use guildhall_proto::limits::PAYLOAD_BYTES_MAX;
use guildhall_proto::{EventKind, Millis, OverwriteTarget, Payload, UserId};

use super::*;
use crate::{Attach, AttachError, DetachReason, Stream, UnknownSession};
use stage::Heard::{Detached, Event as Ev};
use stage::*;

#[test]
fn a_message_reaches_those_who_see_the_channel_and_wakes_nobody_else() {
    let mut stage = Stage::new();
    let mut worker = stage.join(1, ADA, &staff());
    let mut guest = stage.join(2, BOB, &[]);
    let mut owner = stage.join(3, OWNER, &[]);

    let seq = stage.say(OFFICE);

    assert_eq!(stage.woken, [worker.key(), owner.key()]);
    assert_eq!(stage.hear(&mut worker), [Ev(seq)]);
    assert_eq!(stage.hear(&mut owner), [Ev(seq)]);
    assert_eq!(stage.hear(&mut guest), []);
}

#[test]
fn an_author_hears_itself_in_its_other_sessions_and_in_the_publishing_one_only_with_echo() {
    let mut stage = Stage::new();
    let mut publishing = stage.join(1, ADA, &[]);
    let mut other = stage.join(2, ADA, &[]);

    let silent = stage.apply(message(HALL, Some((ADA, 1)), false));
    assert_eq!(stage.woken, [other.key()]);
    let echoed = stage.apply(message(HALL, Some((ADA, 1)), true));
    assert_eq!(stage.woken, [publishing.key()]);

    assert_eq!(stage.hear(&mut publishing), [Ev(echoed)]);
    assert_eq!(stage.hear(&mut other), [Ev(silent), Ev(echoed)]);
}

#[test]
fn a_channels_changes_are_heard_by_those_who_see_it_just_before_or_just_after() {
    let mut stage = Stage::new();
    let mut worker = stage.join(1, ADA, &staff());
    let mut guest = stage.join(2, BOB, &[]);

    let hidden = stage.apply(overwritten(HALL, None, Some(hide(everyone()))));
    let unheard = stage.apply(EventKind::ChannelUpdated { before: channel(HALL), after: channel(HALL) });
    let of_bob = OverwriteTarget::User(user(BOB));
    let shown = stage.apply(overwritten(HALL, None, Some(show(of_bob))));
    let said = stage.say(HALL);
    let overwrites = stage.relay.rights().overwrites(channel(HALL).id).unwrap().as_slice().to_vec();
    let deleted = stage.apply(EventKind::ChannelDeleted { channel: channel(HALL), overwrites, children: Vec::new() });
    let new = channel(33);
    let made = stage.apply(EventKind::ChannelCreated { channel: new, overwrites: vec![hide(of_bob)] });

    assert_eq!(stage.hear(&mut guest), [Ev(hidden), Ev(shown), Ev(said), Ev(deleted)]);
    assert_eq!(stage.hear(&mut worker), [Ev(hidden), Ev(made)]);
    assert!(hidden < unheard);
}

#[test]
fn a_new_order_of_channels_is_heard_by_who_sees_one_of_them() {
    let mut stage = Stage::new();
    let mut guest = stage.join(1, BOB, &[]);
    let order = |listed: &[u64]| {
        let order: Vec<_> = listed.iter().map(|number| (channel(*number).id, 0)).collect();
        EventKind::ChannelsReordered { before: order.clone(), after: order }
    };

    stage.apply(order(&[OFFICE]));
    let both = stage.apply(order(&[OFFICE, HALL]));

    assert_eq!(stage.hear(&mut guest), [Ev(both)]);
}

#[test]
fn guild_and_role_events_are_heard_by_everyone() {
    let mut stage = Stage::new();
    let mut guest = stage.join(1, BOB, &[]);

    let events = [
        stage.apply(EventKind::GuildUpdated { before: settings(OWNER), after: settings(OWNER) }),
        stage.apply(EventKind::RoleCreated { role: role(22) }),
        stage.apply(EventKind::RoleUpdated { before: role(22), after: role(22) }),
        stage.apply(EventKind::RolesReordered { before: vec![(role(22).id, 1)], after: vec![(role(22).id, 2)] }),
        stage.apply(EventKind::RoleDeleted { role: role(22), overwrites: Vec::new() }),
    ];

    assert_eq!(stage.hear(&mut guest), events.map(Ev));
}

#[test]
fn the_own_member_is_always_heard_of_and_others_only_if_asked_for() {
    let mut stage = Stage::new();
    let mut ada = stage.join(1, ADA, &[]);
    let mut watching = stage.attach(Attach { members: true, ..as_of(0, 2, BOB, &[]) });

    let of_ada = stage.apply(updated(ADA, &[], &staff()));
    let of_bob = stage.apply(updated(BOB, &[], &[]));
    let one = stage.apply(EventKind::MemberJoined { member: member(13, &[]) });
    let many = stage.apply(EventKind::MembersJoined { members: vec![member(14, &[])] });
    let gone = stage.apply(left(13));

    assert_eq!(stage.hear(&mut ada), [Ev(of_ada)]);
    assert_eq!(stage.hear(&mut watching), [Ev(of_ada), Ev(of_bob), Ev(one), Ev(many), Ev(gone)]);
}

#[test]
fn a_session_hears_what_comes_after_its_attach_whether_the_relay_is_behind_or_past_it() {
    let mut stage = Stage::new();
    stage.say(HALL);
    let second = stage.say(HALL);

    let mut past = stage.attach(as_of(1, 1, ADA, &[]));
    let mut present = stage.attach(as_of(2, 2, ADA, &[]));
    let mut ahead = stage.attach(as_of(3, 3, ADA, &[]));
    stage.relay.attach_batch(as_of(1, 4, ADA, &[]), 40).unwrap();
    stage.relay.attach_batch(as_of(3, 5, ADA, &[]), 50).unwrap();
    let third = stage.say(HALL);
    let fourth = stage.say(HALL);

    assert_eq!(stage.hear(&mut past), [Ev(second), Ev(third), Ev(fourth)]);
    assert_eq!(stage.hear(&mut present), [Ev(third), Ev(fourth)]);
    assert_eq!(stage.hear(&mut ahead), [Ev(fourth)]);
    let heard = [(40, Ev(second)), (40, Ev(third)), (40, Ev(fourth)), (50, Ev(fourth))];
    assert_eq!(stage.hear_batch(), heard);
}

#[test]
fn a_late_attach_is_filtered_by_its_past_rights_though_no_audience_of_then_knew_it() {
    let mut stage = Stage::new();
    let mut owner = stage.join(1, OWNER, &[]);
    let seen = stage.say(OFFICE);
    let revoked = stage.apply(updated(ADA, &staff(), &[]));
    stage.say(OFFICE);
    let transferred = stage.apply(EventKind::GuildUpdated { before: settings(OWNER), after: settings(ADA) });
    let as_owner = stage.say(OFFICE);
    stage.hear(&mut owner);

    let mut ada = stage.attach(as_of(0, 2, ADA, &staff()));
    stage.relay.attach_batch(as_of(0, 3, ADA, &staff()), 3).unwrap();

    let heard = [seen, revoked, transferred, as_owner].map(Ev);
    assert_eq!(stage.hear(&mut ada), heard);
    assert_eq!(stage.hear_batch(), heard.map(|heard| (3, heard)));
}

#[test]
fn a_late_attach_of_one_who_has_left_meanwhile_hears_up_to_that() {
    let mut stage = Stage::new();
    let said = stage.say(HALL);
    let gone = stage.apply(left(ADA));
    stage.say(HALL);

    let mut stream = stage.attach(as_of(0, 1, ADA, &[]));
    let key = stage.relay.attach_batch(as_of(0, 2, ADA, &[]), 2).unwrap();

    let heard = [Ev(said), Ev(gone), Detached(DetachReason::MemberLeft)];
    assert_eq!(stage.hear(&mut stream), heard);
    assert_eq!(stage.hear_batch(), heard.map(|heard| (2, heard)));
    assert_eq!(stage.relay.detach(key, position(3), &mut Vec::new()), Err(UnknownSession { key }));
}

#[test]
fn a_reader_that_lags_is_filtered_by_the_rights_of_each_event() {
    let mut stage = Stage::new();
    let mut ada = stage.join(1, ADA, &staff());
    let seen = stage.say(OFFICE);
    let revoked = stage.apply(updated(ADA, &staff(), &[]));
    stage.say(OFFICE);
    let granted = stage.apply(updated(ADA, &[], &staff()));
    let again = stage.say(OFFICE);
    let deleted = stage.delete_role(STAFF);
    stage.say(OFFICE);

    assert_eq!(stage.hear(&mut ada), [seen, revoked, granted, again, deleted].map(Ev));
}

#[test]
fn a_role_with_a_deleted_ones_id_is_not_held_by_those_who_held_that() {
    let mut stage = Stage::new();
    let mut older = stage.join(1, ADA, &staff());
    let seen = stage.say(OFFICE);
    let deleted = stage.delete_role(STAFF);
    // Attached after the deletion, it comes without the role: the sessions of one member differ in that.
    let mut newer = stage.join(2, ADA, &[]);
    let back = stage.apply(EventKind::RoleCreated { role: role(STAFF) });
    let shown = overwritten(OFFICE, None, Some(show(OverwriteTarget::Role(role(STAFF).id))));
    stage.apply(shown);
    stage.say(OFFICE);
    let mut late = stage.attach(as_of(0, 3, ADA, &staff()));

    assert_eq!(stage.hear(&mut older), [seen, deleted, back].map(Ev));
    assert_eq!(stage.hear(&mut newer), [Ev(back)]);
    assert_eq!(stage.hear(&mut late), [seen, deleted, back].map(Ev));

    let granted = stage.apply(updated(ADA, &[], &staff()));
    let again = stage.say(OFFICE);
    for stream in [&mut older, &mut newer, &mut late] {
        assert_eq!(stage.hear(stream), [granted, again].map(Ev));
    }
}

#[test]
fn a_cohort_change_that_a_waiting_session_does_not_hear_of_holds_at_its_next_event() {
    let mut stage = Stage::new();
    let mut ada = stage.join(1, ADA, &[]);
    let of_ada = OverwriteTarget::User(user(ADA));
    let hidden = channel(33);
    // Hidden from everyone: Ada does not hear of the overwrite that changes her cohort.
    let overwrites = vec![hide(everyone()), hide(of_ada)];
    stage.apply(EventKind::ChannelCreated { channel: hidden, overwrites });
    assert_eq!(stage.woken, []);

    let said = stage.say(HALL);
    stage.say(33);

    assert_eq!(stage.hear(&mut ada), [Ev(said)]);
}

#[test]
fn an_attach_that_the_ring_does_not_reach_back_to_is_refused() {
    let mut stage = Stage::with_ring(8);
    for _ in 0..20 {
        stage.say(HALL);
    }
    let refused = stage.relay.attach_stream(as_of(3, 1, ADA, &[])).unwrap_err();
    assert_eq!(refused, AttachError::TooOld { accepted: position(3), at: position(20) });
    assert_eq!(stage.relay.sessions(), 0);
}

#[test]
fn a_stale_key_names_no_session_even_when_its_index_is_used_again() {
    let mut stage = Stage::new();
    let old = stage.join(1, ADA, &[]);
    let mut woken = Vec::new();
    stage.relay.detach(old.key(), position(0), &mut woken).unwrap();
    let new = stage.join(2, ADA, &[]);

    assert_eq!(new.key().index(), old.key().index());
    let key = old.key();
    assert_eq!(stage.relay.detach(key, position(0), &mut woken), Err(UnknownSession { key }));
    assert_eq!(stage.relay.sessions(), 1);
}

#[test]
fn a_stream_of_another_relay_is_unknown_here() {
    let (mut here, mut there) = (Stage::new(), Stage::new());
    let _own = here.join(1, ADA, &[]);
    let mut stream = there.join(1, ADA, &[]);
    assert_eq!(here.relay.wait(&mut stream), Err(UnknownSession { key: stream.key() }));
}

#[test]
fn events_out_of_order_are_refused_and_change_nothing() {
    let mut stage = Stage::new();
    stage.say(HALL);
    let event = |position| Arc::new(Event { position, at: Millis(0), kind: message(HALL, None, false) });
    let at = position(1);
    let other_epoch = |epoch| Position { epoch: Epoch(epoch), seq: Seq(2) };
    for (got, refusal) in [
        (at, ApplyError::Stale { got: at, at }),
        (position(3), ApplyError::Jump { got: position(3), at }),
        (other_epoch(0), ApplyError::Stale { got: other_epoch(0), at }),
        (other_epoch(2), ApplyError::Jump { got: other_epoch(2), at }),
    ] {
        assert_eq!(stage.relay.apply(event(got), &mut stage.woken), Err(refusal));
        assert_eq!(stage.relay.position(), at);
    }
}

#[test]
fn a_clean_epoch_continues_and_any_other_asks_for_a_resync() {
    let mut stage = Stage::new();
    let mut ada = stage.join(1, ADA, &[]);
    let first = stage.say(HALL);
    let (open, woken) = (Epoch(2), &mut Vec::new());

    assert_eq!(stage.relay.open_epoch(open, Some(position(7)), woken), Ok(Opened::MustResync));
    assert_eq!(stage.relay.open_epoch(open, None, woken), Ok(Opened::MustResync));
    assert_eq!(stage.relay.open_epoch(open, Some(position(first)), woken), Ok(Opened::Continued));
    assert_eq!(stage.relay.open_epoch(open, None, woken), Err(StaleEpoch { got: open, current: open }));

    let second = stage.say(HALL);
    assert_eq!(stage.relay.position(), Position { epoch: open, seq: Seq(2) });
    assert_eq!(stage.hear(&mut ada), [Ev(first), Ev(second)]);
    // Accepted by the former owner, before it handed over.
    let mut late = stage.attach(as_of(first, 2, ADA, &[]));
    assert_eq!(stage.hear(&mut late), [Ev(second)]);
    // Accepted by the former owner at a number it never reached.
    let refused = stage.relay.attach_stream(as_of(second, 3, ADA, &[])).unwrap_err();
    assert!(matches!(refused, AttachError::TooOld { .. }));
}

#[test]
fn every_bound_has_its_refusal() {
    let mut stage = Stage::with(RelayConfig { sessions_max: 3, pending_max: 1, ..RelayConfig::default() });
    stage.attach(as_of(5, 1, ADA, &[]));
    let pending = stage.relay.attach_stream(as_of(5, 2, BOB, &[])).unwrap_err();
    assert_eq!(pending, AttachError::PendingFull { max: 1 });
    assert_eq!(stage.relay.pending(), 1);

    stage.join(3, ADA, &[]);
    let twice = stage.relay.attach_stream(as_of(0, 3, ADA, &[])).unwrap_err();
    assert_eq!(twice, AttachError::AlreadyAttached { session: session(3) });

    stage.join(4, ADA, &[]);
    let full = stage.relay.attach_stream(as_of(0, 5, ADA, &[])).unwrap_err();
    assert_eq!(full, AttachError::Full { max: 3 });

    let mut stage = Stage::with(RelayConfig { sessions_max: 1, ..RelayConfig::default() });
    let key = stage.relay.attach_batch(as_of(0, 1, ADA, &[]), 1).unwrap();
    stage.relay.detach(key, position(0), &mut Vec::new()).unwrap();
    let stalled = stage.relay.attach_batch(as_of(0, 2, ADA, &[]), 2).unwrap_err();
    assert_eq!(stalled, AttachError::BatchStalled { ops: 2 });
    assert_eq!(stage.hear_batch(), [(1, Detached(DetachReason::Requested))]);
    stage.relay.attach_batch(as_of(0, 2, ADA, &[]), 2).unwrap();
}

#[test]
fn sessions_of_equal_rights_share_a_cohort_and_channels_of_equal_overwrites_an_audience() {
    let mut stage = Stage::new();
    for number in 1..=50 {
        stage.join(number, 100 + number, &[]);
        stage.join(50 + number, 200 + number, &staff());
    }
    assert_eq!((stage.relay.sessions(), stage.relay.cohorts(), stage.relay.waiting()), (100, 2, 100));

    stage.apply(EventKind::ChannelCreated { channel: channel(33), overwrites: Vec::new() });
    assert_eq!(stage.relay.audiences_made(), 1);
    for number in [HALL, 33, HALL] {
        stage.say(number);
    }
    assert_eq!(stage.relay.audiences_made(), 1);
    stage.say(OFFICE);
    assert_eq!(stage.relay.audiences_made(), 2);
}

#[test]
fn the_relays_memory_is_bounded_by_its_ring_whatever_its_readers_do() {
    let ring = RingConfig { entries_max: 1_000, bytes_max: 1024 * 1024 };
    let mut stage = Stage::with(RelayConfig { ring, ..RelayConfig::default() });
    let _stalled = stage.join(1, ADA, &[]);
    let payload = Payload::new(vec![0; PAYLOAD_BYTES_MAX]).unwrap();
    for _ in 0..1_000 {
        let EventKind::MessagePublished(mut large) = message(HALL, None, false) else { unreachable!() };
        large.payload = payload.clone();
        stage.apply(EventKind::MessagePublished(large));
    }
    assert!(stage.relay.memory_bytes() < 2 * ring.bytes_max);
}

#[test]
fn relay_streams_and_batch_may_go_to_other_threads() {
    fn is_send<T: Send>() {}
    is_send::<Relay>();
    is_send::<Stream>();
    is_send::<Batch>();
}
