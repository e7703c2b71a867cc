//! The store on a disk beside a node: its writers on threads of their own, and word of their end.
//!
//! The store itself starts no thread. Here its two writers get one each, and the claims of large guilds a pool that reads their pages
//! side by side. A writer ends when the store is closed and nothing waits, or because the disk failed under it. Of that whoever
//! holds this hears: nothing is known then of what the disk has, so the process should stop, with what it is told as its message.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use guildhall_proto::NodeId;
use guildhall_store::{
    Directory, DirectoryError, EmbeddedConfig, EmbeddedStore, Identity, OpenError, OpenReport, StoreFailure, Workers,
};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuildError};
use tokio::sync::watch;

use crate::offload::pool;

/// A store in a directory, at work. To be [stopped](Self::stop) after the nodes over it; dropped, it is closed, and nobody hears how its
/// writers end.
#[derive(Debug)]
pub struct DurableStore {
    store: Arc<EmbeddedStore>,
    writers: watch::Receiver<Writers>,
}

/// Why a store in a directory does not open.
#[derive(Debug, thiserror::Error)]
pub enum DurableError {
    /// The directory cannot be used; another process may have it.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// What lies there cannot be opened. Nothing that is stored was changed.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There are no names for a new store.
    #[error("no randomness for a new store: {0}")]
    NoRandomness(#[from] getrandom::Error),
    /// The workers that read guilds do not start.
    #[error("the workers that read guilds do not start: {0}")]
    Workers(#[from] ThreadPoolBuildError),
    /// A writer does not start.
    #[error("the thread {name} does not start: {source}")]
    Thread {
        /// Its name.
        name: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Why the store can be written no more: the process should stop, with this message. All that was acknowledged is there at the next start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriterFailure {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] StoreFailure),
    /// A writer panicked.
    #[error("the thread {name} panicked")]
    Panicked {
        /// Its name.
        name: &'static str,
    },
}

/// How the writers are.
#[derive(Debug, Default)]
struct Writers {
    running: usize,
    /// The first there was.
    failure: Option<WriterFailure>,
}

/// The pool that reads the pages of large guilds.
#[derive(Debug)]
struct Readers(ThreadPool);

impl DurableStore {
    /// Makes a store in a directory without one, for a cluster of its own. Waits for the disk.
    ///
    /// # Errors
    /// [`DurableError`], [`OpenError::Exists`] among them.
    pub fn create(directory: &Directory, node: NodeId, config: &EmbeddedConfig) -> Result<(), DurableError> {
        let (mut cluster, mut random) = ([0; 16], [0; 40]);
        getrandom::fill(&mut cluster)?;
        getrandom::fill(&mut random)?;
        let identity = Identity::new(u128::from_le_bytes(cluster), node, random);
        Ok(EmbeddedStore::create(directory, &identity, config)?)
    }

    /// Opens the store of a directory and starts its writers. Waits for the disk: O(guilds and records since their checkpoints).
    /// `threads` read the pages of large guilds, at the lowest priority. Every owner asks a full disk for room with each of its turns, so
    /// the disk is tried no more often than once in 100 ms, whatever the configuration says.
    ///
    /// # Errors
    /// [`DurableError`].
    pub fn open(
        directory: Directory,
        config: EmbeddedConfig,
        threads: usize,
    ) -> Result<(Self, OpenReport), DurableError> {
        let readers = Arc::new(Readers(pool("read", threads)?));
        let config = EmbeddedConfig { room_pause: config.room_pause.max(ROOM_PAUSE), ..config };
        let (store, records, checkpoints, report) = EmbeddedStore::open(directory, config, readers)?;
        let (told, writers) = watch::channel(Writers::default());
        // Here already: if the second thread does not start, its drop has the first end.
        let durable = Self { store: Arc::new(store), writers };
        let told = Arc::new(told);
        start("record-writer", Arc::clone(&told), || {
            // Callers wait for it.
            if let Err(error) = guildhall_threads::prompt() {
                tracing::debug!(%error, "the writer of records waits for workers' slices");
            }
            records.run()
        })?;
        start("checkpoint-writer", told, || {
            // Nobody's call waits for it.
            if let Err(error) = guildhall_threads::patient() {
                tracing::debug!(%error, "the writer of checkpoints keeps the slices of who opened the store");
            }
            checkpoints.run()
        })?;
        Ok((durable, report))
    }

    /// The store, for nodes to run over.
    pub fn store(&self) -> &Arc<EmbeddedStore> {
        &self.store
    }

    /// Waits until the store can be written no more. Never returns if it ends well.
    pub async fn failed(&self) -> WriterFailure {
        let mut writers = self.writers.clone();
        let failure = writers.wait_for(|writers| writers.failure.is_some()).await;
        let failure = failure.ok().and_then(|writers| writers.failure.clone());
        match failure {
            Some(failure) => failure,
            // Both have ended, and well.
            None => std::future::pending().await,
        }
    }

    /// Closes the store, and waits until all that waits is written. To be called once the nodes over it have stopped: whatever comes
    /// later is refused. The directory is free then, unless somebody still holds the store.
    ///
    /// # Errors
    /// [`WriterFailure`] if a writer failed, now or before.
    pub async fn stop(&self) -> Result<(), WriterFailure> {
        self.store.close();
        let mut writers = self.writers.clone();
        // Those who tell may be gone: they have told it all.
        drop(writers.wait_for(|writers| writers.running == 0).await);
        let failure = writers.borrow().failure.clone();
        failure.map_or(Ok(()), Err)
    }
}

impl Drop for DurableStore {
    fn drop(&mut self) {
        self.store.close();
    }
}

impl Workers for Readers {
    fn for_each(&self, n: usize, job: &(dyn Fn(usize) + Sync)) {
        if n <= 1 {
            // Most guilds are one piece: it is not worth a hand-over.
            (0..n).for_each(job);
        } else {
            self.0.install(|| (0..n).into_par_iter().for_each(job));
        }
    }
}

fn start(
    name: &'static str,
    told: Arc<watch::Sender<Writers>>,
    run: impl FnOnce() -> Result<(), StoreFailure> + Send + 'static,
) -> Result<(), DurableError> {
    told.send_modify(|writers| writers.running += 1);
    let body = move || {
        let failure = match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(())) => None,
            Ok(Err(failure)) => Some(WriterFailure::Disk(failure)),
            Err(_) => Some(WriterFailure::Panicked { name }),
        };
        told.send_modify(|writers| {
            writers.running -= 1;
            // The other one ends because of the first.
            writers.failure = writers.failure.take().or(failure);
        });
    };
    let started = thread::Builder::new().name(String::from(name)).spawn(body);
    started.map(drop).map_err(|source| DurableError::Thread { name, source })
}

/// How often a full disk is tried, at most: a tenth of a second later nobody minds, and a directory changes a dozen times a second for it.
const ROOM_PAUSE: Duration = Duration::from_millis(100);
