//! What lies in a directory: which segments are live, where each ends, and what of it is damage.
//!
//! Nothing is changed here. [`Log::open`](crate::Log::open) finishes what a crash left undone, by what the survey says;
//! [`verify`](crate::verify()) only reads. The argument why it is right stands on the crate's page.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use crate::files::{File, Files};
use crate::record::{HEAD_BYTES, Head, Kind, Look, Meaning, Place, RawHead, Seal};
use crate::segment::{self, HEADER_BYTES, Header};
use crate::window::Window;
use crate::{Damage, LogError, LogId};

/// What was found in a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Live segments.
    pub segments: u64,
    /// Records in them, those of the log itself apart.
    pub records: u64,
    /// Bytes from the beginning of each segment to its end.
    pub bytes: u64,
    /// Records behind the last mark: of the last group, which was whole but of which it was not written down that it was synced.
    pub unmarked: u64,
    /// What of the unsynced end was not whole, and is cut off.
    pub torn: Option<Torn>,
}

/// The end of a log that was being written when the power went. Nobody was told that any of it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The last segment's file.
    pub file: String,
    /// Where the cut is.
    pub offset: u64,
    /// From there to the last byte that is not zero.
    pub bytes: u64,
    /// Records in it whose heads are whole.
    pub records: u64,
}

/// A live segment.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) header: Header,
    pub(crate) len: u64,
    /// Where its records end.
    pub(crate) end: u64,
}

impl Segment {
    pub(crate) fn name(&self) -> String {
        segment::name(self.number)
    }

    /// Opens a segment's file and reads its header. The end is not known yet.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] at record 0, [`LogError::Foreign`], [`LogError::Format`], [`LogError::Missing`].
    pub(crate) fn open(files: &dyn Files, id: LogId, number: u64) -> Result<(Self, Arc<dyn File>), LogError> {
        let name = segment::name(number);
        let file = files.open(&name).map_err(LogError::io(&name, "open"))?;
        let len = file.len().map_err(LogError::io(&name, "measure"))?;
        let mut window = Window::new(&*file, len.min(HEADER_BYTES));
        let Some(bytes) = window.array(0).map_err(LogError::io(&name, "read"))? else {
            return Err(LogError::Corrupt { file: name, record: 0, offset: 0, what: Damage::Short });
        };
        let header = Header::decode(&name, bytes)?;
        if header.id != id || header.number != number {
            return Err(LogError::Foreign { file: name });
        }
        Ok((Self { number, header, len, end: HEADER_BYTES }, file))
    }

    /// Whether it is as long as it was made: the segment behind it was not yet written to.
    pub(crate) fn is_untrimmed(&self) -> bool {
        self.len >= self.header.allocated
    }
}

/// The state of a directory.
#[derive(Debug)]
pub(crate) struct Survey {
    /// Oldest first, at least one.
    pub(crate) segments: Vec<Segment>,
    pub(crate) tail: Tail,
    /// Segments that a truncation has not yet removed, and a last one that was never begun.
    pub(crate) leftovers: Vec<String>,
}

impl Survey {
    /// What is known before the segments are gone through.
    pub(crate) fn found(&self) -> Found {
        Found { unmarked: self.tail.unmarked, torn: self.tail.torn.clone(), ..Found::default() }
    }
}

/// The end of the last segment.
#[derive(Debug)]
pub(crate) struct Tail {
    /// Where the last mark lies, or the first record.
    pub(crate) marked: u64,
    /// Records behind it that are whole.
    pub(crate) unmarked: u64,
    /// Where these end.
    pub(crate) end: u64,
    /// The lowest live segment, by all truncations before the end.
    pub(crate) oldest: u64,
    pub(crate) torn: Option<Torn>,
}

/// Surveys a log and shows all its records.
pub(crate) fn scan_with(
    files: &dyn Files,
    id: LogId,
    wants_body: impl Fn(Kind) -> bool,
    mut visit: impl FnMut(Place, Head, Option<&[u8]>),
) -> Result<(Survey, Found), LogError> {
    let survey = survey(files, id)?;
    let mut found = survey.found();
    for segment in &survey.segments {
        walk(files, id, segment, &wants_body, &mut visit, &mut found)?;
    }
    Ok((survey, found))
}

/// Looks through the names, the headers, and the last segment.
pub(crate) fn survey(files: &dyn Files, id: LogId) -> Result<Survey, LogError> {
    let numbers = numbers(files)?;
    let mut leftovers = Vec::new();
    let newest = *numbers.last().ok_or_else(|| LogError::Missing { file: segment::name(1) })?;
    let (mut last, file) = match Segment::open(files, id, newest) {
        Err(LogError::Corrupt { what: Damage::Header, .. }) if was_never_begun(files, id, &numbers, newest)? => {
            leftovers.push(segment::name(newest));
            Segment::open(files, id, newest - 1)?
        }
        outcome => outcome?,
    };
    let name = last.name();
    if last.len < last.header.allocated {
        return Err(LogError::Corrupt { file: name, record: 0, offset: last.len, what: Damage::Short });
    }
    let tail = tail(&last, &name, &*file, id)?;
    last.end = tail.end;
    if tail.oldest > last.number {
        return Err(LogError::Corrupt { file: name, record: 0, offset: 0, what: Damage::Header });
    }

    leftovers.extend(numbers.range(..tail.oldest).map(|number| segment::name(*number)));
    let mut segments = Vec::new();
    for number in tail.oldest..last.number {
        let (segment, _) = Segment::open(files, id, number)?;
        set_end(&mut segments, &segment.header)?;
        segments.push(segment);
    }
    set_end(&mut segments, &last.header)?;
    segments.push(last);
    Ok(Survey { segments, tail, leftovers })
}

/// The numbers of all segments in the directory.
pub(crate) fn numbers(files: &dyn Files) -> Result<BTreeSet<u64>, LogError> {
    let names = files.list().map_err(LogError::io(".", "list"))?;
    Ok(names.iter().filter_map(|name| segment::number(name)).collect())
}

/// Whether the newest segment is what a crash leaves of one whose header is not yet synced: nothing but zeros behind the header, and
/// the segment before it not trimmed, which it is before anything is written behind the header.
fn was_never_begun(files: &dyn Files, id: LogId, numbers: &BTreeSet<u64>, newest: u64) -> Result<bool, LogError> {
    if !numbers.contains(&(newest - 1)) || !Segment::open(files, id, newest - 1)?.0.is_untrimmed() {
        return Ok(false);
    }
    has_only_zeros(files, &segment::name(newest), HEADER_BYTES)
}

/// Whether nothing but zeros lies in a file from an offset on.
pub(crate) fn has_only_zeros(files: &dyn Files, name: &str, from: u64) -> Result<bool, LogError> {
    let file = files.open(name).map_err(LogError::io(name, "open"))?;
    let len = file.len().map_err(LogError::io(name, "measure"))?;
    let used = Window::new(&*file, len).used_end(from).map_err(LogError::io(name, "read"))?;
    Ok(used.is_none())
}

/// Sets the end of the last of `segments` by its successor's header.
fn set_end(segments: &mut [Segment], successor: &Header) -> Result<(), LogError> {
    let Some(segment) = segments.last_mut() else {
        return Ok(());
    };
    segment.end = successor.previous_end;
    let what = if !(HEADER_BYTES..=segment.header.allocated).contains(&segment.end) {
        Damage::End
    } else if segment.len < segment.end {
        Damage::Short
    } else {
        return Ok(());
    };
    Err(LogError::Corrupt { file: segment.name(), record: 0, offset: segment.end.min(segment.len), what })
}

/// Finds where the last segment ends.
fn tail(segment: &Segment, name: &str, file: &dyn File, id: LogId) -> Result<Tail, LogError> {
    let reading = || LogError::io(name, "read");
    let seal = Seal { id, segment: segment.number };
    let corrupt = |record, offset, what| LogError::Corrupt { file: name.to_owned(), record, offset, what };

    let mut heads = Heads::new(Window::new(file, segment.header.allocated), seal);
    let (mut marked, mut marked_end, mut in_batch) = (HEADER_BYTES, HEADER_BYTES, false);
    let mut unmarked: Vec<(u64, RawHead)> = Vec::new();
    let mut truncations: Vec<(u64, u64)> = Vec::new();
    let stopped = loop {
        match heads.next().map_err(reading())? {
            Next::Head { offset, head } => match head.meaning() {
                Meaning::Mark if in_batch => return Err(corrupt(heads.seen, offset, Damage::Batch)),
                Meaning::Mark => {
                    (marked, marked_end) = (offset, heads.at);
                    unmarked.clear();
                }
                Meaning::Truncation { oldest } => {
                    truncations.push((offset, oldest));
                    unmarked.push((offset, head));
                }
                Meaning::Record(_) => {
                    in_batch = head.more;
                    unmarked.push((offset, head));
                }
            },
            Next::End => break None,
            Next::Stop(what) => break Some(what),
        }
    };
    // A mark behind the bad place says that this was synced, so it is no torn end.
    if let Some(what) = stopped
        && heads.has_mark_behind().map_err(reading())?
    {
        return Err(corrupt(heads.seen + 1, heads.at, what));
    }

    let mut window = heads.window;
    let (mut end, mut whole, mut batch) = (marked_end, 0, 0);
    for (offset, head) in &unmarked {
        if !has_whole_body(&mut window, *offset, head, seal).map_err(reading())? {
            break;
        }
        batch += u64::from(matches!(head.meaning(), Meaning::Record(_)));
        if !head.more {
            end = offset + head.whole_bytes();
            whole += batch;
            batch = 0;
        }
    }
    let used = window.used_end(end).map_err(reading())?;
    let cut = unmarked.iter().filter(|(offset, _)| *offset >= end).count() as u64;
    let torn = used.map(|used| Torn { file: name.to_owned(), offset: end, bytes: used - end, records: cut });
    let oldest = truncations.iter().filter(|(offset, _)| *offset < end).map(|(_, oldest)| *oldest).max();
    let oldest = oldest.unwrap_or_default().max(segment.header.oldest);
    Ok(Tail { marked, unmarked: whole, end, oldest, torn })
}

/// Goes through a segment whose end is known, and shows its records, with the payloads of those kinds that are wanted.
pub(crate) fn walk(
    files: &dyn Files,
    id: LogId,
    segment: &Segment,
    wants_body: &impl Fn(Kind) -> bool,
    visit: &mut impl FnMut(Place, Head, Option<&[u8]>),
    found: &mut Found,
) -> Result<(), LogError> {
    let name = segment.name();
    let reading = || LogError::io(&name, "read");
    let seal = Seal { id, segment: segment.number };
    let corrupt = |record, offset, what| LogError::Corrupt { file: name.clone(), record, offset, what };
    let file = files.open(&name).map_err(LogError::io(&name, "open"))?;

    let mut heads = Heads::new(Window::new(&*file, segment.end), seal);
    let mut in_batch = false;
    loop {
        let (offset, raw) = match heads.next().map_err(reading())? {
            Next::Head { offset, head } => (offset, head),
            Next::Stop(what) => return Err(corrupt(heads.seen + 1, heads.at, what)),
            Next::End if in_batch => return Err(corrupt(heads.seen, heads.at, Damage::Batch)),
            Next::End => break,
        };
        let Meaning::Record(head) = raw.meaning() else {
            if in_batch || !has_whole_body(&mut heads.window, offset, &raw, seal).map_err(reading())? {
                return Err(corrupt(heads.seen, offset, if in_batch { Damage::Batch } else { Damage::Body }));
            }
            continue;
        };
        in_batch = raw.more;
        let place = Place { segment: segment.number, offset, bytes: raw.payload };
        if wants_body(head.kind) {
            let body = heads.window.bytes(offset + HEAD_BYTES, raw.whole_bytes() - HEAD_BYTES).map_err(reading())?;
            let body = body.filter(|body| raw.seals(body, seal, offset));
            let body = body.ok_or_else(|| corrupt(heads.seen, offset, Damage::Body))?;
            visit(place, head, Some(&body[..raw.payload as usize]));
        } else {
            visit(place, head, None);
        }
        found.records += 1;
    }
    found.segments += 1;
    found.bytes += segment.end;
    Ok(())
}

/// Whether a record's payload is what was written.
pub(crate) fn has_whole_body(window: &mut Window<'_>, offset: u64, head: &RawHead, seal: Seal) -> io::Result<bool> {
    let body = window.bytes(offset + HEAD_BYTES, head.whole_bytes() - HEAD_BYTES)?;
    Ok(body.is_some_and(|body| head.seals(body, seal, offset)))
}

/// The heads of a segment, one after another.
pub(crate) struct Heads<'f> {
    pub(crate) window: Window<'f>,
    seal: Seal,
    /// Where the next one is expected.
    pub(crate) at: u64,
    /// How many there were.
    pub(crate) seen: u64,
}

/// What comes next.
pub(crate) enum Next {
    Head {
        offset: u64,
        head: RawHead,
    },
    /// The window's limit is reached, exactly.
    End,
    /// There is no whole head, or one of a record that ends beyond the limit. [`Heads::at`] stays there.
    Stop(Damage),
}

impl<'f> Heads<'f> {
    pub(crate) fn new(window: Window<'f>, seal: Seal) -> Self {
        Self::starting_at(window, seal, HEADER_BYTES)
    }

    pub(crate) fn starting_at(window: Window<'f>, seal: Seal, at: u64) -> Self {
        Self { window, seal, at, seen: 0 }
    }

    pub(crate) fn next(&mut self) -> io::Result<Next> {
        let offset = self.at;
        if offset == self.window.limit() {
            return Ok(Next::End);
        }
        let Some(bytes) = self.window.array(offset)? else {
            return Ok(Next::Stop(Damage::End));
        };
        let Look::Head(head) = RawHead::decode(bytes, self.seal, offset) else {
            return Ok(Next::Stop(Damage::Head));
        };
        let end = offset + head.whole_bytes();
        if end > self.window.limit() {
            return Ok(Next::Stop(Damage::End));
        }
        self.at = end;
        self.seen += 1;
        Ok(Next::Head { offset, head })
    }

    /// Searches for a mark at every place behind the next head's.
    fn has_mark_behind(&mut self) -> io::Result<bool> {
        let used = self.window.used_end(self.at)?.unwrap_or_default();
        let mut offset = self.at + 8;
        while offset < used {
            if let Some(bytes) = self.window.array(offset)?
                && let Look::Head(head) = RawHead::decode(bytes, self.seal, offset)
                && let Meaning::Mark = head.meaning()
            {
                return Ok(true);
            }
            offset += 8;
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Log, LogConfig, MemoryFiles};

    const ID: LogId = LogId(3);

    /// Two segments, the first with a batch of two records, and the second's header changed, with a sum that is right.
    fn changed(change: impl FnOnce(&mut Header)) -> Result<Survey, LogError> {
        let files = MemoryFiles::default();
        let shared = Arc::new(files.clone());
        let mut log = Log::create(shared, ID, LogConfig { segment_bytes: 4096 }).unwrap();
        let head = Head { kind: Kind::new(1).unwrap(), guild: 1, epoch: 1, seq: 1 };
        log.push(&[(head, &[0; 8]), (head, &[0; 8])], &mut Vec::new()).unwrap();
        log.rotate().unwrap();
        let mut contents = files.contents("000000000002.log").unwrap();
        let mut header = Segment::open(&files, ID, 2).unwrap().0.header;
        change(&mut header);
        contents[..HEADER_BYTES as usize].copy_from_slice(&header.encode());
        files.replace("000000000002.log", contents);
        scan_with(&files, ID, |_| true, |_, _, _| {}).map(|(survey, _)| survey)
    }

    #[test]
    fn a_header_that_says_what_cannot_be_is_refused_though_its_sum_is_right() {
        let damage = |change: fn(&mut Header)| match changed(change) {
            Err(LogError::Corrupt { what, .. }) => what,
            other => panic!("{other:?}"),
        };
        assert!(changed(|_| {}).is_ok());
        assert_eq!(damage(|header| header.previous_end -= 56), Damage::Batch);
        assert_eq!(damage(|header| header.previous_end -= 8), Damage::End);
        assert_eq!(damage(|header| header.previous_end += 8), Damage::Short);
        assert_eq!(damage(|header| header.previous_end = u64::MAX), Damage::End);
        assert_eq!(damage(|header| header.previous_end = 0), Damage::End);
        assert_eq!(damage(|header| header.allocated = u64::MAX), Damage::Short);
        assert_eq!(damage(|header| header.allocated = 8), Damage::Header);
        assert_eq!(damage(|header| header.oldest = 3), Damage::Header);
        assert_eq!(damage(|header| header.oldest = 0), Damage::Header);
        assert!(matches!(changed(|header| header.number = 1), Err(LogError::Foreign { .. })));
        assert!(matches!(changed(|header| header.id = LogId(4)), Err(LogError::Foreign { .. })));
    }
}
