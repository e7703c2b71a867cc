//! The process that is killed: a node on a directory, worked by many hands at once until it is.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use guildhall_node::{Attach, Call, Delivery, Node};
use guildhall_proto::{Actor, CallError, EventKind, GuildId, Level, OpId, Outcome, SessionId, Status};
use guildhall_store::Store;
use tokio::time::sleep;

use super::hand::{GUILDS_AWAKE, Hand, HandId, guilds};
use super::line::{Issued, Line};
use super::{CLUSTER, node_config, owner, store_config};
use crate::data;
use crate::operations::now;

/// Works the guilds of a directory until the process is killed, or for a minute.
///
/// # Errors
/// If the directory cannot be opened, or a line not be written; if its disk fails.
pub(crate) fn victim(path: &Path, round: u64, seed: u64) -> anyhow::Result<()> {
    let running = data::open(path, CLUSTER, &store_config())?;
    let store = Arc::clone(running.store()) as Arc<dyn Store>;
    running.run(Box::pin(async {
        let node = Node::start(node_config(), store)?;
        say(&Line::Begun)?;
        for guild in guilds().into_iter().filter(|guild| guild.get() <= GUILDS_AWAKE) {
            listen(&node, guild).await?;
        }
        for id in HandId::all(round) {
            tokio::spawn(work(node.clone(), Hand::new(seed, id)));
        }
        tokio::spawn(lull(node.clone()));
        sleep(LIFE_MAX).await;
        Ok(())
    }))
}

/// Tells what a session of the guild's owner hears.
async fn listen(node: &Node, guild: GuildId) -> anyhow::Result<()> {
    let attach = Attach {
        session: SessionId::new(guild.get())?,
        user: owner(guild),
        status: Status::Online,
        members: true,
        level: Level::Active,
    };
    let backend = node.backend();
    let mut stream = backend.attach(guild, attach).await.context("a session is not attached")?;
    tokio::spawn(async move {
        // Held, so that its relay is.
        let _backend = backend;
        while let Some(delivery) = stream.next().await {
            if let Delivery::Event(event) = delivery
                && let Some(thing) = thing_of(&event.kind)
            {
                say(&Line::Seen { guild, at: event.position, thing })?;
            }
        }
        anyhow::Ok(())
    });
    Ok(())
}

/// The id of what an event is about.
fn thing_of(event: &EventKind) -> Option<u64> {
    match event {
        EventKind::MemberJoined { member }
        | EventKind::MemberLeft { member }
        | EventKind::MemberUpdated { after: member, .. } => Some(member.user.get()),
        EventKind::MembersJoined { members } => members.first().map(|member| member.user.get()),
        EventKind::MembersLeft { users } => users.first().map(|user| user.get()),
        EventKind::RoleCreated { role }
        | EventKind::RoleUpdated { after: role, .. }
        | EventKind::RoleDeleted { role, .. } => Some(role.id.get()),
        EventKind::ChannelCreated { channel, .. } | EventKind::ChannelDeleted { channel, .. } => Some(channel.id.get()),
        EventKind::GuildCreated { .. }
        | EventKind::GuildUpdated { .. }
        | EventKind::GuildDeleted
        | EventKind::RolesReordered { .. }
        | EventKind::ChannelUpdated { .. }
        | EventKind::ChannelsReordered { .. }
        | EventKind::OverwriteChanged { .. }
        | EventKind::MessagePublished(_)
        | EventKind::UserBanned { .. }
        | EventKind::UserUnbanned { .. } => None,
    }
}

/// Has a hand ask for one step after the other.
async fn work(node: Node, mut hand: Hand) -> anyhow::Result<()> {
    let id = hand.id;
    loop {
        let step = hand.next();
        let issued = Issued { hand: id.number, step: step.number, at: now()? };
        say(&Line::Issued(issued))?;
        match call(&node, step.guild, operation(id, issued, &step.command)).await {
            Ok(outcome) => {
                let answered = format!("{outcome:?}");
                say(&Line::Answered { hand: id.number, step: step.number, at: outcome.at(), outcome: answered })?;
                hand.answered();
                if hand.is_leisurely() {
                    sleep(PAUSE).await;
                }
            }
            Err(error) => {
                say(&Line::Failed { hand: id.number, step: step.number, why: error.to_string() })?;
                return Ok(());
            }
        }
    }
}

/// Carries an operation out, if need be after a pause.
pub(super) async fn call(node: &Node, guild: GuildId, call: Call) -> Result<Outcome, CallError> {
    loop {
        match node.call(guild, call.clone()).await {
            Err(CallError::Overloaded { retry_after }) => sleep(retry_after.min(PAUSE_MAX)).await,
            answer => return answer,
        }
    }
}

/// The operation that a step is, each time it is tried.
pub(super) fn operation(id: HandId, issued: Issued, command: &guildhall_proto::Command) -> Call {
    let op = OpId { client: id.client(), counter: issued.step, issued_at: issued.at };
    Call { op, actor: Actor::System, command: command.clone() }
}

/// Has the guilds without sessions fall asleep again and again.
async fn lull(node: Node) -> anyhow::Result<()> {
    loop {
        for guild in guilds().into_iter().filter(|guild| guild.get() > GUILDS_AWAKE) {
            sleep(BETWEEN_SLEEPS).await;
            // It may be busy, or refuse for another reason: then it sleeps another time.
            if node.sleep(guild).await.is_ok() {
                say(&Line::Slept { guild })?;
            }
        }
    }
}

/// Writes a line with one call: a line is written or it is not.
fn say(line: &Line) -> io::Result<()> {
    io::stdout().lock().write_all(format!("{line}\n").as_bytes())
}

/// A child that nobody kills ends by itself.
const LIFE_MAX: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);
const BETWEEN_SLEEPS: Duration = Duration::from_millis(3);
const PAUSE_MAX: Duration = Duration::from_millis(20);
