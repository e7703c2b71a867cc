//! The store's disk, whose power a history cuts, and the store on it, whose writers it steps.

use std::sync::Arc;

use guildhall_log::MemoryFiles;
use guildhall_proto::NodeId;
use guildhall_store::{
    Alone, CheckpointWriter, Directory, EmbeddedConfig, EmbeddedStore, Identity, OpenError, OpenReport, RecordWriter,
    StoreFailure,
};

/// The three directories of a store.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) root: MemoryFiles,
    pub(crate) records: MemoryFiles,
    pub(crate) checkpoints: MemoryFiles,
}

/// An open store and its writers.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: EmbeddedStore,
    pub(crate) records: RecordWriter,
    pub(crate) checkpoints: CheckpointWriter,
    pub(crate) report: OpenReport,
}

impl Disk {
    pub(crate) fn create(&self, config: &EmbeddedConfig) -> Result<(), OpenError> {
        let identity = Identity::new(1, NodeId::new(1).unwrap(), std::array::from_fn(|n| n as u8));
        EmbeddedStore::create(&self.directory(), &identity, config)
    }

    pub(crate) fn open(&self, config: &EmbeddedConfig) -> Result<Opened, OpenError> {
        let (store, records, checkpoints, report) =
            EmbeddedStore::open(self.directory(), config.clone(), Arc::new(Alone))?;
        Ok(Opened { store, records, checkpoints, report })
    }

    fn directory(&self) -> Directory {
        Directory::new(Arc::new(self.root.clone()), Arc::new(self.records.clone()), Arc::new(self.checkpoints.clone()))
    }

    pub(crate) fn all(&self) -> [&MemoryFiles; 3] {
        [&self.root, &self.records, &self.checkpoints]
    }

    /// The same disk once more, with the power on.
    pub(crate) fn copy(&self) -> Self {
        Self { root: self.root.copy(), records: self.records.copy(), checkpoints: self.checkpoints.copy() }
    }

    pub(crate) fn power_cut(&self, seed: u64, unit_bytes: u64) {
        for (n, files) in (0..).zip(self.all()) {
            files.power_cut(seed.wrapping_add(n), unit_bytes);
        }
    }

    /// The process is killed; what it wrote is in the hands of the system.
    pub(crate) fn kill(&self) {
        self.all().into_iter().for_each(MemoryFiles::kill);
    }

    /// Has nothing fail any more that has not failed yet.
    pub(crate) fn mend(&self) {
        self.all().into_iter().for_each(MemoryFiles::mend);
    }
}

impl Opened {
    /// Lets the writers do all there is to do.
    pub(crate) fn drive(&mut self) -> Result<(), StoreFailure> {
        while self.records.step()? | self.checkpoints.step()? {}
        Ok(())
    }
}
