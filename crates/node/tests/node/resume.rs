//! Sessions whose connection breaks, and that come back: here or on another backend, in time or not, with a good secret or a bad one.

use std::time::Duration;

use guildhall_node::{
    Attach, AttachError, Backend, BatchItem, Counter, Delivery, DetachReason, NodeConfig, Resume, ResumeError, Resumed,
    Secret, SecretError, SecretKey, SecretKeys, SessionStream,
};
use guildhall_proto::{
    CallError, Command, CommandError, GuildId, Level, MemberEdit, Mentions, Overwrite, OverwriteTarget, Payload,
    Permissions, Position, Publish, Role, RoleId, Seq, Status,
};

use crate::retiring::panicking_job;
use crate::world::{
    ADA, CHANNEL, World, attach, attachment, channel_id, message, message_in, name, number_in, session_id, settle,
    soon, until, user,
};

const WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_session_that_is_cut_hears_what_it_missed_on_the_same_backend_and_on_another() {
    let (world, guild) = lasting().await;
    let (here, there) = (world.backend(), world.backend());
    let mut stream = attach(&here, guild, 1, ADA).await;
    say(&world, guild, 0..3).await;
    assert_eq!(number_in(soon(stream.next()).await), 0);
    let (secret, known) = cut(stream);
    say(&world, guild, 3..5).await;

    let Resumed { session: mut stream, gap } = soon(here.resume(guild, back(1, ADA, secret, known))).await.unwrap();
    assert_eq!((gap, stream.known()), (None, known));
    hears(&mut stream, 1..4).await;
    let (secret, known) = cut(stream);
    say(&world, guild, 5..7).await;
    assert_eq!(there.relays(), 0, "its relay is made now, and has the past");

    let Resumed { session: mut stream, gap } = soon(there.resume(guild, back(1, ADA, secret, known))).await.unwrap();
    assert_eq!(gap, None);
    hears(&mut stream, 4..7).await;
    say(&world, guild, 7..8).await;
    hears(&mut stream, 7..8).await;
    assert_eq!((world.online(guild).await, world.count(Counter::SessionsResumed)), (1, 2));

    // The time of the connections that broke is over for them alone.
    tokio::time::sleep(2 * WITHIN).await;
    settle().await;
    assert_eq!((world.online(guild).await, world.count(Counter::SessionsAbandoned)), (1, 0));
    until(|| here.relays() == 0).await;
    say(&world, guild, 8..9).await;
    hears(&mut stream, 8..9).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_cut_keeps_its_status_until_its_time_is_over() {
    let (world, guild) = lasting().await;
    let backend = world.backend();
    let stream = attach(&backend, guild, 1, ADA).await;
    let (secret, known) = cut(stream);
    tokio::time::sleep(WITHIN - Duration::from_secs(1)).await;
    settle().await;
    assert_eq!((world.online(guild).await, backend.relays()), (1, 1));
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.until_online(guild, 0).await;
    until(|| backend.relays() == 0).await;
    assert_eq!((world.count(Counter::SessionsCut), world.count(Counter::SessionsAbandoned)), (1, 1));
    let late = soon(backend.resume(guild, back(1, ADA, secret, known))).await.unwrap_err();
    assert_eq!(late, refused(CommandError::UnknownSession { session: session_id(1) }));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_said_goodbye_does_not_come_back() {
    let (world, guild) = lasting().await;
    let backend = world.backend();
    let mut stream = attach(&backend, guild, 1, ADA).await;
    let (secret, known) = (stream.secret(), stream.known());
    soon(stream.detach()).await.unwrap();
    drop(stream);
    let over = soon(backend.resume(guild, back(1, ADA, secret, known))).await.unwrap_err();
    assert_eq!(over, refused(CommandError::UnknownSession { session: session_id(1) }));
    assert_eq!(world.count(Counter::SessionsCut), 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_comes_back_while_its_old_connection_still_stands_ends_that() {
    let (world, guild) = lasting().await;
    let backend = world.backend();
    let mut old = attach(&backend, guild, 1, ADA).await;
    let (secret, known) = (old.secret(), old.known());
    say(&world, guild, 0..2).await;
    let mut new = soon(backend.resume(guild, back(1, ADA, secret, known))).await.unwrap().session;
    hears(&mut new, 0..2).await;
    hears(&mut old, 0..2).await;
    assert_eq!(soon(old.next()).await, Some(Delivery::Detached(DetachReason::Superseded)));
    assert_eq!(soon(old.next()).await, None);
    let gone = soon(old.set_level(Level::Passive)).await.unwrap_err();
    assert_eq!(gone, CallError::Refused(CommandError::SessionSuperseded { session: session_id(1) }));
    assert_eq!(soon(old.set_status(Status::Offline)).await.unwrap_err(), gone);

    // Nothing that is done with the old one ends the new one.
    soon(old.detach()).await.unwrap();
    drop(old);
    settle().await;
    say(&world, guild, 2..3).await;
    hears(&mut new, 2..3).await;
    assert_eq!(world.online(guild).await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_on_another_backend_takes_nothing_along_when_it_goes() {
    let (world, guild) = lasting().await;
    let (here, there) = (world.backend(), world.backend());
    let mut old = attach(&here, guild, 1, ADA).await;
    let mut new = soon(there.resume(guild, back(1, ADA, old.secret(), old.known()))).await.unwrap().session;
    soon(old.detach()).await.unwrap();
    drop(old);
    tokio::time::sleep(2 * WITHIN).await;
    settle().await;
    assert_eq!(world.online(guild).await, 1);
    say(&world, guild, 0..1).await;
    hears(&mut new, 0..1).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_cut_may_be_attached_anew_instead() {
    let (world, guild) = lasting().await;
    let backend = world.backend();
    let (secret, known) = cut(attach(&backend, guild, 1, ADA).await);
    let mut stream = attach(&backend, guild, 1, ADA).await;
    let old = soon(backend.resume(guild, back(1, ADA, secret, known))).await.unwrap_err();
    assert_eq!(old, refused(CommandError::SessionSuperseded { session: session_id(1) }));
    tokio::time::sleep(2 * WITHIN).await;
    say(&world, guild, 0..1).await;
    hears(&mut stream, 0..1).await;
    assert_eq!(world.online(guild).await, 1);
}

#[tokio::test(start_paused = true)]
async fn of_two_that_come_back_with_one_secret_at_once_exactly_one_does() {
    let (world, guild) = lasting().await;
    let (here, there) = (world.backend(), world.backend());
    for (one, two) in [(&here, &here), (&here, &there)] {
        let (secret, known) = cut(attach(&here, guild, 1, ADA).await);
        let resume = back(1, ADA, secret, known);
        let (one, two) = soon(async { tokio::join!(one.resume(guild, resume), two.resume(guild, resume)) }).await;
        let superseded = refused(CommandError::SessionSuperseded { session: session_id(1) });
        let mut won = match (one, two) {
            (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => {
                assert_eq!(lost, superseded);
                won.session
            }
            both => panic!("{both:?}"),
        };
        say(&world, guild, 0..1).await;
        hears(&mut won, 0..1).await;
        soon(won.detach()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_wrong_expired_rotated_away_or_anothers_is_refused_and_uses_nothing_up() {
    let key = |number: u32| SecretKey { number, key: [number as u8; 32] };
    let mut keys = SecretKeys::new(key(1));
    let world = lasting_with(|config| config.resume.keys = Some(keys.clone()));
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let stream = attach(&backend, guild, 1, ADA).await;
    let of_bob = attach(&backend, guild, 2, 2).await.secret();
    let (secret, known) = cut(stream);
    let refused = async |secret: Secret, session, of| {
        let resume = back(session, of, secret, known);
        match soon(backend.resume(guild, resume)).await.unwrap_err() {
            ResumeError::Secret(error) => error,
            other @ ResumeError::Attach(_) => panic!("{other}"),
        }
    };

    let mut bytes = secret.as_bytes().to_vec();
    bytes[40] ^= 1;
    assert_eq!(refused(Secret::from_bytes(&bytes).unwrap(), 1, ADA).await, SecretError::BadSignature);
    assert!(matches!("no secret".parse::<Secret>(), Err(SecretError::Malformed { .. })));
    assert!(matches!(refused(of_bob, 1, ADA).await, SecretError::Foreign { .. }));
    assert!(matches!(refused(secret, 1, 2).await, SecretError::Foreign { .. }));
    assert!(matches!(refused(secret, 2, ADA).await, SecretError::Foreign { .. }));

    // The key before the present one is still good, the one before that is not.
    let mut rotate = |number| {
        keys = keys.rotated(key(number));
        world.rotate_session_keys(keys.clone());
    };
    rotate(2);
    let stream = soon(backend.resume(guild, back(1, ADA, secret, known))).await.unwrap().session;
    let (secret, known) = cut(stream);
    rotate(3);
    rotate(4);
    let resume = back(1, ADA, secret, known);
    let rotated = soon(backend.resume(guild, resume)).await.unwrap_err();
    assert!(matches!(rotated, ResumeError::Secret(SecretError::UnknownKey { .. })), "{rotated:?}");

    let short = World::with(|config| config.resume.secret_lifetime = Duration::ZERO);
    let guild = short.found(1, 2).await;
    let backend = short.backend();
    let stream = attach(&backend, guild, 1, ADA).await;
    let resume = back(1, ADA, stream.secret(), stream.known());
    let expired = soon(backend.resume(guild, resume)).await.unwrap_err();
    assert_eq!(expired, ResumeError::Secret(SecretError::Expired { at: crate::world::NOW }));
}

#[tokio::test(start_paused = true)]
async fn a_position_of_the_future_is_refused_and_the_secret_stays_good() {
    let (world, guild) = lasting().await;
    let backend = world.backend();
    let (secret, known) = cut(attach(&backend, guild, 1, ADA).await);
    let ahead = Position { seq: Seq(known.seq.0 + 1), ..known };
    let future = soon(backend.resume(guild, back(1, ADA, secret, ahead))).await.unwrap_err();
    assert_eq!(future, refused(CommandError::PositionAhead { got: ahead, at: known }));
    let mut never = known;
    never.epoch.0 += 1;
    never.seq = Seq(0);
    let unopened = soon(backend.resume(guild, back(1, ADA, secret, never))).await.unwrap_err();
    assert_eq!(unopened, refused(CommandError::PositionAhead { got: never, at: known }));
    assert!(soon(backend.resume(guild, back(1, ADA, secret, known))).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_position_before_the_ring_is_told_as_a_gap_up_to_where_it_begins() {
    let world = lasting_with(|config| {
        config.ring.entries_max = 64;
        config.relay.ring.entries_max = 64;
    });
    let guild = world.found(1, 3).await;
    let (here, there) = (world.backend(), world.backend());
    for backend in [&here, &there] {
        let (secret, known) = cut(attach(&here, guild, 1, ADA).await);
        say(&world, guild, 0..200).await;
        let resumed = soon(backend.resume(guild, back(1, ADA, secret, known))).await.unwrap();
        let (mut stream, gap) = (resumed.session, resumed.gap.unwrap());
        assert_eq!(gap.after, known);
        assert_eq!(soon(stream.next()).await, Some(Delivery::Gap(gap)));
        assert_eq!(stream.known(), gap.through);
        let lost = gap.through.seq.0 - known.seq.0;
        assert!((136..200).contains(&lost), "{lost}");
        hears(&mut stream, lost..200).await;
        soon(stream.detach()).await.unwrap();
    }
    assert_eq!(world.count(Counter::SessionsResumedWithGap), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_hidden_then_stays_hidden_and_what_was_shown_is_shown() {
    let (world, guild) = lasting().await;
    let there = world.backend();
    let role = Role {
        id: RoleId::new(50).unwrap(),
        name: name("staff"),
        position: 1,
        permissions: Permissions::NONE,
        hoist: false,
        mentionable: false,
    };
    let office = channel_id(7);
    let hidden =
        |target, allow, deny| Command::SetOverwrite { channel: office, overwrite: Overwrite { target, allow, deny } };
    world.ask(guild, Command::CreateRole(role.clone())).await.unwrap();
    world.ask(guild, crate::world::create_channel(7)).await.unwrap();
    let everyone = OverwriteTarget::Role(RoleId::everyone(guild));
    world.ask(guild, hidden(everyone, Permissions::NONE, Permissions::VIEW_CHANNEL)).await.unwrap();
    let of_staff = OverwriteTarget::Role(role.id);
    world.ask(guild, hidden(of_staff, Permissions::VIEW_CHANNEL, Permissions::NONE)).await.unwrap();

    let (secret, known) = cut(attach(&world.backend(), guild, 1, 2).await);
    world.ask(guild, message_in(7, 0)).await.unwrap();
    let give = |roles| {
        let edit = MemberEdit { roles: Some(roles), ..MemberEdit::default() };
        Command::UpdateMember { user: user(2), edit }
    };
    world.ask(guild, give(vec![role.id])).await.unwrap();
    world.ask(guild, message_in(7, 1)).await.unwrap();
    world.ask(guild, Command::DeleteRole { role: role.id }).await.unwrap();
    world.ask(guild, message_in(7, 2)).await.unwrap();
    world.ask(guild, message(3)).await.unwrap();

    let Resumed { session: mut stream, gap } = soon(there.resume(guild, back(1, 2, secret, known))).await.unwrap();
    assert_eq!(gap, None);
    let mut heard = Vec::new();
    while heard.last() != Some(&3) {
        if let Some(Delivery::Event(event)) = soon(stream.next()).await {
            heard.extend(crate::world::number_of(&event));
        }
    }
    assert_eq!(heard, [1, 3]);
}

#[tokio::test(start_paused = true)]
async fn who_was_removed_or_whose_guild_was_deleted_is_told_so() {
    let (world, guild) = lasting().await;
    let backend = world.backend();
    let (secret, known) = cut(attach(&backend, guild, 1, 2).await);
    world.ask(guild, Command::RemoveMember { user: user(2) }).await.unwrap();
    let removed = soon(backend.resume(guild, back(1, 2, secret, known))).await.unwrap_err();
    assert_eq!(removed, refused(CommandError::UnknownMember { user: user(2) }));
    world.ask(guild, crate::world::add_member(2)).await.unwrap();
    let another_time = soon(backend.resume(guild, back(1, 2, secret, known))).await.unwrap_err();
    assert_eq!(another_time, refused(CommandError::UnknownSession { session: session_id(1) }));

    let (secret, known) = cut(attach(&backend, guild, 2, 3).await);
    world.ask(guild, Command::Ban { user: user(3), reason: None }).await.unwrap();
    let banned = soon(backend.resume(guild, back(2, 3, secret, known))).await.unwrap_err();
    assert_eq!(banned, refused(CommandError::UnknownMember { user: user(3) }));

    let (secret, known) = cut(attach(&backend, guild, 3, ADA).await);
    world.ask(guild, Command::DeleteGuild).await.unwrap();
    let deleted = soon(backend.resume(guild, back(3, ADA, secret, known))).await.unwrap_err();
    assert_eq!(deleted, refused(CommandError::UnknownGuild));
}

/// What an owner that ends unclean knew of used secrets is lost: none that it gave out is good after it.
#[tokio::test]
async fn no_secret_is_good_with_the_next_owner_and_who_was_cut_is_not_online_there() {
    let (world, guild) = lasting().await;
    let (here, there) = (world.backend(), world.backend());
    let cut_since = cut(attach(&here, guild, 1, ADA).await);
    // Used, by one that has said goodbye since; the connection before it still stands.
    let used = cut(attach(&here, guild, 2, 2).await);
    let stands = attach(&here, guild, 3, 3).await;
    let of_it = (stands.secret(), stands.known());
    for (session, of, (secret, known)) in [(2, 2, used), (3, 3, of_it)] {
        let mut back = soon(there.resume(guild, back(session, of, secret, known))).await.unwrap().session;
        soon(back.detach()).await.unwrap();
    }
    let newest = attach(&there, guild, 4, ADA).await;
    panicking_job(&world, guild).await;
    // The one that was told last is there: those before it would be.
    world.until_online(guild, 2).await;
    for (session, of, (secret, known)) in [(1, ADA, cut_since), (2, 2, used), (3, 3, of_it), (4, ADA, cut(newest))] {
        for backend in [&here, &there] {
            let over = soon(backend.resume(guild, back(session, of, secret, known))).await.unwrap_err();
            assert_eq!(over, refused(CommandError::UnknownSession { session: session_id(session) }));
        }
        // Attached anew it is as any other.
        let (secret, known) = cut(attach(&there, guild, session, of).await);
        soon(there.resume(guild, back(session, of, secret, known))).await.unwrap();
    }
}

#[tokio::test]
async fn a_secret_of_a_former_membership_is_not_good_with_the_next_owner() {
    let (world, guild) = lasting().await;
    let backend = world.backend();
    let (secret, known) = cut(attach(&backend, guild, 1, 2).await);
    world.ask(guild, Command::Ban { user: user(2), reason: None }).await.unwrap();
    world.ask(guild, Command::Unban { user: user(2) }).await.unwrap();
    world.ask(guild, crate::world::add_member(2)).await.unwrap();
    let _witness = attach(&backend, guild, 2, ADA).await;
    panicking_job(&world, guild).await;
    world.until_online(guild, 1).await;
    let over = soon(backend.resume(guild, back(1, 2, secret, known))).await.unwrap_err();
    assert_eq!(over, refused(CommandError::UnknownSession { session: session_id(1) }));
    settle().await;
    assert_eq!(world.online(guild).await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_on_another_backend_changes_nothing_and_ends_when_it_asks() {
    let (world, guild) = lasting().await;
    let (here, there) = (world.backend(), world.backend());
    let superseded = CallError::Refused(CommandError::SessionSuperseded { session: session_id(1) });
    for asks_for_a_level in [true, false] {
        let mut old = attach(&here, guild, 1, ADA).await;
        let mut new = soon(there.resume(guild, back(1, ADA, old.secret(), old.known()))).await.unwrap().session;
        // It hears on until it asks.
        say(&world, guild, 0..1).await;
        hears(&mut old, 0..1).await;
        let refused = if asks_for_a_level {
            soon(old.set_level(Level::Passive)).await
        } else {
            soon(old.set_status(Status::Offline)).await
        };
        assert_eq!(refused.unwrap_err(), superseded);
        assert_eq!(soon(old.next()).await, Some(Delivery::Detached(DetachReason::Superseded)));
        assert_eq!(soon(old.next()).await, None);
        assert_eq!(soon(old.set_status(Status::Offline)).await.unwrap_err(), superseded);
        drop(old);
        settle().await;
        assert_eq!(world.online(guild).await, 1);
        hears(&mut new, 0..1).await;
        soon(new.set_status(Status::Idle)).await.unwrap();
        soon(new.detach()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_session_of_a_batch_ends_when_it_asks_too() {
    let (world, guild) = lasting().await;
    let (here, there) = (world.backend(), world.backend());
    let mut batches = here.batches(guild).await.unwrap().unwrap();
    let old = here.attach_batch(guild, attachment(1, ADA), 7).await.unwrap();
    let known = world.ask(guild, message(0)).await.unwrap().at();
    let _new = soon(there.resume(guild, back(1, ADA, old.secret(), known))).await.unwrap().session;
    let superseded = CallError::Refused(CommandError::SessionSuperseded { session: session_id(1) });
    assert_eq!(soon(old.set_status(Status::Offline)).await.unwrap_err(), superseded);
    let mut ended = None;
    while ended.is_none() {
        let note = |item: BatchItem<'_>| {
            if let BatchItem::Detached { reason, token } = item {
                ended = Some((reason, token));
            }
        };
        soon(batches.read(64, note)).await;
    }
    assert_eq!((ended, world.online(guild).await), (Some((DetachReason::Superseded, 7)), 1));
}

#[tokio::test(start_paused = true)]
async fn a_passive_session_and_one_of_the_batch_come_back() {
    let (world, guild) = lasting().await;
    let backend = world.backend();
    let passive = Attach { level: Level::Passive, ..attachment(1, ADA) };
    let (secret, known) = cut(backend.attach(guild, passive).await.unwrap());
    say(&world, guild, 0..2).await;
    let mentions = Mentions { users: vec![user(ADA)], ..Mentions::default() };
    let payload = Payload::new("hello").unwrap();
    let call = Publish { channel: channel_id(CHANNEL), payload, mentions, session: None, echo: false };
    let called = world.ask(guild, Command::Publish(call)).await.unwrap().at();
    let resume = Resume { attach: passive, secret, known };
    let mut stream = soon(world.backend().resume(guild, resume)).await.unwrap().session;
    assert_eq!(crate::world::position_of(&soon(stream.next()).await), Some(called));
    let Some(Delivery::Unread(unread)) = soon(stream.next()).await else { panic!("there was news while it was away") };
    assert_eq!((unread.at, unread.channels), (called, vec![channel_id(CHANNEL)]));

    let mut batches = backend.batches(guild).await.unwrap().unwrap();
    let served = backend.attach_batch(guild, attachment(2, 2), 7).await.unwrap();
    let secret = served.secret();
    drop(served);
    let missed = world.ask(guild, message(5)).await.unwrap().at();
    let Resumed { session: served, gap } =
        soon(backend.resume_batch(guild, back(2, 2, secret, called), 8)).await.unwrap();
    assert_eq!((gap, served.session()), (None, session_id(2)));
    let mut shown = Vec::new();
    while shown.len() < 2 {
        let note = |item: BatchItem<'_>| match item {
            BatchItem::Event { event, tokens } => shown.push((tokens.to_vec(), Some(event.position))),
            BatchItem::Detached { reason, token } => {
                assert_eq!(reason, DetachReason::Requested);
                shown.push((vec![token], None));
            }
            other @ (BatchItem::Gap { .. } | BatchItem::Unread { .. } | BatchItem::Ephemeral { .. }) => {
                panic!("{other:?}")
            }
        };
        soon(batches.read(64, note)).await;
    }
    assert!(shown.contains(&(vec![8], Some(missed))) && shown.contains(&(vec![7], None)), "{shown:?}");
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_is_full_refuses_before_the_secret_is_used() {
    let world = lasting_with(|config| config.relay.sessions_max = 1);
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let (secret, known) = cut(attach(&backend, guild, 1, ADA).await);
    let mut other = attach(&backend, guild, 2, 2).await;
    let full = soon(backend.resume(guild, back(1, ADA, secret, known))).await.unwrap_err();
    assert_eq!(full, ResumeError::Attach(AttachError::Full { max: 1 }));
    soon(other.detach()).await.unwrap();
    assert!(soon(backend.resume(guild, back(1, ADA, secret, known))).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_full_refuses_before_the_secret_is_used() {
    let world = lasting_with(|config| config.relay.sessions_max = 4);
    let guild = world.found(1, 9).await;
    let backend = world.backend();
    let (secret, known) = cut(attach(&backend, guild, 1, ADA).await);
    let mut batches = soon(backend.batches(guild)).await.unwrap().unwrap();
    let mut other = 2;
    while backend.attach_batch(guild, attachment(other, other), other).await.is_ok() {
        other += 1;
        assert!(other < 10, "the batch is bounded");
    }
    let resume = back(1, ADA, secret, known);
    let full = soon(backend.resume_batch(guild, resume, 1)).await.unwrap_err();
    assert!(matches!(full, ResumeError::Attach(AttachError::Call(CallError::Overloaded { .. }))), "{full:?}");
    soon(batches.read(64, |_| {})).await;
    assert!(soon(backend.resume_batch(guild, resume, 1)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_loses_the_last_place_after_its_secret_is_used_waits_for_room_or_has_ended() {
    for is_room_made in [true, false] {
        let world = lasting_with(|config| config.relay.sessions_max = 1);
        let guild = world.found(1, 3).await;
        let backend = world.backend();
        let (secret, known) = cut(attach(&backend, guild, 1, ADA).await);
        let mut other = Box::pin(backend.attach(guild, attachment(2, 2)));
        assert!(crate::world::poll_once(&mut other).await.is_pending());
        let mut coming = Box::pin(backend.resume(guild, back(1, ADA, secret, known)));
        assert!(crate::world::poll_once(&mut coming).await.is_pending());
        let mut other = soon(other).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_secs(1), &mut coming).await.is_err(), "it waits for room");
        if is_room_made {
            soon(other.detach()).await.unwrap();
            let mut stream = soon(coming).await.unwrap().session;
            say(&world, guild, 0..1).await;
            hears(&mut stream, 0..1).await;
        } else {
            let ended = soon(coming).await.unwrap_err();
            assert_eq!(ended, refused(CommandError::UnknownSession { session: session_id(1) }));
            settle().await;
            assert_eq!((world.online(guild).await, world.count(Counter::SessionsAbandoned)), (1, 1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_cut_again_and_again_keeps_nothing_of_its_former_connections() {
    let (world, guild) = lasting().await;
    let backend = world.backend();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let began = tokio::time::Instant::now();
    let mut stream = attach(&backend, guild, 1, ADA).await;
    let before = tasks();
    for round in 0..1_000 {
        let (secret, known) = cut(stream);
        stream = if round % 2 == 0 {
            soon(backend.resume(guild, back(1, ADA, secret, known))).await.unwrap().session
        } else {
            attach(&backend, guild, 1, ADA).await
        };
    }
    settle().await;
    assert!(tasks() <= before, "{} tasks, {before} before", tasks());
    soon(stream.detach()).await.unwrap();
    drop(stream);
    until(|| backend.relays() == 0).await;
    assert!(began.elapsed() < WITHIN);
}

#[tokio::test(start_paused = true)]
async fn sessions_that_are_cut_together_take_one_task_and_each_is_given_up_in_its_own_time() {
    let world = lasting_with(|_| {});
    let guild = world.found(1, 600).await;
    let backend = world.backend();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let online = || async { world.online(guild).await };
    let mut streams = Vec::new();
    for number in 1..=600 {
        streams.push(attach(&backend, guild, number, number).await);
    }
    settle().await;
    let before = tasks();
    let later = streams.split_off(400);
    let mut secrets: Vec<(Secret, Position)> = streams.into_iter().map(cut).collect();
    let half = WITHIN / 2;
    tokio::time::sleep(half).await;
    drop(later);
    settle().await;
    assert_eq!((tasks(), online().await), (before + 1, 600));
    // One of the first comes back, and stays.
    let (secret, known) = secrets.swap_remove(7);
    let mut stream = soon(backend.resume(guild, back(8, 8, secret, known))).await.unwrap().session;

    tokio::time::sleep(half + Duration::from_secs(1)).await;
    let abandoned = || world.count(Counter::SessionsAbandoned);
    until(|| abandoned() == 399).await;
    settle().await;
    assert_eq!((tasks(), online().await, abandoned()), (before + 1, 201, 399));
    tokio::time::sleep(half).await;
    world.until_online(guild, 1).await;
    until(|| abandoned() == 599 && tasks() == before).await;
    soon(stream.detach()).await.unwrap();
    drop(stream);
    until(|| backend.relays() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_dropped_while_it_comes_back_is_cut_again() {
    let (world, guild) = lasting().await;
    let backend = world.backend();
    let (secret, known) = cut(attach(&backend, guild, 1, ADA).await);
    let mut coming = Box::pin(backend.resume(guild, back(1, ADA, secret, known)));
    assert!(crate::world::poll_once(&mut coming).await.is_pending());
    drop(coming);
    settle().await;
    assert_eq!((world.online(guild).await, world.count(Counter::SessionsCut)), (1, 2));
    tokio::time::sleep(2 * WITHIN).await;
    world.until_online(guild, 0).await;
}

/// A world in which sessions that are cut may come back, with a guild of three members.
async fn lasting() -> (World, GuildId) {
    let world = lasting_with(|_| {});
    let guild = world.found(1, 3).await;
    (world, guild)
}

fn lasting_with(change: impl FnOnce(&mut NodeConfig)) -> World {
    World::with(|config| {
        config.resume.within = WITHIN;
        change(config);
    })
}

async fn say(world: &World, guild: GuildId, numbers: std::ops::Range<u64>) {
    for number in numbers {
        world.ask(guild, message(number)).await.unwrap();
    }
}

async fn hears(stream: &mut SessionStream, numbers: std::ops::Range<u64>) {
    for number in numbers {
        assert_eq!(number_in(soon(stream.next()).await), number);
    }
}

/// Breaks a session's connection; what its client has then.
fn cut(stream: SessionStream) -> (Secret, Position) {
    (stream.secret(), stream.known())
}

fn back(session: u64, of: u64, secret: Secret, known: Position) -> Resume {
    let attach = Attach { status: Status::Online, ..attachment(session, of) };
    Resume { attach, secret, known }
}

fn refused(error: CommandError) -> ResumeError {
    ResumeError::Attach(AttachError::Call(CallError::Refused(error)))
}

#[test]
fn backends_may_be_sent_to_other_threads() {
    fn send<T: Send + Sync>() {}
    send::<Backend>();
}
