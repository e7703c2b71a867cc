//! Reads are answered from the last view that may be seen, whatever the owner does.

use guildhall_node::{AsOf, Counter, Question};
use guildhall_proto::{CallError, Command, CommandError, Permissions};

use crate::store::Mode;
use crate::world::{CHANNEL, World, add_member, channel_id, new_member, settle, soon, until, until_async, user};

#[tokio::test]
async fn reads_never_wait_for_the_owner() {
    let world = World::with(|config| config.turn.unsettled_max = 1);
    let guild = world.found(1, 1_000).await;
    let at = world.view(guild).await.unwrap().position();
    world.store.set(Mode::HoldAfter);
    let held = world.post(guild, add_member(5_000)).unwrap();
    until(|| world.store.held() == 1).await;
    let behind = world.post(guild, add_member(5_001)).unwrap();
    settle().await;
    let inputs = world.count(Counter::Inputs);

    let (read_at, member) = world.member(guild, user(7)).await.unwrap();
    assert_eq!((read_at, member.user), (AsOf { at, stale_for: None }, user(7)));
    let unknown = CommandError::UnknownMember { user: user(5_000) };
    assert_eq!(world.member(guild, user(5_000)).await, Err(CallError::Refused(unknown)));
    let (read_at, permissions) = world.can(guild, user(7), Some(channel_id(CHANNEL))).await.unwrap();
    assert_eq!((read_at.at, permissions), (at, Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES));
    let (read_at, members) = world.members(guild, Some(user(10)), 3).await.unwrap();
    assert_eq!(read_at.at, at);
    assert!(members.iter().map(|member| member.user).eq([11, 12, 13].map(user)));
    let everyone = Question::Everyone { channel: channel_id(CHANNEL) };
    let recipients = soon(world.recipients(guild, everyone)).await.unwrap();
    assert_eq!((recipients.as_of().at, soon(recipients.all()).await.unwrap().len()), (at, 1_000));
    let odd = soon(world.filter(guild, |member, _| member.user.get() % 2 == 1)).await.unwrap();
    assert_eq!((odd.as_of().at, soon(odd.all()).await.unwrap().len()), (at, 500));
    let (read_at, found) = soon(world.members_by_prefix(guild, "USER 99", 100)).await.unwrap();
    assert_eq!((read_at.at, found.len()), (at, 11));

    // None of that passed the mailbox, and the owner is where it was.
    assert_eq!((world.count(Counter::Inputs), world.store.held()), (inputs, 1));
    world.store.release();
    soon(held.answer()).await.unwrap();
    soon(behind.answer()).await.unwrap();
    assert_eq!(world.view(guild).await.unwrap().len(), 1_002);
}

#[tokio::test]
async fn a_view_that_is_held_stays_as_it_was() {
    let world = World::new();
    let guild = world.found(1, 10).await;
    let view = world.view(guild).await.unwrap();
    for number in 100..150 {
        world.ask(guild, add_member(number)).await.unwrap();
    }
    world.stop().await;
    assert_eq!(view.len(), 10);
}

#[tokio::test]
async fn a_large_guild_that_is_searched_by_nick_is_ordered_and_stays_so_over_folds() {
    let world = World::new();
    let (small, large) = (world.found(1, 100).await, world.found(2, 20_000).await);
    let search = async |guild, prefix| soon(world.members_by_prefix(guild, prefix, 2_000)).await.unwrap().1;
    let memory = async |guild| world.view(guild).await.unwrap().memory();
    // Once awake it has nothing to fold: what a fold that is all but done lets go of is ordered again.
    soon(world.sleep(large)).await.unwrap();
    let expected = search(large, "USER 99").await;
    assert_eq!(expected.len(), 111);
    until_async(async || {
        assert_eq!(search(large, "USER 99").await, expected);
        memory(large).await.nick_order > 0 && world.count(Counter::NicksOrdered) > 0
    })
    .await;

    let (before, orders) = (memory(large).await, world.count(Counter::NicksOrdered));
    let more = (30_000..33_000).map(new_member).collect();
    soon(world.ask(large, Command::ImportMembers(more))).await.unwrap();
    until_async(async || memory(large).await.pages > before.pages).await;
    assert!(memory(large).await.nick_order > before.nick_order);
    assert_eq!(search(large, "user 99").await, expected);
    assert_eq!(search(large, "user 32").await.len(), 111 + 1_000);
    assert_eq!(world.count(Counter::NicksOrdered), orders);

    assert_eq!(search(small, "user 99").await.len(), 1);
    settle().await;
    assert_eq!((memory(small).await.nick_order, world.count(Counter::NicksOrdered)), (0, orders));
}
