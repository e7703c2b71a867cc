//! The demo: a large guild, built, listened to, worked hard, and checked in the end.
//!
//! A [`Shape`] says what the guild looks like, a [`Script`] what is done to it; a [`Driver`] does that at its due times,
//! while the sessions of a [`House`] listen. What the operations' answers say goes into a [`Ledger`], and from that alone, by the published
//! rule applied in the plainest way ([`rights`]), the [`judge`](judge::judge) works out what each session must have heard.

mod bars;
mod bell;
mod build;
mod drive;
mod ear;
mod error;
mod fact;
mod hamlets;
mod house;
mod judge;
mod latency;
mod ledger;
mod population;
mod random;
mod record;
mod report;
mod rights;
mod scans;
mod script;
mod seat;
mod shape;
mod tamper;
mod typing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use guildhall_node::{DetachReason, Node, NodeConfig};
use guildhall_proto::{Actor, ClientId, Command, Outcome, Position, PruneBy};
use guildhall_store::MemoryStore;
use tracing::warn;

use crate::checks::{Verdict, Waited, peak_memory_bytes};
use crate::operations::Operations;
use bell::Bell;
use drive::{Collected, Driver, collect};
use ear::Cue;
use hamlets::{Hamlets, Slept};
use house::{Heard, House, Meddlers};
use judge::judge_all;
use latency::{Kind, Latencies};
use ledger::Ledger;
use population::{Population, Reached};
use report::{Checks, MemoryBytes, Report, Seconds};
use rights::Rights;
use scans::Enough;
use script::Script;
use seat::{Errand, RELAYS, Seats};
use shape::{CHANNELS, LAPSED, OPEN_CHANNELS, ROLES, Shape};
use tamper::Meddler;

pub(crate) use error::DemoError;
pub(crate) use tamper::Tamper;

/// What a demo is asked to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) members: u64,
    pub(crate) sessions: u64,
    pub(crate) seconds: u64,
    pub(crate) seed: u64,
    pub(crate) tamper: Option<Tamper>,
}

/// Runs a demo.
///
/// # Errors
/// [`DemoError`] if it cannot be as it is asked to be; anything else is a failure of the demo itself.
pub(crate) fn demo(asked: Asked) -> anyhow::Result<Report> {
    asked.check()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build();
    runtime.context("the runtime does not start")?.block_on(Box::pin(run(asked)))
}

async fn run(asked: Asked) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let shape = Shape { members: asked.members, seed: asked.seed };
    let seats = Seats::plan(shape, asked.sessions);
    let meddlers = meddlers(asked.tamper, shape, &seats)?;
    let mut config = NodeConfig::default();
    config.relay.ring.entries_max = RELAY_EVENTS;
    // A session that was cut for a second is to find what it has missed, however slow the machine.
    config.ring.entries_max = GUILD_EVENTS;
    let node = Node::start(config, Arc::new(MemoryStore::default())).context("the node does not start")?;

    let mut latencies = Latencies::default();
    let bar = bars::bar(shape.members - 1, "members imported");
    build::build(&node, shape, &mut latencies, |members| bar.inc(members)).await?;
    bar.finish_and_clear();
    let bar = bars::bar(hamlets::HAMLETS, "small guilds founded");
    let hamlets = Hamlets::found(node.clone(), |guilds| bar.inc(guilds)).await?;
    bar.finish_and_clear();
    let built = begun.elapsed();

    let script = Script::new(shape, &seats);
    let at = position(&node).await?;
    let bar = bars::bar(seats.0.len() as u64, "sessions attached");
    let attached = {
        let bar = bar.clone();
        Arc::new(move |sessions| bar.inc(sessions))
    };
    let house = House::open(&node, seats, at, meddlers, &mut latencies, attached).await?;
    bar.finish_and_clear();
    let attached = begun.elapsed();

    let mut stage = Stage { node, shape, house, late: 0 };
    let worked = stage.work(Duration::from_secs(asked.seconds), script, at, hamlets).await?;
    let ran = begun.elapsed();

    let bar = bars::bar(1, "checking");
    let Stage { node, shape, house, late } = stage;
    let view = node.view(Shape::guild()).await.context("the guild cannot be read")?;
    let (memory, members) = (view.memory(), view.len() as u64);
    drop(view);
    let relays = house.relay_bytes() as u64;
    let channels: Vec<_> = ASKED_CHANNELS.map(Shape::channel).to_vec();
    let reached = scans::reached(&node, &channels).await?;
    let sessions = house.sessions;
    // Every session's stream ends with the node.
    node.stop().await;
    let mut heard = house.close().await?;
    let resumed = heard.resumed;
    latencies.add(std::mem::take(&mut heard.latencies));
    let checked = check(shape, worked.collected, heard, worked.removed, (members, &channels, &reached));
    bar.finish_and_clear();

    latencies.add(worked.latencies);
    latencies.add(checked.latencies);
    let operations = Kind::ALL.iter().filter_map(|kind| Some((kind.name(), latencies.times(*kind)?))).collect();
    let wrong_answers = checked.checks.wrong_answers + worked.wrong;
    let checks = Checks { late, wrong_answers, ..checked.checks };
    let seconds = |from: Duration, to: Duration| (to.saturating_sub(from).as_millis() as f64) / 1_000.0;
    let total = begun.elapsed();
    Ok(Report {
        members: shape.members,
        sessions,
        roles: ROLES,
        channels: CHANNELS,
        relays: RELAYS as u64,
        seed: shape.seed,
        messages: worked.messages,
        events: checked.events,
        deliveries: checked.deliveries,
        deliveries_per_second: (checked.deliveries as f64 / (ran - attached).as_secs_f64()) as u64,
        pruned: worked.removed,
        ended: checked.ended,
        resumed,
        refused: worked.refused,
        slept: worked.slept,
        woken: worked.woken,
        checks,
        operations,
        seconds: Seconds {
            build: seconds(Duration::ZERO, built),
            attach: seconds(built, attached),
            run: seconds(attached, ran),
            check: seconds(ran, total),
            total: seconds(Duration::ZERO, total),
        },
        memory_bytes: MemoryBytes {
            pages: memory.pages as u64,
            role_sets: memory.role_sets as u64,
            presence: memory.presence as u64,
            overlay: memory.overlay as u64,
            bans: memory.bans as u64,
            relays,
            checker: checked.bytes,
        },
        peak_memory_bytes: peak_memory_bytes(),
        passed: checks.verdict() == Verdict::Passed,
    })
}

/// A guild with sessions that listen.
struct Stage {
    node: Node,
    shape: Shape,
    house: House,
    /// Sessions that had not heard a bell when nothing moved any more.
    late: u64,
}

/// What the work came to.
struct Worked {
    collected: Collected,
    latencies: Latencies,
    removed: u64,
    messages: u64,
    refused: u64,
    /// Guilds that fell asleep, that woke, and of them those that are not as they were.
    slept: u64,
    woken: u64,
    wrong: u64,
}

impl Stage {
    /// Does everything that is done while sessions listen, until all have heard the last of it.
    async fn work(&mut self, time: Duration, script: Script, at: Position, hamlets: Hamlets) -> anyhow::Result<Worked> {
        let staying = script.staying().to_vec();
        let (mut driver, answered) = Driver::new(self.node.clone(), script);
        let collecting = tokio::spawn(collect(answered, Ledger::after(at.seq.0)));
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
        tokio::time::sleep(time / 10).await;
        self.house.cue(Cue::Break);
        tokio::time::sleep(time / 10).await;
        self.house.cue(Cue::Resume);
        tokio::time::sleep(time / 50).await;
        self.house.cue(Cue::TurnAway);
        self.house.turn(true, &mut latencies).await;
        tokio::time::sleep(time * 2 / 10).await;
        self.house.cue(Cue::TurnBack);
        self.house.turn(false, &mut latencies).await;

        let driver = driving.await.context("the driver failed")??;
        let (removed, pruned) = pruning.await.context("the prune failed")??;
        latencies.add(pruned);
        let Slept { latencies: taken, slept, woken, wrong } =
            sleeping.await.context("the sleep of guilds failed")??;
        latencies.add(taken);
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

/// What the check came to.
struct Checked {
    checks: Checks,
    latencies: Latencies,
    events: u64,
    deliveries: u64,
    ended: u64,
    bytes: u64,
}

fn check(
    shape: Shape,
    collected: Collected,
    heard: Heard,
    removed: u64,
    (members, channels, reached): (u64, &[guildhall_proto::ChannelId], &[Reached]),
) -> Checked {
    let Collected { ledger, latencies, failed } = collected;
    let Heard { sessions, pruned, .. } = heard;
    let ledger = ledger.close(Rights::new(), pruned, removed);
    let mut checks = Checks { failed, unexplained: ledger.unexplained, ..Checks::default() };
    for (found, (sitting, _)) in judge_all(&ledger, &sessions).iter().zip(&sessions) {
        checks.add(found, sitting.seat.errand == Errand::Stall);
    }
    let population = Population::new(shape, &ledger, &sessions);
    checks.wrong_answers += u64::from(population.members() != members);
    let right = population.reached(channels);
    for (channel, (right, told)) in channels.iter().zip(right.iter().zip(reached)) {
        if right != told {
            warn!(%channel, ?right, ?told, "a scan finds others than the rule");
            checks.wrong_answers += 1;
        }
    }
    let records = || sessions.iter().map(|(_, record)| record);
    Checked {
        checks,
        latencies,
        events: ledger.facts.len() as u64,
        deliveries: records().map(|record| record.deliveries).sum(),
        ended: records().filter(|record| record.end == Some(DetachReason::MemberLeft)).count() as u64,
        bytes: (records().map(record::Record::bytes).sum::<usize>() + size_of_val(&ledger.facts[..])) as u64,
    }
}

/// Prunes the lapsed once so much time is over. Returns how many they were.
async fn prune(node: Node, after: Duration) -> anyhow::Result<(u64, Latencies)> {
    tokio::time::sleep(after).await;
    let command = Command::PruneMembers(PruneBy::Role(Shape::role(LAPSED)));
    let call = Operations::of(ClientId::new(PRUNER)?).call(Actor::System, command)?;
    let begun = Instant::now();
    let outcome = node.call(Shape::guild(), call).await.context("the prune failed")?;
    let mut latencies = Latencies::default();
    latencies.note(Kind::Prune, begun.elapsed());
    match outcome {
        Outcome::MembersPruned { removed, .. } => Ok((u64::from(removed), latencies)),
        outcome @ (Outcome::Applied { .. } | Outcome::MembersAdded { .. } | Outcome::MembersImported { .. }) => {
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

async fn position(node: &Node) -> anyhow::Result<Position> {
    Ok(node.view(Shape::guild()).await.context("the guild cannot be read")?.position())
}

/// Who meddles, and where.
fn meddlers(tamper: Option<Tamper>, shape: Shape, seats: &Seats) -> Result<Meddlers, DemoError> {
    let auditor = |meddler| Ok(vec![(Seats::AUDITOR, meddler)]);
    match tamper {
        None => Ok(Vec::new()),
        Some(Tamper::Lost) => auditor(Meddler::Lose),
        Some(Tamper::Duplicated) => auditor(Meddler::Double),
        Some(Tamper::Reordered) => auditor(Meddler::Hold),
        Some(Tamper::Leaked) => {
            // A channel that stays hidden from somebody who listens to the end.
            let (victim, channel) = seats.kept_out(shape).ok_or(DemoError::NobodyKeptOut)?;
            let overheard = tamper::Overheard::default();
            let overhear = Meddler::Overhear(channel, Arc::clone(&overheard));
            Ok(vec![(Seats::AUDITOR, overhear), (victim, Meddler::Show(overheard))])
        }
    }
}

impl Asked {
    fn check(self) -> Result<(), DemoError> {
        let listening = self.members.saturating_sub(1).max(1);
        let most = listening.saturating_mul(seat::MEMBER_SESSIONS_MAX);
        if self.sessions > most {
            return Err(DemoError::TooManySessions { sessions: self.sessions, members: self.members, most });
        }
        let most = SESSION_SECONDS_MAX / self.seconds.max(1);
        if self.sessions > most {
            return Err(DemoError::TooLong { sessions: self.sessions, seconds: self.seconds, most });
        }
        Ok(())
    }
}

/// Events that each relay's ring holds. The reader that stopped has to be passed by as many.
const RELAY_EVENTS: usize = 4_096;
/// Events that the guild's ring holds: those of some seconds.
const GUILD_EVENTS: usize = 16_384;
/// Events that a ring may hold beyond its bound, and those that the reader took just before it stopped: far fewer than this.
const RING_SLACK: usize = 1_024;
/// Messages between two bells, when nobody is to fall out of a ring but the reader that stopped.
const MESSAGES_A_BELL: u64 = 1_024;
/// Channels of which it is asked in the end whom a ping reaches: open, hidden from one role, hidden from all but some.
const ASKED_CHANNELS: [u64; 3] = [0, 20, 21];
/// The client that prunes; others build and drive.
const PRUNER: u64 = 3;
/// Sessions times seconds, at most: each session takes about 300 bytes a second for the check.
const SESSION_SECONDS_MAX: u64 = 5_000_000;

const _: () = assert!(ASKED_CHANNELS[0] < OPEN_CHANNELS && ASKED_CHANNELS[2] < CHANNELS);
const _: () = assert!(MESSAGES_A_BELL as usize * 2 <= RELAY_EVENTS, "who reads falls out of no ring between two bells");
