//! The work of a demo: all that is done to the guild while sessions listen, until they have heard the last of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use guildhall_node::{Node, NodeConfig};
use guildhall_proto::{Actor, ClientId, Command, Outcome, Position, PruneBy};
use guildhall_store::Store;
use tokio::sync::watch;
use tracing::warn;

use super::GUILD;
use super::drive::{Collected, Driver, collect};
use super::ear::Cue;
use super::hamlets::{Hamlets, Slept};
use super::house::House;
use super::ledger::Ledger;
use super::scans::{self, Enough};
use super::script::Script;
use super::typing;
use crate::bars;
use crate::checks::Waited;
use crate::operations::Operations;
use crate::trial::bell::Bell;
use crate::trial::latency::{Kind, Latencies};
use crate::trial::shape::{LAPSED, Shape};

/// A guild with sessions that listen.
pub(super) struct Stage {
    pub(super) node: Node,
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
    /// Operations refused for want of room, and begun again.
    pub(super) refused: u64,
    /// Guilds that fell asleep, that woke, and of them those that are not as they were.
    pub(super) slept: u64,
    pub(super) woken: u64,
    pub(super) wrong: u64,
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
        let (mut driver, answered) = Driver::new(self.node.clone(), script);
        let (role_deleted, mut is_role_deleted) = watch::channel(false);
        let collecting = tokio::spawn(collect(answered, Ledger::after(at.seq.0), role_deleted));
        let enough = Enough::new(AtomicBool::new(false));
        let scanning = tokio::spawn(scans::scan(self.node.clone(), self.shape, Arc::clone(&enough)));
        let reading = tokio::spawn(scans::read(self.node.clone(), self.shape, Arc::clone(&enough)));
        let typing = tokio::spawn(typing::type_about(self.node.clone(), self.shape, staying, Arc::clone(&enough)));
        let pruning = tokio::spawn(prune(self.node.clone(), time * 45 / 100));
        let sleeping = tokio::spawn(hamlets.sleep_and_wake(time * 4 / 5));
        let filling = tokio::spawn(bars::fill(time, "seconds of work"));
        let driving = tokio::task::spawn_blocking(move || driver.run(time).map(|()| driver));

        let mut latencies = Latencies::default();
        tokio::time::sleep(time / 5).await;
        self.house.cue(Cue::Stall);
        let stalled_at = position(&self.node).await?;
        tokio::time::sleep(time / 20).await;
        // Without an answer the collector has ended, and says why.
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
        let Slept { latencies: taken, slept, woken, wrong } =
            sleeping.await.context("the sleep of guilds failed")??;
        latencies.add(taken);
        let driver = driving.await.context("the driver failed")??;
        filling.await.context("the bar failed")?;
        enough.store(true, Ordering::Relaxed);
        latencies.add(scanning.await.context("the scans failed")??);
        latencies.add(typing.await.context("the typing failed")??);
        latencies.add(reading.await.context("the reads failed")??);

        let driver = self.close(driver, stalled_at).await?;
        let (messages, refused) = (driver.messages(), driver.refused());
        drop(driver);
        let collected = collecting.await.context("the collector failed")?;
        Ok(Worked { collected, latencies, removed, messages, refused, slept, woken, wrong })
    }

    /// Sees to it that the reader which stopped has fallen out of its ring, has it go on, and waits until all have heard everything.
    async fn close(&mut self, driver: Driver, stalled_at: Position) -> anyhow::Result<Driver> {
        let mut driver = driver;
        let all = self.house.sessions;
        let mut bell = 0;
        loop {
            driver = self.ring(driver, Bell::new(bell), all - 1).await?;
            bell += 1;
            let passed = position(&self.node).await?.seq.0 - stalled_at.seq.0;
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

/// The node on which everything happens. Must be called within a runtime.
pub(super) fn start_node(store: Arc<dyn Store>) -> anyhow::Result<Node> {
    let mut config = NodeConfig::default();
    config.relay.ring.entries_max = RELAY_EVENTS;
    config.relay.ring.bytes_max = RELAY_BYTES;
    config.ring.entries_max = GUILD_EVENTS;
    Node::start(config, store).context("the node does not start")
}

/// Prunes the lapsed once so much time is over. Returns how many they were.
async fn prune(node: Node, after: Duration) -> anyhow::Result<(u64, Latencies)> {
    tokio::time::sleep(after).await;
    let command = Command::PruneMembers(PruneBy::Role(Shape::role(LAPSED)));
    let call = Operations::of(ClientId::new(PRUNER)?).call(Actor::System, command)?;
    let begun = Instant::now();
    let outcome = node.call(GUILD, call).await.context("the prune failed")?;
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

pub(super) async fn position(node: &Node) -> anyhow::Result<Position> {
    Ok(node.view(GUILD).await.context("the guild cannot be read")?.position())
}

/// Events that each relay's ring holds. The reader that stopped has to be passed by as many.
const RELAY_EVENTS: usize = 4_096;
/// Bytes that each relay's ring holds: no bound beside its events.
const RELAY_BYTES: usize = 16 * 1024 * 1024;
/// Events that the guild's ring holds: those of some seconds.
const GUILD_EVENTS: usize = 16_384;
/// How long sessions are cut, at most: what they miss is a fourth of what a relay's ring holds, however slow the machine is then.
const CUT_MAX: Duration = Duration::from_millis(500);
/// Events that a ring may hold beyond its bound, and those that the reader took just before it stopped: far fewer than this.
const RING_SLACK: usize = 1_024;
/// Messages between two bells, when nobody is to fall out of a ring but the reader that stopped.
const MESSAGES_A_BELL: u64 = 1_024;
/// The client that prunes; others build and drive.
const PRUNER: u64 = 3;

const _: () = assert!(MESSAGES_A_BELL as usize * 2 <= RELAY_EVENTS, "who reads falls out of no ring between two bells");
