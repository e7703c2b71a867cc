//! Reading single records, while the log is written or without a writer.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::files::{File, Files};
use crate::record::{HEAD_BYTES, Head, Look, Meaning, Place, RawHead, Seal, padded};
use crate::segment;
use crate::survey::{Heads, Next};
use crate::window::{Window, read_exact};
use crate::{Damage, LogError, LogId};

/// Reads records of a log by their places. Cheap to clone; of use to any number of threads.
#[derive(Clone, Debug)]
pub struct LogReader {
    files: Arc<dyn Files>,
    id: LogId,
    open: Arc<Mutex<BTreeMap<u64, Arc<dyn File>>>>,
}

impl LogReader {
    /// A reader of a log that nobody has open, or that another owner writes.
    pub fn new(files: Arc<dyn Files>, id: LogId) -> Self {
        Self { files, id, open: Arc::default() }
    }

    /// A record's payload. Waits for the disk.
    ///
    /// # Errors
    /// [`LogError::Missing`] if its segment has been truncated away, [`LogError::Corrupt`] if it is not there whole (its group is not
    /// committed, or the disk is bad), [`LogError::Io`].
    pub fn read(&self, place: Place) -> Result<Vec<u8>, LogError> {
        self.read_record(place).map(|(_, payload)| payload)
    }

    /// As [`read`](Self::read), with what was told of it.
    ///
    /// # Errors
    /// As there.
    pub fn read_record(&self, place: Place) -> Result<(Head, Vec<u8>), LogError> {
        let file = self.file(place.segment)?;
        let reading = || LogError::io(segment::name(place.segment), "read");
        let len = file.len().map_err(reading())?;
        let whole = HEAD_BYTES + padded(place.bytes);
        // Before the buffer is made: a place may come from a file.
        if place.offset.checked_add(whole).is_none_or(|end| end > len) {
            return Err(self.corrupt(&*file, place, Damage::Short));
        }
        let mut bytes = vec![0; usize::try_from(whole).unwrap_or_default()];
        read_exact(&*file, &mut bytes, place.offset).map_err(reading())?;

        let seal = Seal { id: self.id, segment: place.segment };
        let Some((head, body)) = bytes.split_first_chunk() else {
            return Err(self.corrupt(&*file, place, Damage::Short));
        };
        let Look::Head(raw) = RawHead::decode(head, seal, place.offset) else {
            return Err(self.corrupt(&*file, place, Damage::Head));
        };
        let Meaning::Record(head) = raw.meaning() else {
            return Err(self.corrupt(&*file, place, Damage::Head));
        };
        if raw.payload != place.bytes || !raw.seals(body, seal, place.offset) {
            return Err(self.corrupt(&*file, place, Damage::Body));
        }
        bytes.drain(..HEAD_BYTES as usize);
        bytes.truncate(place.bytes as usize);
        Ok((head, bytes))
    }

    /// The bytes where a record's payload lies, as many as can be read, whatever they are: for who keeps what [`read`](Self::read) refuses.
    /// Waits for the disk.
    pub fn read_unchecked(&self, place: Place) -> Vec<u8> {
        let Ok(file) = self.file(place.segment) else { return Vec::new() };
        let begin = place.offset.saturating_add(HEAD_BYTES);
        let end = begin.saturating_add(u64::from(place.bytes)).min(file.len().unwrap_or_default());
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(begin)).unwrap_or_default()];
        if read_exact(&*file, &mut bytes, begin).is_ok() { bytes } else { Vec::new() }
    }

    /// Lets go of files of segments that are no more.
    pub(crate) fn forget_before(&self, segment: u64) {
        let mut open = self.open.lock();
        *open = open.split_off(&segment);
    }

    fn file(&self, segment: u64) -> Result<Arc<dyn File>, LogError> {
        if let Some(file) = self.open.lock().get(&segment) {
            return Ok(Arc::clone(file));
        }
        let name = segment::name(segment);
        let file = self.files.open(&name).map_err(LogError::io(name, "open"))?;
        let mut open = self.open.lock();
        open.insert(segment, Arc::clone(&file));
        // The lowest goes: what is read again and again is what was written of late.
        while open.len() > FILES_OPEN_MAX {
            open.pop_first();
        }
        Ok(file)
    }

    /// The error that names the record, for which all heads before it are counted.
    fn corrupt(&self, file: &dyn File, place: Place, what: Damage) -> LogError {
        let mut heads = Heads::new(Window::new(file, place.offset), Seal { id: self.id, segment: place.segment });
        while let Ok(Next::Head { .. }) = heads.next() {}
        LogError::Corrupt { file: segment::name(place.segment), record: heads.seen + 1, offset: place.offset, what }
    }
}

/// Files that a reader and its clones keep open.
const FILES_OPEN_MAX: usize = 64;
