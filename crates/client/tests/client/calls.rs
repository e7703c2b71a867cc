//! What is asked of a guild at another node, and what comes back.

use std::time::Duration;

use guildhall_client::{Client, ClientError, ConnectError, Freshness, PageLimit, Piece, Prefix, Users};
use guildhall_node::NodeConfig;
use guildhall_proto::{Actor, Command, CommandError, GuildId, MemberEdit, Nick, Outcome, Permissions, Question};

use crate::world::{GUILD, World, channel, found, message, new_member, soon, user};

#[tokio::test]
async fn a_guild_is_made_changed_and_read_over_a_link() {
    let world = World::new().await;
    let client = world.client(1).await;
    let imported = found(&client, 2_000).await;
    assert!(matches!(imported, Outcome::MembersImported { added: 1_999, stopped: None, .. }), "{imported:?}");

    let guild = client.guild(GUILD);
    let nick = Nick::parse("Ada").unwrap();
    let edit = MemberEdit { nick: Some(nick.clone()), ..MemberEdit::default() };
    let written = soon(guild.call(Actor::System, Command::UpdateMember { user: user(7), edit })).await.unwrap().at();
    // One's own writes are read.
    let fresh = guild.clone().fresh(Freshness::AtLeast(written));
    let (as_of, member) = soon(fresh.member(user(7))).await.unwrap();
    assert!(as_of.at >= written);
    assert_eq!((member.user, member.nick), (user(7), nick));
    let (_, permissions) = soon(guild.clone().fresh(Freshness::Strong).can(user(7), Some(channel()))).await.unwrap();
    assert!(permissions.contains(Permissions::SEND_MESSAGES));

    let mut all = soon(guild.members(None, None)).await.unwrap();
    let mut users = Vec::new();
    while let Some(member) = soon(all.next()).await.unwrap() {
        users.push(member.user.get());
    }
    assert_eq!(users, (1..=2_000).collect::<Vec<_>>());
    let mut some = soon(guild.members(Some(user(10)), Some(2))).await.unwrap();
    assert_eq!(soon(some.next()).await.unwrap().unwrap().user, user(11));
    assert_eq!(soon(some.next()).await.unwrap().unwrap().user, user(12));
    assert_eq!(soon(some.next()).await.unwrap(), None);
    let (prefix, limit) = (Prefix::new("aD").unwrap(), PageLimit::new(10).unwrap());
    let mut found = soon(guild.members_by_prefix(prefix, limit)).await.unwrap();
    assert_eq!(soon(found.next()).await.unwrap().unwrap().user, user(7));
    assert_eq!(soon(found.next()).await.unwrap(), None);
    let asked = Users::new(vec![user(9), user(5_000), user(3)]).unwrap();
    let mut named = soon(guild.members_by_id(asked)).await.unwrap();
    assert_eq!(soon(named.next()).await.unwrap().unwrap().user, user(3));
    assert_eq!(soon(named.next()).await.unwrap().unwrap().user, user(9));
    assert_eq!(soon(named.next()).await.unwrap(), None);

    let mut recipients = soon(guild.recipients(Question::Everyone { channel: channel() })).await.unwrap();
    let mut meant = Vec::new();
    while let Some(chunk) = soon(recipients.next()).await.unwrap() {
        meant.extend(chunk);
    }
    assert_eq!(meant, (1..=2_000).map(user).collect::<Vec<_>>());

    let mut pieces = soon(guild.show()).await.unwrap();
    assert_eq!(pieces.members(), 2_000);
    let mut shown = Vec::new();
    while let Some(more) = soon(pieces.next()).await.unwrap() {
        shown.extend(more);
    }
    assert!(matches!(&shown[..], [Piece::Settings(_), Piece::Role(_), Piece::Channel(..)]), "{shown:?}");
    client.close().await;
    world.stop().await;
}

#[tokio::test]
async fn what_is_refused_or_denied_is_told_so() {
    let world = World::new().await;
    let client = world.client(1).await;
    found(&client, 10).await;
    let guild = client.guild(GUILD);
    let refused = soon(guild.member(user(99))).await.unwrap_err();
    assert_eq!(refused, ClientError::Refused(CommandError::UnknownMember { user: user(99) }));
    let twice = Command::AddMember(new_member(3));
    let refused = soon(guild.call(Actor::System, twice)).await.unwrap_err();
    assert_eq!(refused, ClientError::Refused(CommandError::MemberExists { user: user(3) }));
    let unknown = soon(client.guild(GuildId::new(9).unwrap()).member(user(1))).await.unwrap_err();
    assert_eq!(unknown, ClientError::Refused(CommandError::UnknownGuild));
    assert_eq!(soon(guild.export()).await.unwrap_err(), ClientError::Denied);

    let operator = soon(Client::connect(world.operator())).await.unwrap();
    assert!(operator.backend().is_none());
    let publishing = soon(operator.guild(GUILD).call(Actor::User(user(1)), message(1))).await;
    assert_eq!(publishing.unwrap_err(), ClientError::Denied);
    assert!(soon(operator.guild(GUILD).export()).await.is_ok());
    client.close().await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_finds_a_node_that_was_started_anew_and_its_calls_go_on() {
    let mut world = World::new().await;
    let client = world.client(1).await;
    found(&client, 10).await;
    world.restart(NodeConfig::default()).await;
    let guild = client.guild(GUILD).within(Duration::from_secs(20));
    assert_eq!(soon(guild.member(user(3))).await.unwrap().1.user, user(3));
    let added = soon(guild.call(Actor::System, Command::AddMember(new_member(11)))).await;
    assert!(added.is_ok(), "{added:?}");
    client.close().await;
    assert_eq!(soon(guild.member(user(3))).await.unwrap_err(), ClientError::Closed);
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_reaches_nobody_says_so_in_time() {
    let world = World::new().await;
    let mut config = world.config(1);
    world.stop().await;
    config.deadline = Duration::from_millis(300);
    let unreachable = soon(Client::connect(config)).await.unwrap_err();
    assert!(matches!(unreachable, ConnectError::Unreachable { .. }), "{unreachable}");
}
