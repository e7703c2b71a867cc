//! Making a corrupt log one that opens, by cutting it off at the first bad record.
//!
//! Only an operator may decide that: what is cut off was acknowledged once. Nothing is thrown away but the rest of the segment in which the
//! cut is; later segments keep their bytes under another name.
//!
//! A repair that is broken off by a crash leaves a log that is as corrupt as before, to be repaired again: what is cut off is renamed from
//! the end on, then the segment with the cut gets its successor.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use crate::files::{File, Files};
use crate::record::{Head, Meaning, Seal};
use crate::segment::{self, HEADER_BYTES, Header};
use crate::survey::{self, Found, Heads, Next, Segment};
use crate::window::Window;
use crate::writer::{begin, make_spare};
use crate::{Damage, Log, LogConfig, LogError, LogId, verify};

/// What a repair has done.
#[derive(Debug, Default)]
pub struct Repaired {
    /// What is left.
    pub found: Found,
    /// What was wrong; `None` if there was nothing to repair, and nothing was done.
    pub bad: Option<LogError>,
    /// Records behind the cut: those with whole heads, and one for each stretch that is none, where there may have been several.
    pub records_lost: u64,
    /// Of these the stretches: whose records they were cannot be told.
    pub unreadable: u64,
    /// Bytes behind the cut, zeros at the end of a segment apart.
    pub bytes_lost: u64,
    /// Segments that are cut off, by their new names.
    pub renamed: Vec<String>,
}

/// Cuts a log off at the first bad record, which is the first one of its batch, and tells what was lost. Changes nothing if none is bad. Nobody
/// may have the log open. Waits for the disk, and needs room on it for a segment.
///
/// If not even the beginning of the log is there, an empty one is begun.
///
/// # Errors
/// [`LogError::Full`], [`LogError::Io`], [`LogError::Format`]; [`LogError::Foreign`] or [`LogError::Missing`] if there is no segment of
/// this log at all. What was wrong before still is.
pub fn repair(files: Arc<dyn Files>, id: LogId, config: LogConfig) -> Result<Repaired, LogError> {
    let verified = verify(&*files, id)?;
    let Some(bad) = verified.bad else {
        return Ok(Repaired { found: verified.found, ..Repaired::default() });
    };
    let highest = highest_number(&*files)?.ok_or_else(|| LogError::Missing { file: segment::name(1) })?;
    let numbers = survey::numbers(&*files)?;
    let cut = find_cut(&*files, id, &numbers)?;

    // First of all the room, so that a full disk changes nothing.
    let spare = make_spare(&*files, config.checked().segment_bytes)?;
    let mut repaired = Repaired { bad: Some(bad), ..Repaired::default() };
    repaired.count_behind(&*files, id, cut.as_ref(), &numbers)?;
    for number in numbers.range(first_lost(cut.as_ref())..).rev() {
        repaired.renamed.push(set_aside(&*files, *number)?);
    }
    files.sync().map_err(LogError::io(".", "sync"))?;

    let allocated = spare.bytes;
    let header = match cut {
        Some(Cut { segment, end, oldest }) => Header { id, number: segment + 1, allocated, previous_end: end, oldest },
        // A number that no file has had, so that nothing of what was renamed fits to it.
        None => Header { id, number: highest + 1, allocated, previous_end: 0, oldest: highest + 1 },
    };
    begin(&*files, &mut Some(spare), &header)?;
    let (_, found) = Log::open(files, id, config, |_| true, |_, _, _| {})?;
    repaired.found = found;
    Ok(repaired)
}

/// Tells what [`repair`] would find and lose, and changes nothing. The segments that it would cut off are named as they are. Nobody may
/// have the log open. Waits for the disk.
///
/// # Errors
/// As of [`repair`], but for the room that it needs.
pub fn foresee(files: &dyn Files, id: LogId) -> Result<Repaired, LogError> {
    let verified = verify(files, id)?;
    let mut repaired = Repaired { found: verified.found, bad: verified.bad, ..Repaired::default() };
    if repaired.bad.is_some() {
        let numbers = survey::numbers(files)?;
        let cut = find_cut(files, id, &numbers)?;
        repaired.count_behind(files, id, cut.as_ref(), &numbers)?;
        repaired.renamed =
            numbers.range(first_lost(cut.as_ref())..).rev().map(|number| segment::name(*number)).collect();
    }
    Ok(repaired)
}

/// The first segment that is cut off whole.
fn first_lost(cut: Option<&Cut>) -> u64 {
    cut.map_or(0, |cut| cut.segment + 1)
}

/// Where a log is to end.
#[derive(Clone, Copy)]
struct Cut {
    /// The last segment that is left,
    segment: u64,
    /// with its new end,
    end: u64,
    /// and the first.
    oldest: u64,
}

/// Goes through the live segments up to the first that is not good to its end. `None` if that is the first.
fn find_cut(files: &dyn Files, id: LogId, numbers: &BTreeSet<u64>) -> Result<Option<Cut>, LogError> {
    let (mut whole, mut foreign, mut oldest) = (BTreeMap::new(), None, 0);
    for number in numbers {
        match Segment::open(files, id, *number) {
            Ok((segment, _)) => {
                oldest = oldest.max(segment.header.oldest);
                whole.insert(*number, segment);
            }
            Err(error @ (LogError::Io { .. } | LogError::Format { .. })) => return Err(error),
            Err(error @ LogError::Foreign { .. }) => foreign = Some(error),
            Err(_) => {}
        }
        oldest = oldest.max(truncation(files, id, *number)?);
    }
    // Another log altogether is none of our business.
    if let Some(error) = foreign
        && whole.is_empty()
    {
        return Err(error);
    }
    // If the first that is there is a later one, the truncation before it may be what has become unreadable.
    let Some(oldest) = numbers.range(oldest..).next().copied() else {
        return Ok(None);
    };
    let (mut number, mut cut) = (oldest, None);
    while let Some(segment) = whole.get(&number) {
        let told = whole.get(&(number + 1)).map(|next| next.header.previous_end);
        let end = good_end(files, id, segment, told)?;
        cut = Some(Cut { segment: number, end, oldest });
        if told != Some(end) {
            break;
        }
        number += 1;
    }
    Ok(cut)
}

/// The highest segment that a truncation in this one names, as far as it can be read.
fn truncation(files: &dyn Files, id: LogId, number: u64) -> Result<u64, LogError> {
    let name = segment::name(number);
    let file = files.open(&name).map_err(LogError::io(&name, "open"))?;
    let len = file.len().map_err(LogError::io(&name, "measure"))?.max(HEADER_BYTES);
    let mut heads = Heads::new(Window::new(&*file, len), Seal { id, segment: number });
    let mut highest = 0;
    while let Next::Head { head, .. } = heads.next().map_err(LogError::io(&name, "read"))? {
        if let Meaning::Truncation { oldest } = head.meaning() {
            highest = highest.max(oldest);
        }
    }
    Ok(highest)
}

/// Where the last whole batch of a segment ends, before the first bad record and before the end that its successor tells.
fn good_end(files: &dyn Files, id: LogId, segment: &Segment, successor: Option<u64>) -> Result<u64, LogError> {
    let name = segment.name();
    let file = files.open(&name).map_err(LogError::io(&name, "open"))?;
    let seal = Seal { id, segment: segment.number };
    let limit = successor.unwrap_or(segment.header.allocated).min(segment.len).max(HEADER_BYTES);
    let mut heads = Heads::new(Window::new(&*file, limit), seal);
    let mut end = HEADER_BYTES;
    while let Next::Head { offset, head } = heads.next().map_err(LogError::io(&name, "read"))? {
        let is_whole = survey::has_whole_body(&mut heads.window, offset, &head, seal);
        if !is_whole.map_err(LogError::io(&name, "read"))? {
            break;
        }
        if !head.more {
            end = heads.at;
        }
    }
    Ok(end)
}

impl Repaired {
    /// Counts what lies behind the cut in all segments.
    fn count_behind(
        &mut self,
        files: &dyn Files,
        id: LogId,
        cut: Option<&Cut>,
        numbers: &BTreeSet<u64>,
    ) -> Result<(), LogError> {
        if let Some(cut) = cut {
            self.count_lost(files, id, cut.segment, cut.end)?;
        }
        numbers.range(first_lost(cut)..).try_for_each(|number| self.count_lost(files, id, *number, HEADER_BYTES))?;
        // Of a file that is gone, or shorter than it was, nothing is left to be counted.
        let is_known = matches!(self.bad, Some(LogError::Corrupt { what: Damage::Body | Damage::Batch, .. }));
        self.unreadable = self.unreadable.max(u64::from(!is_known));
        self.records_lost += self.unreadable;
        Ok(())
    }

    /// Counts what lies behind the cut in a segment.
    fn count_lost(&mut self, files: &dyn Files, id: LogId, number: u64, from: u64) -> Result<(), LogError> {
        let name = segment::name(number);
        let reading = || LogError::io(&name, "read");
        let file = files.open(&name).map_err(LogError::io(&name, "open"))?;
        let len = file.len().map_err(LogError::io(&name, "measure"))?;
        let used = Window::new(&*file, len).used_end(from).map_err(reading())?;
        self.bytes_lost += used.map_or(0, |used| used - from);
        let mut records = 0;
        self.unreadable +=
            heads_in(&*file, Seal { id, segment: number }, from, &mut |_| records += 1).map_err(reading())?;
        self.records_lost += records;
        Ok(())
    }
}

/// Shows the head of each record that is whole, in all segments, before what is bad and behind it. Nobody may have the log open. Waits
/// for the disk.
///
/// # Errors
/// [`LogError::Io`].
pub fn heads(files: &dyn Files, id: LogId, mut visit: impl FnMut(Head)) -> Result<(), LogError> {
    for number in survey::numbers(files)? {
        let name = segment::name(number);
        let file = files.open(&name).map_err(LogError::io(&name, "open"))?;
        let seal = Seal { id, segment: number };
        heads_in(&*file, seal, HEADER_BYTES, &mut visit).map_err(LogError::io(&name, "read"))?;
    }
    Ok(())
}

/// Shows the heads of records in one segment from an offset on, and counts the stretches between them that are no records.
fn heads_in(file: &dyn File, seal: Seal, from: u64, visit: &mut impl FnMut(Head)) -> io::Result<u64> {
    let mut window = Window::new(file, file.len()?);
    let Some(used) = window.used_end(from)? else {
        return Ok(0);
    };
    let mut heads = Heads::starting_at(window, seal, from);
    let (mut stretches, mut in_stretch) = (0, false);
    while heads.at < used {
        match heads.next()? {
            Next::Head { head, .. } => {
                in_stretch = false;
                if let Meaning::Record(head) = head.meaning() {
                    visit(head);
                }
            }
            Next::End => break,
            Next::Stop(_) => {
                heads.at += 8;
                if !in_stretch {
                    stretches += 1;
                    in_stretch = true;
                }
            }
        }
    }
    Ok(stretches)
}

/// Renames a segment that is cut off, to a name that no other has.
fn set_aside(files: &dyn Files, number: u64) -> Result<String, LogError> {
    let name = segment::name(number);
    let taken = files.list().map_err(LogError::io(".", "list"))?;
    let names = (1..=u64::MAX).map(|nth| if nth == 1 { format!("{name}.cut") } else { format!("{name}.{nth}.cut") });
    let mut free = names.filter(|name| taken.binary_search(name).is_err());
    let to = free.next().expect("a directory has less than 2^64 files");
    files.rename(&name, &to).map_err(LogError::io(&name, "rename"))?;
    Ok(to)
}

/// The highest number that a segment has or, under the name of one that is cut off, had.
fn highest_number(files: &dyn Files) -> Result<Option<u64>, LogError> {
    let names = files.list().map_err(LogError::io(".", "list"))?;
    let numbers = names.iter().filter_map(|name| segment::number(name.get(..segment::name(1).len())?));
    Ok(numbers.max())
}
