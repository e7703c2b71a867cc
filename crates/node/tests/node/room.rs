//! A store without room: durable commands are refused before they are applied, all else goes on, and so do they once there is room.

use guildhall_node::{Counter, SleepError};
use guildhall_proto::{CallError, Command, CommandError, GuildId, Millis, Permissions};

use crate::store::Mode;
use crate::world::{
    ADA, World, add_member, attach, channel_id, message, name, new_member, number_in, poll_once, settle, soon, until,
    user,
};

const FULL: CallError = CallError::Refused(CommandError::StoreFull);

fn creation() -> Command {
    Command::CreateGuild { name: name("full"), everyone: Permissions::NONE, owner: new_member(ADA) }
}

#[tokio::test]
async fn without_room_only_durable_commands_are_refused_and_then_taken_again() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let asleep = world.found(2, 3).await;
    soon(world.sleep(asleep)).await.unwrap();
    let (handed, before) = (world.count(Counter::Records), world.view(guild).await.unwrap().position());
    let backend = world.backend();
    world.store.set_full(true);

    let tried = world.operation(add_member(50));
    assert_eq!(soon(world.call(guild, tried.clone())).await, Err(FULL));
    assert_eq!(soon(world.ask(asleep, add_member(50))).await, Err(FULL));
    assert_eq!(world.count(Counter::RefusedStoreFull), 2);
    assert_eq!(world.view(guild).await.unwrap().position(), before, "it was not applied");

    let mut session = attach(&backend, guild, 1, ADA).await;
    soon(world.ask(guild, message(7))).await.unwrap();
    assert_eq!(number_in(soon(session.next()).await), 7);
    soon(world.typing(guild, user(2), channel_id(2))).await.unwrap();
    assert_eq!(world.view(asleep).await.unwrap().len(), 3, "it woke");
    assert_eq!(world.count(Counter::Records), handed, "nothing was handed to the store");

    world.store.set_full(false);
    soon(world.call(guild, tried)).await.unwrap();
    assert!(world.is_member(guild, 50).await);
    assert_eq!(world.count(Counter::RetiredByStore), 0);
}

#[tokio::test]
async fn without_room_no_guild_is_claimed_to_be_created() {
    let world = World::new();
    world.store.set_full(true);
    let claims = world.store.claims();
    let guild = GuildId::new(1).unwrap();
    assert_eq!(soon(world.ask(guild, creation())).await, Err(FULL));
    assert_eq!((world.store.claims(), world.awake()), (claims, 0));
    assert_eq!(world.count(Counter::RefusedStoreFull), 1);
    world.store.set_full(false);
    soon(world.ask(guild, creation())).await.unwrap();
}

#[tokio::test]
async fn a_guild_whose_checkpoint_finds_no_room_stays_awake() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    world.store.set(Mode::RefuseCheckpoints);
    soon(world.ask(guild, message(1))).await.unwrap();
    assert_eq!(soon(world.sleep(guild)).await, Err(SleepError::NotStored));
    world.store.set_full(true);
    world.store.set(Mode::Take);
    assert_eq!(soon(world.sleep(guild)).await, Err(SleepError::NoRoom), "to wake it takes room");
    assert_eq!(world.view(guild).await.unwrap().len(), 3);
    world.store.set_full(false);
    soon(world.sleep(guild)).await.unwrap();
}

#[tokio::test]
async fn an_import_that_finds_no_room_goes_on_by_itself_when_there_is_some() {
    // No fold or checkpoint is to give the owner a turn.
    let world = World::with(|config| {
        config.guild.members.fold_at = 1_000_000;
        config.guild.members.inline_fold_members = 0;
    });
    let guild = world.found(1, 2).await;
    world.store.set(Mode::HoldAfter);
    let lines = (10..4_010).map(new_member).collect();
    let mut import = Box::pin(world.post(guild, Command::ImportMembers(lines)).unwrap().answer());
    settle().await;
    world.store.set_full(true);
    world.store.release();
    settle().await;
    assert!(poll_once(&mut import).await.is_pending());
    let so_far = world.view(guild).await.unwrap().len();
    assert!((3..4_000).contains(&so_far), "{so_far} members");

    // Nobody calls: the owner looks for room.
    world.store.set_full(false);
    soon(import).await.unwrap();
    assert_eq!(world.view(guild).await.unwrap().len(), 4_002);
}

#[tokio::test]
async fn what_is_deleted_or_refused_before_it_is_created_takes_no_room() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let deletion = world.operation(Command::DeleteGuild);
    let deleted = soon(world.call(guild, deletion.clone())).await.unwrap();
    until(|| world.awake() == 0).await;
    let claims = world.store.claims();

    let unknown = Err(CallError::Refused(CommandError::UnknownGuild));
    for _ in 0..10 {
        assert_eq!(soon(world.view(guild)).await.map(drop), unknown);
    }
    for number in 100..110 {
        let mut late = world.operation(creation());
        late.op.issued_at = Millis(1);
        let refused = soon(world.call(GuildId::new(number).unwrap(), late)).await;
        assert!(matches!(refused, Err(CallError::Refused(CommandError::Expired { .. }))), "{refused:?}");
    }
    assert_eq!((world.store.claims(), world.awake()), (claims, 0));

    world.store.set_full(true);
    // Not `StoreFull`, which would say that nothing has happened.
    let refused = soon(world.call(guild, deletion.clone())).await;
    assert!(matches!(refused, Err(CallError::Overloaded { .. })), "{refused:?}");
    assert_eq!(world.store.claims(), claims);
    world.store.set_full(false);
    assert_eq!(soon(world.call(guild, deletion.clone())).await, Ok(deleted));
}
