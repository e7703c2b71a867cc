//! A guild node and a backend, each a process, killed again and again under load: whoever was linked comes back by itself, sessions go on where they were or are
//! told what they have missed, and whatever was acknowledged is there.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

#[path = "rounds/backend.rs"]
mod backend;
#[path = "rounds/ears.rs"]
mod ears;
#[path = "world/processes.rs"]
#[expect(dead_code, reason = "the tests of a node that nobody kills use more of it")]
mod world;
#[path = "rounds/writers.rs"]
mod writers;

use std::fs;
use std::path::Path;
use std::time::Duration;

use guildhall_client::proto::{
    Actor, Channel, ChannelId, ChannelKind, Command, GuildId, MemberFlags, Name, NewMember, Nick, Permissions, UserId,
};
use guildhall_client::{Client, ClientConfig, Credentials, Freshness};

use crate::backend::Process;
use crate::ears::Ears;
use crate::world::World;
use crate::writers::Writers;

const ROUNDS: u64 = 20;
/// Users with a session each.
const SESSIONS: u64 = 6;
const GUILD: u64 = 1;
const CHANNEL: u64 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_of_a_node_and_of_its_backends_lose_nothing_that_is_not_told() {
    let world = World::new();
    for backend in ["writers", "sessions"] {
        world.issue("backend", backend, "authority", backend);
    }
    // Links that have to be told that their node was killed, for they would not notice by themselves as long as anybody waits here.
    let mut text = fs::read_to_string(world.prepare("a")).unwrap();
    text.push_str("[links]\nidle_ms = 600000\n");
    fs::write(world.config("a"), &text).unwrap();
    let mut node = world.serve("a");
    let address = node.ready["addresses"][0].as_str().unwrap().to_owned();
    // From now on where it was: its clients know no other place.
    fs::write(world.config("a"), text.replace("127.0.0.1:0", &address)).unwrap();

    let client = Client::connect(config(&address, &world.path("writers"))).await.unwrap();
    found(&client).await;
    let writers = Writers::begin(&client);
    let (mut ears, sessions) = (Ears::default(), world.path("sessions"));
    for round in 0..ROUNDS {
        // A backend dies, and the next goes on with its sessions.
        let mut backend = Process::begin(&address, &sessions, &[]);
        ears.hear(&mut backend, "attached", 20 + round % 7);
        backend.kill(&mut ears);
        let mut backend = Process::begin(&address, &sessions, &ears.tokens());
        ears.hear(&mut backend, "resumed", 20);
        ears.expect_no_gap();

        // The node dies; its clients, and their sessions, are there again when it is.
        let epoch = ears.epoch();
        node.end("KILL");
        let before = writers.acknowledged();
        node = world.serve("a");
        ears.hear_beyond(&mut backend, epoch, 10);
        check(&client, &writers, before).await;

        // Where the backend dies too, nobody is left who knows as what the owner before knew its sessions: each is told so.
        backend.kill(&mut ears);
        let mut backend = Process::begin(&address, &sessions, &ears.tokens());
        ears.hear_refusals(&mut backend);
        backend.kill(&mut ears);
    }
    let written = writers.end().await;
    check_all(&client, &written).await;
    let heard = ears.check(&written);
    println!(
        "{} changes and {} messages acknowledged, {} and {} in doubt, {} and {} refused; {heard:?}",
        written.members.len(),
        written.messages.len(),
        written.doubtful.len(),
        written.doubtful_messages.len(),
        written.refused.len(),
        written.refused_messages.len(),
    );
    // One gap behind each end of the node, and by far not all of them over what nobody knows of.
    assert_eq!(heard.gaps, ROUNDS * SESSIONS);
    assert!(heard.missed > ROUNDS && heard.events > 1_000);
    // The kills came in the middle of something.
    assert!(written.members.len() > 200 && written.messages.len() > 200);
    assert!(!written.doubtful_messages.is_empty());
    client.close().await;
    assert!(node.end("TERM").success());
}

/// A client that soon looks whether its node is there.
fn config(address: &str, credentials: &Path) -> ClientConfig {
    let mut config = ClientConfig::new(vec![address.parse().unwrap()], Credentials::read(credentials).unwrap());
    config.bind = "127.0.0.1:0".parse().unwrap();
    config.deadline = Duration::from_secs(30);
    config.transport.idle = Duration::from_secs(600);
    config.transport.keep_alive = Duration::from_millis(200);
    config.redial.most = Duration::from_millis(200);
    config
}

/// A guild with a channel, and whoever has a session.
async fn found(client: &Client) {
    let guild = client.guild(GuildId::new(GUILD).unwrap());
    let (name, everyone) = (Name::parse("guild").unwrap(), Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES);
    let create = Command::CreateGuild { name: name.clone(), everyone, owner: new_member(1) };
    guild.call(Actor::System, create).await.unwrap();
    let (id, kind) = (ChannelId::new(CHANNEL).unwrap(), ChannelKind::Text);
    let channel = Channel { id, name, kind, parent: None, position: 0 };
    guild.call(Actor::System, Command::CreateChannel { channel, overwrites: Vec::new() }).await.unwrap();
    let members = (2..=SESSIONS).map(new_member).collect();
    guild.call(Actor::System, Command::ImportMembers(members)).await.unwrap();
}

fn new_member(number: u64) -> NewMember {
    let (user, nick) = (UserId::new(number).unwrap(), Nick::parse(&format!("user {number}")).unwrap());
    NewMember { user, nick, roles: Vec::new(), flags: MemberFlags::NONE }
}

/// Whoever was acknowledged before the node was killed is a member.
async fn check(client: &Client, writers: &Writers, acknowledged: Vec<u64>) {
    let there = members(client).await;
    let lost: Vec<u64> = acknowledged.into_iter().filter(|user| !there.contains(user)).collect();
    assert!(lost.is_empty(), "{lost:?} were acknowledged and are no members");
    writers.faults();
}

/// Whoever was acknowledged is a member, and nobody else whom nobody asked for, or of whom it was answered that nothing happened.
async fn check_all(client: &Client, written: &writers::Written) {
    let there = members(client).await;
    let strange: Vec<&u64> =
        there.iter().filter(|user| **user > SESSIONS && !written.members.contains_key(user)).collect();
    assert!(
        strange.iter().all(|user| written.doubtful.contains(user)),
        "{strange:?} are members, {:?} in doubt",
        written.doubtful
    );
    let not_refused: Vec<&u64> = written.refused.intersection(&there).collect();
    assert!(not_refused.is_empty(), "{not_refused:?} are members, and nothing had happened");
    let lost: Vec<&u64> = written.members.keys().filter(|user| !there.contains(user)).collect();
    assert!(lost.is_empty(), "{lost:?} were acknowledged and are no members");
}

async fn members(client: &Client) -> std::collections::BTreeSet<u64> {
    let guild = client.guild(GuildId::new(GUILD).unwrap()).fresh(Freshness::Strong);
    let mut members = guild.members(None, None).await.unwrap();
    let mut there = std::collections::BTreeSet::new();
    while let Some(member) = members.next().await.unwrap() {
        there.insert(member.user.get());
    }
    there
}
