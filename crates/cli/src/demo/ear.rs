//! The sessions at work: tasks that listen for one session each, and tasks that listen for all others of a relay.

use std::sync::Arc;
use std::time::{Duration, Instant};

use guildhall_client::{
    AttachError, Backend, BatchItem, Batches, Delivery, Resume, ResumeError, Resumed, SessionStream,
};
use guildhall_proto::{CallError, Event, EventKind, Level, UserId};
use tokio::sync::watch;
use tracing::warn;

use super::GUILD;
use super::record::Record;
use super::seat::{Errand, Sitting};
use crate::checks::Number;
use crate::trial::bell::Belfry;
use crate::trial::tally::Sound;
use crate::trial::tamper::Meddler;

/// What sessions with an errand are told to do, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cue {
    Listen,
    /// Stop reading.
    Stall,
    /// Break the connection.
    Break,
    /// Come back.
    Resume,
    /// Take the other level.
    TurnAway,
    /// Take the first level again.
    TurnBack,
    /// Read on.
    GoOn,
}

/// A session that listens for itself.
pub(crate) struct Ear {
    pub(crate) stream: SessionStream,
    /// One for each relay.
    pub(crate) backends: Arc<[Backend]>,
    pub(crate) sitting: Sitting,
    pub(crate) record: Record,
    pub(crate) meddler: Meddler,
    pub(crate) belfry: Belfry,
    pub(crate) cues: watch::Receiver<Cue>,
}

/// What a session's task leaves.
pub(crate) struct Listened {
    pub(crate) sitting: Sitting,
    pub(crate) record: Record,
    /// How long it took to come back, if it was to and did.
    pub(crate) resumed: Option<Duration>,
    /// The batches of removals that it heard of.
    pub(crate) pruned: Vec<(Number, Box<[UserId]>)>,
}

impl Ear {
    /// Listens until the session ends, or the node stops.
    pub(crate) async fn listen(mut self) -> Listened {
        let (mut pruned, mut resumed) = (Vec::new(), None);
        let has_errand = self.sitting.seat.errand != Errand::None;
        loop {
            tokio::select! {
                biased;
                Ok(()) = self.cues.changed(), if has_errand => {
                    if self.breaks() {
                        match self.come_back().await {
                            Ok((back, taken)) => (self, resumed) = (back, Some(taken)),
                            Err(over) => return Listened { pruned, ..over },
                        }
                    } else {
                        self.follow().await;
                    }
                }
                delivery = self.stream.next() => match delivery {
                    Some(Delivery::Event(event)) => {
                        // Those that the auditor hears of are entered in the ledger.
                        if let EventKind::MembersLeft { users } = &event.kind {
                            pruned.push((event.position.seq.0, users.as_slice().into()));
                        }
                        self.hear(event);
                    }
                    Some(Delivery::Gap(gap)) => {
                        self.record.gap(gap);
                        self.belfry.told_gap();
                    }
                    Some(Delivery::Unread(unread)) => self.record.unread(&unread),
                    Some(Delivery::Ephemeral(ephemeral)) => self.record.tell(&ephemeral),
                    Some(Delivery::Detached(reason)) => self.record.end(reason, &self.belfry),
                    None => break,
                },
            }
        }
        let Self { mut meddler, mut record, sitting, .. } = self;
        meddler.end(|event| record.hear(&Sound::of(event)));
        Listened { sitting, record, resumed, pruned }
    }

    fn hear(&mut self, event: Arc<Event>) {
        let Self { meddler, record, belfry, .. } = self;
        meddler.pass(event, |event| {
            let sound = Sound::of(event);
            record.hear(&sound);
            if let Some(bell) = sound.bell {
                belfry.heard(bell, 1);
            }
        });
    }

    /// Whether its connection is to break now.
    fn breaks(&self) -> bool {
        self.sitting.seat.errand == Errand::Break && *self.cues.borrow() == Cue::Break && self.record.end.is_none()
    }

    /// Breaks the connection, and comes back when it is told to: every second session to the relay it had.
    async fn come_back(self) -> Result<(Self, Duration), Listened> {
        let Self { stream, backends, sitting, record, meddler, belfry, mut cues } = self;
        let (secret, known) = (stream.secret(), stream.known());
        drop(stream);
        // The sender lives until all have listened to the end.
        drop(cues.wait_for(|cue| *cue >= Cue::Resume).await);
        let seat = &sitting.seat;
        let relay = (seat.relay + usize::from(seat.session.get() % 2 == 0)) % backends.len();
        let begun = Instant::now();
        loop {
            let resume = Resume { attach: seat.attach(), secret, known };
            match backends[relay].resume(GUILD, resume).await {
                Ok(Resumed { session: stream, .. }) => {
                    let back = Self { stream, backends, sitting, record, meddler, belfry, cues };
                    return Ok((back, begun.elapsed()));
                }
                Err(ResumeError::Attach(AttachError::Call(CallError::Overloaded { retry_after }))) => {
                    tokio::time::sleep(retry_after).await;
                }
                Err(error) => {
                    warn!(%error, session = %seat.session, "a session does not come back");
                    return Err(Listened { sitting, record, resumed: None, pruned: Vec::new() });
                }
            }
        }
    }

    async fn follow(&mut self) {
        let cue = *self.cues.borrow_and_update();
        let errand = self.sitting.seat.errand;
        match (errand, cue) {
            (Errand::Stall, cue) if (Cue::Stall..Cue::GoOn).contains(&cue) => {
                // The sender lives until all have listened to the end.
                drop(self.cues.wait_for(|cue| *cue == Cue::GoOn).await);
            }
            (Errand::Turn, Cue::TurnAway) => self.take(other(self.sitting.seat.level)).await,
            (Errand::Turn, Cue::TurnBack) => self.take(self.sitting.seat.level).await,
            (Errand::Stall | Errand::Turn | Errand::Break | Errand::Nod | Errand::None, _) => {}
        }
    }

    async fn take(&mut self, level: Level) {
        if self.record.end.is_some() {
            return;
        }
        loop {
            match self.stream.set_level(level).await {
                Ok(at) => return self.sitting.turns.push((at.seq.0, level)),
                Err(CallError::Overloaded { retry_after }) => tokio::time::sleep(retry_after).await,
                Err(error) => return warn!(%error, "a session keeps its level"),
            }
        }
    }
}

pub(crate) fn other(level: Level) -> Level {
    match level {
        Level::Active => Level::Passive,
        Level::Passive => Level::Active,
    }
}

/// Listens for all batch sessions of a relay, each under the token of its record, until the node stops.
pub(crate) async fn serve(mut batches: Batches, mut records: Vec<Record>, belfry: Belfry) -> Vec<Record> {
    let at = |token: u64| usize::try_from(token).expect("tokens are indices");
    let visit = |item: BatchItem<'_>| match item {
        BatchItem::Event { event, tokens } => {
            let sound = Sound::of(event);
            for token in tokens {
                records[at(*token)].hear(&sound);
            }
            if let Some(bell) = sound.bell {
                belfry.heard(bell, tokens.len() as u64);
            }
        }
        BatchItem::Gap { gap, tokens } => tokens.iter().for_each(|token| records[at(*token)].gap(gap)),
        BatchItem::Unread { unread, tokens } => tokens.iter().for_each(|token| records[at(*token)].unread(unread)),
        BatchItem::Ephemeral { ephemeral, tokens } => {
            tokens.iter().for_each(|token| records[at(*token)].tell(ephemeral));
        }
        BatchItem::Detached { reason, token } => records[at(token)].end(reason, &belfry),
    };
    let mut visit = visit;
    while batches.read(EVENTS_AT_ONCE, &mut visit).await {}
    records
}

/// Events that a batch consumer takes before it lets others run.
const EVENTS_AT_ONCE: usize = 64;
