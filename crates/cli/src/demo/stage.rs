//! The work of a demo: all that is done to the guild while sessions listen, until they have heard the last of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use guildhall_client::Guild;
use guildhall_proto::{Actor, Command, Outcome, Position, PruneBy};
use tracing::warn;

use super::GUILD;
use super::drive::{Collected, Driver};
use super::ear::Cue;
use super::hamlets::{Hamlets, Slept};
use super::house::House;
use super::ledger::Ledger;
use super::scans::{self, Enough};
use super::script::Script;
use super::town::{RELAY_EVENTS, Town};
use super::typing;
use crate::bars;
use crate::checks::Waited;
use crate::trial::bell::Bell;
use crate::trial::latency::{Kind, Latencies};
use crate::trial::shape::{LAPSED, Shape};

/// A guild with sessions that listen.
pub(super) struct Stage {
    pub(super) town: Arc<Town>,
    pub(super) shape: Shape,
    pub(super) house: House,
    /// Sessions that had not heard a bell when nothing moved any more.
    pub(super) late: u64,
}

/// What the work came to.
pub(super) struct Worked {
    pub(super) collected: Collected,
    pub(super) latencies: Latencies,
    /// Members that were pruned.
    pub(super) removed: u64,
    pub(super) messages: u64,
    /// Guilds that fell asleep, that woke, and of them those that are not as they were.
    pub(super) slept: u64,
    pub(super) woken: u64,
    pub(super) wrong: u64,
    /// Of these guilds, those that were placed elsewhere meanwhile.
    pub(super) moved: u64,
}

impl Stage {
    /// Does everything that is done while sessions listen, until all have heard the last of it.
    pub(super) async fn work(
        &mut self,
        time: Duration,
        script: Script,
        at: Position,
        hamlets: Hamlets,
    ) -> anyhow::Result<Worked> {
        let staying = script.staying().to_vec();
        let guild = |backend| self.town.guild(backend, GUILD);
        let (mut driver, mut is_role_deleted) = Driver::new(guild(0), script, Ledger::after(at.seq.0));
        let enough = Enough::new(AtomicBool::new(false));
        let scanning = tokio::spawn(scans::scan(guild(1), self.shape, Arc::clone(&enough)));
        let reading = tokio::spawn(scans::read(guild(2), self.shape, Arc::clone(&enough)));
        let typing = tokio::spawn(typing::type_about(guild(1), self.shape, staying, Arc::clone(&enough)));
        let pruning = tokio::spawn(prune(guild(2), time * 45 / 100));
        let sleeping = tokio::spawn(hamlets.sleep_and_wake(time * 4 / 5));
        let filling = tokio::spawn(bars::fill(time, "seconds of work"));
        let driving = tokio::task::spawn_blocking(move || driver.run(time).map(|()| driver));

        let mut latencies = Latencies::default();
        tokio::time::sleep(time / 5).await;
        self.house.cue(Cue::Stall);
        let stalled_at = position(&self.town).await?;
        tokio::time::sleep(time / 20).await;
        // The driver holds what tells it.
        drop(is_role_deleted.wait_for(|is_deleted| *is_deleted).await);
        tokio::time::sleep(time / 20).await;
        self.house.cue(Cue::Break);
        let cut = (time / 10).min(CUT_MAX);
        tokio::time::sleep(cut).await;
        self.house.cue(Cue::Resume);
        tokio::time::sleep(time / 8 - cut).await;
        self.house.cue(Cue::TurnAway);
        self.house.turn(true, &mut latencies).await;
        tokio::time::sleep(time * 2 / 10).await;
        self.house.cue(Cue::TurnBack);
        self.house.turn(false, &mut latencies).await;

        let (removed, pruned) = pruning.await.context("the prune failed")??;
        latencies.add(pruned);
        let Slept { latencies: taken, slept, woken, moved, wrong } =
            sleeping.await.context("the sleep of guilds failed")??;
        latencies.add(taken);
        let driver = driving.await.context("the driver failed")??;
        filling.await.context("the bar failed")?;
        enough.store(true, Ordering::Relaxed);
        latencies.add(scanning.await.context("the scans failed")??);
        latencies.add(typing.await.context("the typing failed")??);
        latencies.add(reading.await.context("the reads failed")??);

        let driver = self.close(driver, stalled_at).await?;
        let messages = driver.messages();
        let collected = driver.collect().await?;
        Ok(Worked { collected, latencies, removed, messages, slept, woken, moved, wrong })
    }

    /// Sees to it that the reader which stopped has fallen out of its ring, has it go on, and waits until all have heard everything.
    async fn close(&mut self, driver: Driver, stalled_at: Position) -> anyhow::Result<Driver> {
        let mut driver = driver;
        let all = self.house.sessions;
        let mut bell = 0;
        loop {
            driver = self.ring(driver, Bell::new(bell), all - 1).await?;
            bell += 1;
            let passed = position(&self.town).await?.seq.0 - stalled_at.seq.0;
            if passed > (RELAY_EVENTS + RING_SLACK) as u64 || self.late > 0 {
                break;
            }
            driver = blocking(driver, |driver| driver.publish(MESSAGES_A_BELL)).await?;
        }
        self.house.cue(Cue::GoOn);
        if let Waited::Stalled(_) = self.house.belfry.wait_for_gap().await {
            warn!("the reader that stopped is told no gap");
        }
        self.ring(driver, Bell::new(bell), all).await
    }

    async fn ring(&mut self, driver: Driver, bell: Bell, sessions: u64) -> anyhow::Result<Driver> {
        let driver = blocking(driver, move |driver| driver.ring(bell)).await?;
        match self.house.belfry.wait(bell, sessions).await {
            Waited::Reached => {}
            Waited::Stalled(heard) => {
                warn!(sessions, heard, "sessions hear nothing more, and some have not heard all");
                self.late += sessions - heard;
            }
        }
        Ok(driver)
    }
}

/// Prunes the lapsed once so much time is over. Returns how many they were.
async fn prune(guild: Guild, after: Duration) -> anyhow::Result<(u64, Latencies)> {
    tokio::time::sleep(after).await;
    let begun = Instant::now();
    let command = Command::PruneMembers(PruneBy::Role(Shape::role(LAPSED)));
    let outcome = guild.call(Actor::System, command).await.context("the prune failed")?;
    let mut latencies = Latencies::default();
    latencies.note(Kind::Prune, begun.elapsed());
    match outcome {
        Outcome::MembersPruned { removed, .. } => Ok((u64::from(removed), latencies)),
        outcome @ (Outcome::Applied { .. } | Outcome::MembersImported { .. }) => {
            unreachable!("a prune is answered by how many it removed, not {outcome:?}")
        }
    }
}

/// Has the driver do something that blocks its thread.
async fn blocking(
    mut driver: Driver,
    work: impl FnOnce(&mut Driver) -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<Driver> {
    tokio::task::spawn_blocking(move || work(&mut driver).map(|()| driver)).await.context("the driver failed")?
}

pub(super) async fn position(town: &Town) -> anyhow::Result<Position> {
    let (as_of, _) = town.guild(0, GUILD).member(Shape::owner()).await.context("the guild cannot be read")?;
    Ok(as_of.at)
}

/// How long sessions are cut, at most: what they miss is a fourth of what a relay's ring holds, however slow the machine is then.
const CUT_MAX: Duration = Duration::from_millis(500);
/// Events that a ring may hold beyond its bound, and those that the reader took just before it stopped: far fewer than this.
const RING_SLACK: usize = 1_024;
/// Messages between two bells, when nobody is to fall out of a ring but the reader that stopped.
const MESSAGES_A_BELL: u64 = 1_024;

const _: () = assert!(MESSAGES_A_BELL as usize * 2 <= RELAY_EVENTS, "who reads falls out of no ring between two bells");
