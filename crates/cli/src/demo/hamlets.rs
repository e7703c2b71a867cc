//! Small guilds that sleep and wake while the large one is busy; some of them wake at another node.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use guildhall_client::Guild;
use guildhall_proto::{Actor, Channel, ChannelKind, Command, GuildId, MemberFlags, NewMember, Position, UserId};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::warn;

use super::GUILD;
use super::town::Town;
use crate::trial::latency::{Kind, Latencies};
use crate::trial::shape::Shape;

/// The small guilds of a demo, with what each must be when it wakes.
pub(crate) struct Hamlets {
    town: Arc<Town>,
    founded: Vec<(GuildId, Position)>,
}

/// What their sleep came to.
#[derive(Debug, Default)]
pub(crate) struct Slept {
    pub(crate) latencies: Latencies,
    pub(crate) slept: u64,
    pub(crate) woken: u64,
    /// Guilds that were placed with another node while they slept, and were seen to wake there.
    pub(crate) moved: u64,
    /// Guilds that are not as they were, or woke elsewhere than where they are placed, or were not asleep.
    pub(crate) wrong: u64,
}

impl Hamlets {
    /// Founds them; calls `founded` for each.
    pub(crate) async fn found(town: Arc<Town>, founded: impl Fn(u64)) -> anyhow::Result<Self> {
        let (mut hamlets, mut founding) = (Self { town, founded: Vec::new() }, JoinSet::new());
        for number in 0..HAMLETS {
            if founding.len() >= FOUNDING_AT_ONCE
                && let Some(done) = founding.join_next().await
            {
                hamlets.founded.push(done.context("a small guild is not founded")??);
                founded(1);
            }
            let id = GuildId::new(GUILD.get() + 1 + number)?;
            let backend = usize::try_from(number)?;
            founding.spawn(found(hamlets.town.guild(backend, id), id, number));
        }
        while let Some(done) = founding.join_next().await {
            hamlets.founded.push(done.context("a small guild is not founded")??);
            founded(1);
        }
        hamlets.founded.sort_unstable();
        Ok(hamlets)
    }

    /// Has all fall asleep, places some elsewhere, and wakes one after the other within `time`.
    pub(crate) async fn sleep_and_wake(self, time: Duration) -> anyhow::Result<Slept> {
        let Self { town, founded } = self;
        let mut slept = Slept::default();
        let awake = town.awake();
        for (guild, _) in &founded {
            let begun = Instant::now();
            match town.node_of(*guild)?.sleep(*guild).await {
                Ok(()) => {
                    slept.latencies.note(Kind::Sleep, begun.elapsed());
                    slept.slept += 1;
                }
                Err(error) => warn!(%guild, %error, "a guild stays awake"),
            }
        }
        let asleep = awake.saturating_sub(town.awake());
        slept.wrong += (asleep as u64).abs_diff(HAMLETS);
        let before = founded.iter().map(|(guild, _)| town.place(*guild)).collect::<anyhow::Result<Vec<usize>>>()?;
        for (guild, _) in founded.iter().step_by(MOVED_ONE_IN) {
            town.move_on(*guild)?;
        }
        let begun = Instant::now();
        for (((guild, position), before), number) in founded.into_iter().zip(before).zip(0_u32..) {
            let due = begun + time * number / u32::try_from(HAMLETS)?;
            sleep(due.saturating_duration_since(Instant::now())).await;
            let (woken, by_node) = (Instant::now(), town.woken());
            // As the backend node that founded it: that knows where it was.
            let pieces = town.guild(usize::try_from(number)?, guild).show().await.context("a guild does not wake")?;
            slept.latencies.note(Kind::Wake, woken.elapsed());
            slept.woken += 1;
            // Whoever owns it now counts on from where it stood.
            let is_same = pieces.as_of().at.seq == position.seq && u64::from(pieces.members()) == MEMBERS;
            // No other guild wakes meanwhile: so this one did where the count has risen.
            let risen = town.woken().into_iter().zip(by_node).enumerate().filter(|(_, (now, then))| now > then);
            let is_there = risen.map(|(node, _)| node).eq([town.place(guild)?]);
            slept.wrong += u64::from(!(is_same && is_there));
            slept.moved += u64::from(is_there && town.place(guild)? != before);
        }
        Ok(slept)
    }
}

async fn found(guild: Guild, id: GuildId, number: u64) -> anyhow::Result<(GuildId, Position)> {
    let (name, everyone) = (Shape::name("hamlet"), Shape::everyone());
    let (id_of_channel, kind) = (Shape::channel(0), ChannelKind::Text);
    let channel = Channel { id: id_of_channel, name: name.clone(), kind, parent: None, position: 0 };
    let create = Command::CreateGuild { name, everyone, owner: member(number, 0) };
    guild.call(Actor::System, create).await?;
    guild.call(Actor::System, Command::CreateChannel { channel, overwrites: Vec::new() }).await?;
    let others = (1..MEMBERS).map(|idx| member(number, idx)).collect();
    Ok((id, guild.call(Actor::System, Command::ImportMembers(others)).await?.at()))
}

fn member(hamlet: u64, idx: u64) -> NewMember {
    let number = hamlet * MEMBERS + idx;
    let user: UserId = Shape::user(number);
    NewMember { user, nick: Shape::nick(number), roles: Vec::new(), flags: MemberFlags::NONE }
}

/// How many there are.
pub(crate) const HAMLETS: u64 = 1_000;
const MEMBERS: u64 = 20;
/// Of so many, one is placed elsewhere while it sleeps.
const MOVED_ONE_IN: usize = 3;
/// Founded at a time: each waits for the disk.
const FOUNDING_AT_ONCE: usize = 32;
