//! The demo: a large guild, built, listened to, worked hard, and checked in the end.
//!
//! A [`Town`] has guild nodes and backend nodes, and links between them. A [`Shape`] says what the guild looks like, a [`Script`] what is done to it;
//! a [`Driver`](drive::Driver) does that at its due times, while the sessions of a [`House`] listen. What the operations' answers say goes into a [`Ledger`](ledger::Ledger), and from
//! that alone, by the published rule applied in the plainest way ([`rights`](crate::trial::rights)), the [`judge`](judge::judge) works out what each
//! session must have heard. All of it lies in a temporary directory. In the last act processes are [killed](kill) at a work of their own, and
//! what they had acknowledged is looked for.

mod check;
mod drive;
mod ear;
mod error;
mod hamlets;
mod house;
mod judge;
mod ledger;
mod population;
mod record;
mod report;
mod scans;
mod script;
mod seat;
mod stage;
mod town;
mod typing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use guildhall_proto::GuildId;
use guildhall_store::{EmbeddedConfig, EmbeddedStore};

use crate::bars;
use crate::checks::{Verdict, peak_memory_bytes};
use crate::data;
use crate::kill::{self, Totals};
use crate::trial::founding;
use crate::trial::latency::{Kind, Latencies};
use crate::trial::shape::{CHANNELS, ROLES, Shape};
use crate::trial::tamper::{Meddler, Overheard};
use check::{Said, check};
use hamlets::Hamlets;
use house::{House, Meddlers};
use report::{MemoryBytes, Report, Seconds};
use script::Script;
use seat::{RELAYS, Seats};
use stage::Stage;
use town::Town;

pub(crate) use crate::trial::tamper::Tamper;
pub(crate) use error::DemoError;

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
    let directory = tempfile::tempdir().context("there is no temporary directory")?;
    let running = data::open(directory.path(), CLUSTER, &EmbeddedConfig::default())?;
    let store = Arc::clone(running.store());
    let mut report = running.run(Box::pin(run(asked, store)))?;

    // What is broken on purpose is to be found without help.
    if asked.tamper.is_none() {
        let begun = Instant::now();
        let bar = bars::bar(KILLS, "processes killed at their work");
        report.killed = kill::kills(KILLS, asked.seed, &[], None, |kills| bar.inc(kills))?;
        bar.finish_and_clear();
        report.seconds.kill = begun.elapsed().as_millis() as f64 / 1_000.0;
        report.seconds.total += report.seconds.kill;
        report.passed = report.verdict() == Verdict::Passed;
    }
    Ok(report)
}

async fn run(asked: Asked, store: Arc<EmbeddedStore>) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let shape = Shape { guild: GUILD, members: asked.members, seed: asked.seed };
    let seats = Seats::plan(shape, asked.sessions);
    let meddlers = meddlers(asked.tamper, shape, &seats)?;
    let town = Arc::new(Town::open(store).await?);

    let mut latencies = Latencies::default();
    let bar = bars::bar(shape.members - 1, "members imported");
    let imported = |members, took| {
        latencies.note(Kind::Import, took);
        bar.inc(members);
    };
    founding::found(&town.guild(0, GUILD), shape, "demo", imported).await?;
    bar.finish_and_clear();
    let bar = bars::bar(hamlets::HAMLETS, "small guilds founded");
    let hamlets = Hamlets::found(Arc::clone(&town), |guilds| bar.inc(guilds)).await?;
    bar.finish_and_clear();
    let built = begun.elapsed();

    let script = Script::new(shape, &seats);
    let at = stage::position(&town).await?;
    let bar = bars::bar(seats.0.len() as u64, "sessions attached");
    let attached = {
        let bar = bar.clone();
        Arc::new(move |sessions| bar.inc(sessions))
    };
    let house = House::open(town.backends()?, seats, at, meddlers, &mut latencies, attached).await?;
    bar.finish_and_clear();
    let attached = begun.elapsed();

    let mut stage = Stage { town, shape, house, late: 0 };
    let worked = stage.work(Duration::from_secs(asked.seconds), script, at, hamlets).await?;
    let ran = begun.elapsed();

    let bar = bars::bar(1, "checking");
    let Stage { town, shape, house, late } = stage;
    let said = Said::by(town.node_of(GUILD)?, &town.guild(0, GUILD)).await?;
    let ((refused, redirected), nodes) = (town.sent_again(), town.nodes() as u64);
    let relays = house.relay_bytes() as u64;
    let sessions = house.sessions;
    // Every session's stream ends with its backend node.
    town.close_backends().await;
    let mut heard = house.close().await?;
    Arc::into_inner(town).context("somebody still uses the nodes")?.stop().await;
    let resumed = heard.resumed;
    latencies.add(std::mem::take(&mut heard.latencies));
    let looked = check(shape, worked.collected, heard, worked.removed, &said);
    bar.finish_and_clear();

    latencies.add(worked.latencies);
    latencies.add(looked.latencies);
    let operations = Kind::ALL.iter().filter_map(|kind| Some((kind.name(), latencies.times(*kind)?))).collect();
    let mut checked = looked.checked;
    checked.wrong_answers += worked.wrong;
    checked.checks.late = late;
    let seconds = |from: Duration, to: Duration| (to.saturating_sub(from).as_millis() as f64) / 1_000.0;
    let total = begun.elapsed();
    Ok(Report {
        members: shape.members,
        sessions,
        roles: ROLES,
        channels: CHANNELS,
        nodes,
        relays: RELAYS as u64,
        seed: shape.seed,
        messages: worked.messages,
        events: looked.events,
        deliveries: looked.deliveries,
        deliveries_per_second: (looked.deliveries as f64 / (ran - attached).as_secs_f64()) as u64,
        pruned: worked.removed,
        ended: looked.ended,
        resumed,
        refused,
        redirected,
        slept: worked.slept,
        woken: worked.woken,
        moved: worked.moved,
        checked,
        operations,
        seconds: Seconds {
            build: seconds(Duration::ZERO, built),
            attach: seconds(built, attached),
            run: seconds(attached, ran),
            check: seconds(ran, total),
            kill: 0.0,
            total: seconds(Duration::ZERO, total),
        },
        memory_bytes: MemoryBytes { relays, checker: looked.bytes, ..said.memory },
        peak_memory_bytes: peak_memory_bytes(),
        killed: Totals::default(),
        passed: checked.verdict() == Verdict::Passed,
    })
}

/// Who meddles, and where.
fn meddlers(tamper: Option<Tamper>, shape: Shape, seats: &Seats) -> Result<Meddlers, DemoError> {
    let auditor = |meddler| Ok(vec![(Seats::AUDITOR, meddler)]);
    match tamper {
        None => Ok(Vec::new()),
        Some(Tamper::Lost) => auditor(Meddler::Lose),
        Some(Tamper::Duplicated) => auditor(Meddler::Double),
        Some(Tamper::Reordered) => auditor(Meddler::Hold),
        Some(Tamper::Altered) => auditor(Meddler::Exchange(Vec::new())),
        Some(Tamper::Leaked) => {
            // A channel that stays hidden from somebody who listens to the end.
            let (victim, channel) = seats.kept_out(shape).ok_or(DemoError::NobodyKeptOut)?;
            let overheard = Overheard::default();
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

/// The guild that is worked.
const GUILD: GuildId = GuildId::MIN;
/// The cluster of a demo's directory, which nobody else sees.
const CLUSTER: u128 = u128::from_be_bytes(*b"guildhall demo..");
/// Processes killed in the last act.
const KILLS: u64 = 3;
/// Sessions times seconds, at most: each session takes about 600 bytes a second for the check.
const SESSION_SECONDS_MAX: u64 = 2_000_000;
