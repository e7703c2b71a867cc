//! Pings and reads while the guild is busy: who is reached, and what a member may do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use guildhall_client::{ClientError, Guild};
use guildhall_proto::{ChannelId, CommandError, Question};
use tokio::time::{MissedTickBehavior, interval};

use super::population::{Group, Reached};
use crate::random::Random;
use crate::trial::latency::{Kind, Latencies};
use crate::trial::shape::{CHANNELS, Shape};

/// Says when it is enough.
pub(crate) type Enough = Arc<AtomicBool>;

/// Asks who is reached by `@everyone` and `@here`, channel by channel, until it is enough.
pub(crate) async fn scan(guild: Guild, shape: Shape, enough: Enough) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::default();
    let mut random = Random::new(shape.seed, SCANS);
    let mut ticks = interval(SCAN_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !enough.load(Ordering::Relaxed) {
        ticks.tick().await;
        let channel = Shape::channel(random.below(CHANNELS));
        for (kind, question) in
            [(Kind::ScanEveryone, Question::Everyone { channel }), (Kind::ScanHere, Question::Here { channel })]
        {
            let begun = Instant::now();
            recipients(&guild, question).await?;
            latencies.note(kind, begun.elapsed());
        }
    }
    Ok(latencies)
}

/// Reads members and their rights, a few at a time, until it is enough.
pub(crate) async fn read(guild: Guild, shape: Shape, enough: Enough) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::default();
    let mut random = Random::new(shape.seed, READS);
    let mut ticks = interval(READ_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !enough.load(Ordering::Relaxed) {
        ticks.tick().await;
        for _ in 0..READS_AT_ONCE {
            let user = Shape::user(random.below(shape.members));
            let channel = Shape::channel(random.below(CHANNELS));
            let begun = Instant::now();
            let read = guild.member(user).await;
            let can = guild.can(user, Some(channel)).await;
            latencies.note(Kind::Read, begun.elapsed());
            for error in [read.err(), can.err()].into_iter().flatten() {
                // Some leave on the way.
                if !matches!(error, ClientError::Refused(CommandError::UnknownMember { .. })) {
                    return Err(error).context("a read failed");
                }
            }
        }
    }
    Ok(latencies)
}

/// Whom the pings of channels reach.
pub(crate) async fn reached(guild: &Guild, channels: &[ChannelId]) -> anyhow::Result<Vec<Reached>> {
    let mut reached = Vec::new();
    for channel in channels.iter().copied() {
        reached.push(Reached {
            everyone: recipients(guild, Question::Everyone { channel }).await?,
            here: recipients(guild, Question::Here { channel }).await?,
        });
    }
    Ok(reached)
}

async fn recipients(guild: &Guild, question: Question) -> anyhow::Result<Group> {
    let mut recipients = guild.recipients(question).await.context("a scan failed")?;
    let mut users = Vec::new();
    while let Some(chunk) = recipients.next().await.context("a scan failed")? {
        users.extend(chunk);
    }
    Ok(Group::of(users))
}

/// Both questions, as often as a large and busy guild pings.
const SCAN_EVERY: Duration = Duration::from_millis(50);
const READ_EVERY: Duration = Duration::from_millis(5);
const READS_AT_ONCE: usize = 10;
/// Tell what scans and reads draw from what else is drawn.
const SCANS: u64 = 0x7363_616E;
const READS: u64 = 0x7265_6164;
