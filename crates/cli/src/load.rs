//! Loads guilds at a node that runs, as a backend node would, and checks every delivery.
//!
//! Each guild is [found] as it is, or made; sessions are [seated](seat) among its members, [attached](house), and [hear](ear). [Calls](drive) of a
//! [script] begin when they are due. What the answers say goes into a [ledger]. Now and then a bell is [rung](watch) that all
//! sessions hear; what they have heard before it is then [judged](judge) by the ledger and the plain rule, and forgotten.

mod asides;
mod drive;
mod ear;
mod error;
mod found;
mod house;
mod judge;
mod last;
mod ledger;
mod pace;
mod report;
mod script;
mod seat;
mod told;
mod watch;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use guildhall_client::{Backend, Client, ClientConfig, Counter};
use guildhall_proto::{Actor, Command, GuildEdit, Level};
use guildhall_transport::Role;
use tokio::runtime::Handle;
use tokio::sync::watch as signal;
use tokio::task::JoinSet;

use crate::args::LoadArgs;
use crate::bars;
use crate::checks::{Verdict, peak_memory_bytes};
use crate::pki;
use crate::trial::checks::Checks;
use crate::trial::findings::Findings;
use crate::trial::latency::{Kind, Latencies};
use crate::trial::shape::Shape;
use asides::Asides;
use drive::{Calls, Count};
use ear::Ears;
use found::{Found, Spread};
use house::House;
use judge::Judge;
use ledger::Ledger;
use pace::Pace;
use report::{Counted, Report, Seconds};
use script::{Changer, Operation, Speaker};
use told::Subjects;
use watch::{Watch, Watched};

pub(crate) use error::LoadError;

/// One guild under load.
struct Hall {
    found: Found,
    calls: Arc<Calls>,
    ears: Arc<Ears>,
    /// Since all sessions are attached.
    asides: OnceLock<Arc<Asides>>,
}

/// What the work on all guilds came to.
#[derive(Default)]
struct Worked {
    /// With whom each guild's sessions are judged further.
    judges: Vec<(usize, Judge)>,
    found: Findings,
    late: u64,
    untold: u64,
}

/// Runs a load.
///
/// # Errors
/// [`InputError`](crate::input::InputError) and [`LoadError`] if it cannot be as it is asked to be; anything else is a failure of the load or the node.
pub(crate) fn load(args: &LoadArgs) -> anyhow::Result<Report> {
    // No prompt threads: those of the node beside it are to go first.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("the runtime does not start")?.block_on(Box::pin(run(args)))
}

async fn run(args: &LoadArgs) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let (clients, backends) = connect(args).await?;
    let client = &clients[0];
    let halls = open(client, args).await?;
    let found = begun.elapsed();

    let sessions = halls.iter().map(|hall| hall.ears.seats.len() as u64).sum();
    let bar = bars::bar(sessions, "sessions attached");
    let (mut latencies, mut houses) = (Latencies::default(), Vec::new());
    for hall in &halls {
        let guild = hall.found.id;
        houses.push(House::open(guild, &backends, &hall.ears, args.streams, &mut latencies, &bar).await?);
        let at = (client, &backends[0]);
        let of = (guild, hall.found.at);
        let asides = Asides::open(of, at, &hall.calls, Arc::clone(&hall.ears.subjects)).await?;
        hall.asides.get_or_init(|| asides);
    }
    bar.finish_and_clear();
    let attached = begun.elapsed();

    let mut worked = work(args, &halls).await?;
    let ran = begun.elapsed();
    let relays = backends.iter().map(Backend::memory_bytes).sum::<usize>() as u64;

    for (hall, house) in halls.iter().zip(houses) {
        house.close(&hall.ears, &mut latencies).await?;
        hall.asides().close().await?;
        let edit = GuildEdit { name: Some(hall.found.name.clone()) };
        hall.found
            .guild
            .call(Actor::System, Command::UpdateGuild(edit))
            .await
            .context("the guild keeps another name")?;
        latencies.add(hall.calls.take_latencies());
    }
    for (idx, judge) in &mut worked.judges {
        let Hall { calls, ears, .. } = &halls[*idx];
        worked.found += judge.judge_rest(calls.ledger.lock().next(), ears.seats.iter().zip(&ears.records));
    }
    // Only now: what comes while sessions are detached counts too.
    let mut report = report(args, &halls, &worked, &mut latencies);
    let counter = |counter| clients.iter().map(|client| client.counters().of(counter)).sum();
    report.counted = Counted {
        relay_resyncs: counter(Counter::RelayResyncs),
        sessions_cut: counter(Counter::SessionsCut),
        sessions_resumed: counter(Counter::SessionsResumed),
    };
    for client in &clients {
        client.close().await;
    }
    let seconds = |from: Duration, to: Duration| (to.saturating_sub(from).as_millis() as f64) / 1_000.0;
    report.operations = Kind::ALL.iter().filter_map(|kind| Some((kind.name(), latencies.times(*kind)?))).collect();
    report.deliveries_per_second = (report.deliveries as f64 / (ran - attached).as_secs_f64()) as u64;
    report.memory_bytes.relays = relays;
    report.peak_memory_bytes = peak_memory_bytes();
    let end = begun.elapsed();
    report.seconds = Seconds {
        find: seconds(Duration::ZERO, found),
        attach: seconds(found, attached),
        run: seconds(attached, ran),
        detach: seconds(ran, end),
        total: seconds(Duration::ZERO, end),
    };
    Ok(report)
}

/// The backend nodes that this process is.
async fn connect(args: &LoadArgs) -> anyhow::Result<(Vec<Client>, Vec<Backend>)> {
    let (mut clients, mut backends) = (Vec::new(), Vec::new());
    for _ in 0..args.backends {
        let credentials = pki::credentials(&args.at.credentials)?;
        let role = credentials.identity().role;
        if role != Role::Backend {
            return Err(LoadError::NoBackend { role: role.to_string() }.into());
        }
        let mut config = ClientConfig::new(args.at.node.clone(), credentials);
        config.deadline = Duration::from_secs(args.at.within);
        let client = Client::connect(config).await?;
        backends.push(client.backend().context("a backend that is linked has no keys of sessions")?);
        clients.push(client);
    }
    Ok((clients, backends))
}

/// Makes the guilds, if that is asked for, and shares the sessions out among them.
async fn open(client: &Client, args: &LoadArgs) -> anyhow::Result<Vec<Hall>> {
    let mut named = BTreeSet::new();
    if let Some(guild) = args.guilds.iter().find(|guild| !named.insert(**guild)) {
        return Err(LoadError::NamedTwice { guild: *guild }.into());
    }
    let mut halls = Vec::new();
    let (guilds, mut first) = (args.guilds.len() as u64, first_session()?);
    for (idx, guild) in (0..).zip(&args.guilds) {
        if let Some(members) = args.members {
            found::make(client, Shape { guild: *guild, members, seed: args.seed }).await?;
        }
        let sessions = args.sessions * (idx + 1) / guilds - args.sessions * idx / guilds;
        let mut found = Found::read(client, *guild, Spread { sessions, active: args.active, first }).await?;
        first += sessions;
        let meddlers = match args.tamper {
            // One delivery is broken, and so only one guild's.
            Some(tamper) if idx == 0 => found.meddlers(tamper)?,
            Some(_) | None => Vec::new(),
        };
        let subjects = Arc::new(Subjects::of(&found, args.typing, args.presence));
        let ears = Arc::new(Ears::new(std::mem::take(&mut found.seats), found.at, meddlers, subjects));
        let calls = Arc::new(Calls::new(found.guild.clone(), Ledger::after(found.at.seq.0)));
        halls.push(Hall { found, calls, ears, asides: OnceLock::new() });
    }
    Ok(halls)
}

/// Does everything that is done while sessions listen, until all have heard the last of it.
async fn work(args: &LoadArgs, halls: &[Hall]) -> anyhow::Result<Worked> {
    let (time, begin) = (Duration::from_secs(args.seconds), Instant::now());
    let bytes = usize::try_from(args.bytes).context("messages longer than memory")?;
    let (over, is_over) = signal::channel(false);
    let (mut watching, mut driving) = (JoinSet::new(), JoinSet::new());
    for (at, hall) in halls.iter().enumerate() {
        let idx = at as u64;
        let Hall { found, calls, ears, asides: _ } = hall;
        let seed = args.seed.wrapping_add(idx);
        let mut speaker = Speaker::new(found, &ears.seats, seed, bytes);
        let mut changer = Changer::new(found, &ears.seats, seed);
        let subjects = Arc::clone(&ears.subjects);
        let judge = Judge::new(found.rights.clone(), found.channels.clone(), &ears.seats, subjects);
        let watch = Watch::new(Arc::clone(calls), Arc::clone(ears), judge, &found.name);
        watching.spawn(watch.watch(at, is_over.clone()));
        let share = |rate: u64| Pace::share((begin, time), rate, (idx, halls.len() as u64));
        let drive = |pace: Pace, next: Box<dyn FnMut(u64) -> Option<Operation> + Send>| {
            let (calls, runtime) = (Arc::clone(calls), Handle::current());
            move || calls.drive(&runtime, pace, next)
        };
        if let Some(pace) = share(args.typing) {
            driving.spawn(Arc::clone(hall.asides()).type_about(pace));
        }
        if let Some(pace) = share(args.presence) {
            driving.spawn(Arc::clone(hall.asides()).walk_about(pace, seed));
        }
        if let Some(pace) = share(args.messages) {
            ears.pace.get_or_init(|| pace);
            driving.spawn_blocking(drive(pace, Box::new(move |number| Some(speaker.publish(number)))));
        }
        if let Some(pace) = share(args.changes) {
            driving.spawn_blocking(drive(pace, Box::new(move |number| changer.change(number))));
        }
    }
    driving.spawn(bars::fill(time, "seconds of load"));
    while let Some(driven) = driving.join_next().await {
        driven.context("a driver failed")?;
    }
    over.send_replace(true);
    let mut worked = Worked::default();
    while let Some(watched) = watching.join_next().await {
        let Watched { idx, judge, found, late } = watched.context("a watch failed")??;
        worked.judges.push((idx, judge));
        worked.found += found;
        worked.late += late;
    }
    for hall in halls {
        let Hall { found, ears, .. } = hall;
        let listeners = ears.listeners(|seat, channel| found.rights.sees(seat.user, &seat.roles, channel));
        worked.untold += ears.hear_last(&listeners, &hall.asides().last()).await;
    }
    Ok(worked)
}

impl Hall {
    fn asides(&self) -> &Arc<Asides> {
        self.asides.get().expect("they are there since all sessions are attached")
    }
}

/// What was counted once all sessions have ended, but for what is known only in the end.
fn report(args: &LoadArgs, halls: &[Hall], worked: &Worked, latencies: &mut Latencies) -> Report {
    let mut report = Report {
        guilds: halls.len() as u64,
        backends: args.backends,
        streams: args.streams,
        seed: args.seed,
        ..Report::default()
    };
    let Findings { due, lost, reordered, leaked, missed, needless_gaps: strange_gaps, .. } = worked.found;
    report.checks =
        Checks { due, lost, reordered, leaked, missed, strange_gaps, late: worked.late, ..Checks::default() };
    report.untold = worked.untold;
    for Hall { found, calls, ears, asides: _ } in halls {
        let (sums, delays) = ears.sums();
        latencies.add(delays);
        let ledger = calls.ledger.lock();
        report.members += found.members;
        report.sessions += ears.seats.len() as u64;
        report.active += ears.seats.iter().filter(|seat| seat.level == Level::Active).count() as u64;
        report.messages += calls.count(Count::Messages);
        report.changes += calls.count(Count::Changes);
        report.typing += calls.count(Count::Typing);
        report.presence += calls.count(Count::Presence);
        report.refused += calls.count(Count::Refused);
        report.not_begun += calls.count(Count::NotBegun);
        report.events += ledger.next() - found.at.seq.0 - 1;
        report.deliveries += sums.deliveries;
        report.memory_bytes.checker += sums.bytes;
        report.checks.gaps += sums.gaps;
        report.checks.strange_gaps += sums.gaps_beyond;
        report.typing_told += sums.typing_told;
        report.presence_told += sums.presence_told;
        report.checks.told += sums.typing_told + sums.presence_told;
        report.checks.reordered += sums.backwards;
        report.checks.duplicated += sums.duplicated;
        report.checks.altered += sums.altered;
        report.ended += sums.ended;
        // Beyond all that happened.
        report.checks.leaked += ears.heard_from(ledger.next());
        report.checks.unexplained += ledger.unexplained;
        report.checks.failed += calls.count(Count::Failed);
    }
    report.passed = report.verdict() == Verdict::Passed;
    report
}

/// The first of sessions whose ids nobody else has, but for a chance of one in some billions.
fn first_session() -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).context("the system gives no randomness")?;
    Ok(1 + u64::from_le_bytes(bytes) / 4)
}

/// Sessions that are attached or detached at a time.
const AT_ONCE: usize = 128;
