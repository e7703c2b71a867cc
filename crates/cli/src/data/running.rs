//! A store with its writers at work, in a process without a runtime of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use guildhall_node::{DurableError, DurableStore};
use guildhall_store::{Directory, EmbeddedConfig, EmbeddedStore, OpenReport};

use super::DataError;
use crate::runtime::runtime;

/// An open store.
#[derive(Debug)]
pub(crate) struct Running {
    path: PathBuf,
    durable: DurableStore,
    report: OpenReport,
}

impl Running {
    pub(super) fn open(path: &Path, directory: Directory, config: EmbeddedConfig) -> anyhow::Result<Self> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        match DurableStore::open(directory, config, threads) {
            Ok((durable, report)) => Ok(Self { path: path.into(), durable, report }),
            Err(DurableError::Open(error)) => Err(DataError::opening(path, error)),
            Err(DurableError::Directory(error)) => Err(DataError::from(error).into()),
            Err(error @ (DurableError::NoRandomness(_) | DurableError::Workers(_) | DurableError::Thread { .. })) => {
                Err(error).context("the store does not start")
            }
        }
    }

    pub(crate) fn store(&self) -> &Arc<EmbeddedStore> {
        self.durable.store()
    }

    /// What was found when it was opened.
    pub(crate) fn report(&self) -> &OpenReport {
        &self.report
    }

    /// Does something over the store, in a runtime of its own, and closes it. A disk that fails ends that at once: nothing is stored any
    /// more, whatever is still under way.
    ///
    /// # Errors
    /// Those of `work`; [`WriterFailure`](guildhall_node::WriterFailure) if the disk failed, which is why `work` did.
    pub(crate) fn run<T>(self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let runtime = runtime().context("the runtime does not start")?;
        let done = runtime.block_on(async {
            tokio::select! {
                biased;
                failure = self.durable.failed() => Err(failure.into()),
                done = work => done,
            }
        });
        match done {
            Ok(done) => {
                drop(runtime);
                self.close()?;
                Ok(done)
            }
            Err(error) => {
                // What is under way in threads may wait for answers that never come.
                runtime.shutdown_timeout(GIVEN_UP_AFTER);
                self.close()?;
                Err(error)
            }
        }
    }

    /// Writes what waits, closes the store, and waits until another may open it. To be called when nothing of its node is left, outside of
    /// any runtime.
    ///
    /// # Errors
    /// [`WriterFailure`](guildhall_node::WriterFailure) if the disk failed at any time since the store was opened.
    pub(crate) fn close(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().context("the runtime does not start")?;
        let Self { path, durable, report: _ } = self;
        runtime.block_on(durable.stop())?;
        drop(durable);
        // The last jobs of a node's workers may hold the store for a moment more. Nothing depends on it but who opens the directory next.
        let began = Instant::now();
        while Directory::look(&path).is_err() && began.elapsed() < RELEASE_MAX {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// How long what is under way may take to end when it has failed.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(1);
/// How long a closed directory is waited for, at most.
const RELEASE_MAX: Duration = Duration::from_secs(5);
