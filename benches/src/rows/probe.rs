//! A probe: 1,000 calls a second to one guild, each from its due time, measured until its answer, in slices of half a second.
//!
//! Compared are the p99 of the middle slice of each kind: on a shared machine every run has slices in which its host takes a core away for
//! tens of milliseconds. A slice in which it does is measured again, a few times.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use guildhall_node::Call;
use guildhall_proto::{Command, GuildId, MemberEdit};
use hdrhistogram::Histogram;

use super::Run;
use crate::latency::{Slices, latencies, note, text, until};
use crate::machine::stolen;
use crate::row::{Measured, Sample, Unit};
use crate::shell::{Caller, World};
use crate::worlds::{nick, user};

/// A world that is probed.
pub(super) struct Probed {
    pub(super) world: World,
    /// How often a slice that is disturbed is measured again; then it counts as it is.
    tries: u32,
    slices: AtomicU64,
    /// Those of them that say nothing.
    disturbed: AtomicU64,
}

impl Probed {
    pub(super) fn new(world: World, run: &Run) -> Self {
        Self { world, tries: run.times(6, 1), slices: AtomicU64::new(0), disturbed: AtomicU64::new(0) }
    }

    /// Offers the probe's calls for so long.
    pub(super) fn probe(&self, guild: GuildId, time: Duration, into: &mut Histogram<u64>) {
        let mut caller = self.world.caller();
        let begin = Instant::now();
        let every = Duration::from_secs(1) / u32::try_from(PROBE_RATE).expect("a small rate");
        let mut due = begin;
        while due - begin < time {
            until(due);
            let answer = self.world.node.begin(guild, probe(&mut caller));
            match answer.and_then(|pending| self.world.handle.block_on(pending.answer())) {
                Ok(_) => note(due, into),
                Err(error) => panic!("the probe is within every quota: {error}"),
            }
            due += every;
        }
    }

    /// Measures a slice, and a few times again while the machine's host disturbs it: what it takes away delays calls whatever
    /// Guildhall does.
    pub(super) fn slice<T>(&self, all: &mut Slices, mut measure: impl FnMut(&mut Histogram<u64>) -> T) -> T {
        let mut tries = 0..self.tries;
        loop {
            let mut slice = latencies();
            let (measured, undisturbed) = self.watched(|| measure(&mut slice));
            if undisturbed || tries.next().is_none() {
                all.0.push(slice);
                return measured;
            }
        }
    }

    /// Says of what is measured whether the machine was its own meanwhile.
    pub(super) fn watched<T>(&self, measure: impl FnOnce() -> T) -> (T, bool) {
        let before = stolen();
        let measured = measure();
        let undisturbed = stolen().saturating_sub(before) <= STOLEN_MAX;
        self.slices.fetch_add(1, Ordering::Relaxed);
        self.disturbed.fetch_add(u64::from(!undisturbed), Ordering::Relaxed);
        (measured, undisturbed)
    }

    /// A row that compares two kinds of slices by their p99.
    pub(super) fn row(
        &self,
        name: &str,
        slices: &Slices,
        beside: (&str, &Slices),
        (sizes, what): (&str, &str),
    ) -> Measured {
        let (beside_name, beside) = beside;
        let ratios = slices.p99s().into_iter().map(|p99| p99 as f64 / beside.p99());
        let ours = Sample { middle: slices.p99() / beside.p99(), ..Sample::of(ratios) };
        let disturbed = self.disturbed.load(Ordering::Relaxed);
        let note = format!(
            "{}; {beside_name}: {}; p99 of the middle slices {} and {} µs; the host took more than {STOLEN_MAX:?} in {disturbed} of {} slices so far",
            text(&slices.all()),
            text(&beside.all()),
            slices.p99(),
            beside.p99(),
            self.slices.load(Ordering::Relaxed)
        );
        let what = format!("p99 of 1,000 calls a second, open loop, {what}, as a multiple of that {beside_name}");
        Measured::new(name, (ours, Unit::Times), sizes, what).note(note)
    }
}

/// Every other call a message, every other a member change.
fn probe(caller: &mut Caller) -> Call {
    if caller.calls().is_multiple_of(2) {
        return caller.message();
    }
    let number = caller.calls();
    let edit = MemberEdit { nick: Some(nick(number)), ..MemberEdit::default() };
    caller.call(Command::UpdateMember { user: user(number % 100), edit })
}

/// Threads at work until they are told.
pub(super) struct Running {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    pub(super) fn spawn<W: FnOnce(&AtomicBool) + Send + 'static>(works: impl IntoIterator<Item = W>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let spawn = |work: W| {
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || work(&is_over))
        };
        let threads = works.into_iter().map(spawn).collect();
        Self { is_over, threads }
    }

    pub(super) fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("what runs beside the probe ends well");
        }
    }
}

/// Calls that the probe offers, a second.
pub(super) const PROBE_RATE: u64 = 1_000;
/// How long a slice is measured.
pub(super) const SLICE: Duration = Duration::from_millis(500);
/// What the machine's host may take of all processors in a slice; it counts in ticks of this length.
const STOLEN_MAX: Duration = Duration::from_millis(10);
