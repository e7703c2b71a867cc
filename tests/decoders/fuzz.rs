//! The decoders for long, over inputs that nobody has chosen: `ops/soak fuzz`.
//!
//! An input is one of the corpus, or one that was accepted before, with changes, or made up of what stands in encoded values. One that is accepted and has a length that
//! was not seen is kept, and changed in its turn: so what lies behind it comes into reach, and no counting of branches is needed for that. A thread's inputs
//! follow from seed, thread and corpus alone. What a decoder fails at is kept as a file of its corpus, which every run of the tests takes from then on.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use guildhall_proto::mix;

use crate::change::{Change, EDGES, changed};
use crate::targets::{TARGETS, Target};
use crate::{CORPUS, corpus};

/// What a thread has done.
#[derive(Debug, Default)]
struct Done {
    executions: u64,
    accepted: u64,
    failed: Vec<PathBuf>,
}

/// Takes [`EXECUTIONS`] a thread, or as many as `GUILDHALL_FUZZ_EXECUTIONS` says, from the seed `GUILDHALL_SEED`. With `GUILDHALL_FUZZ_TRACE`, a directory, each input is
/// written there before it is tried: for one at which the process ends, or does not end.
#[test]
#[ignore = "it takes as long as it is let; `ops/soak fuzz` runs it"]
fn every_decoder_holds_on_what_nobody_has_chosen() {
    let number = |name: &str, default| env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (seed, executions) = (number("GUILDHALL_SEED", 0), number("GUILDHALL_FUZZ_EXECUTIONS", EXECUTIONS));
    let trace = env::var_os("GUILDHALL_FUZZ_TRACE").map(PathBuf::from);
    let begun = Instant::now();
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let all: Vec<Done> = thread::scope(|scope| {
        let run = |thread| {
            let trace = trace.as_ref().map(|dir| dir.join(format!("{thread}")));
            scope.spawn(move || fuzz(Dice(mix(seed * 1_000 + thread)), executions, trace.as_deref()))
        };
        let running: Vec<_> = (0..threads).map(run).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let executions: u64 = all.iter().map(|done| done.executions).sum();
    let accepted: u64 = all.iter().map(|done| done.accepted).sum();
    // As `ops/soak` reads it.
    println!("{executions} executions, {accepted} accepted, from seed {seed}, in {} ms", begun.elapsed().as_millis());
    let failed: BTreeSet<&PathBuf> = all.iter().flat_map(|done| &done.failed).collect();
    assert!(failed.is_empty(), "decoders failed at what is in the corpus now: {failed:?}");
    assert!(accepted > 0, "nothing was accepted, so nothing was tried");
}

/// The inputs of one target that others are made of.
struct Pool {
    target: &'static Target,
    inputs: Vec<Vec<u8>>,
    /// Of those that were accepted.
    lengths: BTreeSet<usize>,
    /// How many it has failed at.
    failures: usize,
}

fn fuzz(mut dice: Dice, executions: u64, trace: Option<&Path>) -> Done {
    let pool =
        |target: &'static Target| Pool { target, inputs: corpus(target.name), lengths: BTreeSet::new(), failures: 0 };
    let mut pools: Vec<Pool> = TARGETS.iter().map(pool).collect();
    let mut done = Done::default();
    while done.executions < executions {
        for pool in &mut pools {
            done.executions += 1;
            let input = dice.input(&pool.inputs);
            if let Some(trace) = trace {
                fs::write(trace, [pool.target.name.as_bytes(), b"\n", &input].concat()).unwrap();
            }
            let begun = Instant::now();
            let tried = catch_unwind(AssertUnwindSafe(|| (pool.target.run)(&input)));
            let took = begun.elapsed();
            if tried.is_err() || took > SLOW {
                println!("{} failed, or took {took:?}, at {} bytes", pool.target.name, input.len());
                pool.failures += 1;
                if pool.failures <= KEPT_MAX {
                    done.failed.push(kept(pool.target, &input));
                }
            }
            if matches!(tried, Ok(true)) {
                done.accepted += 1;
                if pool.inputs.len() < POOL_MAX && pool.lengths.insert(input.len()) {
                    pool.inputs.push(input);
                }
            }
        }
    }
    done
}

/// Keeps what a decoder fails at.
fn kept(target: &Target, input: &[u8]) -> PathBuf {
    let name = input.iter().fold(0, |hash, byte| mix(hash ^ u64::from(*byte)));
    let path = Path::new(CORPUS).join(target.name).join(format!("found-{name:016x}"));
    fs::write(&path, input).unwrap();
    path
}

/// Numbers from a seed: SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn input(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        if self.below(8) == 0 {
            return self.made_up();
        }
        let (of, also) = (self.below(inputs.len()), self.below(inputs.len()));
        let changes: Vec<Change> = (0..=self.below(4)).map(|_| self.change()).collect();
        let mut input = changed(&inputs[of], &inputs[also], &changes);
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn change(&mut self) -> Change {
        let at = self.next() as usize;
        match self.below(8) {
            0 => Change::Set(at, EDGES[self.below(EDGES.len())]),
            1 => Change::Set(at, self.next() as u8),
            2 => Change::Flip(at, self.below(8) as u8),
            3 => Change::Insert(at, self.made_up()),
            4 => Change::Remove(at, 1 + self.below(19)),
            5 => Change::Repeat(at, 1 + self.below(200)),
            6 => Change::Splice(at, self.next() as usize),
            _ => Change::Cut(at),
        }
    }

    /// Pieces of which encoded values consist: variants, options, small and great numbers, lengths with as many bytes, headers of frames.
    fn made_up(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..=self.below(12) {
            match self.below(7) {
                0 => bytes.push(self.below(16) as u8),
                1 => bytes.push(EDGES[self.below(EDGES.len())]),
                2 => {
                    bytes.push(251);
                    bytes.extend_from_slice(&(self.next() as u16).to_le_bytes());
                }
                3 => {
                    bytes.push(252);
                    bytes.extend_from_slice(&(self.next() as u32).to_le_bytes());
                }
                4 => {
                    bytes.push(253);
                    bytes.extend_from_slice(&(self.next() >> self.below(64)).to_le_bytes());
                }
                5 => {
                    let length = self.below(33);
                    bytes.push(length as u8);
                    bytes.extend((0..length).map(|_| b' ' + self.below(95) as u8));
                }
                _ => {
                    let length = self.below(300) as u32;
                    bytes.extend_from_slice(&(self.next() as u32).to_le_bytes());
                    bytes.extend_from_slice(&length.to_le_bytes());
                    bytes.extend_from_slice(&[1 + self.below(9) as u8, self.below(3) as u8]);
                }
            }
        }
        bytes
    }
}

/// Executions of one thread in one run.
const EXECUTIONS: u64 = 1_000_000;
/// Inputs of one target that are kept to be changed.
const POOL_MAX: usize = 2_000;
/// Inputs that are kept of those at which one decoder fails in one thread: most of them have found the same.
const KEPT_MAX: usize = 4;
/// Longer ones find nothing that shorter ones do not, and take their time.
const INPUT_BYTES_MAX: usize = 4_096;
/// No input of that length may take so long, on a machine that does other work too.
const SLOW: Duration = Duration::from_secs(5);
