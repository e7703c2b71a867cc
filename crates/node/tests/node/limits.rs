//! Every queue: what happens when it is full, that it is counted, and that others do not notice.

use std::sync::Arc;
use std::sync::mpsc;

use guildhall_node::{AttachError, Counter, MailboxConfig, Quota};
use guildhall_proto::limits::USER_SESSIONS_MAX;
use guildhall_proto::{
    Actor, CallError, ChannelId, Command, CommandError, GuildEdit, GuildId, Limited, Payload, Permissions, Publish,
    RoleId, Status,
};
use parking_lot::Mutex;

use crate::store::Mode;
use crate::world::{
    ADA, World, add_member, attach, attachment, message, name, new_member, poll_once, session_id, settle, soon, until,
    user,
};

const ROOMY: Quota = Quota { items: 1_000, bytes: 1_000_000 };

/// A node whose owners take nothing while one turn waits for the store.
fn narrow(mailbox: MailboxConfig) -> World {
    World::with(|config| {
        config.turn.unsettled_max = 1;
        config.mailbox = mailbox;
    })
}

/// Has the guild's owner held up by the store.
async fn hold_up(world: &World, guild: GuildId) -> guildhall_node::Pending {
    world.store.set(Mode::HoldAfter);
    let pending = world.post(guild, add_member(900)).unwrap();
    until(|| world.store.held() == 1).await;
    pending
}

fn is_overloaded(error: &CallError) -> bool {
    matches!(error, CallError::Overloaded { retry_after } if !retry_after.is_zero())
}

#[tokio::test]
async fn a_full_class_is_refused_with_a_pause_and_the_other_classes_are_not() {
    let two = Quota { items: 2, bytes: 1_000_000 };
    let world = narrow(MailboxConfig { durable: two, message: two, session: two, ephemeral: two });
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let session = attach(&backend, guild, 1, ADA).await;
    let held = hold_up(&world, guild).await;
    let inputs = world.count(Counter::Inputs);

    let mut pending = Vec::new();
    for number in 1..=2 {
        pending.push(world.post(guild, message(number)).unwrap());
    }
    assert!(is_overloaded(&world.post(guild, message(3)).unwrap_err()));
    for number in 1..=2 {
        pending.push(world.post(guild, add_member(100 + number)).unwrap());
    }
    assert!(is_overloaded(&world.ask(guild, add_member(103)).await.unwrap_err()));
    let mut waiting: Vec<_> =
        [Status::Idle, Status::DoNotDisturb].map(|status| Box::pin(session.set_status(status))).into();
    for status in &mut waiting {
        assert!(poll_once(status).await.is_pending());
    }
    assert!(is_overloaded(&session.set_status(Status::Offline).await.unwrap_err()));
    let refused = backend.attach(guild, attachment(2, 2)).await.unwrap_err();
    assert!(matches!(&refused, AttachError::Call(error) if is_overloaded(error)), "{refused:?}");

    // The owner took nothing meanwhile, and refusals are counted by class.
    settle().await;
    assert_eq!(world.count(Counter::Inputs), inputs);
    let counts = world.counts();
    assert_eq!(
        [Counter::RefusedMessage, Counter::RefusedDurable, Counter::RefusedSession].map(|counter| counts.of(counter)),
        [1, 1, 2]
    );

    world.store.release();
    soon(held.answer()).await.unwrap();
    for pending in pending {
        soon(pending.answer()).await.unwrap();
    }
    for status in waiting {
        soon(status).await.unwrap();
    }
    assert_eq!(world.view(guild).await.unwrap().status(user(ADA)), Some(Status::DoNotDisturb));
    soon(backend.attach(guild, attachment(2, 2))).await.unwrap();
}

#[tokio::test]
async fn what_is_too_large_to_be_encoded_is_refused_but_only_where_there_is_room() {
    let two = Quota { items: 2, bytes: 1_000_000 };
    let world = narrow(MailboxConfig { durable: two, message: ROOMY, session: ROOMY, ephemeral: ROOMY });
    let guild = world.found(1, 3).await;
    let held = hold_up(&world, guild).await;
    let first = world.post(guild, add_member(101)).unwrap();
    let second = world.post(guild, add_member(102)).unwrap();

    let positions = vec![(ChannelId::new(u64::MAX - 1).unwrap(), 1); 32 * 1024 * 1024 / 10 + 1];
    let too_large = Command::ReorderChannels { positions };
    assert!(is_overloaded(&world.post(guild, too_large.clone()).unwrap_err()), "it is looked at, to be refused");
    world.store.release();
    for pending in [held, first, second] {
        soon(pending.answer()).await.unwrap();
    }
    assert_eq!(world.post(guild, too_large.clone()).unwrap_err(), CallError::Refused(CommandError::TooLarge));
    assert_eq!(world.ask(guild, too_large).await.unwrap_err(), CallError::Refused(CommandError::TooLarge));
}

#[tokio::test]
async fn a_class_is_bounded_in_bytes_too() {
    let message = Quota { items: 1_000, bytes: 100_000 };
    let world = narrow(MailboxConfig { durable: ROOMY, message, session: ROOMY, ephemeral: ROOMY });
    let guild = world.found(1, 3).await;
    let _held = hold_up(&world, guild).await;
    let large = |bytes: usize| {
        let Command::Publish(mut publish) = crate::world::message(1) else { unreachable!("a message") };
        publish.payload = Payload::new(vec![0; bytes]).unwrap();
        Command::Publish(publish)
    };
    let mut taken = 0;
    while world.post(guild, large(30_000)).is_ok() {
        taken += 1;
    }
    assert_eq!(taken, 3);
    // A small one still finds room.
    assert!(world.post(guild, large(1_000)).is_ok());
    world.store.release();
}

#[tokio::test]
async fn an_owner_holds_no_more_unsettled_turns_than_it_may() {
    let world = World::with(|config| {
        config.turn.unsettled_max = 3;
        config.turn.inputs_max = 1;
    });
    let guild = world.found(1, 3).await;
    world.store.set(Mode::HoldAfter);
    let inputs = world.count(Counter::Inputs);
    let pending: Vec<_> = (10..20).map(|number| world.post(guild, add_member(number)).unwrap()).collect();
    until(|| world.store.held() == 3).await;
    settle().await;
    assert_eq!((world.store.held(), world.count(Counter::Inputs) - inputs), (3, 3));
    world.store.release();
    for pending in pending {
        soon(pending.answer()).await.unwrap();
    }
}

#[tokio::test]
async fn one_scan_too_many_is_refused_and_views_are_read_all_the_same() {
    let world = World::with(|config| config.offload.scans_max = 1);
    let guild = world.found(1, 3).await;
    let (release, held) = mpsc::channel::<()>();
    let (enter, entered) = mpsc::channel();
    let held = Mutex::new(held);
    let mut scan = Box::pin(world.filter(guild, move |_, _| {
        enter.send(()).unwrap();
        held.lock().recv().is_ok()
    }));
    assert!(poll_once(&mut scan).await.is_pending());
    entered.recv().unwrap();

    let refused = world.everybody(guild).await.unwrap_err();
    assert!(is_overloaded(&refused), "{refused:?}");
    assert_eq!(world.count(Counter::RefusedScan), 1);
    assert_eq!(world.members(guild, None, 10).await.unwrap().1.len(), 3);
    soon(world.ask(guild, add_member(50))).await.unwrap();

    drop(release);
    let found = soon(scan).await.unwrap();
    assert!(soon(found.all()).await.unwrap().is_empty());
    assert_eq!(soon(world.everybody(guild)).await.unwrap().len(), 4);
}

#[tokio::test]
async fn without_room_for_discards_all_is_dropped_in_place_and_counted() {
    let world = World::with(|config| {
        config.offload.discards_max = 0;
        config.ring.entries_max = 16;
    });
    let guild = world.found(1, 3).await;
    for number in 0..100 {
        soon(world.ask(guild, message(number))).await.unwrap();
    }
    assert!(world.count(Counter::DroppedInPlace) >= 3);
    world.stop().await;
}

#[tokio::test]
async fn a_node_with_all_its_guilds_refuses_another_until_one_has_gone() {
    let world = World::with(|config| config.guilds_max = 2);
    let (first, _) = (world.found(1, 2).await, world.found(2, 2).await);
    let third = GuildId::new(3).unwrap();
    let create = || Command::CreateGuild {
        name: crate::world::name("third"),
        everyone: guildhall_proto::Permissions::NONE,
        owner: crate::world::new_member(ADA),
    };
    for _ in 0..2 {
        let refused = world.ask(third, create()).await;
        assert!(matches!(&refused, Err(error) if is_overloaded(error)), "{refused:?}");
    }
    assert_eq!((world.count(Counter::GuildsLoaded), world.count(Counter::RefusedGuild), world.awake()), (2, 2, 2));

    // A guild that has retired, with nobody to bring it back, leaves its place to who needs one.
    let panicked = world.filter(first, |_, _| panic!("the job of this test panics")).await;
    assert!(panicked.is_err());
    until(|| world.count(Counter::RetiredByJob) == 1).await;
    settle().await;
    soon(world.ask(third, create())).await.unwrap();
    assert!(is_overloaded(&world.view(first).await.unwrap_err()));
}

#[tokio::test]
async fn a_relay_with_all_its_sessions_refuses_another_and_the_owner_does_not_keep_it() {
    let world = World::with(|config| config.relay.sessions_max = 1);
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let session = attach(&backend, guild, 1, 1).await;
    let refused = backend.attach(guild, attachment(2, 2)).await.unwrap_err();
    assert_eq!(refused, AttachError::Full { max: 1 });
    assert_eq!(world.online(guild).await, 1);
    drop(session);
    world.until_online(guild, 0).await;
    attach(&backend, guild, 2, 2).await;
}

#[tokio::test]
async fn a_user_with_all_its_sessions_is_refused_another_and_keeps_those() {
    let world = Arc::new(World::new());
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let mut sessions = Vec::new();
    for number in 1..=USER_SESSIONS_MAX as u64 {
        sessions.push(attach(&backend, guild, number, ADA).await);
    }
    let refused = backend.attach(guild, attachment(100, ADA)).await.unwrap_err();
    let limit = CommandError::LimitExceeded { what: Limited::UserSessions, got: USER_SESSIONS_MAX as u32 + 1 };
    assert_eq!(refused, AttachError::Call(CallError::Refused(limit)));
    // Its id is free again, and another user has room.
    let session = attach(&backend, guild, 100, 2).await;
    assert_eq!(world.online(guild).await, 2);

    // Another user's session is refused here and goes on there.
    let elsewhere = world.backend();
    let refused = elsewhere.attach(guild, attachment(100, 3)).await.unwrap_err();
    let foreign = CommandError::ForeignSession { session: session_id(100) };
    assert_eq!(refused, AttachError::Call(CallError::Refused(foreign)));
    settle().await;
    assert_eq!(world.online(guild).await, 2);
    assert_eq!((session.session(), elsewhere.relays()), (session_id(100), 0));
}

#[tokio::test]
async fn turns_that_wait_for_the_store_are_bounded_in_bytes_too() {
    let world = World::with(|config| {
        config.turn.inputs_max = 1;
        config.turn.unsettled_bytes_max = 100_000;
    });
    let guild = world.found(1, 3).await;
    world.store.set(Mode::HoldAfter);
    let first = world.post(guild, add_member(900)).unwrap();
    until(|| world.store.held() == 1).await;
    let large = || {
        let Command::Publish(publish) = message(1) else { panic!("a message is published") };
        Command::Publish(Publish { payload: Payload::new(vec![0; 60_000]).unwrap(), ..publish })
    };
    let taken = world.count(Counter::Inputs);
    let pending: Vec<_> = (0..10).map(|_| world.post(guild, large()).unwrap()).collect();
    settle().await;
    // The second goes over the bound, and with it the owner takes no more.
    assert_eq!(world.count(Counter::Inputs) - taken, 2);
    world.store.release();
    soon(first.answer()).await.unwrap();
    for pending in pending {
        soon(pending.answer()).await.unwrap();
    }
}

#[tokio::test]
async fn guilds_that_are_refused_or_deleted_keep_no_place() {
    let world = World::with(|config| config.guilds_max = 2);
    let create = || Command::CreateGuild { name: name("g"), everyone: Permissions::NONE, owner: new_member(ADA) };
    for number in 100..110 {
        let mut by_user = world.operation(create());
        by_user.actor = Actor::User(user(9));
        let refused = world.call(GuildId::new(number).unwrap(), by_user).await;
        assert_eq!(refused, Err(CallError::Refused(CommandError::SystemOnly)));
        // Refused by the guild itself: an owner who holds a role that is not there.
        let mut owner = new_member(ADA);
        owner.roles.push(RoleId::MIN);
        let create = Command::CreateGuild { name: name("g"), everyone: Permissions::NONE, owner };
        assert!(matches!(world.ask(GuildId::new(number).unwrap(), create).await, Err(CallError::Refused(_))));
    }
    for number in 1..=10 {
        let guild = world.found(number, 1).await;
        world.ask(guild, Command::DeleteGuild).await.unwrap();
        assert_eq!(world.view(guild).await.err(), Some(CallError::Refused(CommandError::UnknownGuild)));
        assert_eq!(world.ask(guild, create()).await, Err(CallError::Refused(CommandError::GuildExists)));
        // The last checkpoint of a deleted guild is on its way for a moment.
        until(|| world.awake() == 0).await;
    }
    world.found(11, 1).await;
    world.found(12, 1).await;
}

#[tokio::test]
async fn commands_that_change_nothing_do_not_fill_the_store() {
    let world = World::with(|config| config.guild.checkpoints.changes_min = 100);
    let guild = world.found(1, 3).await;
    for _ in 0..1_000 {
        world.ask(guild, Command::UpdateGuild(GuildEdit { name: Some(name("guild")) })).await.unwrap();
    }
    until(|| world.store.records(guild) < 300).await;
}
