//! Calls that change something, or are about the node.

use std::time::Duration;

use guildhall_node::{Counter, SecretKey, SecretKeys};
use guildhall_proto::call::{Answer, Ask, CallFault, PageLimit, Read, Request, Within};
use guildhall_proto::{
    Actor, CallError, Command, CommandError, GuildId, Outcome, Reply, SessionId, SessionRequest, Status,
};
use guildhall_transport::Role;

use crate::world::{
    ADA, CHANNEL, INSTANCE, NODE, World, answered, channel_id, create_guild, lines, message, new_member, read, soon,
    user,
};

#[tokio::test]
async fn a_ping_tells_which_node_answers_and_which_run_of_it() {
    let world = World::new();
    let dialer = world.dial(Role::Observer).await;
    match dialer.ask(Request::Ping).await.unwrap().answer {
        Answer::Pong { node, instance, started, now } => {
            assert_eq!((node.get(), instance), (NODE, INSTANCE));
            assert!(started <= now && started.0 > 0);
        }
        answer => panic!("{answer:?}"),
    }
    let Answer::Stats(stats) = dialer.ask(Request::Stats).await.unwrap().answer else { panic!("no counters") };
    let of = |name: &str| stats.iter().find(|(of, _)| of.as_str() == name).map(|(_, count)| *count);
    assert_eq!(of("link_calls_total{call=\"ping\"}"), Some(1));
    assert_eq!(of("links_accepted_total"), Some(1), "what the endpoint counts too");
}

#[tokio::test]
async fn guilds_are_listed_page_by_page_whether_they_are_awake_or_not() {
    let world = World::new();
    for number in [5, 3, 9] {
        world.found(number, 1).await;
    }
    world.node.sleep(GuildId::new(3).unwrap()).await.unwrap();
    world.ask(GuildId::new(9).unwrap(), Command::DeleteGuild).await;
    let dialer = world.dial(Role::Operator).await;
    let page = async |after: Option<u64>| {
        let after = after.map(|after| GuildId::new(after).unwrap());
        match dialer.ask(Request::Guilds { after, limit: PageLimit::new(1).unwrap() }).await.unwrap().answer {
            Answer::Guilds { guilds, more } => (guilds.iter().map(|guild| guild.get()).collect::<Vec<_>>(), more),
            answer => panic!("{answer:?}"),
        }
    };
    assert_eq!(page(None).await, (vec![3], true));
    let (second, _) = page(Some(3)).await;
    assert_eq!(second, [5]);
}

#[tokio::test]
async fn a_command_is_carried_out_once_however_often_it_is_retried() {
    let world = World::new();
    let guild = GuildId::new(1).unwrap();
    let dialer = world.dial(Role::Backend).await;
    let create = world.command(guild, create_guild());
    let first = dialer.ask(create.clone()).await.unwrap();
    assert_eq!(dialer.ask(create).await.unwrap(), first, "a retry hears the same");
    let again = world.command(guild, create_guild());
    let refused = dialer.ask(again).await;
    assert_eq!(refused, Err(CallFault::Call(CommandError::GuildExists.into())));
    assert_eq!(world.count(Counter::CallsFailedRefused), 1);
}

#[tokio::test]
async fn the_lines_of_an_import_come_in_chunks_and_are_one_command() {
    let world = World::new();
    let guild = world.found(1, 1).await;
    let dialer = world.dial(Role::Backend).await;
    let op = world.op();
    let import = Request::Import { guild, op, actor: Actor::System };
    let members = || (2..=9_001).map(new_member);
    let chunks: Vec<_> =
        members().collect::<Vec<_>>().chunks(1_000).flat_map(|some| lines(some.iter().cloned())).collect();
    assert!(chunks.len() > 2);
    let first = dialer.ask_with(import.clone(), &chunks).await.unwrap();
    let Answer::Reply(Reply::Outcome(Outcome::MembersImported { added, lines: taken, .. })) = first.answer else {
        panic!("{first:?}");
    };
    assert_eq!((added, taken), (9_000, 9_000));
    // However they are cut, and also in the process itself, it is the same operation.
    assert_eq!(dialer.ask_with(import, &lines(members())).await.unwrap(), first);
    let call = guildhall_node::Call { op, actor: Actor::System, command: Command::ImportMembers(members().collect()) };
    assert_eq!(Answer::Reply(Reply::Outcome(world.node.call(guild, call).await.unwrap())), first.answer);
}

#[tokio::test]
async fn sessions_are_attached_and_typing_is_told_over_a_link() {
    let world = World::new();
    let guild = world.found(1, 2).await;
    let dialer = world.dial(Role::Backend).await;
    let session = |request| Request::Session { guild, session: SessionId::MIN, request };
    let attach = session(SessionRequest::Attach { user: user(ADA), status: Status::Online });
    let Answer::Reply(Reply::Attached(attached)) = dialer.ask(attach).await.unwrap().answer else { panic!() };
    assert_eq!(attached.member.user, user(ADA));
    assert_eq!(world.node.view(guild).await.unwrap().online(), 1);
    let typing = || Request::Typing { guild, user: user(ADA), channel: channel_id(CHANNEL) };
    let first = dialer.ask(typing()).await.unwrap();
    assert_eq!(first.answer, Answer::Reply(Reply::Accepted(attached.at)));
    assert_eq!(dialer.ask(typing()).await.unwrap(), first, "told a moment ago");
    assert_eq!(world.count(Counter::TypingRepeated), 1);
    let detach = session(SessionRequest::Detach { user: user(ADA) });
    dialer.ask(detach).await.unwrap();
    assert_eq!(world.node.view(guild).await.unwrap().online(), 0);
}

#[tokio::test]
async fn backends_are_given_the_keys_of_sessions_secrets() {
    let world = World::new();
    let dialer = world.dial(Role::Backend).await;
    let keys = async || match dialer.ask(Request::SecretKeys).await.unwrap().answer {
        Answer::SecretKeys { current, previous } => (current, previous),
        answer => panic!("{answer:?}"),
    };
    let (first, none) = keys().await;
    assert_eq!(none, None);
    let next = SecretKey { number: 2, key: [2; 32] };
    let told = SecretKeys::new(first.clone()).announcing(next.clone());
    world.node.rotate_session_keys(told.clone());
    assert_eq!(keys().await, (first.clone(), Some(next.clone())));
    world.node.rotate_session_keys(told.rotated(next.clone()));
    assert_eq!(keys().await, (next, Some(first)));
}

#[tokio::test]
async fn what_is_not_begun_in_its_time_is_never_begun() {
    let world = World::new();
    let guild = world.found(1, 1).await;
    let dialer = world.dial(Role::Backend).await;
    let request = world.command(guild, message(1));
    let within = Within::new(Duration::from_millis(1)).unwrap();
    // The lane's end, without which nothing is begun, does not come.
    let (unfinished, receive) = dialer.begin(Ask { within, request: request.clone() }, &[]).await;
    let before = world.node.view(guild).await.unwrap().position();
    assert_eq!(answered(&request, receive).await, Err(CallFault::TooLate));
    drop(unfinished);
    assert_eq!(world.node.view(guild).await.unwrap().position(), before);
    assert_eq!(world.count(Counter::CallsFailedTooLate), 1);
}

#[tokio::test]
async fn a_command_goes_on_though_its_caller_goes_away() {
    let world = World::new();
    let guild = world.found(1, 1).await;
    let dialer = world.dial(Role::Backend).await;
    let request = world.command(guild, Command::AddMember(new_member(7)));
    let (send, receive) = dialer.begin(Ask { within: Within::MAX, request }, &[]).await;
    soon(send.finish()).await.unwrap();
    drop(receive);
    let there = async || world.node.view(guild).await.unwrap().member(user(7)).is_some();
    soon(async {
        while !there().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_node_that_stops_says_so_and_one_that_serves_no_more_closes_its_links() {
    let world = World::new();
    let guild = world.found(1, 1).await;
    let dialer = world.dial(Role::Backend).await;
    world.node.stop().await;
    let refused = dialer.ask(read(guild, Read::Show)).await;
    assert_eq!(refused, Err(CallFault::Call(CallError::Stopping)));
    assert!(dialer.ask(Request::Ping).await.is_ok());
    let serving = world.serving;
    soon(serving.stop()).await;
    let closed = soon(dialer.closed()).await;
    assert_eq!(closed, guildhall_transport::Closed::There(guildhall_transport::CloseReason::Done));
}
