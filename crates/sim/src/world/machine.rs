//! One process with its data directory: the store, its two writers, the disk that they write to, and the coordinator of the process's nodes.
//!
//! A writer's turn takes the time of the disk, half of it before it writes and half before anyone is told. The store's words are kept in an
//! inbox, so that nobody is called back from within it.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use guildhall_cluster::{Bell, Coordinator};
use guildhall_guild::TurnId;
use guildhall_log::MemoryFiles;
use guildhall_log::files::{Failure, Fault, Files, Site};
use guildhall_proto::{Millis, NodeId};
use guildhall_store::{
    Alone, CheckpointWriter, Directory, EmbeddedConfig, EmbeddedCoordinator, EmbeddedStore, Identity, IdentityError,
    OpenError, OpenReport, RecordWriter, StoreError, StoreFailure, Stored,
};

use super::message::{Happening, Owned, Which};
use super::wire::Wire;
use crate::check::{Breach, Promise};
use crate::dice::Dice;
use crate::queue::{BEGINNING, Micros};
use crate::seen::Seen;

pub(crate) struct Machine {
    number: usize,
    pub(crate) disk: Disk,
    config: EmbeddedConfig,
    opened: Option<Opened>,
    /// Raised whenever the process ends.
    pub(crate) life: u64,
    /// By log, whether its writer has its turn coming.
    writing: [bool; 2],
    /// By log, behind how many groups in a row it was longer than it is to be.
    long: [u64; 2],
    /// Whether room was taken from the disk.
    is_filled: bool,
    inbox: Inbox,
    dice: Dice,
    /// What the disk takes for a write, at most as long as nothing is wrong.
    latency: Micros,
    /// How many times as long it takes now.
    pub(crate) slowness: u64,
    /// What it gives wrong now: by log, the file, the place in it, and the bits.
    rotten: Vec<(Which, String, u64, u8)>,
    /// Whether it has given something wrong to this process, which leaves such places alone for a time: longer than a run.
    is_spoiled: bool,
    /// Whether the power went at an operation of the disk, as it was told to.
    is_armed: bool,
    /// Rung by the coordinator, as it would ring whatever its nodes' tasks wait for.
    bell: Arc<Bell>,
    has_rung: Arc<AtomicBool>,
}

/// The three directories of a store.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    root: MemoryFiles,
    pub(crate) records: MemoryFiles,
    pub(crate) checkpoints: MemoryFiles,
}

struct Opened {
    store: EmbeddedStore,
    records: RecordWriter,
    checkpoints: CheckpointWriter,
    coordinator: EmbeddedCoordinator,
}

/// What the store says to an owner.
#[derive(Debug)]
pub(crate) enum Word {
    Turn(TurnId, Result<(), StoreError>),
    Checkpoint(Result<(), StoreError>),
}

type Inbox = Arc<Mutex<VecDeque<(Owned, Word)>>>;

/// What the store owes for something handed over. Dropped without a word, it says that.
struct Receipt {
    inbox: Inbox,
    owned: Owned,
    turn: Option<TurnId>,
    is_told: bool,
}

impl Receipt {
    fn tell(&mut self, told: Result<(), StoreError>) {
        self.is_told = true;
        let word = match self.turn {
            Some(turn) => Word::Turn(turn, told),
            None => Word::Checkpoint(told),
        };
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).push_back((self.owned, word));
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.is_told {
            self.tell(Err(StoreError::Unavailable { reason: "dropped without a word".to_owned() }));
        }
    }
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With the power.
    PowerCut,
    /// Alone: what it wrote is in the hands of the system.
    Killed,
}

impl Machine {
    pub(crate) fn new(number: usize, dice: &Dice, config: EmbeddedConfig) -> Result<Self, Breach> {
        let mut dice = dice.fork_nth("machine", number as u64);
        let latency = Micros(dice.within(100, 8_000));
        let disk = Disk::default();
        let node = NodeId::new(number as u64 + 1).expect("a small number is an id");
        let random = std::array::from_fn(|at| u8::try_from((at + number) % 251).expect("below 251"));
        let identity = Identity::new(1, node, random);
        let created = EmbeddedStore::create(&disk.directory(), &identity, &config);
        created.map_err(|error| Promise::Durable.breach(format!("a store cannot be made: {error}")))?;
        let has_rung = Arc::new(AtomicBool::new(false));
        let bell: Arc<Bell> = {
            let has_rung = Arc::clone(&has_rung);
            Arc::new(move || has_rung.store(true, Ordering::Relaxed))
        };
        let mut machine = Self {
            number,
            disk,
            config,
            opened: None,
            life: 0,
            writing: [false; 2],
            long: [0; 2],
            is_filled: false,
            inbox: Arc::default(),
            dice,
            latency,
            slowness: 1,
            rotten: Vec::new(),
            is_spoiled: false,
            is_armed: false,
            bell,
            has_rung,
        };
        machine.open(BEGINNING, &mut Seen::default())?;
        Ok(machine)
    }

    /// The store, if the process runs.
    pub(crate) fn store(&self) -> Option<&EmbeddedStore> {
        self.opened.as_ref().map(|opened| &opened.store)
    }

    /// Who places the guilds of the process's nodes, if it runs.
    pub(crate) fn coordinator(&self) -> Option<&EmbeddedCoordinator> {
        self.opened.as_ref().map(|opened| &opened.coordinator)
    }

    /// Whether the placement has changed since this was last asked.
    pub(crate) fn has_rung(&self) -> bool {
        self.has_rung.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn is_up(&self) -> bool {
        self.opened.is_some()
    }

    /// Opens the store; false if the power goes in the midst of that.
    pub(crate) fn open(&mut self, now: Millis, seen: &mut Seen) -> Result<bool, Breach> {
        let opened = EmbeddedStore::open(self.disk.directory(), self.config.clone(), Arc::new(Alone));
        let opened = opened.and_then(|(store, records, checkpoints, report)| {
            let coordinator = store.coordinator(now)?;
            Ok((Opened { store, records, checkpoints, coordinator }, report))
        });
        match opened {
            Ok((opened, report)) => {
                note_found(&report, seen);
                opened.coordinator.watch(Arc::downgrade(&self.bell));
                self.opened = Some(opened);
                self.disk.mend();
                self.is_armed = false;
                Ok(true)
            }
            Err(OpenError::Log { .. } | OpenError::Identity(IdentityError::Io { .. })) if self.is_armed => {
                self.cut_power();
                seen.double_crashes += 1;
                Ok(false)
            }
            Err(error) => Err(Promise::Durable.breach(format!("machine {}: {error}", self.number))),
        }
    }

    /// The process ends.
    pub(crate) fn end(&mut self, end: End) {
        self.life += 1;
        self.opened = None;
        self.unrot();
        self.is_spoiled = false;
        (self.writing, self.long) = ([false; 2], [0; 2]);
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).clear();
        match end {
            End::PowerCut => self.cut_power(),
            End::Killed => {
                self.disk.all().into_iter().for_each(MemoryFiles::kill);
                self.is_armed = false;
            }
        }
    }

    fn cut_power(&mut self) {
        let unit_bytes = if self.dice.one_in(2) { 512 } else { 4_096 };
        let seed = self.dice.number();
        for (nth, files) in (0..).zip(self.disk.all()) {
            files.power_cut(seed.wrapping_add(nth), unit_bytes);
        }
        self.is_armed = false;
    }

    /// Has the power go at one of the next operations of the disk; half of the time at a sync of the records.
    pub(crate) fn arm(&mut self) {
        let (files, site) = match self.dice.below(4) {
            0 => (&self.disk.checkpoints, Site::Any),
            1 => (&self.disk.records, Site::Any),
            _ => (&self.disk.records, Site::Sync),
        };
        files.fail(Fault { site, after: self.dice.below(6), times: u64::MAX, failure: Failure::PowerOff });
        self.is_armed = true;
    }

    /// Has nothing fail any more.
    pub(crate) fn disarm(&mut self) {
        self.disk.mend();
        self.is_armed = false;
    }

    pub(crate) fn is_armed(&self) -> bool {
        self.is_armed
    }

    /// Has one operation of the disk fail.
    pub(crate) fn fail_once(&mut self) {
        let files = if self.dice.one_in(3) { &self.disk.checkpoints } else { &self.disk.records };
        let site = if self.dice.one_in(2) { Site::Sync } else { Site::Write };
        files.fail(Fault { site, after: self.dice.below(8), times: 1, failure: Failure::Error(EIO) });
    }

    /// Word for an owner about a turn, or about a checkpoint.
    pub(crate) fn receipt(&self, owned: Owned, turn: Option<TurnId>) -> Stored {
        let mut receipt = Receipt { inbox: Arc::clone(&self.inbox), owned, turn, is_told: false };
        Box::new(move |told| receipt.tell(told))
    }

    /// Sees to it that the writers write what waits, and that owners hear what the store has said.
    pub(crate) fn attend(&mut self, wire: &mut Wire) {
        for log in [Which::Records, Which::Checkpoints] {
            if !self.writing[log as usize] && self.is_up() {
                self.writing[log as usize] = true;
                let after = self.disk_time();
                wire.later(after, Happening::Write { machine: self.number, life: self.life, log });
            }
        }
        self.hand_out(wire, Micros(5));
    }

    fn hand_out(&mut self, wire: &mut Wire, after: Micros) {
        let words = take(&mut *self.inbox.lock().unwrap_or_else(PoisonError::into_inner));
        for (owned, word) in words {
            wire.later(after, Happening::Word(owned, word));
        }
    }

    fn disk_time(&mut self) -> Micros {
        Micros(self.dice.within(20, self.latency.0) / 2 * self.slowness)
    }

    /// One group of one log is written.
    pub(crate) fn write(&mut self, log: Which, wire: &mut Wire) -> Result<(), StoreFailure> {
        let Some(opened) = &mut self.opened else { return Ok(()) };
        let wrote = match log {
            Which::Records => opened.records.step()?,
            Which::Checkpoints => opened.checkpoints.step()?,
        };
        let time = self.disk_time();
        self.hand_out(wire, time);
        self.writing[log as usize] = wrote;
        if wrote {
            wire.later(time, Happening::Write { machine: self.number, life: self.life, log });
        }
        Ok(())
    }

    /// Behind a group, promise 7: what a log takes on the disk is bounded by what is live in it. It may be longer for as many groups
    /// as it takes to go through it twice: what was live may have become dead all at once, and each group goes through a segment at
    /// least, unless there is no room for that.
    pub(crate) fn check_log(&mut self, log: Which) -> Result<(), Breach> {
        let Some((bytes, kept)) = self.length(log).filter(|_| self.writing[log as usize]) else { return Ok(()) };
        let segments = bytes / self.config.segment_bytes;
        let groups = &mut self.long[log as usize];
        *groups = if bytes > kept && !self.is_filled && !self.is_spoiled { *groups + 1 } else { 0 };
        let (groups, number) = (*groups, self.number);
        Promise::Bounds.require(groups <= 2 * segments + LONG_GROUPS, || {
            format!(
                "machine {number}: {log:?} take {bytes} bytes behind {groups} groups in a row, where {kept} are to do"
            )
        })
    }

    /// The same of the records when everything has come to rest: their writer looks whenever a checkpoint is stored. The checkpoints are
    /// gone through with the next one only.
    pub(crate) fn check_records_at_rest(&self) -> Result<(), Breach> {
        let Some((bytes, kept)) = self.length(Which::Records).filter(|_| !self.is_spoiled) else { return Ok(()) };
        let most = kept + REST_SEGMENTS * self.config.segment_bytes;
        Promise::Bounds.require(bytes <= most, || {
            format!("machine {}: records take {bytes} bytes at rest, and may take {most}", self.number)
        })
    }

    /// How long a log is on the disk, and from which length on it is gone through: twice what is live, the slack, the segment that is
    /// written and the spare.
    fn length(&self, log: Which) -> Option<(u64, u64)> {
        let live = self.opened.as_ref()?.store.live_bytes();
        let (files, live) = match log {
            Which::Records => (&self.disk.records, live.records),
            Which::Checkpoints => (&self.disk.checkpoints, live.checkpoints),
        };
        let EmbeddedConfig { segment_bytes, slack_bytes, .. } = self.config;
        Some((files.bytes(), 2 * live + slack_bytes + 2 * segment_bytes))
    }

    /// Takes the room from the disk, all or nearly all: for records, for checkpoints, or for both.
    pub(crate) fn fill(&mut self) {
        self.is_filled = true;
        let (records, checkpoints) = [(true, false), (true, true), (false, true)][self.dice.index(3).unwrap_or(0)];
        let all = [(records, &self.disk.records), (checkpoints, &self.disk.checkpoints)];
        for (_, files) in all.into_iter().filter(|(is_filled, _)| *is_filled) {
            let left = if self.dice.one_in(2) { 0 } else { self.dice.below(2 * self.config.segment_bytes) };
            files.set_capacity(files.bytes() + left);
        }
    }

    /// Has the disk give wrong bits here and there in the segments that were filled, as long as the process runs: what a start finds
    /// of that is for the tests of the log and of the store.
    pub(crate) fn rot(&mut self) {
        if !self.is_up() {
            return;
        }
        for log in [Which::Records, Which::Checkpoints] {
            let files = self.disk.files(log);
            let mut segments = files.list().unwrap_or_default();
            segments.retain(|name| name.starts_with(|first: char| first.is_ascii_digit()));
            segments.sort_unstable();
            // The newest is written to.
            segments.pop();
            for _ in 0..ROTTEN_BITS {
                let Some(nth) = self.dice.index(segments.len()) else { break };
                let (offset, bits) = (self.dice.below(self.config.segment_bytes), 1 << self.dice.below(8));
                if files.flip(&segments[nth], offset, bits) {
                    self.is_spoiled = true;
                    self.rotten.push((log, segments[nth].clone(), offset, bits));
                }
            }
        }
    }

    /// Has it give the right ones again.
    pub(crate) fn unrot(&mut self) {
        for (log, name, offset, bits) in take(&mut self.rotten) {
            // A segment that was given back meanwhile has none.
            self.disk.files(log).flip(&name, offset, bits);
        }
    }

    /// Whether it gives wrong bits.
    pub(crate) fn is_rotten(&self) -> bool {
        !self.rotten.is_empty()
    }

    /// Gives the disk room again.
    pub(crate) fn empty(&mut self) {
        self.is_filled = false;
        self.disk.all().into_iter().for_each(|files| files.set_capacity(u64::MAX / 4));
    }
}

fn note_found(report: &OpenReport, seen: &mut Seen) {
    for found in [&report.records, &report.checkpoints] {
        seen.torn_tails += u64::from(found.torn.is_some());
    }
}

impl Disk {
    fn directory(&self) -> Directory {
        let files = |files: &MemoryFiles| Arc::new(files.clone());
        Directory::new(files(&self.root), files(&self.records), files(&self.checkpoints))
    }

    fn files(&self, log: Which) -> &MemoryFiles {
        match log {
            Which::Records => &self.records,
            Which::Checkpoints => &self.checkpoints,
        }
    }

    fn all(&self) -> [&MemoryFiles; 3] {
        [&self.root, &self.records, &self.checkpoints]
    }

    /// Has nothing fail any more that has not failed yet.
    pub(crate) fn mend(&self) {
        self.all().into_iter().for_each(MemoryFiles::mend);
    }
}

/// Bits that a disk gives wrong of one log at a time.
const ROTTEN_BITS: usize = 256;
/// Groups beside those that it takes to go through a log twice: what they append is dead as soon.
const LONG_GROUPS: u64 = 64;
/// Segments that the records may be longer at rest: what is live in each may keep it until one more group.
const REST_SEGMENTS: u64 = 8;
/// The error that a disk gives for what it cannot read or write.
const EIO: i32 = 5;
