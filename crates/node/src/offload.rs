//! The offload pool: rayon workers at the lowest priority, for whatever would hold up an owner.
//!
//! Jobs never touch a guild: they read a view, or take what they work on, and their result comes back as an input. A job that panics
//! is caught here and reported like a result. A job whose caller has gone before it began is not run.
//!
//! Bounds: one fold a guild (the guild sees to that); [`scans_max`](crate::OffloadConfig::scans_max) scans, and
//! [`guild_scans_max`](crate::OffloadConfig::guild_scans_max) of one guild, and [`answers_max`](crate::OffloadConfig::answers_max) answers
//! that are read, past which a scan is refused; one order of nicks; [`discards_max`](crate::OffloadConfig::discards_max) things to drop,
//! past which their holder drops them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use guildhall_proto::CallError;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use tokio::sync::oneshot;

use crate::config::OffloadConfig;
use crate::counters::{Counter, Counters};
use crate::last::Readable;
use crate::pace::spread;

/// A handle on the pool; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Offload {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pool: ThreadPool,
    config: OffloadConfig,
    counters: Arc<Counters>,
    scans: AtomicUsize,
    answers: AtomicUsize,
    /// Microseconds that a scan took of late, queueing apart.
    scan_micros: AtomicU64,
    is_ordering: AtomicBool,
    discards: AtomicUsize,
}

/// A job that was given to the workers, to be waited for.
#[derive(Debug)]
pub(crate) struct Started<R>(oneshot::Receiver<Result<R, JobPanicked>>);

/// A job panicked; this is what it said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an offload job panicked: {message}")]
pub(crate) struct JobPanicked {
    pub(crate) message: String,
}

impl Offload {
    pub(crate) fn start(config: OffloadConfig, counters: Arc<Counters>) -> Result<Self, ThreadPoolBuildError> {
        let pool = pool("offload", config.threads)?;
        let [scans, answers, discards] = [(); 3].map(|()| AtomicUsize::new(0));
        let (scan_micros, is_ordering) = (AtomicU64::new(0), AtomicBool::new(false));
        let shared = Shared { pool, config, counters, scans, answers, scan_micros, is_ordering, discards };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Runs `job` on a worker and tells `done` there, also if the job panicked.
    pub(crate) fn run<R: Send + 'static>(
        &self,
        job: impl FnOnce() -> R + Send + 'static,
        done: impl FnOnce(Result<R, JobPanicked>) + Send + 'static,
    ) {
        self.shared.pool.spawn(move || done(catch_unwind(AssertUnwindSafe(job)).map_err(JobPanicked::of)));
    }

    /// Runs `job` on a worker and waits for it. If this is dropped before a worker has come to the job, it does not run.
    pub(crate) async fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, JobPanicked> {
        self.begin(job, |_| {}).await
    }

    /// Has a worker run `job`, and tell `panicked` if it panics, whether anyone still waits or not. If what is returned is dropped
    /// before a worker has come to the job, it does not run.
    fn begin<R: Send + 'static>(
        &self,
        job: impl FnOnce() -> R + Send + 'static,
        panicked: impl FnOnce(&JobPanicked) + Send + 'static,
    ) -> Started<R> {
        let (tell, told) = oneshot::channel();
        self.shared.pool.spawn(move || {
            if tell.is_closed() {
                return;
            }
            let result = catch_unwind(AssertUnwindSafe(job)).map_err(JobPanicked::of);
            if let Err(panic) = &result {
                panicked(panic);
            }
            // Nobody listens any more if the caller was cancelled; the result is then of no use to anyone.
            drop(tell.send(result));
        });
        Started(told)
    }

    /// Takes one of a guild's places for scans, to be kept until the scan is done or dropped.
    ///
    /// # Errors
    /// `Overloaded` if the guild has too many.
    pub(crate) fn guild_scan(&self, of: &Readable) -> Result<GuildScan, CallError> {
        GuildScan::take(of, self.shared.config.guild_scans_max).map_err(|before| self.shared.refuse_scan(before))
    }

    /// One of the guild's places for scans and one of the node's for answers, to be kept while an answer is read.
    ///
    /// # Errors
    /// `Overloaded` if the guild, or the node, has too many.
    pub(crate) fn answer(&self, of: &Readable) -> Result<AnswerPlace, CallError> {
        let guild = self.guild_scan(of)?;
        let before = self.shared.answers.fetch_add(1, Ordering::Relaxed);
        let place = AnswerPlace { shared: Arc::clone(&self.shared), micros: AtomicU64::new(0), _guild: guild };
        if before < self.shared.config.answers_max { Ok(place) } else { Err(self.shared.refuse_scan(before)) }
    }

    /// A place for a scan.
    ///
    /// # Errors
    /// `Overloaded` if too many scans run or wait; the pause is measured from how long scans take.
    pub(crate) fn scan_place(&self) -> Result<ScanPlace, CallError> {
        ScanPlace::take(&self.shared)
    }

    /// A place for what is left of a scan that was let in: counted, and never refused.
    pub(crate) fn next_scan(&self) -> ScanPlace {
        ScanPlace::more(&self.shared).1
    }

    /// Runs a scan on a worker, where it may use the whole pool. If it panics, `panicked` is told.
    ///
    /// # Errors
    /// As [`scan_place`](Self::scan_place).
    pub(crate) fn scan<R: Send + 'static>(
        &self,
        scan: impl FnOnce() -> R + Send + 'static,
        panicked: impl FnOnce(&JobPanicked) + Send + 'static,
    ) -> Result<Started<R>, CallError> {
        let place = self.scan_place()?;
        let timed = move || {
            let begin = Instant::now();
            let result = scan();
            place.0.note_scan(begin.elapsed());
            result
        };
        Ok(self.begin(timed, panicked))
    }

    /// Runs a piece of a scan whose answer is read, likewise, and keeps the places until it is done.
    pub(crate) fn start_window<R: Send + 'static>(
        &self,
        (place, answer): (ScanPlace, Arc<AnswerPlace>),
        scan: impl FnOnce() -> R + Send + 'static,
        panicked: impl FnOnce(&JobPanicked) + Send + 'static,
    ) -> Started<R> {
        let timed = move || {
            let _place = place;
            let begin = Instant::now();
            let result = scan();
            answer.micros.fetch_add(micros(begin.elapsed()), Ordering::Relaxed);
            result
        };
        self.begin(timed, panicked)
    }

    /// Has a worker order a guild's nicks for searches. Not if it orders any guild's already: a worker is then away for some tenths of a
    /// second per million members, and folds need workers too. Whoever searches next asks again.
    ///
    /// Nor if the guild has no owner: what is ordered of its last view is of no use to the next one.
    pub(crate) fn order_nicks(&self, of: Readable) {
        match of {
            Readable::Live(_) => {}
            Readable::Last(_) => return,
        }
        let Some(place) = OrderPlace::take(&self.shared) else {
            return;
        };
        let retired = of.clone();
        let job = move || place.order(&of);
        self.run(job, move |done| {
            if let Err(panic) = done {
                retired.retire(&panic);
            }
        });
    }

    /// Has a worker drop `garbage`.
    pub(crate) fn discard(&self, garbage: impl Any + Send) {
        let shared = &self.shared;
        if shared.discards.fetch_add(1, Ordering::Relaxed) >= shared.config.discards_max {
            shared.discards.fetch_sub(1, Ordering::Relaxed);
            shared.counters.bump(Counter::DroppedInPlace);
            return;
        }
        let counted = Arc::clone(shared);
        shared.pool.spawn(move || {
            // It waits no more. Counted first, so that a drop that panics gives its place back too.
            counted.discards.fetch_sub(1, Ordering::Relaxed);
            drop(garbage);
        });
    }
}

impl<R> Future for Started<R> {
    type Output = Result<R, JobPanicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = |_| Err(JobPanicked { message: String::from("the worker ended") });
        Pin::new(&mut self.0).poll(context).map(|told| told.unwrap_or_else(ended))
    }
}

impl From<JobPanicked> for CallError {
    fn from(panic: JobPanicked) -> Self {
        Self::Unavailable { reason: panic.to_string() }
    }
}

impl Shared {
    fn note_scan(&self, took: Duration) {
        let before = self.scan_micros.load(Ordering::Relaxed);
        self.scan_micros.store(before - before / 8 + micros(took) / 8, Ordering::Relaxed);
        self.counters.bump(Counter::Scans);
    }

    /// What is told to who finds `before` scans before it: at the pace of late, one after another, for each uses all workers.
    fn refuse_scan(&self, before: usize) -> CallError {
        self.counters.bump(Counter::RefusedScan);
        let micros = self.scan_micros.load(Ordering::Relaxed).saturating_mul(before as u64);
        CallError::Overloaded { retry_after: spread(Duration::from_micros(micros)) }
    }
}

impl JobPanicked {
    fn of(panic: Box<dyn Any + Send>) -> Self {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Self { message: message.unwrap_or_else(|| String::from("no message")) }
    }
}

/// One of a guild's places for scans, given back when dropped.
#[derive(Debug)]
pub(crate) struct GuildScan(Readable);

impl GuildScan {
    /// One more, if there are fewer than `max`; otherwise how many there are.
    fn take(of: &Readable, max: usize) -> Result<Self, usize> {
        let before = of.scans().fetch_add(1, Ordering::Relaxed) as usize;
        let scan = Self(of.clone());
        if before < max { Ok(scan) } else { Err(before) }
    }
}

impl Drop for GuildScan {
    fn drop(&mut self) {
        self.0.scans().fetch_sub(1, Ordering::Relaxed);
    }
}

/// A guild's place for a scan and one of the node's for answers, given back when dropped.
#[derive(Debug)]
pub(crate) struct AnswerPlace {
    shared: Arc<Shared>,
    /// What its windows have taken.
    micros: AtomicU64,
    _guild: GuildScan,
}

impl Drop for AnswerPlace {
    fn drop(&mut self) {
        match *self.micros.get_mut() {
            // Refused, or given up before it began.
            0 => {}
            micros => self.shared.note_scan(Duration::from_micros(micros)),
        }
        self.shared.answers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One of the places for scans, given back when dropped.
#[derive(Debug)]
pub(crate) struct ScanPlace(Arc<Shared>);

impl ScanPlace {
    fn take(shared: &Arc<Shared>) -> Result<Self, CallError> {
        let (before, place) = Self::more(shared);
        if before < shared.config.scans_max { Ok(place) } else { Err(shared.refuse_scan(before)) }
    }

    /// How many were taken before, and one more.
    fn more(shared: &Arc<Shared>) -> (usize, Self) {
        (shared.scans.fetch_add(1, Ordering::Relaxed), Self(Arc::clone(shared)))
    }
}

impl Drop for ScanPlace {
    fn drop(&mut self) {
        self.0.scans.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The place for an order of nicks, given back when dropped.
struct OrderPlace(Arc<Shared>);

impl OrderPlace {
    fn take(shared: &Arc<Shared>) -> Option<Self> {
        (!shared.is_ordering.swap(true, Ordering::AcqRel)).then(|| Self(Arc::clone(shared)))
    }

    fn order(self, of: &Readable) {
        let mut view = match of.view() {
            Ok((view, _)) if view.wants_nick_order() => view,
            // Ordered since it was searched, or retired.
            Ok(_) | Err(_) => return,
        };
        view.order_nicks();
        self.0.counters.bump(Counter::NicksOrdered);
        for _ in 0..CATCH_UPS_MAX {
            match of.view() {
                // Folded meanwhile, maybe several times.
                Ok((latest, _)) if latest.wants_nick_order() => {
                    latest.order_nicks_as(&view);
                    view = latest;
                }
                Ok(_) | Err(_) => return,
            }
        }
    }
}

impl Drop for OrderPlace {
    fn drop(&mut self) {
        self.0.is_ordering.store(false, Ordering::Release);
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// Workers at the lowest priority, named by what they do.
pub(crate) fn pool(name: &'static str, threads: usize) -> Result<ThreadPool, ThreadPoolBuildError> {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(move |idx| format!("{name}-{idx}"))
        // Beside two scan threads of equal priority, calls had a p99 of 12-17 times the idle one; beside nice ones about one.
        .start_handler(|_| at_lowest_priority())
        // What jobs do is caught; this is for what they drop.
        .panic_handler(|panic| tracing::error!(panic = %JobPanicked::of(panic), "a drop on a worker panicked"))
        .build()
}

/// Has the thread that calls this run at the lowest priority from now on.
pub(crate) fn at_lowest_priority() {
    if let Err(error) = guildhall_threads::background() {
        tracing::warn!(%error, "a worker keeps its priority");
    }
}

/// Times that an order is brought up to the latest fold. Each takes a tenth of what it took to make the order, so the folds that come
/// meanwhile soon are none, unless a fold takes no longer: then all that is ordered is old at once.
const CATCH_UPS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn offload(scans_max: usize, discards_max: usize) -> (Offload, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        let config =
            OffloadConfig { threads: 1, scans_max, guild_scans_max: scans_max, answers_max: scans_max, discards_max };
        (Offload::start(config, Arc::clone(&counters)).unwrap(), counters)
    }

    #[tokio::test]
    async fn workers_run_at_the_lowest_priority_and_the_caller_keeps_its_own() {
        let (offload, _) = offload(1, 1);
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let before = priority();
        assert_eq!(offload.call(priority).await.unwrap(), 19);
        assert_eq!(priority(), before);
    }

    #[tokio::test]
    async fn a_panic_is_a_result_and_the_worker_lives_on() {
        let (offload, _) = offload(1, 1);
        let panicked = offload.call(|| panic!("the panic of this test")).await;
        let panicked: Result<(), JobPanicked> = panicked;
        assert_eq!(panicked.unwrap_err().message, "the panic of this test");
        assert_eq!(offload.call(|| 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn one_scan_too_many_is_refused_and_counted() {
        let (offload, counters) = offload(2, 1);
        let (release, held) = mpsc::channel::<()>();
        let first = tokio::spawn({
            let offload = offload.clone();
            async move { offload.scan(move || held.recv(), |_| {}).unwrap().await }
        });
        let second = tokio::spawn({
            let offload = offload.clone();
            async move { offload.scan(|| (), |_| {}).unwrap().await }
        });
        while offload.shared.scans.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        let refused = offload.scan(|| (), |_| {});
        assert!(matches!(refused, Err(CallError::Overloaded { retry_after }) if !retry_after.is_zero()));
        assert_eq!(counters.pull().of(Counter::RefusedScan), 1);

        release.send(()).unwrap();
        assert!(first.await.unwrap().unwrap().is_ok());
        assert!(second.await.unwrap().is_ok());
        assert!(offload.scan(|| (), |_| {}).unwrap().await.is_ok());
    }

    #[tokio::test]
    async fn a_job_whose_caller_has_gone_before_it_began_does_not_run() {
        let (offload, _) = offload(2, 1);
        let (release, held) = mpsc::channel::<()>();
        offload.run(move || held.recv(), drop);
        let (tell, told) = mpsc::channel();
        let abandoned = offload.scan(move || tell.send(()), |_| {}).unwrap();
        drop(abandoned);
        release.send(()).unwrap();
        assert!(told.recv().is_err());
        assert_eq!(offload.call(|| 7).await.unwrap(), 7);
        assert_eq!(offload.shared.scans.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn one_guild_at_a_time_has_its_nicks_ordered() {
        let (offload, _) = offload(1, 1);
        let first = OrderPlace::take(&offload.shared);
        assert!(first.is_some() && OrderPlace::take(&offload.shared).is_none());
        drop(first);
        assert!(OrderPlace::take(&offload.shared).is_some());
    }

    #[tokio::test]
    async fn one_discard_too_many_is_dropped_in_place_and_counted() {
        struct Told(mpsc::Sender<String>);
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.send(std::thread::current().name().unwrap_or_default().to_owned()).unwrap();
            }
        }
        let (offload, counters) = offload(1, 1);
        let (release, held) = mpsc::channel::<()>();
        offload.run(move || held.recv(), drop);
        let (tell, told) = mpsc::channel();
        offload.discard(Told(tell.clone()));
        offload.discard(Told(tell));
        assert!(!told.recv().unwrap().starts_with("offload-"));
        assert_eq!(counters.pull().of(Counter::DroppedInPlace), 1);
        release.send(()).unwrap();
        assert!(told.recv().unwrap().starts_with("offload-"));
    }
}
