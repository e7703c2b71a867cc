//! What a turn lets out waits for the store, and leaves in order.

use guildhall_node::{Counter, Delivery};
use guildhall_proto::{CallError, CommandError, EventKind};

use crate::store::Mode;
use crate::world::{ADA, World, add_member, attachment, message, number_of, poll_once, settle, soon, until, user};

#[tokio::test]
async fn nothing_of_a_change_is_seen_before_it_is_stored() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let backend = world.backend();
    let curious = guildhall_node::Attach { members: true, ..attachment(1, ADA) };
    let mut session = backend.attach(guild, curious).await.unwrap();
    let before = world.view(guild).await.unwrap().position();

    world.store.set(Mode::HoldAfter);
    let mut joins = Box::pin(world.post(guild, add_member(50)).unwrap().answer());
    until(|| world.store.held() == 1).await;
    // A refusal that knows of the change, and a message behind it, wait as the change does.
    let mut refused = Box::pin(world.post(guild, add_member(50)).unwrap().answer());
    let mut published = Box::pin(world.post(guild, message(1)).unwrap().answer());
    let inputs = world.count(Counter::Inputs);
    settle().await;
    assert!(poll_once(&mut joins).await.is_pending());
    assert!(poll_once(&mut refused).await.is_pending());
    assert!(poll_once(&mut published).await.is_pending());
    assert!(poll_once(&mut Box::pin(session.next())).await.is_pending());
    assert_eq!(world.view(guild).await.unwrap().position(), before);
    assert!(inputs >= 3);

    world.store.release();
    let at = soon(joins).await.unwrap().at();
    // Whoever has an answer reads the write, and the event is in the ring.
    let view = world.view(guild).await.unwrap();
    assert!(view.position() >= at && view.member(user(50)).is_some());
    assert_eq!(soon(refused).await, Err(CallError::Refused(CommandError::MemberExists { user: user(50) })));
    let published = soon(published).await.unwrap().at();
    assert!(published > at);

    let heard = [soon(session.next()).await, soon(session.next()).await];
    let [Some(Delivery::Event(joined)), Some(Delivery::Event(said))] = heard else { panic!("{heard:?}") };
    assert!(matches!(&joined.kind, EventKind::MemberJoined { member } if member.user == user(50)));
    assert_eq!((joined.position, said.position, number_of(&said)), (at, published, Some(1)));
}

#[tokio::test]
async fn turns_stored_out_of_order_leave_in_order() {
    let world = World::with(|config| config.turn.inputs_max = 1);
    let guild = world.found(1, 1).await;
    world.store.set(Mode::HoldAfter);
    let pending: Vec<_> = (10..20).map(|number| world.post(guild, add_member(number)).unwrap()).collect();
    until(|| world.store.held() == 10).await;
    world.store.release_backwards();
    let mut last = world.view(guild).await.unwrap().position();
    for pending in pending {
        let at = soon(pending.answer()).await.unwrap().at();
        assert!(at.seq.0 == last.seq.0 + 1 || at == last.next(), "{at} after {last}");
        last = at;
    }
    assert_eq!(world.view(guild).await.unwrap().position(), last);
}

#[tokio::test]
async fn a_fold_that_ends_on_an_idle_guild_leaves_its_checkpoint_at_once() {
    let world = World::with(|config| {
        config.guild.members.inline_fold_members = 1;
        config.guild.members.fold_at = 100;
        config.guild.checkpoints.changes_min = 100;
    });
    let guild = world.found(1, 500).await;
    // No further input comes: the checkpoint is the fold's own doing.
    until(|| world.count(Counter::Folds) > 0 && world.count(Counter::Checkpoints) > 0).await;
    until(|| world.store.records(guild) < 3).await;
    assert_eq!(world.view(guild).await.unwrap().len(), 500);
}
