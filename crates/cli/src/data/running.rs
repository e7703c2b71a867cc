//! A store with its two writers at work.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use guildhall_store::{CheckpointWriter, Directory, EmbeddedStore, OpenReport, RecordWriter, StoreFailure};

/// An open store and the threads that write it.
#[derive(Debug)]
pub(crate) struct Running {
    path: PathBuf,
    store: Arc<EmbeddedStore>,
    writers: [JoinHandle<Result<(), StoreFailure>>; 2],
    report: OpenReport,
}

impl Running {
    pub(super) fn start(
        path: &Path,
        store: EmbeddedStore,
        records: RecordWriter,
        checkpoints: CheckpointWriter,
        report: OpenReport,
    ) -> anyhow::Result<Self> {
        let writers = [named("store-records", || records.run())?, named("store-checkpoints", || checkpoints.run())?];
        Ok(Self { path: path.into(), store: Arc::new(store), writers, report })
    }

    pub(crate) fn store(&self) -> &Arc<EmbeddedStore> {
        &self.store
    }

    /// What was found when it was opened.
    pub(crate) fn report(&self) -> &OpenReport {
        &self.report
    }

    /// Writes what waits, closes the store, and waits until another may open it. To be called when nothing of its node is left.
    ///
    /// # Errors
    /// [`StoreFailure`] if the disk failed at any time since the store was opened.
    pub(crate) fn close(self) -> Result<(), StoreFailure> {
        let Self { path, store, writers, report: _ } = self;
        store.close();
        drop(store);
        for writer in writers {
            writer.join().expect("a writer of the store does not panic")?;
        }
        // The last jobs of a node's workers may hold the store for a moment more. Nothing depends on it but who opens the directory next.
        let began = Instant::now();
        while Directory::lock(&path).is_err() && began.elapsed() < RELEASE_MAX {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// How long a closed directory is waited for, at most.
const RELEASE_MAX: Duration = Duration::from_secs(5);

fn named(
    name: &str,
    write: impl FnOnce() -> Result<(), StoreFailure> + Send + 'static,
) -> io::Result<JoinHandle<Result<(), StoreFailure>>> {
    thread::Builder::new().name(name.to_owned()).spawn(write)
}
