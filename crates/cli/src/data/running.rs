//! A store with its two writers at work.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use guildhall_store::{CheckpointWriter, EmbeddedStore, RecordWriter, StoreFailure};

/// An open store and the threads that write it.
#[derive(Debug)]
pub(crate) struct Running {
    store: Arc<EmbeddedStore>,
    writers: [JoinHandle<Result<(), StoreFailure>>; 2],
}

impl Running {
    pub(super) fn start(
        store: EmbeddedStore,
        records: RecordWriter,
        checkpoints: CheckpointWriter,
    ) -> anyhow::Result<Self> {
        let writers = [named("store-records", || records.run())?, named("store-checkpoints", || checkpoints.run())?];
        Ok(Self { store: Arc::new(store), writers })
    }

    pub(crate) fn store(&self) -> &Arc<EmbeddedStore> {
        &self.store
    }

    /// Writes what waits, and closes the store. To be called when its node has stopped.
    ///
    /// # Errors
    /// [`StoreFailure`] if the disk failed at any time since the store was opened.
    pub(crate) fn close(self) -> Result<(), StoreFailure> {
        self.store.close();
        for writer in self.writers {
            writer.join().expect("a writer of the store does not panic")?;
        }
        Ok(())
    }
}

fn named(
    name: &str,
    write: impl FnOnce() -> Result<(), StoreFailure> + Send + 'static,
) -> io::Result<JoinHandle<Result<(), StoreFailure>>> {
    thread::Builder::new().name(name.to_owned()).spawn(write)
}
