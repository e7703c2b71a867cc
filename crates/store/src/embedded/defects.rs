//! Seeded defects of the store that take more than a line: its files without syncs or never removed, answers ahead of time, checkpoints that claim too
//! much. Built for the simulation alone; what is not switched on is passed as it is.

use std::io;
use std::sync::Arc;

use guildhall_log::files::{File, Files};
use guildhall_proto::Defect;

use super::Directory;
use crate::{Stored, StoredCheckpoint};

/// The directory as a store sees it that does not sync all that it should.
pub(crate) fn careless(mut directory: Directory) -> Directory {
    for files in [&mut directory.records, &mut directory.checkpoints] {
        *files = Arc::new(Careless(Arc::clone(files)));
    }
    directory
}

/// Tells a batch's caller ahead of time.
pub(crate) fn told(stored: Stored) -> Stored {
    if !Defect::AcknowledgedEarly.is_on() {
        return stored;
    }
    stored(Ok(()));
    Box::new(drop)
}

/// A checkpoint that covers more than it has.
pub(crate) fn covering(mut checkpoint: StoredCheckpoint) -> StoredCheckpoint {
    checkpoint.structure.records += u64::from(Defect::CheckpointTooFar.is_on());
    checkpoint
}

/// Files, or one of them.
#[derive(Debug)]
struct Careless<F: ?Sized>(Arc<F>);

impl Careless<dyn Files> {
    fn file(&self, file: io::Result<Arc<dyn File>>) -> io::Result<Arc<dyn File>> {
        file.map(|file| Arc::new(Careless(file)) as Arc<dyn File>)
    }
}

impl Files for Careless<dyn Files> {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.file(self.0.create(name))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.file(self.0.open(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        // The spare has no number.
        let is_segment = name.starts_with(|first: char| first.is_ascii_digit());
        if Defect::SegmentsKept.is_on() && is_segment { Ok(()) } else { self.0.remove(name) }
    }

    fn sync(&self) -> io::Result<()> {
        if Defect::SyncSkipped.is_on() || Defect::NameSyncSkipped.is_on() { Ok(()) } else { self.0.sync() }
    }
}

impl File for Careless<dyn File> {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.0.allocate(bytes)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        if Defect::SyncSkipped.is_on() { Ok(()) } else { self.0.sync() }
    }
}
