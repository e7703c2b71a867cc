//! A probe: 1,000 calls a second to one guild, each from its due time, measured until its answer, in slices of a quarter of a second.
//!
//! Compared are the p99 of the middle slice of each kind, of those slices in which nobody else had much of the machine: neither its host,
//! which on a shared one takes a core away for tens of milliseconds, nor other processes. Rounds go on until there are enough of these, or
//! for a time; a row that still has too few is not judged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use guildhall_node::Call;
use guildhall_proto::{Command, GuildId, MemberEdit};
use hdrhistogram::Histogram;

use super::Run;
use crate::latency::{Slices, latencies, note, text, until};
use crate::machine::Watch;
use crate::row::{Measured, Sample, Unit};
use crate::shell::{Caller, World, promptly};
use crate::worlds::{nick, user};

/// A world that is probed.
pub(super) struct Probed<'a> {
    pub(super) world: &'a World,
    /// How long a row may take.
    time: Duration,
}

impl<'a> Probed<'a> {
    pub(super) fn new(world: &'a World, run: &Run) -> Self {
        Self { world, time: Duration::from_secs(u64::from(run.times(40, 2))) }
    }

    /// Measures rounds of slices, one of each kind, until so many of each were quiet, or the time of a row is over. After the last
    /// round there is none.
    pub(super) fn in_turns<const N: usize>(
        &self,
        quiet: u32,
        last: u64,
        mut round: impl FnMut(u64, &mut [Slices; N]),
    ) -> [Slices; N] {
        let mut all = [(); N].map(|()| Slices::default());
        let begin = Instant::now();
        for number in 0..=last {
            round(number, &mut all);
            let is_enough = all.iter().all(|slices| slices.quiet() >= quiet as usize);
            if is_enough || begin.elapsed() >= self.time {
                break;
            }
        }
        all
    }

    /// Offers the probe's calls for so long, from a thread that is as prompt as those of the runtime.
    pub(super) fn probe(&self, guild: GuildId, time: Duration, into: &mut Histogram<u64>) {
        promptly(|| self.call(guild, time, into));
    }

    fn call(&self, guild: GuildId, time: Duration, into: &mut Histogram<u64>) {
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

    /// Measures a slice.
    pub(super) fn slice<T>(&self, all: &mut Slices, measure: impl FnOnce(&mut Histogram<u64>) -> T) -> T {
        let (watch, mut slice) = (Watch::begin(), latencies());
        let measured = measure(&mut slice);
        all.push(slice, watch.others());
        measured
    }

    /// The same, if what is wanted went on meanwhile, as `measure` says.
    pub(super) fn slice_if(&self, all: &mut Slices, measure: impl FnOnce(&mut Histogram<u64>) -> bool) {
        let (watch, mut slice) = (Watch::begin(), latencies());
        if measure(&mut slice) {
            all.push(slice, watch.others());
        }
    }

    /// A row that compares two kinds of slices.
    pub(super) fn row(
        &self,
        name: &str,
        slices: &Slices,
        beside: (&str, &Slices),
        (sizes, what): (&str, &str),
    ) -> Measured {
        compared(name, slices, beside, sizes, &format!("p99 of 1,000 calls a second, open loop, {what}"))
    }
}

/// A row that compares two kinds of slices by the p99 of the middle one of each.
pub(super) fn compared(name: &str, slices: &Slices, beside: (&str, &Slices), sizes: &str, what: &str) -> Measured {
    let (beside_name, beside) = beside;
    let ratios = slices.p99s().into_iter().map(|p99| p99 as f64 / beside.p99());
    let ours = Sample { middle: slices.p99() / beside.p99(), ..Sample::of(ratios) };
    let note = format!(
        "{} ({}); {beside_name}: {} ({}); p99 of the middle slices {} and {} µs",
        text(&slices.all()),
        slices.quietness(),
        text(&beside.all()),
        beside.quietness(),
        slices.p99(),
        beside.p99(),
    );
    let what = format!("{what}, as a multiple of that {beside_name}");
    Measured::new(name, (ours, Unit::Times), sizes, what).unjudged(Slices::unjudged([slices, beside])).note(note)
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
/// How long a slice is measured: on a machine with others on it, short ones find it free.
pub(super) const SLICE: Duration = Duration::from_millis(250);
/// Quiet slices of each kind that are enough.
pub(super) const QUIET: u32 = 30;
