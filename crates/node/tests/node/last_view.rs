//! A guild whose owner ended before its time: its last view is read until it is back, and is known to be old.

use std::sync::Arc;
use std::time::Duration;

use guildhall_node::{AsOf, Counter, Question};
use guildhall_proto::{CallError, Command, CommandError, Epoch, GuildId};

use crate::store::Mode;
use crate::world::{
    ADA, CHANNEL, World, add_member, attach, channel_id, poll_once, settle, soon, until, until_async, user,
};

/// Has a guild's owner end with a member in its hands whom the store has not taken.
async fn retire(world: &World, guild: GuildId) {
    let retired = world.count(Counter::RetiredByStore);
    world.store.set(Mode::HoldBefore);
    let lost = world.post(guild, add_member(50)).unwrap();
    until(|| world.store.held() == 1).await;
    world.store.refuse_held();
    assert_eq!(soon(lost.answer()).await, Err(CallError::OutcomeUnknown));
    until(|| world.count(Counter::RetiredByStore) == retired + 1).await;
}

/// Lets time pass, of which the work of others takes none.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

async fn as_of(world: &World, guild: GuildId) -> AsOf {
    soon(world.view(guild)).await.unwrap().as_of()
}

#[tokio::test]
async fn while_a_guild_is_brought_back_its_last_view_is_read_and_says_how_old_it_is() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let before = as_of(&world, guild).await;
    assert_eq!(before.stale_for, None);
    let (claims, door) = (world.store.claims(), world.store.hold_claim());
    retire(&world, guild).await;

    let view = soon(world.view(guild)).await.unwrap();
    let first = view.as_of();
    assert_eq!((first.at, view.len(), view.member(user(50))), (before.at, 3, None), "nothing of the unsettled turn");
    pass(Duration::from_secs(5)).await;
    let later = as_of(&world, guild).await;
    assert!(later.stale_for.unwrap() >= first.stale_for.unwrap() + Duration::from_secs(5), "{first:?}, {later:?}");
    // The first read has had the guild loaded, and the others see that.
    until(|| world.store.claims() == claims + 1).await;

    let (member, _) = soon(world.member(guild, user(2))).await.unwrap();
    let (can, _) = soon(world.can(guild, user(2), Some(channel_id(CHANNEL)))).await.unwrap();
    let (members, _) = soon(world.members(guild, None, 9)).await.unwrap();
    let (prefix, _) = soon(world.members_by_prefix(guild, "user", 9)).await.unwrap();
    let recipients = soon(world.recipients(guild, Question::All)).await.unwrap();
    let filtered = soon(world.filter(guild, |_, _| true)).await.unwrap();
    for read in [member, can, members, prefix, recipients.as_of(), filtered.as_of()] {
        assert!(read.at == before.at && read.stale_for >= later.stale_for, "{read:?}");
    }
    assert_eq!(world.count(Counter::ReadsStale), 8);
    assert_eq!(soon(recipients.all()).await.unwrap().len(), 3);
    assert_eq!(soon(filtered.all()).await.unwrap().len(), 3);

    // Who must not read what is old waits, as who changes something does.
    let mut current = Box::pin(world.current_view(guild));
    let mut call = Box::pin(world.ask(guild, add_member(51)));
    assert!(poll_once(&mut current).await.is_pending() && poll_once(&mut call).await.is_pending());
    door.send(()).unwrap();
    let current = soon(current).await.unwrap();
    assert_eq!((current.position().epoch, current.as_of().stale_for), (Epoch(2), None));
    let changed = soon(call).await.unwrap().at();
    assert_eq!(as_of(&world, guild).await, AsOf { at: changed, stale_for: None });
    assert_eq!(world.store.claims(), claims + 1);
    assert!(!world.is_member(guild, 50).await);
}

#[tokio::test]
async fn a_guild_that_cannot_be_brought_back_is_read_on_and_readers_try_once_a_second() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let claims = world.store.claims();
    world.store.refuse_claims(true);
    retire(&world, guild).await;
    for tried in 1..=3 {
        for _ in 0..20 {
            assert!(as_of(&world, guild).await.stale_for.is_some());
            settle().await;
        }
        until(|| world.count(Counter::LoadsFailed) == tried).await;
        assert_eq!(world.store.claims(), claims + tried as usize);
        pass(Duration::from_secs(2)).await;
    }
    // A call tries at once, and is told.
    assert!(matches!(soon(world.ask(guild, add_member(51))).await, Err(CallError::Unavailable { .. })));
    assert!(matches!(soon(world.current_view(guild)).await, Err(CallError::Unavailable { .. })));
    assert!(as_of(&world, guild).await.stale_for.is_some());

    world.store.refuse_claims(false);
    soon(world.ask(guild, add_member(51))).await.unwrap();
    assert_eq!(as_of(&world, guild).await.stale_for, None);
}

#[tokio::test]
async fn a_guild_with_sessions_comes_back_by_itself() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let claims = world.store.claims();
    let _session = attach(&world.backend(), guild, 1, ADA).await;
    retire(&world, guild).await;
    until(|| world.store.claims() == claims + 1).await;
    until_async(async || as_of(&world, guild).await.stale_for.is_none()).await;
}

#[tokio::test]
async fn a_guild_of_which_the_store_knows_the_deletion_is_gone_once_that_is_found_out() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    world.store.set(Mode::HoldAfter);
    let deletion = world.post(guild, Command::DeleteGuild).unwrap();
    until(|| world.store.held() == 1).await;
    // It is stored, but the owner hears otherwise.
    world.store.refuse_held();
    assert_eq!(soon(deletion.answer()).await, Err(CallError::OutcomeUnknown));
    until(|| world.count(Counter::RetiredByStore) == 1).await;
    assert_eq!(soon(world.view(guild)).await.unwrap().len(), 3);
    let unknown = CallError::Refused(CommandError::UnknownGuild);
    until_async(async || world.view(guild).await.is_err()).await;
    assert_eq!(world.view(guild).await.err(), Some(unknown));
    assert_eq!(world.awake(), 0);
}

#[tokio::test]
async fn what_nobody_reads_any_more_is_forgotten() {
    let world = World::with(|config| config.sleep_after = 8 * ROUND);
    let guild = world.found(1, 3).await;
    retire(&world, guild).await;
    assert_eq!(world.awake(), 1);
    for _ in 0..12 {
        pass(ROUND + Duration::from_millis(10)).await;
        settle().await;
    }
    until(|| world.awake() == 0).await;

    let world = World::new();
    let guild = world.found(1, 3).await;
    retire(&world, guild).await;
    soon(world.sleep(guild)).await.unwrap();
    assert_eq!(world.awake(), 0);
    assert_eq!(as_of(&world, guild).await.stale_for, None, "it was loaded");
}

#[tokio::test]
async fn a_node_that_stops_shows_no_last_view() {
    let world = Arc::new(World::new());
    let guild = world.found(1, 3).await;
    retire(&world, guild).await;
    soon(world.stop()).await;
    assert_eq!(world.awake(), 0);
    assert!(matches!(soon(world.view(guild)).await, Err(CallError::Stopping)));
}

/// Longer than any test.
const ROUND: Duration = Duration::from_secs(600);
