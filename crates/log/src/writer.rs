//! The writer: groups, rotation, the spare, truncation.
//!
//! Invariants:
//! - before a mark is written, all before it is synced; before a header is written, all of the segment before it up to `previous_end`;
//! - a header is written only into a file whose name is synced, so that a spare is zeros in any case;
//! - before anything is written behind a header, that is synced, and the segment before is trimmed, synced too;
//! - what lies behind `end` is zeros, or `is_cut` is set and nothing is written there any more;
//! - after a write or a sync failed for another reason than room, nothing is written at all.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::error::is_full;
use crate::files::{File, Files};
use crate::record::{self, HEAD_BYTES, Head, Kind, Place, Seal};
use crate::segment::{self, HEADER_BYTES, Header, SPARE};
use crate::survey::{self, Found, Survey};
use crate::vacancy::vacant;
use crate::window::read_exact;
use crate::{LogError, LogReader};

/// What tells one log from all others. Chosen at random when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogId(pub u128);

/// What the writer of a log is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Length of a segment, in bytes; 16 MiB if not given, from 4 KiB to 1 GiB. Twice as much is taken from the disk when a log is made.
    /// Less means more rotations, of four syncs each, and smaller batches; more, that space comes back later and that opening, which
    /// reads the last segment, takes longer. Segments that exist keep their lengths.
    pub segment_bytes: u64,
}

impl LogConfig {
    /// Lengths that a segment may have; another is taken for the nearest of these.
    pub const SEGMENT_BYTES: RangeInclusive<u64> = 4 * 1024..=1024 * 1024 * 1024;

    /// The longest batch that a segment takes: all payloads, each rounded up to 8 bytes, and 48 bytes a record.
    pub fn batch_bytes_max(&self) -> u64 {
        self.checked().segment_bytes - HEADER_BYTES - RESERVE_BYTES
    }

    /// How long a batch lies in the log.
    pub fn batch_bytes(payloads: impl IntoIterator<Item = usize>) -> u64 {
        payloads.into_iter().map(|bytes| HEAD_BYTES + (bytes as u64).next_multiple_of(8)).sum()
    }

    pub(crate) fn checked(self) -> Self {
        Self {
            segment_bytes: self.segment_bytes.clamp(*Self::SEGMENT_BYTES.start(), *Self::SEGMENT_BYTES.end()) / 8 * 8,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { segment_bytes: 16 * 1024 * 1024 }
    }
}

/// A log that is open for writing. There must be no other on the same directory: whoever opens it sees to that.
#[derive(Debug)]
pub struct Log {
    files: Arc<dyn Files>,
    id: LogId,
    config: LogConfig,
    reader: LogReader,
    active: Active,
    /// The live segments before the active one, with their lengths.
    closed: BTreeMap<u64, u64>,
    spare: Option<Spare>,
    /// The group, as it will lie in the active segment or, if it goes ahead, in the next.
    pending: Vec<u8>,
    goes_ahead: bool,
    /// The failure after which nothing is written any more.
    poison: Option<String>,
}

#[derive(Debug)]
struct Active {
    number: u64,
    file: Arc<dyn File>,
    allocated: u64,
    end: u64,
    /// As much of it as is synced: all but the last mark.
    synced_end: u64,
    /// Whether bytes lie behind the end that must never be read.
    is_cut: bool,
}

/// The next segment's file.
#[derive(Debug)]
pub(crate) struct Spare {
    file: Arc<dyn File>,
    pub(crate) bytes: u64,
    /// Whether it bears its number already: its header could not be written.
    is_named: bool,
}

impl Log {
    /// Makes a log in a directory without one. What lies there of one that was never written to, as an earlier call may have left it, is
    /// removed. Waits for the disk.
    ///
    /// # Errors
    /// [`LogError::Exists`], [`LogError::Full`], [`LogError::Io`].
    pub fn create(files: Arc<dyn Files>, id: LogId, config: LogConfig) -> Result<Self, LogError> {
        let config = config.checked();
        vacant(&*files)?;
        for file in survey::numbers(&*files)?.into_iter().map(segment::name) {
            files.remove(&file).map_err(LogError::io(&file, "remove"))?;
        }
        let spare = make_spare(&*files, config.segment_bytes)?;
        let header = Header { id, number: 1, allocated: spare.bytes, previous_end: 0, oldest: 1 };
        let mut spare = Some(spare);
        let file = begin(&*files, &mut spare, &header)?;
        let mut log = Self {
            reader: LogReader::new(Arc::clone(&files), id),
            active: Active {
                number: 1,
                file,
                allocated: header.allocated,
                end: HEADER_BYTES,
                synced_end: HEADER_BYTES,
                is_cut: false,
            },
            files,
            id,
            config,
            closed: BTreeMap::new(),
            spare,
            pending: Vec::new(),
            goes_ahead: false,
            poison: None,
        };
        log.ensure_spare()?;
        Ok(log)
    }

    /// Opens a log: shows every record in order, with its payload if its kind is wanted, finishes what a crash has left undone, and
    /// tells what of the end was torn. Waits for the disk.
    ///
    /// Payloads that are not wanted are skipped, and checked when they are [read](LogReader::read).
    ///
    /// What was shown before an error is to be forgotten. Nothing is changed on the disk before all is found whole.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Missing`] (also of a log that is not there), [`LogError::Foreign`], [`LogError::Format`],
    /// [`LogError::Io`].
    pub fn open(
        files: Arc<dyn Files>,
        id: LogId,
        config: LogConfig,
        wants_body: impl Fn(Kind) -> bool,
        visit: impl FnMut(Place, Head, Option<&[u8]>),
    ) -> Result<(Self, Found), LogError> {
        let config = config.checked();
        let (survey, found) = survey::scan_with(&*files, id, wants_body, visit)?;
        let active = make_durable(&*files, &survey)?;
        let closed = finish(&*files, &survey)?;
        let mut log = Self {
            reader: LogReader::new(Arc::clone(&files), id),
            spare: find_spare(&*files, config.segment_bytes)?,
            files,
            id,
            config,
            active,
            closed,
            pending: Vec::new(),
            goes_ahead: false,
            poison: None,
        };
        if !log.active.is_cut && survey.tail.unmarked > 0 {
            log.guarded(Self::mark)?;
        }
        if log.ensure_spare()? && log.active.is_cut {
            log.rotate().or_else(unless_full)?;
            log.ensure_spare()?;
        }
        Ok((log, found))
    }

    /// Appends a batch to the pending group, and the places of its records to `places`. It is stored when the [commit](Self::commit)
    /// returns. Does not wait.
    ///
    /// # Errors
    /// In every case nothing is changed. [`LogError::CommitFirst`] if the batch begins the next segment; [`LogError::Full`] if there
    /// is none and this one has no room; [`LogError::TooLarge`]; [`LogError::Poisoned`].
    pub fn push(&mut self, batch: &[(Head, &[u8])], places: &mut Vec<Place>) -> Result<(), LogError> {
        self.check()?;
        let bytes = LogConfig::batch_bytes(batch.iter().map(|(_, payload)| payload.len()));
        let limit = self.config.batch_bytes_max();
        if bytes > limit {
            return Err(LogError::TooLarge { bytes, limit });
        }
        if !self.has_room(bytes) {
            if !self.pending.is_empty() {
                return Err(LogError::CommitFirst);
            }
            let spare = self.spare.as_ref().ok_or(LogError::Full)?;
            // A spare that was made under another configuration may be shorter than a batch.
            if HEADER_BYTES + bytes + RESERVE_BYTES > spare.bytes {
                return Err(LogError::Full);
            }
            self.goes_ahead = true;
        }
        let (segment, from, _) = self.target();
        let seal = Seal { id: self.id, segment };
        let last = batch.len().saturating_sub(1);
        for (n, (head, payload)) in batch.iter().enumerate() {
            let offset = from + self.pending.len() as u64;
            let bytes =
                u32::try_from(payload.len()).expect("a payload is no longer than its batch, and that than 1 GiB");
            record::encode(&mut self.pending, seal, offset, head, n < last, payload);
            places.push(Place { segment, offset, bytes });
        }
        Ok(())
    }

    /// How many bytes are pending.
    pub fn pending_bytes(&self) -> u64 {
        self.pending.len() as u64
    }

    /// Stores the pending group: writes it, syncs it, and marks it as synced. Waits for the disk.
    ///
    /// # Errors
    /// [`LogError::Full`] if there is no room: no batch of the group is stored, and the log goes on. (Should the process end before anything
    /// else is stored, batches of that group may yet be found by the next one.) After any other error the log is closed, and which of
    /// its batches are stored is told by the next [open](Self::open).
    pub fn commit(&mut self) -> Result<(), LogError> {
        self.check()?;
        if self.pending.is_empty() {
            return Ok(());
        }
        let group = std::mem::take(&mut self.pending);
        let goes_ahead = std::mem::take(&mut self.goes_ahead);
        let outcome = self.guarded(|log| {
            if goes_ahead {
                log.begin_next()?;
            }
            log.write(&group)?;
            log.mark()
        });
        // Its room serves the next group.
        self.pending = group;
        self.pending.clear();
        outcome
    }

    /// Ends the active segment, so that the next record begins another. A pending group is committed before. Waits for the disk.
    ///
    /// # Errors
    /// [`LogError::Full`] if there is no spare; otherwise as [`commit`](Self::commit).
    pub fn rotate(&mut self) -> Result<(), LogError> {
        self.commit()?;
        self.guarded(Self::begin_next)
    }

    /// Gives up all segments before this one, and removes their files; a pending group is committed before. The active segment stays
    /// in any case. Waits for the disk.
    ///
    /// # Errors
    /// [`LogError::Full`] if there is not even room to write that down, which a log that has a spare always has; otherwise as
    /// [`commit`](Self::commit).
    pub fn truncate_before(&mut self, segment: u64) -> Result<(), LogError> {
        self.commit()?;
        let oldest = segment.min(self.active.number);
        let live = self.closed.split_off(&oldest);
        let dead = std::mem::replace(&mut self.closed, live);
        if dead.is_empty() {
            return Ok(());
        }
        let outcome = self.guarded(|log| log.truncate(oldest, &dead));
        if let Err(LogError::Full) = outcome {
            self.closed.extend(dead);
        }
        outcome
    }

    /// Whether the next segment is at hand. Without it records go into what is left of the active one.
    pub fn has_spare(&self) -> bool {
        self.spare.is_some()
    }

    /// Takes the next segment from the disk, unless it is at hand, and says whether it is now. Waits for the disk, so the writer does it when
    /// it has told those who wait for a group: [`commit`](Self::commit) only uses it.
    ///
    /// # Errors
    /// As [`commit`](Self::commit); a lack of room is no error here.
    pub fn ensure_spare(&mut self) -> Result<bool, LogError> {
        self.check()?;
        if self.spare.is_none() {
            let spare = self.guarded(|log| make_spare(&*log.files, log.config.segment_bytes));
            self.spare = spare.map(Some).or_else(unless_full)?;
        }
        Ok(self.has_spare())
    }

    /// A reader of this log.
    pub fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    /// The live segments with their lengths on the disk, in bytes, oldest first; the last is the active one.
    pub fn segments(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let active = (self.active.number, self.active.allocated);
        self.closed.iter().map(|(number, bytes)| (*number, *bytes)).chain([active])
    }

    /// The number of the segment that is written.
    pub fn active_segment(&self) -> u64 {
        self.active.number
    }

    /// What the log takes on the disk, the spare included. `O(segments)`.
    pub fn bytes(&self) -> u64 {
        self.segments().map(|(_, bytes)| bytes).sum::<u64>() + self.spare.as_ref().map_or(0, |spare| spare.bytes)
    }

    /// Bytes that still go into the active segment.
    pub fn room_bytes(&self) -> u64 {
        let (_, from, allocated) = self.target();
        let is_closed = self.active.is_cut && !self.goes_ahead;
        if is_closed { 0 } else { allocated.saturating_sub(from + self.pending_bytes() + RESERVE_BYTES) }
    }

    fn has_room(&self, bytes: u64) -> bool {
        bytes <= self.room_bytes()
    }

    /// Where the pending group goes: segment, offset, length of the segment.
    fn target(&self) -> (u64, u64, u64) {
        match &self.spare {
            Some(spare) if self.goes_ahead => (self.active.number + 1, HEADER_BYTES, spare.bytes),
            Some(_) | None => (self.active.number, self.active.end, self.active.allocated),
        }
    }

    fn check(&self) -> Result<(), LogError> {
        match &self.poison {
            Some(why) => Err(LogError::Poisoned { why: why.clone() }),
            None => Ok(()),
        }
    }

    /// Does what writes, and closes the log if that fails otherwise than for lack of room.
    fn guarded<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T, LogError>) -> Result<T, LogError> {
        let outcome = act(self);
        if let Err(error) = &outcome
            && !matches!(error, LogError::Full)
        {
            self.poison = Some(error.to_string());
        }
        outcome
    }

    /// Writes a group behind the end, and syncs it.
    fn write(&mut self, group: &[u8]) -> Result<(), LogError> {
        let Active { number, file, end, synced_end, is_cut, .. } = &mut self.active;
        let outcome = file.write_at(group, *end).map_err(LogError::write(segment::name(*number), "write"));
        // Part of the group may lie there.
        *is_cut |= outcome.is_err();
        outcome?;
        file.sync().map_err(LogError::io(segment::name(*number), "sync"))?;
        *end += group.len() as u64;
        *synced_end = *end;
        Ok(())
    }

    /// Writes down that all so far is synced.
    fn mark(&mut self) -> Result<(), LogError> {
        let Active { number, file, end, .. } = &mut self.active;
        let mark = record::mark(Seal { id: self.id, segment: *number }, *end);
        match file.write_at(&mark, *end) {
            Ok(()) => *end += HEAD_BYTES,
            // All is synced. The next mark will say so, or the next header; what is written of this one is written over.
            Err(error) if is_full(&error) => {}
            Err(error) => return Err(LogError::io(segment::name(*number), "write")(error)),
        }
        Ok(())
    }

    /// Makes the spare the active segment.
    fn begin_next(&mut self) -> Result<(), LogError> {
        let allocated = self.spare.as_ref().ok_or(LogError::Full)?.bytes;
        let header = Header {
            id: self.id,
            number: self.active.number + 1,
            allocated,
            // Without the last mark, which this header stands in for.
            previous_end: self.active.synced_end,
            oldest: self.closed.first_key_value().map_or(self.active.number, |(number, _)| *number),
        };
        let file = begin(&*self.files, &mut self.spare, &header)?;
        let next = Active {
            number: header.number,
            file,
            allocated,
            end: HEADER_BYTES,
            synced_end: HEADER_BYTES,
            is_cut: false,
        };
        let last = std::mem::replace(&mut self.active, next);
        self.closed.insert(last.number, last.synced_end);
        trim(&*last.file, last.number, last.synced_end)
    }

    fn truncate(&mut self, oldest: u64, dead: &BTreeMap<u64, u64>) -> Result<(), LogError> {
        let Active { number, end, allocated, is_cut, .. } = self.active;
        // The record and its mark, and a byte by which the segment is always shorter once it is trimmed.
        if is_cut || end + 2 * HEAD_BYTES + 8 > allocated {
            // The next header tells it as well.
            self.begin_next()?;
        } else {
            self.write(&record::truncation(Seal { id: self.id, segment: number }, end, oldest))?;
            self.mark()?;
        }
        self.reader.forget_before(oldest);
        for number in dead.keys() {
            let name = segment::name(*number);
            self.files.remove(&name).map_err(LogError::io(name, "remove"))?;
        }
        self.files.sync().map_err(LogError::io(".", "sync"))
    }
}

/// Makes the spare, whose file and length are synced when it is returned.
pub(crate) fn make_spare(files: &dyn Files, bytes: u64) -> Result<Spare, LogError> {
    remove_spare(files)?;
    let made = files.create(SPARE).and_then(|file| file.allocate(bytes).map(|()| file));
    let made = made.map_err(LogError::write(SPARE, "allocate"));
    if let Err(LogError::Full) = &made {
        // What was taken of the room is of use to others.
        remove_spare(files)?;
    }
    let file = made?;
    file.sync().map_err(LogError::io(SPARE, "sync"))?;
    files.sync().map_err(LogError::io(".", "sync"))?;
    Ok(Spare { file, bytes, is_named: false })
}

fn remove_spare(files: &dyn Files) -> Result<(), LogError> {
    match files.remove(SPARE).map_err(LogError::io(SPARE, "remove")) {
        Err(LogError::Missing { .. }) => Ok(()),
        outcome => outcome,
    }
}

/// The spare that an earlier process has made, if it is of use.
fn find_spare(files: &dyn Files, bytes: u64) -> Result<Option<Spare>, LogError> {
    let file = match files.open(SPARE).map_err(LogError::io(SPARE, "open")) {
        Err(LogError::Missing { .. }) => return Ok(None),
        outcome => outcome?,
    };
    let len = file.len().map_err(LogError::io(SPARE, "measure"))?;
    if len != bytes || !survey::has_only_zeros(files, SPARE, 0)? {
        return Ok(None);
    }
    // That process may have ended before it was synced.
    file.sync().map_err(LogError::io(SPARE, "sync"))?;
    Ok(Some(Spare { file, bytes, is_named: false }))
}

/// Gives the spare its number and then its header, and makes both durable. If there is no room for that, it stays the spare.
pub(crate) fn begin(files: &dyn Files, spare: &mut Option<Spare>, header: &Header) -> Result<Arc<dyn File>, LogError> {
    let name = segment::name(header.number);
    let Some(at_hand) = spare else {
        return Err(LogError::Full);
    };
    if !at_hand.is_named {
        files.rename(SPARE, &name).map_err(LogError::write(SPARE, "rename"))?;
        at_hand.is_named = true;
    }
    // First the name: a header that got into the spare while the name did not would be found there at the next attempt.
    files.sync().map_err(LogError::io(".", "sync"))?;
    let file = Arc::clone(&at_hand.file);
    file.write_at(&header.encode(), 0).map_err(LogError::write(&name, "write"))?;
    file.sync().map_err(LogError::io(&name, "sync"))?;
    *spare = None;
    Ok(file)
}

/// Cuts a segment to its end, durably: from then on its successor cannot be missing unnoticed.
fn trim(file: &dyn File, number: u64, end: u64) -> Result<(), LogError> {
    let trimmed = file.set_len(end).and_then(|()| file.sync());
    trimmed.map_err(LogError::io(segment::name(number), "trim"))
}

/// Makes durable what was found to be whole, and the names.
///
/// It is written again before it is synced: if a sync failed in an earlier process, the operating system may take it for written though
/// it is not on the disk.
fn make_durable(files: &dyn Files, survey: &Survey) -> Result<Active, LogError> {
    let last = survey.segments.last().expect("a survey finds at least one segment");
    let name = last.name();
    let file = files.open(&name).map_err(LogError::io(&name, "open"))?;
    let tail = &survey.tail;
    let mut unsure = vec![0; usize::try_from(tail.end - tail.marked).unwrap_or_default()];
    read_exact(&*file, &mut unsure, tail.marked).map_err(LogError::io(&name, "read"))?;
    let written = file.write_at(&last.header.encode(), 0).and_then(|()| file.write_at(&unsure, tail.marked));
    written.and_then(|()| file.sync()).map_err(LogError::io(&name, "sync"))?;
    files.sync().map_err(LogError::io(".", "sync"))?;
    let is_cut = tail.torn.is_some();
    Ok(Active {
        number: last.number,
        file,
        allocated: last.header.allocated,
        end: tail.end,
        synced_end: tail.end,
        is_cut,
    })
}

/// Removes what is no part of the log, and trims the segments before the last. Returns these.
fn finish(files: &dyn Files, survey: &Survey) -> Result<BTreeMap<u64, u64>, LogError> {
    for name in &survey.leftovers {
        files.remove(name).map_err(LogError::io(name, "remove"))?;
    }
    if !survey.leftovers.is_empty() {
        files.sync().map_err(LogError::io(".", "sync"))?;
    }
    let (_, closed) = survey.segments.split_last().expect("a survey finds at least one segment");
    for segment in closed.iter().filter(|segment| segment.len > segment.end) {
        let name = segment.name();
        let file = files.open(&name).map_err(LogError::io(name, "open"))?;
        trim(&*file, segment.number, segment.end)?;
    }
    Ok(closed.iter().map(|segment| (segment.number, segment.end)).collect())
}

/// Turns a lack of room into the default, for those who can go on without.
fn unless_full<T: Default>(error: LogError) -> Result<T, LogError> {
    if let LogError::Full = error { Ok(T::default()) } else { Err(error) }
}

/// What records leave free at the end of each segment: for a mark, and for some truncations when the disk is full, which free it.
const RESERVE_BYTES: u64 = 1024;

const _: () = assert!(*LogConfig::SEGMENT_BYTES.start() >= 2 * (HEADER_BYTES + RESERVE_BYTES));
const _: () = assert!(RESERVE_BYTES >= 3 * HEAD_BYTES + 8);
const _: () = assert!(*LogConfig::SEGMENT_BYTES.end() <= u32::MAX as u64);
