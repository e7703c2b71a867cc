//! Who may ask for what.

use std::collections::BTreeSet;

use bytes::Bytes;
use guildhall_node::Counter;
use guildhall_proto::call::{Call, CallFault, FeedId, Freshness, PageLimit, Read, Request};
use guildhall_proto::{Actor, GuildId, Question, SessionId, SessionRequest};
use guildhall_transport::Role;

use crate::world::{ADA, CHANNEL, World, channel_id, ids, lines, message, new_member, read, user};

/// One request for each row of the table, and several for a few.
pub(crate) fn requests(world: &World, guild: GuildId) -> Vec<Request> {
    let (ada, freshness) = (user(ADA), Freshness::Latest);
    let session = SessionId::MIN;
    vec![
        Request::Ping,
        Request::Stats,
        Request::Guilds { after: None, limit: PageLimit::MAX },
        world.command(guild, guildhall_proto::Command::AddMember(new_member(10))),
        world.command(guild, guildhall_proto::Command::ImportMembers(vec![new_member(11)])),
        world.command(guild, message(1)),
        Request::Import { guild, op: world.op(), actor: Actor::System },
        Request::Typing { guild, user: ada, channel: channel_id(CHANNEL) },
        read(guild, Read::Show),
        Request::Recipients { guild, freshness, question: Question::All },
        Request::Session { guild, session, request: SessionRequest::Detach { user: ada } },
        Request::SecretKeys,
        Request::Feed { guild, feed: FeedId(1), past: 0, told_since: None },
        Request::CloseFeed { feed: FeedId(1) },
        Request::Export { guild, freshness },
        Request::Backup,
    ]
}

/// What follows one of them.
pub(crate) fn chunks(request: &Request) -> Vec<Bytes> {
    match request {
        Request::Import { .. } => lines([new_member(12)].into_iter()),
        Request::Feed { .. } => ids(&[user(ADA)]),
        _ => Vec::new(),
    }
}

/// Who may, of guild node, backend, operator and observer: the table of ARCHITECTURE.md.
fn allowed(call: Call) -> [bool; 4] {
    let text = include_str!("../../../../ARCHITECTURE.md");
    let row = text.lines().find(|line| line.starts_with(&format!("| `{call:?}` |"))).unwrap();
    let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
    let allowed = |cell: usize| match cells[cell] {
        "yes" => true,
        "no" => false,
        other => panic!("{other:?} is neither yes nor no"),
    };
    [1, 2, 3, 4].map(allowed)
}

#[tokio::test]
async fn each_role_is_allowed_and_denied_each_call_as_the_table_says() {
    let world = World::new();
    let guild = world.found(1, 3).await;
    let (mut denied, mut asked, mut answered_well) = (0, BTreeSet::new(), BTreeSet::new());
    let roles = [Role::GuildNode, Role::Backend, Role::Operator, Role::Observer];
    for (column, role) in roles.into_iter().enumerate() {
        let dialer = world.dial(role).await;
        for request in requests(&world, guild) {
            let call = request.call();
            asked.insert(call);
            let chunks = chunks(&request);
            let before = world.node.view(guild).await.unwrap().position();
            let answered = dialer.ask_with(request, &chunks).await;
            if allowed(call)[column] {
                assert_ne!(answered, Err(CallFault::Denied), "{role} asks for {call:?}");
                if answered.is_ok() {
                    answered_well.insert(call);
                }
            } else {
                assert_eq!(answered, Err(CallFault::Denied), "{role} asks for {call:?}");
                assert_eq!(world.node.view(guild).await.unwrap().position(), before, "nothing has happened");
                denied += 1;
            }
        }
        dialer.close().await;
    }
    assert_eq!(world.count(Counter::CallsFailedDenied), denied);
    assert_eq!(asked.len(), Call::ALL.len());
    // A store in memory has no backup.
    asked.remove(&Call::Backup);
    assert_eq!(answered_well, asked, "what is allowed is answered");
}
