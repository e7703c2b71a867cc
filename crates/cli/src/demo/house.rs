//! All sessions of a demo: attached to several relays, listened to, and collected in the end.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use guildhall_client::{AttachError, Backend, BatchSession};
use guildhall_proto::{CallError, Level, Position, Status, UserId};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::warn;

use super::GUILD;
use super::ear::{Cue, Ear, Listened, other, serve};
use super::record::Record;
use super::seat::{Errand, RELAYS, Seat, Seats, Service, Sitting};
use crate::checks::Number;
use crate::trial::bell::Belfry;
use crate::trial::latency::{Kind, Latencies};
use crate::trial::tamper::Meddler;

/// The sessions of a demo.
pub(crate) struct House {
    backends: Arc<[Backend]>,
    streams: Vec<JoinHandle<Listened>>,
    floors: Vec<Floor>,
    cues: watch::Sender<Cue>,
    pub(crate) belfry: Belfry,
    pub(crate) sessions: u64,
}

/// The batch sessions of one relay.
struct Floor {
    sittings: Vec<(Sitting, BatchSession)>,
    consumer: JoinHandle<Vec<Record>>,
}

/// What all sessions have heard.
pub(crate) struct Heard {
    pub(crate) sessions: Vec<(Sitting, Record)>,
    /// How the prune was cut, as the auditor heard it.
    pub(crate) pruned: Vec<(Number, Box<[UserId]>)>,
    /// Sessions that came back.
    pub(crate) resumed: u64,
    pub(crate) latencies: Latencies,
}

/// Who meddles with which session.
pub(crate) type Meddlers = Vec<(usize, Meddler)>;

impl House {
    /// Attaches all, while the guild rests `at` a position; calls `attached` for each.
    pub(crate) async fn open(
        backends: Arc<[Backend]>,
        seats: Seats,
        at: Position,
        mut meddlers: Meddlers,
        latencies: &mut Latencies,
        attached: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> anyhow::Result<Self> {
        let belfry = Belfry::new();
        let (cues, _) = watch::channel(Cue::Listen);
        let sessions = seats.0.len() as u64;
        let mut opening = Vec::new();
        let mut of_relay: Vec<Vec<(Seat, Meddler)>> = (0..RELAYS).map(|_| Vec::new()).collect();
        for (idx, seat) in seats.0.into_iter().enumerate() {
            let meddler = meddlers.iter().position(|(of, _)| *of == idx).map(|at| meddlers.swap_remove(at).1);
            of_relay[seat.relay].push((seat, meddler.unwrap_or(Meddler::Idle)));
        }
        for (relay, seats) in of_relay.into_iter().enumerate() {
            let open = open_relay(
                Arc::clone(&backends),
                relay,
                seats,
                at,
                belfry.clone(),
                cues.subscribe(),
                Arc::clone(&attached),
            );
            opening.push(tokio::spawn(open));
        }
        let (mut streams, mut floors) = (Vec::new(), Vec::new());
        for opening in opening {
            let (of_streams, floor, taken) = opening.await.context("attaching failed")??;
            streams.extend(of_streams);
            floors.push(floor);
            latencies.add(taken);
        }
        Ok(Self { backends, streams, floors, cues, belfry, sessions })
    }

    pub(crate) fn cue(&self, cue: Cue) {
        self.cues.send_replace(cue);
    }

    /// Has the batch sessions with an errand take the other level or be away, or undo that.
    pub(crate) async fn turn(&mut self, away: bool, latencies: &mut Latencies) {
        for (sitting, session) in self.floors.iter_mut().flat_map(|floor| &mut floor.sittings) {
            let (level, status) = (sitting.seat.level, sitting.seat.status);
            let begun = Instant::now();
            match sitting.seat.errand {
                Errand::Turn => {
                    let level = if away { other(level) } else { level };
                    if let Some(at) = take(session, level).await {
                        sitting.turns.push((at.seq.0, level));
                        latencies.note(Kind::Level, begun.elapsed());
                    }
                }
                Errand::Nod => {
                    let status = if away { Status::Offline } else { status };
                    if show(session, status).await {
                        latencies.note(Kind::Presence, begun.elapsed());
                    }
                }
                Errand::None | Errand::Break | Errand::Stall => {}
            }
        }
    }

    /// What the relays of all backends take.
    pub(crate) fn relay_bytes(&self) -> usize {
        self.backends.iter().map(Backend::memory_bytes).sum()
    }

    /// Collects what was heard, once the backend nodes are closed.
    pub(crate) async fn close(self) -> anyhow::Result<Heard> {
        let (sessions, pruned) = (Vec::new(), Vec::new());
        let mut heard = Heard { sessions, pruned, resumed: 0, latencies: Latencies::default() };
        for (idx, stream) in self.streams.into_iter().enumerate() {
            let Listened { sitting, record, resumed, pruned } = stream.await.context("a session's task failed")?;
            if idx == Seats::AUDITOR {
                heard.pruned = pruned;
            }
            if let Some(taken) = resumed {
                heard.resumed += 1;
                heard.latencies.note(Kind::Resume, taken);
            }
            heard.sessions.push((sitting, record));
        }
        for Floor { sittings, consumer } in self.floors {
            let records = consumer.await.context("a relay's consumer failed")?;
            heard.sessions.extend(sittings.into_iter().map(|(sitting, _)| sitting).zip(records));
        }
        Ok(heard)
    }
}

type Opened = anyhow::Result<(Vec<JoinHandle<Listened>>, Floor, Latencies)>;

async fn open_relay(
    backends: Arc<[Backend]>,
    relay: usize,
    seats: Vec<(Seat, Meddler)>,
    at: Position,
    belfry: Belfry,
    cues: watch::Receiver<Cue>,
    attached: Arc<dyn Fn(u64) + Send + Sync>,
) -> Opened {
    let (guild, backend) = (GUILD, &backends[relay]);
    let (mut latencies, mut streams, mut sittings) = (Latencies::default(), Vec::new(), Vec::new());
    let batch = seats.iter().filter(|(seat, _)| seat.service == Service::Batch).count();
    // It must read from the first session on: attaches that nobody takes over are refused at some time.
    let batches = backend.batches(guild).await.context("a relay does not open")?;
    let batches = batches.context("a relay's batches are taken already")?;
    let records = (0..batch).map(|_| Record::new(at.epoch, at.seq.0)).collect();
    let consumer = tokio::spawn(serve(batches, records, belfry.clone()));
    for (seat, meddler) in seats {
        let begun = Instant::now();
        let attach = seat.attach();
        let sitting = Sitting { seat, turns: Vec::new() };
        match sitting.seat.service {
            Service::Stream => {
                let stream = patiently(|| backend.attach(guild, attach)).await.context("a session is not attached")?;
                let record = Record::new(at.epoch, at.seq.0);
                let backends = Arc::clone(&backends);
                let ear =
                    Ear { stream, backends, sitting, record, meddler, belfry: belfry.clone(), cues: cues.clone() };
                streams.push(tokio::spawn(ear.listen()));
            }
            Service::Batch => {
                let token = sittings.len() as u64;
                let session = patiently(|| backend.attach_batch(guild, attach, token)).await;
                sittings.push((sitting, session.context("a session is not attached")?));
            }
        }
        latencies.note(Kind::Attach, begun.elapsed());
        attached(1);
    }
    Ok((streams, Floor { sittings, consumer }, latencies))
}

/// Attaches, as often as it takes.
async fn patiently<T, F>(mut attach: impl FnMut() -> F) -> Result<T, AttachError>
where
    F: Future<Output = Result<T, AttachError>>,
{
    loop {
        match attach().await {
            Err(AttachError::Call(CallError::Overloaded { retry_after })) => tokio::time::sleep(retry_after).await,
            attached => return attached,
        }
    }
}

/// Whether the session shows that status: one that has ended does not.
async fn show(session: &BatchSession, status: Status) -> bool {
    loop {
        match session.set_status(status).await {
            Ok(_) => return true,
            Err(CallError::Overloaded { retry_after }) => tokio::time::sleep(retry_after).await,
            Err(CallError::Refused(_)) => return false,
            Err(error) => {
                warn!(%error, "a session keeps its status");
                return false;
            }
        }
    }
}

async fn take(session: &mut BatchSession, level: Level) -> Option<Position> {
    loop {
        match session.set_level(level).await {
            Ok(at) => return Some(at),
            Err(CallError::Overloaded { retry_after }) => tokio::time::sleep(retry_after).await,
            Err(CallError::Refused(_)) => return None,
            Err(error) => {
                warn!(%error, "a session keeps its level");
                return None;
            }
        }
    }
}
