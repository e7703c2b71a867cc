//! The answer to a question about all members, as a stream of chunks.
//!
//! Workers scan a window of chunks at a time and stay one window ahead of the reader: what is scanned and unread is two windows at most,
//! however large the guild and however slow the reader, and a reader that goes away ends the scan with its window.
//!
//! A window takes one of the node's places for scans while it waits and runs; the answer keeps one of its guild's, and one of the node's
//! for answers, until it is dropped: it holds a view.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::vec;

use guildhall_members::{Filter, MemberRef, Scan};
use guildhall_proto::{AsOf, CallError, Status, UserId};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::last::Readable;
use crate::offload::{AnswerPlace, JobPanicked, Offload, ScanPlace, Started};

/// The ids of the members that a question names, ascending, as they were [at one position](Self::as_of).
///
/// They are scanned for while they are read, from one view: until all are read, or this is dropped, it holds that view too, and one of
/// its guild's places for scans. Dropped before its end, it ends the scan.
#[derive(Debug)]
#[must_use = "a scan goes on as it is read"]
pub struct Recipients {
    as_of: AsOf,
    /// What is left of the window that was waited for last.
    ready: vec::IntoIter<Vec<UserId>>,
    /// Where the next ones come from, as long as there are any.
    scanning: Option<Scanning>,
    failed: Option<CallError>,
}

/// A scan of which a window is on its way.
#[derive(Debug)]
struct Scanning {
    ahead: Started<Vec<Vec<UserId>>>,
    /// What is left behind it. With the last window the places go: however long that is read, its work is done.
    rest: Option<Rest>,
}

/// The windows that no worker has begun.
#[derive(Debug)]
struct Rest {
    workers: Workers,
    question: Asked,
    /// The first chunk of them.
    next_chunk: usize,
}

/// Where windows run, and what they keep.
#[derive(Debug)]
pub(crate) struct Workers {
    of: Readable,
    offload: Offload,
    /// A window keeps them too: one whose reader has gone still runs.
    places: Arc<AnswerPlace>,
}

/// A question that was asked. The view that it scans dies on a worker, as any, whoever is the last to hold it.
#[derive(Debug)]
struct Asked {
    /// `None` only while it is dropped.
    question: Option<Arc<dyn Chunks>>,
    offload: Offload,
}

/// A question, cut into chunks that any thread may run.
pub(super) trait Chunks: Send + Sync + 'static {
    fn chunks(&self) -> usize;
    fn run_chunk(&self, chunk: usize, ids: &mut Vec<UserId>);
}

impl Recipients {
    /// Has a worker look at the question and scan its first window.
    pub(super) async fn begin(
        as_of: AsOf,
        workers: Workers,
        ask: impl FnOnce() -> Result<Arc<dyn Chunks>, CallError> + Send + 'static,
    ) -> Result<Self, CallError> {
        let offload = workers.offload.clone();
        let first = workers.start(workers.offload.scan_place()?, move || {
            let question = Asked { question: Some(ask()?), offload };
            let window = window(question.chunks(), 0);
            let (next_chunk, scanned) = (window.end, on_all_workers(question.chunks(), window));
            Ok::<_, CallError>((question, next_chunk, scanned))
        });
        let (question, next_chunk, scanned) = first.await.unwrap_or_else(|panic| Err(CallError::from(panic)))?;
        let scanning = Rest { workers, question, next_chunk }.scan();
        Ok(Self { as_of, ready: scanned.into_iter(), scanning, failed: None })
    }

    /// When the answer is true.
    pub fn as_of(&self) -> AsOf {
        self.as_of
    }

    /// The next ids, at least one and at most those of eight pages of members; `None` behind the last.
    ///
    /// Nothing is lost if the future is dropped: the next call goes on.
    ///
    /// # Errors
    /// `Unavailable`, again and again, if a filter's condition has panicked: the ids before are right, and no more come.
    pub async fn next(&mut self) -> Result<Option<Vec<UserId>>, CallError> {
        loop {
            if let Some(ids) = self.ready.find(|ids| !ids.is_empty()) {
                return Ok(Some(ids));
            }
            let Some(scanning) = &mut self.scanning else {
                return self.failed.clone().map_or(Ok(None), Err);
            };
            let scanned = (&mut scanning.ahead).await;
            let Scanning { rest, .. } = self.scanning.take().expect("it was there, and is the reader's alone");
            match scanned {
                Ok(scanned) => {
                    self.scanning = rest.and_then(Rest::scan);
                    self.ready = scanned.into_iter();
                }
                Err(panic) => self.failed = Some(panic.into()),
            }
        }
    }

    /// All that are left, ascending: 8 bytes for each.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn all(mut self) -> Result<Vec<UserId>, CallError> {
        let mut all = Vec::new();
        while let Some(ids) = self.next().await? {
            all.extend(ids);
        }
        Ok(all)
    }
}

impl Workers {
    pub(crate) fn new(of: Readable, offload: Offload, places: AnswerPlace) -> Self {
        Self { of, offload, places: Arc::new(places) }
    }

    /// Runs a piece of the answer on a worker. One that was let in is never refused.
    pub(crate) async fn run<R: Send + 'static>(
        &self,
        piece: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, CallError> {
        Ok(self.start(self.offload.next_scan(), piece).await?)
    }

    fn start<R: Send + 'static>(&self, place: ScanPlace, scan: impl FnOnce() -> R + Send + 'static) -> Started<R> {
        let of = self.of.clone();
        // Told on the worker, so that the guild hears of it also if the caller has gone.
        let retire = move |panic: &JobPanicked| of.retire(panic);
        self.offload.start_window((place, Arc::clone(&self.places)), scan, retire)
    }
}

impl Rest {
    /// Begins the next window; `None` behind the last.
    fn scan(self) -> Option<Scanning> {
        let shared = Arc::clone(self.question.shared());
        let window = window(&*shared, self.next_chunk);
        if window.is_empty() {
            return None;
        }
        let next_chunk = window.end;
        let is_last = next_chunk == shared.chunks();
        let ahead = self.workers.start(self.workers.offload.next_scan(), move || on_all_workers(&*shared, window));
        let rest = (!is_last).then_some(Self { next_chunk, ..self });
        Some(Scanning { ahead, rest })
    }
}

impl Asked {
    fn shared(&self) -> &Arc<dyn Chunks> {
        self.question.as_ref().expect("the question is taken out by the drop alone")
    }

    fn chunks(&self) -> &dyn Chunks {
        &**self.shared()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(question) = self.question.take() {
            self.offload.discard(question);
        }
    }
}

impl fmt::Debug for dyn Chunks {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} chunks", self.chunks())
    }
}

impl Chunks for Scan {
    fn chunks(&self) -> usize {
        self.chunks()
    }

    fn run_chunk(&self, chunk: usize, ids: &mut Vec<UserId>) {
        self.run_chunk(chunk, ids);
    }
}

impl<F> Chunks for Filter<F>
where
    F: Fn(&MemberRef<'_>, Status) -> bool + Send + Sync + 'static,
{
    fn chunks(&self) -> usize {
        self.chunks()
    }

    fn run_chunk(&self, chunk: usize, ids: &mut Vec<UserId>) {
        self.run_chunk(chunk, ids);
    }
}

/// The chunks of the window that begins there; none behind the last chunk.
fn window(question: &dyn Chunks, first: usize) -> Range<usize> {
    first..question.chunks().min(first + WINDOW_CHUNKS)
}

/// Runs each chunk on whichever worker of the pool is free.
fn on_all_workers(question: &dyn Chunks, window: Range<usize>) -> Vec<Vec<UserId>> {
    let chunk = |idx| {
        let mut ids = Vec::new();
        question.run_chunk(idx, &mut ids);
        ids
    };
    window.into_par_iter().map(chunk).collect()
}

/// Chunks of a window: of full pages at most 1 MiB of ids, a quarter of a millisecond on two workers, so that the hand-over to the reader is
/// small beside it.
const WINDOW_CHUNKS: usize = 8;
