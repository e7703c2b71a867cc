//! Reads: what they show, and as of when.

use std::time::Duration;

use guildhall_node::Counter;
use guildhall_proto::call::{
    Answer, Ask, CallFault, Freshness, PageLimit, Piece, Prefix, Read, Request, Users, Within,
};
use guildhall_proto::{
    CallError, Command, CommandError, Epoch, Grant, GuildId, Permissions, Position, Question, Seq, UserId,
};
use guildhall_store::Store;
use guildhall_transport::Role;

use crate::world::{ADA, CHANNEL, World, answered, channel_id, message, new_member, read, soon, user};

fn members(pieces: &[Piece]) -> Vec<u64> {
    let of = |piece: &Piece| match piece {
        Piece::Member(member) => member.user.get(),
        other => panic!("not a member: {other:?}"),
    };
    pieces.iter().map(of).collect()
}

#[tokio::test]
async fn a_guild_is_shown_as_a_view_has_it() {
    let world = World::new();
    let guild = world.found(1, 40).await;
    let view = world.node.view(guild).await.unwrap();
    let dialer = world.dial(Role::Backend).await;
    let ask = async |what| dialer.ask(read(guild, what)).await;

    let one = ask(Read::Member(user(7))).await.unwrap().answer;
    assert_eq!(one, Answer::Member { as_of: view.as_of(), member: view.member(user(7)).unwrap() });
    let unknown = CommandError::UnknownMember { user: user(99) };
    assert_eq!(ask(Read::Member(user(99))).await, Err(CallFault::Call(unknown.into())));

    let Answer::Can { permissions, .. } =
        ask(Read::Can { user: user(7), channel: Some(channel_id(CHANNEL)) }).await.unwrap().answer
    else {
        panic!()
    };
    assert_eq!(permissions, Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES);

    let shown = ask(Read::Show).await.unwrap();
    assert_eq!(shown.answer, Answer::Pieces { as_of: view.as_of(), members: 40, online: 0, bans: 0 });
    assert!(matches!(&shown.pieces[..], [Piece::Settings(_), Piece::Role(_), Piece::Channel(..)]), "{shown:?}");

    let page = ask(Read::Members { after: Some(user(10)), limit: Some(5) }).await.unwrap();
    assert_eq!(members(&page.pieces), [11, 12, 13, 14, 15]);
    let all = ask(Read::Members { after: None, limit: None }).await.unwrap();
    assert_eq!(members(&all.pieces), (1..=40).collect::<Vec<_>>());
    let some = Users::new(vec![user(39), user(3), user(41)]).unwrap();
    assert_eq!(members(&ask(Read::MembersById(some)).await.unwrap().pieces), [3, 39]);
    let prefix = Read::MembersByPrefix { prefix: Prefix::new("USER 3").unwrap(), limit: PageLimit::new(3).unwrap() };
    assert_eq!(members(&ask(prefix).await.unwrap().pieces), [3, 30, 31]);
    let unknown = dialer.ask(read(GuildId::new(9).unwrap(), Read::Show)).await;
    assert_eq!(unknown, Err(CallFault::Call(CommandError::UnknownGuild.into())));
}

#[tokio::test]
async fn the_members_and_recipients_of_a_large_guild_come_in_chunks() {
    let world = World::new();
    let guild = world.found(1, 100_000).await;
    world.ask(guild, Command::Ban { user: user(50_000), reason: None }).await;
    let dialer = world.dial(Role::Operator).await;
    let everybody: Vec<u64> = (1..=100_000).filter(|number| *number != 50_000).collect();
    let (freshness, question) = (Freshness::Strong, Question::All);
    let reached = dialer.ask(Request::Recipients { guild, freshness, question }).await.unwrap();
    assert_eq!(reached.users.iter().map(|user| user.get()).collect::<Vec<_>>(), everybody);
    let all = dialer.ask(read(guild, Read::Members { after: None, limit: None })).await.unwrap();
    assert_eq!(members(&all.pieces), everybody);
    let many: Vec<UserId> = (49_000..=51_000).map(user).collect();
    let some = dialer.ask(read(guild, Read::MembersById(Users::new(many).unwrap()))).await.unwrap();
    assert_eq!(some.pieces.len(), 2_000);
    let export = dialer.ask(Request::Export { guild, freshness }).await.unwrap();
    assert!(matches!(export.pieces[..4], [Piece::Settings(_), Piece::Role(_), Piece::Channel(..), Piece::Ban(_)]));
    assert_eq!(members(&export.pieces[4..]), everybody);
}

#[tokio::test]
async fn who_has_written_reads_it_on_any_link() {
    let world = World::new();
    let guild = world.found(1, 1).await;
    let (writer, reader) = (world.dial(Role::Backend).await, world.dial(Role::Backend).await);
    let at_least = |at, who| Request::Read { guild, freshness: Freshness::AtLeast(at), read: Read::Member(user(who)) };
    for number in 2..50 {
        let at = writer.done(world.command(guild, Command::AddMember(new_member(number)))).await;
        let Answer::Member { as_of, .. } = reader.ask(at_least(at, number)).await.unwrap().answer else { panic!() };
        assert!(as_of.at >= at);
    }
    let at = world.node.view(guild).await.unwrap().position();
    // What an owner before has let out is there.
    let old = Position { epoch: Epoch(at.epoch.0 - 1), seq: Seq(u64::MAX - 1) };
    assert!(reader.ask(at_least(old, 1)).await.is_ok());
}

#[tokio::test]
async fn a_read_waits_for_its_position_as_long_as_its_caller_also_for_the_next_owner() {
    let world = World::new();
    let guild = world.found(1, 1).await;
    let dialer = world.dial(Role::Backend).await;
    let at_least = |at| Request::Read { guild, freshness: Freshness::AtLeast(at), read: Read::Member(user(ADA)) };
    let begin = async |at, within| {
        let (send, receive) = dialer.begin(Ask { within, request: at_least(at) }, &[]).await;
        soon(send.finish()).await.unwrap();
        receive
    };
    let at = world.node.view(guild).await.unwrap().position();
    let next_epoch = Position { epoch: Epoch(at.epoch.0 + 1), seq: Seq(0) };
    let (next, next_owner) = (begin(at.next(), Within::MAX).await, begin(next_epoch, Within::MAX).await);
    world.until_counted(Counter::CallsRead, 2).await;
    world.ask(guild, message(1)).await;
    let read = answered(&at_least(at.next()), next).await.unwrap();
    assert!(matches!(read.answer, Answer::Member { as_of, .. } if as_of.at == at.next()));
    world.node.sleep(guild).await.unwrap();
    let read = answered(&at_least(next_epoch), next_owner).await.unwrap();
    assert!(matches!(read.answer, Answer::Member { as_of, .. } if as_of.at > next_epoch));

    let never = Position { epoch: Epoch(u64::MAX), seq: Seq(0) };
    let within = Within::new(Duration::from_millis(20)).unwrap();
    let late = begin(never, within).await;
    assert_eq!(answered(&at_least(never), late).await, Err(CallFault::TooLate));
    let given_up = begin(never, Within::MAX).await;
    world.until_counted(Counter::CallsRead, 4).await;
    drop(given_up);
    world.until_counted(Counter::CallsLeft, 1).await;
}

#[tokio::test]
async fn a_strong_read_is_answered_once_the_store_knows_no_other_owner() {
    let world = World::new();
    let guild = world.found(1, 1).await;
    let dialer = world.dial(Role::Backend).await;
    let strong = || Request::Read { guild, freshness: Freshness::Strong, read: Read::Member(user(ADA)) };
    assert!(dialer.ask(strong()).await.is_ok());
    assert_eq!(world.count(Counter::Confirmations), 1);

    let owner = world.node.view(guild).await.unwrap().position().epoch;
    let other = world.store.claim(guild, Grant(0)).unwrap().epoch;
    assert!(dialer.ask(read(guild, Read::Member(user(ADA)))).await.is_ok(), "what is known is read on");
    match dialer.ask(strong()).await {
        Err(CallFault::Call(CallError::Unavailable { reason })) => assert!(reason.contains("epoch"), "{reason}"),
        other => panic!("{other:?}"),
    }
    // The owner that was taken over goes, and the next one reads what the other has written.
    let Answer::Member { as_of, .. } = dialer.ask(strong()).await.unwrap().answer else { panic!() };
    assert!(as_of.at.epoch > other && other > owner);
    assert_eq!(world.count(Counter::RetiredByStore), 1);
}

#[tokio::test]
async fn a_reader_that_stalls_is_cut_off_when_its_time_is_over_and_holds_nothing_any_more() {
    let world = World::new();
    let guild = world.found(1, 100_000).await;
    world.ask(guild, message(1)).await;
    let dialer = world.dial(Role::Backend).await;
    let request = read(guild, Read::Members { after: None, limit: None });
    let within = Within::new(Duration::from_millis(300)).unwrap();
    let (send, receive) = dialer.begin(Ask { within, request }, &[]).await;
    soon(send.finish()).await.unwrap();
    world.until_counted(Counter::CallsUnread, 1).await;
    drop(receive);
}
