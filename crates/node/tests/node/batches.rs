//! Sessions that one consumer serves.

use std::collections::BTreeMap;

use guildhall_node::{BatchItem, Delivery, DetachReason, SessionStream};
use guildhall_proto::{Command, GuildId, MemberEdit, Overwrite, OverwriteTarget, Permissions, Position, Role, RoleId};

use crate::world::{
    ADA, Dice, World, add_member, attach, attachment, channel_id, create_channel, message, message_in, name, poll_once,
    settle, soon, user,
};

/// What a session heard, short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Event(Position),
    Gap,
    Detached(DetachReason),
}

/// `None` for what is told beside the events: of that, who lags more hears less.
fn heard(delivery: Delivery) -> Option<Heard> {
    match delivery {
        Delivery::Event(event) => Some(Heard::Event(event.position)),
        Delivery::Gap(_) => Some(Heard::Gap),
        Delivery::Unread(unread) => panic!("an active session hears all itself: {unread:?}"),
        Delivery::Ephemeral(_) => None,
        Delivery::Detached(reason) => Some(Heard::Detached(reason)),
    }
}

fn note(shown: &mut BTreeMap<u64, Vec<Heard>>, item: BatchItem<'_>) {
    match item {
        BatchItem::Event { event, tokens } => {
            tokens.iter().for_each(|token| shown.entry(*token).or_default().push(Heard::Event(event.position)));
        }
        BatchItem::Gap { tokens, .. } => {
            tokens.iter().for_each(|token| shown.entry(*token).or_default().push(Heard::Gap));
        }
        BatchItem::Unread { unread, .. } => panic!("active sessions hear all themselves: {unread:?}"),
        BatchItem::Ephemeral { .. } => {}
        BatchItem::Detached { reason, token } => shown.entry(token).or_default().push(Heard::Detached(reason)),
    }
}

fn role(number: u64) -> RoleId {
    RoleId::new(number).unwrap()
}

/// Some change or message, by the dice.
fn something(dice: &mut Dice) -> Command {
    let channel = channel_id(2 + dice.roll(4));
    let view = Permissions::VIEW_CHANNEL;
    let (allow, deny) = if dice.roll(2) == 0 { (view, Permissions::NONE) } else { (Permissions::NONE, view) };
    let target = match dice.roll(3) {
        0 => OverwriteTarget::Role(RoleId::everyone(GuildId::new(1).unwrap())),
        1 => OverwriteTarget::Role(role(100 + dice.roll(4))),
        _ => OverwriteTarget::User(user(2 + dice.roll(20))),
    };
    match dice.roll(20) {
        0 => Command::SetOverwrite { channel, overwrite: Overwrite { target, allow, deny } },
        1 => Command::RemoveOverwrite { channel, target },
        2 => {
            let roles = (100..104).filter(|_| dice.roll(2) == 0).map(role).collect();
            let edit = MemberEdit { roles: Some(roles), ..MemberEdit::default() };
            Command::UpdateMember { user: user(2 + dice.roll(20)), edit }
        }
        3 => Command::RemoveMember { user: user(2 + dice.roll(300)) },
        4 => add_member(2 + dice.roll(300)),
        5 => Command::DeleteRole { role: role(100 + dice.roll(400)) },
        _ => message_in(channel.get(), 0),
    }
}

#[tokio::test]
async fn batch_sessions_hear_exactly_what_streams_hear() {
    for seed in 1..=3 {
        let mut dice = Dice(0x9E37_79B9 + seed);
        let world = World::new();
        let guild = world.found(1, 21).await;
        for number in 3..6 {
            world.ask(guild, create_channel(number)).await.unwrap();
        }
        for number in 100..104 {
            let role = Role {
                id: role(number),
                name: name("role"),
                position: 1,
                permissions: Permissions::NONE,
                hoist: false,
                mentionable: false,
            };
            world.ask(guild, Command::CreateRole(role)).await.unwrap();
        }
        let backend = world.backend();
        let mut batches = backend.batches(guild).await.unwrap().unwrap();
        assert!(backend.batches(guild).await.unwrap().is_none());

        let mut streams: BTreeMap<u64, SessionStream> = BTreeMap::new();
        let mut in_batch = Vec::new();
        for number in 1..=21 {
            let members = number % 3 == 0;
            let stream = guildhall_node::Attach { members, ..attachment(number, number) };
            let batch = guildhall_node::Attach { members, ..attachment(1_000 + number, number) };
            streams.insert(number, backend.attach(guild, stream).await.unwrap());
            in_batch.push(backend.attach_batch(guild, batch, number).await.unwrap());
        }

        let (mut by_stream, mut by_batch) = (BTreeMap::<u64, Vec<Heard>>::new(), BTreeMap::new());
        for _ in 0..100 {
            let burst = 1 + dice.roll(60);
            let pending: Vec<_> = (0..burst).map(|_| world.post(guild, something(&mut dice)).unwrap()).collect();
            for pending in pending {
                // Refusals are part of it.
                let _outcome = soon(pending.answer()).await;
            }
            settle().await;
            for (number, stream) in &mut streams {
                while let std::task::Poll::Ready(Some(delivery)) = poll_once(&mut Box::pin(stream.next())).await {
                    by_stream.entry(*number).or_default().extend(heard(delivery));
                }
            }
            let few = 1 + dice.roll(40) as usize;
            while poll_once(&mut Box::pin(batches.read(few, |item| note(&mut by_batch, item)))).await.is_ready() {}
        }
        let events: usize = by_stream.values().map(Vec::len).sum();
        assert!(events > 3_000, "{events} deliveries");
        for (number, heard) in &by_stream {
            assert_eq!(by_batch.get(number), Some(heard), "session of user {number}, seed {seed}");
            assert!(!heard.contains(&Heard::Gap));
        }
        assert!(
            by_stream.values().any(|heard| matches!(heard.last(), Some(Heard::Detached(DetachReason::MemberLeft))))
        );
        assert!(by_batch.len() == by_stream.len());
    }
}

#[tokio::test]
async fn events_for_nobody_here_do_not_put_the_consumer_to_sleep_on_the_rest() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    world.ask(guild, create_channel(3)).await.unwrap();
    let everyone = OverwriteTarget::Role(RoleId::everyone(guild));
    let overwrite = Overwrite { target: everyone, allow: Permissions::NONE, deny: Permissions::VIEW_CHANNEL };
    world.ask(guild, Command::SetOverwrite { channel: channel_id(3), overwrite }).await.unwrap();
    let backend = world.backend();
    let mut batches = backend.batches(guild).await.unwrap().unwrap();
    let _session = backend.attach_batch(guild, attachment(1, 2), 7).await.unwrap();
    for number in 0..10 {
        world.ask(guild, message_in(3, number)).await.unwrap();
    }
    world.ask(guild, message(10)).await.unwrap();
    settle().await;
    // What was news was taken note of before: from here on nothing but the ring says that there is more.
    let mut shown = BTreeMap::new();
    assert!(soon(batches.read(1, |item| note(&mut shown, item))).await);
    assert_eq!(shown[&7].len(), 1);
}

#[tokio::test]
async fn a_consumer_that_goes_is_followed_by_the_next() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let batches = backend.batches(guild).await.unwrap().unwrap();
    let mut session = backend.attach_batch(guild, attachment(1, ADA), 7).await.unwrap();
    let stream = attach(&backend, guild, 2, 2).await;
    drop(batches);
    let mut batches = backend.batches(guild).await.unwrap().unwrap();
    world.ask(guild, message(1)).await.unwrap();
    let mut shown = BTreeMap::new();
    assert!(soon(batches.read(10, |item| note(&mut shown, item))).await);
    let at = soon(session.detach()).await.unwrap();
    assert!(soon(batches.read(10, |item| note(&mut shown, item))).await);
    assert_eq!(shown[&7], [Heard::Event(at), Heard::Detached(DetachReason::Requested)]);
    drop((stream, session, batches));
    crate::world::until(|| backend.relays() == 0).await;
}
