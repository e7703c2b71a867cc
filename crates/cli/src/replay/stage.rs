//! The live side of a replay: a node with one guild and one channel, and a task for each session, which listens.
//!
//! Everything goes to the guild's owner in the order of the calls here. Commands are not waited for one by one: their answers are
//! looked at later, at most [`COMMANDS_AHEAD_MAX`] behind.

mod listener;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use anyhow::Context;
use guildhall_node::{Attach, AttachError, Backend, Node, NodeConfig, Pending, ViewRef};
use guildhall_proto::limits::CLIENT_OUTCOMES_MAX;
use guildhall_proto::{
    Actor, CallError, Channel, ChannelId, ChannelKind, ClientId, Command, GuildId, Level, MemberFlags, Mentions, Name,
    NewMember, Nick, Payload, Permissions, Publish, SessionId, Status, UserId,
};
use guildhall_store::{Known, Store};
use tokio::time::sleep;

use super::hearing::{Hearing, Until};
use super::model::Due;
use super::report::Report;
use crate::checks::{Number, Progress};
use crate::operations::Operations;
use listener::{Leaving, Left, Listener};

/// A node, its one guild, and the sessions attached to that.
pub(crate) struct Stage {
    node: Node,
    backend: Backend,
    ids: Ids,
    operations: Operations,
    founded: bool,
    /// The guild as an earlier replay left it.
    stored: Option<ViewRef>,
    pending: VecDeque<Pending>,
    online: BTreeMap<UserId, Listener>,
    left: Vec<Left>,
    progress: Arc<Progress>,
}

struct Ids {
    guild: GuildId,
    channel: ChannelId,
    sessions: u64,
}

impl Stage {
    /// Starts the node, and goes on with the guild that is stored, if there is one. Must be called within a runtime.
    pub(crate) async fn new(store: Arc<dyn Store>) -> anyhow::Result<Self> {
        let mut config = NodeConfig::default();
        for ring in [&mut config.ring, &mut config.relay.ring] {
            ring.entries_max = RING_EVENTS;
            ring.bytes_max = RING_BYTES;
        }
        let ids = Ids { guild: GuildId::new(1)?, channel: ChannelId::new(1)?, sessions: 0 };
        let known = store.knows(ids.guild).context("the store cannot be asked")?;
        let node = Node::start(config, store).context("the node does not start")?;
        let stored = match known {
            Known::Something | Known::Deleted => {
                Some(node.view(ids.guild).await.context("the guild of the replay before cannot be read")?)
            }
            Known::Nothing => None,
        };
        let lacks_channel = stored.as_ref().is_some_and(|view| view.rights().channel(ids.channel).is_none());
        let mut stage = Self {
            backend: node.backend(),
            node,
            ids,
            operations: Operations::of_now(ClientId::MIN)?,
            founded: stored.is_some(),
            stored,
            pending: VecDeque::new(),
            online: BTreeMap::new(),
            left: Vec::new(),
            progress: Arc::new(Progress::new()),
        };
        // A replay that was killed may have come no further than to the guild itself.
        if lacks_channel {
            stage.create_channel().await?;
        }
        Ok(stage)
    }

    /// How many members the guild had when the replay began.
    pub(crate) fn stored(&self) -> usize {
        self.stored.as_ref().map_or(0, |view| view.len())
    }

    /// How a user is called who was a member when the replay began.
    pub(crate) fn stored_nick(&self, user: UserId) -> Option<Nick> {
        self.stored.as_ref()?.member(user).map(|member| member.nick)
    }

    /// Adds a member. The first one gets the guild: without a member there can be none.
    pub(crate) async fn add(&mut self, user: UserId, nick: Nick) -> anyhow::Result<()> {
        let member = NewMember { user, nick, roles: Vec::new(), flags: MemberFlags::NONE };
        if self.founded {
            return self.begin(Actor::System, Command::AddMember(member)).await;
        }
        let name = Name::parse(NAME)?;
        let everyone = Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES;
        let create = self.operations.call(Actor::System, Command::CreateGuild { name, everyone, owner: member })?;
        self.node.call(self.ids.guild, create).await.context("the guild is not created")?;
        self.founded = true;
        self.create_channel().await
    }

    async fn create_channel(&mut self) -> anyhow::Result<()> {
        let name = Name::parse(NAME)?;
        let channel = Channel { id: self.ids.channel, name, kind: ChannelKind::Text, parent: None, position: 0 };
        self.begin(Actor::System, Command::CreateChannel { channel, overwrites: Vec::new() }).await
    }

    /// Attaches a session of a member that has none. It may hear messages `from` on.
    pub(crate) async fn attach(&mut self, user: UserId, from: Number) -> anyhow::Result<()> {
        let session = self.ids.session()?;
        let attach = Attach { session, user, status: Status::Online, members: false, level: Level::Active };
        let stream = loop {
            match self.backend.attach(self.ids.guild, attach).await {
                Err(AttachError::Call(CallError::Overloaded { retry_after })) => sleep(retry_after).await,
                attached => break attached.context("a session is not attached")?,
            }
        };
        let until = Until::open();
        let hearing = Hearing::new(user, from, until.clone());
        self.online.insert(user, Listener::start(stream, until, hearing, Arc::clone(&self.progress)));
        Ok(())
    }

    /// Detaches the sessions of members who are online. What they have heard is compared with what is due when it is collected.
    pub(crate) async fn detach(&mut self, going: Vec<(UserId, Due)>) -> anyhow::Result<()> {
        let leave = |(user, due)| self.online.remove(&user).expect("who goes offline came online").leave(due);
        // All are told first and waited for second: among themselves they may leave in any order.
        let leaving: Vec<Leaving> = going.into_iter().map(leave).collect();
        for leaving in leaving {
            self.left.push(leaving.left().await?);
        }
        Ok(())
    }

    /// Has a member who is online say something, to all others.
    pub(crate) async fn publish(&mut self, author: UserId, payload: Payload) -> anyhow::Result<()> {
        let session = self.online.get(&author).expect("who speaks is online").session();
        let publish = Publish {
            channel: self.ids.channel,
            payload,
            mentions: Mentions::default(),
            session: Some(session),
            echo: false,
        };
        self.begin(Actor::User(author), Command::Publish(publish)).await
    }

    /// Waits until everything begun so far has been carried out.
    pub(crate) async fn settle(&mut self) -> anyhow::Result<()> {
        while let Some(pending) = self.pending.pop_front() {
            pending.answer().await.context("a command failed")?;
        }
        Ok(())
    }

    /// How much all sessions together have heard.
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Waits for the sessions that were detached to end, and adds what they have heard.
    pub(crate) async fn collect(&mut self, report: &mut Report) -> anyhow::Result<()> {
        for left in self.left.drain(..) {
            let (due, heard) = left.heard().await?;
            report.deliveries += heard.deliveries;
            report.lost += due.messages.checked_sub(heard.right).expect("right is only what is due");
            report.duplicated += heard.duplicated;
            report.reordered += heard.reordered;
            report.leaked += heard.leaked;
            report.altered += heard.altered;
        }
        Ok(())
    }

    /// Members of the guild, and how many of them are online, as its view shows them.
    pub(crate) async fn shown(&self) -> anyhow::Result<(usize, usize)> {
        if !self.founded {
            return Ok((0, 0));
        }
        let view = self.node.view(self.ids.guild).await.context("the guild cannot be read")?;
        Ok((view.len(), view.online()))
    }

    pub(crate) async fn stop(self) {
        self.node.stop().await;
    }

    /// Takes a command's place in the guild's order.
    async fn begin(&mut self, actor: Actor, command: Command) -> anyhow::Result<()> {
        if self.pending.len() == COMMANDS_AHEAD_MAX {
            let oldest = self.pending.pop_front().expect("as many as may be pending are pending");
            oldest.answer().await.context("a command failed")?;
        }
        let call = self.operations.call(actor, command)?;
        loop {
            match self.node.begin(self.ids.guild, call.clone()) {
                Ok(pending) => {
                    self.pending.push_back(pending);
                    return Ok(());
                }
                // Nothing was begun meanwhile, so the order is kept.
                Err(CallError::Overloaded { retry_after }) => sleep(retry_after).await,
                Err(error) => return Err(error).context("a command was not taken"),
            }
        }
    }
}

impl Ids {
    fn session(&mut self) -> anyhow::Result<SessionId> {
        self.sessions += 1;
        Ok(SessionId::new(self.sessions)?)
    }
}

/// What the guild and its channel are called.
const NAME: &str = "replay";
/// Events that the guild's ring and the relay's hold, each.
pub(crate) const RING_EVENTS: usize = 4_096;
/// Bytes that they hold, each.
pub(crate) const RING_BYTES: usize = 8 * 1024 * 1024;

/// Commands begun and not answered yet. Enough that the owner never waits for the next one.
const COMMANDS_AHEAD_MAX: usize = 512;

const _: () = assert!(COMMANDS_AHEAD_MAX < CLIENT_OUTCOMES_MAX, "a client may hold no more operations open");
