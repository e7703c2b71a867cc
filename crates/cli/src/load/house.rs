//! The sessions of one guild while they are attached: to one backend node or several, each served by itself or with all others there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use guildhall_client::{AttachError, Backend, BatchSession};
use guildhall_proto::{CallError, GuildId};
use indicatif::ProgressBar;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use super::AT_ONCE;
use super::ear::{Ears, Parting, parting};
use crate::trial::latency::{Kind, Latencies};

/// How long a session took to be detached, if it was.
type Listening = JoinHandle<anyhow::Result<Option<Duration>>>;

/// Sessions that are attached.
pub(super) struct House {
    /// Those that read for themselves.
    streams: Vec<Listening>,
    goodbye: watch::Sender<bool>,
    /// The others, and who listens for them.
    batch: Vec<BatchSession>,
    consumers: Vec<JoinHandle<()>>,
}

/// Who attaches sessions, each the next that is not attached.
#[derive(Clone)]
struct Usher {
    guild: GuildId,
    backends: Arc<[Backend]>,
    ears: Arc<Ears>,
    next: Arc<AtomicUsize>,
    streams: bool,
    goodbye: watch::Receiver<bool>,
    bar: ProgressBar,
}

/// Those that one has attached.
#[derive(Default)]
struct Seated {
    streams: Vec<Listening>,
    batch: Vec<BatchSession>,
    latencies: Latencies,
}

impl House {
    /// Attaches all sessions, many at a time. A bar counts them.
    ///
    /// # Errors
    /// If one is not attached.
    pub(super) async fn open(
        guild: GuildId,
        backends: &[Backend],
        ears: &Arc<Ears>,
        streams: bool,
        latencies: &mut Latencies,
        bar: &ProgressBar,
    ) -> anyhow::Result<Self> {
        let (goodbye, is_time) = watch::channel(false);
        let mut house = Self { streams: Vec::new(), goodbye, batch: Vec::new(), consumers: Vec::new() };
        let used = if streams { 0 } else { ears.seats.len().div_ceil(BLOCK).min(backends.len()) };
        for backend in &backends[..used] {
            // It must read from the first session on: attaches that nobody takes over are refused at some time.
            let batches = backend.batches(guild).await.context("a relay does not open")?;
            let batches = batches.context("a relay's batches are taken already")?;
            house.consumers.push(tokio::spawn(Arc::clone(ears).serve(batches)));
        }
        let usher = Usher {
            guild,
            backends: backends.into(),
            ears: Arc::clone(ears),
            next: Arc::default(),
            streams,
            goodbye: is_time,
            bar: bar.clone(),
        };
        let mut ushers: JoinSet<_> = (0..AT_ONCE).map(|_| usher.clone().attach()).collect();
        while let Some(seated) = ushers.join_next().await {
            let Seated { streams, batch, latencies: taken } = seated.context("attaching failed")??;
            house.streams.extend(streams);
            house.batch.extend(batch);
            latencies.add(taken);
        }
        Ok(house)
    }

    /// Detaches all sessions that have not ended, many at a time, and hears them to their end.
    ///
    /// # Errors
    /// If one is not detached.
    pub(super) async fn close(self, ears: &Ears, latencies: &mut Latencies) -> anyhow::Result<()> {
        ears.part();
        self.goodbye.send_replace(true);
        for stream in self.streams {
            if let Some(took) = stream.await.context("a session's task failed")?? {
                latencies.note(Kind::Detach, took);
            }
        }
        let mut batch = self.batch.into_iter();
        let share = batch.len().div_ceil(AT_ONCE).max(1);
        let mut detaching = JoinSet::new();
        while batch.len() > 0 {
            detaching.spawn(detach(batch.by_ref().take(share).collect()));
        }
        while let Some(detached) = detaching.join_next().await {
            latencies.add(detached.context("detaching failed")??);
        }
        ears.hear_ends().await;
        self.consumers.iter().for_each(JoinHandle::abort);
        Ok(())
    }
}

impl Usher {
    async fn attach(self) -> anyhow::Result<Seated> {
        let mut seated = Seated::default();
        loop {
            let idx = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(seat) = self.ears.seats.get(idx) else { return Ok(seated) };
            let backend = &self.backends[idx / BLOCK % self.backends.len()];
            let (begun, attach) = (Instant::now(), seat.attach());
            if self.streams {
                let stream = patiently(|| backend.attach(self.guild, attach)).await;
                let stream = stream.context("a session is not attached")?;
                let listening = Arc::clone(&self.ears).listen(idx, stream, self.goodbye.clone());
                seated.streams.push(tokio::spawn(listening));
            } else {
                let session = patiently(|| backend.attach_batch(self.guild, attach, idx as u64)).await;
                seated.batch.push(session.context("a session is not attached")?);
            }
            seated.latencies.note(Kind::Attach, begun.elapsed());
            self.bar.inc(1);
        }
    }
}

/// Attaches, as often as it takes.
async fn patiently<T, F>(mut attach: impl FnMut() -> F) -> Result<T, AttachError>
where
    F: Future<Output = Result<T, AttachError>>,
{
    loop {
        match attach().await {
            Err(AttachError::Call(CallError::Overloaded { retry_after })) => sleep(retry_after).await,
            attached => return attached,
        }
    }
}

async fn detach(sessions: Vec<BatchSession>) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::default();
    for mut session in sessions {
        let begun = Instant::now();
        loop {
            match parting(session.detach().await)? {
                Parting::Detached => break latencies.note(Kind::Detach, begun.elapsed()),
                Parting::EndedBefore => break,
                Parting::Later(pause) => sleep(pause).await,
            }
        }
    }
    Ok(latencies)
}

/// Sessions that follow each other go to one backend node in tens, of which one may be active.
const BLOCK: usize = 10;
