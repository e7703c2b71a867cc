//! Logs for the tests, and what is written to them.

use std::sync::Arc;

use guildhall_log::{Found, Head, Kind, Log, LogConfig, LogError, LogId, MemoryFiles, Place};

pub(crate) const ID: LogId = LogId(0x1234_5678_9abc_def0_0fed_cba9_8765_4321);
pub(crate) const CONFIG: LogConfig = LogConfig { segment_bytes: 4096 };
pub(crate) const RECORD: Kind = Kind::new(1).expect("one is a kind");
pub(crate) const PART: Kind = Kind::new(2).expect("two is a kind");

/// A record as it was written or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) head: Head,
    pub(crate) payload: Vec<u8>,
}

/// The `seq`-th record, with a payload that is its own.
pub(crate) fn record(seq: u64, bytes: usize) -> Written {
    let payload = (0..bytes).map(|at| (seq as usize * 31 + at * 7) as u8 | 1).collect();
    Written { head: Head { kind: RECORD, guild: seq % 5, epoch: 3, seq }, payload }
}

pub(crate) fn push(log: &mut Log, batch: &[Written]) -> Result<Vec<Place>, LogError> {
    let batch: Vec<_> = batch.iter().map(|record| (record.head, record.payload.as_slice())).collect();
    let mut places = Vec::new();
    log.push(&batch, &mut places)?;
    Ok(places)
}

/// Stores a batch in a group of its own.
pub(crate) fn store(log: &mut Log, batch: &[Written]) -> Result<Vec<Place>, LogError> {
    let places = push(log, batch)?;
    log.commit()?;
    log.ensure_spare()?;
    Ok(places)
}

pub(crate) fn create(files: &MemoryFiles) -> Log {
    Log::create(Arc::new(files.clone()), ID, CONFIG).unwrap()
}

/// An open log, and all that is in it.
pub(crate) fn open(files: &MemoryFiles) -> Result<(Log, Found, Vec<Written>), LogError> {
    let mut all = Vec::new();
    let (log, found) = Log::open(
        Arc::new(files.clone()),
        ID,
        CONFIG,
        |_| true,
        |_, head, payload| {
            all.push(Written { head, payload: payload.unwrap().to_vec() });
        },
    )?;
    Ok((log, found, all))
}

/// A log of so many records, of lengths from 0 to 400 bytes, each stored alone.
pub(crate) fn filled(files: &MemoryFiles, records: u64) -> (Log, Vec<Written>, Vec<Place>) {
    let mut log = create(files);
    let all: Vec<_> = (1..=records).map(|seq| record(seq, (seq as usize * 97) % 401)).collect();
    let mut places = Vec::new();
    for record in &all {
        places.extend(store(&mut log, std::slice::from_ref(record)).unwrap());
    }
    (log, all, places)
}

/// SplitMix64: the tests' dice.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}
