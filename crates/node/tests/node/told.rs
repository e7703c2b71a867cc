//! Typing and presence, end to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use guildhall_node::{Attach, Backend, BatchItem, Clock, Counter, Delivery, MailboxConfig, Quota, SessionStream};
use guildhall_proto::limits::TYPING_EVERY;
use guildhall_proto::{
    CallError, Command, CommandError, EphemeralKind, GuildId, Level, Overwrite, OverwriteTarget, Permissions, RoleId,
    Status,
};

use crate::store::Mode;
use crate::world::{
    ADA, CHANNEL, NOW, World, add_member, attach, attachment, channel_id, message, number_in, poll_once, settle, soon,
    until, user,
};

async fn wanting_members(backend: &Backend, guild: GuildId, session: u64, number: u64) -> SessionStream {
    backend.attach(guild, Attach { members: true, ..attachment(session, number) }).await.unwrap()
}

/// Who types next, as the session hears.
async fn typist(session: &mut SessionStream) -> u64 {
    match soon(session.next()).await {
        Some(Delivery::Ephemeral(told)) => match told.kind {
            EphemeralKind::Typing { channel, user, .. } => {
                assert_eq!(channel, channel_id(CHANNEL));
                user.get()
            }
            kind @ EphemeralKind::Presence { .. } => panic!("not typing: {kind:?}"),
        },
        other => panic!("not typing: {other:?}"),
    }
}

/// Whose presence comes next, and what it is.
async fn presence(session: &mut SessionStream) -> (u64, Status) {
    match soon(session.next()).await {
        Some(Delivery::Ephemeral(told)) => match told.kind {
            EphemeralKind::Presence { user, status } => (user.get(), status),
            kind @ EphemeralKind::Typing { .. } => panic!("no presence: {kind:?}"),
        },
        other => panic!("no presence: {other:?}"),
    }
}

/// A world whose clock the test turns, in milliseconds.
fn timed() -> (World, Arc<AtomicU64>) {
    let passed = Arc::new(AtomicU64::new(0));
    let reads = Arc::clone(&passed);
    let clock = Clock::from_fn(move || NOW.plus(Duration::from_millis(reads.load(Ordering::SeqCst))));
    (World::with(|config| config.clock = clock), passed)
}

#[tokio::test]
async fn typing_reaches_the_active_sessions_of_every_backend_but_the_typists_own() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let (here, there) = (world.backend(), world.backend());
    let mut own = attach(&here, guild, 1, ADA).await;
    let mut near = attach(&here, guild, 2, 2).await;
    let mut far = attach(&there, guild, 3, 3).await;
    let passive = Attach { level: Level::Passive, ..attachment(4, 3) };
    let mut passive = there.attach(guild, passive).await.unwrap();
    let mut batches = there.batches(guild).await.unwrap().unwrap();
    let _served = there.attach_batch(guild, attachment(5, 3), 7).await.unwrap();

    soon(world.typing(guild, user(ADA), channel_id(CHANNEL))).await.unwrap();
    assert_eq!((typist(&mut near).await, typist(&mut far).await), (ADA, ADA));
    let mut shown = 0;
    while shown == 0 {
        let note = |item: BatchItem<'_>| {
            if let BatchItem::Ephemeral { ephemeral, tokens } = item {
                assert_eq!((ephemeral.subject().user, tokens), (user(ADA), &[7][..]));
                shown += 1;
            }
        };
        soon(batches.read(64, note)).await;
    }
    // The next that the others hear is a message, or nothing.
    soon(world.ask(guild, message(1))).await.unwrap();
    assert_eq!(number_in(soon(own.next()).await), 1);
    assert!(matches!(soon(passive.next()).await, Some(Delivery::Unread(_))));
}

#[tokio::test]
async fn who_may_not_publish_is_refused() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let refused = |error| Err(CallError::Refused(error));
    let unknown = CommandError::UnknownChannel { channel: channel_id(9) };
    assert_eq!(soon(world.typing(guild, user(2), channel_id(9))).await, refused(unknown));
    let unknown = CommandError::UnknownMember { user: user(99) };
    assert_eq!(soon(world.typing(guild, user(99), channel_id(CHANNEL))).await, refused(unknown));
    let everyone = OverwriteTarget::Role(RoleId::everyone(guild));
    let overwrite = Overwrite { target: everyone, allow: Permissions::NONE, deny: Permissions::SEND_MESSAGES };
    let mute = Command::SetOverwrite { channel: channel_id(CHANNEL), overwrite };
    soon(world.ask(guild, mute)).await.unwrap();
    let missing = CommandError::MissingPermissions { missing: Permissions::SEND_MESSAGES };
    assert_eq!(soon(world.typing(guild, user(2), channel_id(CHANNEL))).await, refused(missing));
    let nowhere = world.typing(GuildId::new(77).unwrap(), user(2), channel_id(CHANNEL));
    assert_eq!(soon(nowhere).await, refused(CommandError::UnknownGuild));
    assert_eq!(world.count(Counter::EphemeralsTold), 0);
}

#[tokio::test]
async fn who_goes_on_typing_is_told_of_now_and_then() {
    let (world, passed) = timed();
    let guild = world.found(1, 3).await;
    let mut listener = attach(&world.backend(), guild, 1, 2).await;
    let types = || soon(world.typing(guild, user(ADA), channel_id(CHANNEL)));
    types().await.unwrap();
    assert_eq!(typist(&mut listener).await, ADA);
    for _ in 0..10 {
        types().await.unwrap();
    }
    assert_eq!(world.count(Counter::TypingRepeated), 10);
    passed.fetch_add(TYPING_EVERY.as_millis() as u64, Ordering::SeqCst);
    types().await.unwrap();
    assert_eq!(typist(&mut listener).await, ADA);
    assert_eq!((world.count(Counter::TypingRepeated), world.count(Counter::EphemeralsTold)), (10, 3));
}

#[tokio::test]
async fn presence_is_what_a_users_sessions_say_together() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let mut watcher = wanting_members(&backend, guild, 1, ADA).await;
    let mut other = attach(&backend, guild, 2, 3).await;
    assert_eq!(presence(&mut watcher).await, (3, Status::Online));

    let mut phone = attach(&backend, guild, 3, 2).await;
    assert_eq!(presence(&mut watcher).await, (2, Status::Online));
    let mut desk = attach(&world.backend(), guild, 4, 2).await;
    soon(desk.set_status(Status::Idle)).await.unwrap();
    soon(phone.detach()).await.unwrap();
    assert_eq!(presence(&mut watcher).await, (2, Status::Idle));
    soon(desk.detach()).await.unwrap();
    assert_eq!(presence(&mut watcher).await, (2, Status::Offline));

    // A session that is dropped is detached too.
    drop(attach(&backend, guild, 5, 2).await);
    let mut told = presence(&mut watcher).await;
    if told == (2, Status::Online) {
        told = presence(&mut watcher).await;
    }
    assert_eq!(told, (2, Status::Offline));
    // Who did not ask for members hears nothing of it.
    soon(world.ask(guild, message(1))).await.unwrap();
    assert_eq!(number_in(soon(other.next()).await), 1);
}

#[tokio::test]
async fn typing_overtakes_no_revoke_while_the_store_holds_it_back() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let mut listener = attach(&world.backend(), guild, 1, 2).await;
    let everyone = OverwriteTarget::Role(RoleId::everyone(guild));
    let overwrite = Overwrite { target: everyone, allow: Permissions::NONE, deny: Permissions::VIEW_CHANNEL };
    world.store.set(Mode::HoldAfter);
    let hidden = world.post(guild, Command::SetOverwrite { channel: channel_id(CHANNEL), overwrite }).unwrap();
    until(|| world.store.held() == 1).await;
    // The guild's owner sees every channel.
    let mut typing = Box::pin(world.typing(guild, user(ADA), channel_id(CHANNEL)));
    assert!(poll_once(&mut typing).await.is_pending());
    settle().await;
    // The listener's own presence, and no typing.
    assert_eq!(world.count(Counter::EphemeralsTold), 1);
    world.store.release();
    soon(hidden.answer()).await.unwrap();
    soon(typing).await.unwrap();
    assert!(matches!(soon(listener.next()).await, Some(Delivery::Event(_))));
    settle().await;
    assert!(poll_once(&mut Box::pin(listener.next())).await.is_pending());
}

#[tokio::test]
async fn a_full_class_of_typing_is_refused_with_a_pause_and_the_others_are_not() {
    let roomy = Quota { items: 1_000, bytes: 1_000_000 };
    let ephemeral = Quota { items: 2, ..roomy };
    let world = World::with(|config| {
        config.turn.unsettled_max = 1;
        config.mailbox = MailboxConfig { durable: roomy, message: roomy, session: roomy, ephemeral };
    });
    let guild = world.found(1, 9).await;
    let mut listener = attach(&world.backend(), guild, 1, ADA).await;
    world.store.set(Mode::HoldAfter);
    let held = world.post(guild, add_member(900)).unwrap();
    until(|| world.store.held() == 1).await;

    let mut waiting: Vec<_> =
        (2..4).map(|number| Box::pin(world.typing(guild, user(number), channel_id(CHANNEL)))).collect();
    for typing in &mut waiting {
        assert!(poll_once(typing).await.is_pending());
    }
    let refused = world.typing(guild, user(4), channel_id(CHANNEL)).await;
    assert!(matches!(refused, Err(CallError::Overloaded { retry_after }) if !retry_after.is_zero()), "{refused:?}");
    assert_eq!(world.count(Counter::RefusedEphemeral), 1);
    let said = world.post(guild, message(1)).unwrap();
    let added = world.post(guild, add_member(901)).unwrap();

    world.store.release();
    for pending in [held, said, added] {
        soon(pending.answer()).await.unwrap();
    }
    for typing in waiting {
        soon(typing).await.unwrap();
    }
    // All is heard: the message, and who typed.
    let mut heard = Vec::new();
    while heard.len() < 3 {
        match soon(listener.next()).await {
            Some(Delivery::Event(event)) => heard.push(crate::world::number_of(&event).expect("a message")),
            Some(Delivery::Ephemeral(told)) => heard.push(told.subject().user.get()),
            other => panic!("{other:?}"),
        }
    }
    heard.sort_unstable();
    assert_eq!(heard, [1, 2, 3]);
}

#[tokio::test]
async fn a_flood_of_typing_is_counted_where_it_leaves_and_loses_no_message() {
    const TYPISTS: u64 = 200;
    let world = World::with(|config| {
        config.told.subjects_max = 16;
        config.relay.told.subjects_max = 16;
    });
    let guild = world.found(1, TYPISTS + 1).await;
    let mut listener = attach(&world.backend(), guild, 1, ADA).await;
    for number in 0..TYPISTS {
        soon(world.typing(guild, user(number + 2), channel_id(CHANNEL))).await.unwrap();
        soon(world.ask(guild, message(number))).await.unwrap();
    }
    let mut messages = 0;
    while messages < TYPISTS {
        match soon(listener.next()).await {
            Some(Delivery::Event(event)) => {
                assert_eq!(crate::world::number_of(&event), Some(messages));
                messages += 1;
            }
            Some(Delivery::Ephemeral(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(world.count(Counter::EphemeralsTold), TYPISTS + 1);
    assert!(world.count(Counter::EphemeralsPushedOut) >= TYPISTS - 16);
}

#[tokio::test]
async fn after_an_owners_end_presence_is_told_anew() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let mut watcher = wanting_members(&backend, guild, 1, ADA).await;
    let _other = attach(&backend, guild, 2, 2).await;
    assert_eq!(presence(&mut watcher).await, (2, Status::Online));
    let panicked = world.filter(guild, |_, _| panic!("the job of this test panics")).await;
    assert!(panicked.is_err());
    let gap = soon(watcher.next()).await;
    assert!(matches!(gap, Some(Delivery::Gap(_))), "{gap:?}");
    let mut told = vec![presence(&mut watcher).await, presence(&mut watcher).await];
    told.sort_unstable();
    assert_eq!(told, [(ADA, Status::Online), (2, Status::Online)]);
    soon(world.typing(guild, user(2), channel_id(CHANNEL))).await.unwrap();
    assert_eq!(typist(&mut watcher).await, 2);
}
