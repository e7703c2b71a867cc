//! Small guilds that sleep and wake while the large one is busy.

use std::time::{Duration, Instant};

use anyhow::Context;
use guildhall_node::Node;
use guildhall_proto::{
    Actor, CallError, Channel, ChannelKind, ClientId, Command, GuildId, MemberFlags, NewMember, Outcome, Position,
    UserId,
};
use tokio::time::sleep;
use tracing::warn;

use super::GUILD;
use crate::operations::Operations;
use crate::trial::latency::{Kind, Latencies};
use crate::trial::shape::Shape;

/// The small guilds of a demo, with what each must be when it wakes.
pub(crate) struct Hamlets {
    node: Node,
    founded: Vec<(GuildId, Position)>,
}

/// What their sleep came to.
#[derive(Debug, Default)]
pub(crate) struct Slept {
    pub(crate) latencies: Latencies,
    pub(crate) slept: u64,
    pub(crate) woken: u64,
    /// Guilds that are not as they were, or were not asleep.
    pub(crate) wrong: u64,
}

impl Hamlets {
    /// Founds them; calls `founded` for each.
    pub(crate) async fn found(node: Node, founded: impl Fn(u64)) -> anyhow::Result<Self> {
        let mut hamlets = Self { node, founded: Vec::new() };
        for number in 0..HAMLETS {
            let guild = GuildId::new(GUILD.get() + 1 + number)?;
            // A client's counters are kept apart by each guild.
            let mut operations = Operations::of(ClientId::MIN);
            let (name, everyone) = (Shape::name("hamlet"), Shape::everyone());
            let channel = Channel {
                id: Shape::channel(0),
                name: name.clone(),
                kind: ChannelKind::Text,
                parent: None,
                position: 0,
            };
            let create = Command::CreateGuild { name, everyone, owner: member(number, 0) };
            hamlets.call(guild, &mut operations, create).await?;
            hamlets.call(guild, &mut operations, Command::CreateChannel { channel, overwrites: Vec::new() }).await?;
            let others = (1..MEMBERS).map(|idx| member(number, idx)).collect();
            let outcome = hamlets.call(guild, &mut operations, Command::ImportMembers(others)).await?;
            hamlets.founded.push((guild, outcome.at()));
            founded(1);
        }
        Ok(hamlets)
    }

    /// Has all fall asleep, and wakes one after the other within `time`.
    pub(crate) async fn sleep_and_wake(self, time: Duration) -> anyhow::Result<Slept> {
        let mut slept = Slept::default();
        let awake = self.node.awake();
        for (guild, _) in &self.founded {
            let begun = Instant::now();
            match self.node.sleep(*guild).await {
                Ok(()) => {
                    slept.latencies.note(Kind::Sleep, begun.elapsed());
                    slept.slept += 1;
                }
                Err(error) => warn!(%guild, %error, "a guild stays awake"),
            }
        }
        let asleep = awake.saturating_sub(self.node.awake());
        slept.wrong += (asleep as u64).abs_diff(HAMLETS);
        let begun = Instant::now();
        for ((guild, position), number) in self.founded.into_iter().zip(0_u32..) {
            let due = begun + time * number / u32::try_from(HAMLETS)?;
            sleep(due.saturating_duration_since(Instant::now())).await;
            let woken = Instant::now();
            let view = self.node.view(guild).await.context("a guild does not wake")?;
            slept.latencies.note(Kind::Wake, woken.elapsed());
            slept.woken += 1;
            // Whoever owns it now counts on from where it stood.
            let is_same = view.position().seq == position.seq && view.len() as u64 == MEMBERS;
            slept.wrong += u64::from(!is_same);
        }
        Ok(slept)
    }

    async fn call(&self, guild: GuildId, operations: &mut Operations, command: Command) -> anyhow::Result<Outcome> {
        let call = operations.call(Actor::System, command)?;
        loop {
            match self.node.call(guild, call.clone()).await {
                Err(CallError::Overloaded { retry_after }) => sleep(retry_after).await,
                answered => return answered.context("a small guild is not founded"),
            }
        }
    }
}

fn member(hamlet: u64, idx: u64) -> NewMember {
    let number = hamlet * MEMBERS + idx;
    let user: UserId = Shape::user(number);
    NewMember { user, nick: Shape::nick(number), roles: Vec::new(), flags: MemberFlags::NONE }
}

/// How many there are.
pub(crate) const HAMLETS: u64 = 1_000;
const MEMBERS: u64 = 20;
