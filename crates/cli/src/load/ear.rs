//! The sessions at work: who hears what, noted in a record each; by a task for each session, or by one for all of a guild at a backend node.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use guildhall_client::{BatchItem, Batches, DeliveryRef, DetachReason, Gap, SessionStream};
use guildhall_proto::{CallError, ChannelId, Event, EventKind, Position, Unread};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tracing::warn;

use super::AT_ONCE;
use super::pace::Pace;
use super::seat::Seat;
use super::told::{Subjects, Told, Word};
use crate::checks::{Number, Progress, Spoken, Waited};
use crate::trial::latency::{Kind, Latencies};
use crate::trial::tally::{Sound, Tally};
use crate::trial::tamper::Meddler;

/// All sessions of one guild, with what they have heard.
pub(super) struct Ears {
    pub(super) seats: Vec<Seat>,
    pub(super) records: Vec<Mutex<Record>>,
    /// Who meddles with which session.
    meddlers: Vec<(usize, Mutex<Meddler>)>,
    /// Bells heard by all together.
    pub(super) bells: Progress,
    /// What the load itself tells of now.
    pub(super) subjects: Arc<Subjects>,
    /// Words of these that were heard by all together.
    pub(super) words: Progress,
    /// Sessions that were told that they have ended.
    ends: Progress,
    /// Whether sessions are being detached.
    parting: AtomicBool,
    /// Of messages; set before the first.
    pub(super) pace: OnceLock<Pace>,
    /// Turns of those that are detached at a time.
    detaching: Semaphore,
    /// How long after it was due a message was heard. Several, so that tasks seldom wait for each other.
    delays: [Mutex<Latencies>; DELAYS],
}

/// What one session has heard and was not judged on yet, and some sums.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) tally: Tally,
    /// The sum of the marks of all that it heard and was judged on.
    pub(super) explained: u64,
    pub(super) news: Vec<News>,
    gaps: u32,
    /// Who types, and who is there or not.
    pub(super) told: Told,
    end: Option<End>,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It was detached, and told so once.
    Asked,
    /// In another way.
    Strange,
}

/// Channels that a session was told to have news in.
#[derive(Debug, Clone)]
pub(super) struct News {
    pub(super) at: Number,
    /// One list for all that were told the same.
    pub(super) channels: Arc<[ChannelId]>,
}

/// What all sessions have heard and were told.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) deliveries: u64,
    pub(super) duplicated: u64,
    pub(super) altered: u64,
    pub(super) gaps: u64,
    /// Those that were not judged: they end behind all that was.
    pub(super) gaps_beyond: u64,
    pub(super) typing_told: u64,
    pub(super) presence_told: u64,
    /// Times that something was told which is older than what was told before.
    pub(super) backwards: u64,
    /// Sessions that did not end as they were asked to.
    pub(super) ended: u64,
    pub(super) bytes: u64,
}

impl Ears {
    /// Of sessions that hear what comes after a position.
    pub(super) fn new(
        seats: Vec<Seat>,
        at: Position,
        meddlers: Vec<(usize, Meddler)>,
        subjects: Arc<Subjects>,
    ) -> Self {
        let records = seats.iter().map(|_| Mutex::new(Record::new(at))).collect();
        let meddlers = meddlers.into_iter().map(|(of, meddler)| (of, Mutex::new(meddler))).collect();
        let (bells, words, ends) = (Progress::new(), Progress::new(), Progress::new());
        Self {
            seats,
            records,
            meddlers,
            bells,
            subjects,
            words,
            ends,
            parting: AtomicBool::new(false),
            pace: OnceLock::new(),
            detaching: Semaphore::new(AT_ONCE),
            delays: Default::default(),
        }
    }

    /// How many sessions have heard nothing yet from the number on.
    pub(super) fn behind(&self, number: Number) -> u64 {
        self.records.iter().filter(|record| record.lock().tally.numbers.next() <= number).count() as u64
    }

    /// Listens for all batch sessions of a backend node, each under its place here as its token, until the last of them is gone.
    pub(super) async fn serve(self: Arc<Self>, mut batches: Batches) {
        let at = |token: u64| usize::try_from(token).expect("tokens are places");
        let visit = |item: BatchItem<'_>| match item {
            BatchItem::Event { event, tokens } => {
                let sound = Sound::of(event);
                tokens.iter().for_each(|token| self.hear(at(*token), event, &sound));
                self.heard(&sound, tokens.len() as u64, 0);
            }
            BatchItem::Gap { gap, tokens } => tokens.iter().for_each(|token| self.gap(at(*token), gap)),
            BatchItem::Unread { unread, tokens } => {
                let news = News::of(unread);
                tokens.iter().for_each(|token| self.records[at(*token)].lock().news.push(news.clone()));
            }
            BatchItem::Ephemeral { ephemeral, tokens } => {
                let word = self.subjects.word(ephemeral);
                tokens.iter().for_each(|token| self.tell(at(*token), word));
            }
            BatchItem::Detached { reason, token } => self.end(at(token), reason),
        };
        let mut visit = visit;
        while batches.read(EVENTS_AT_ONCE, &mut visit).await {}
    }

    /// Listens for one session, until it has ended; detaches it when it is time. How long that took, if it had not ended before.
    ///
    /// # Errors
    /// If it is not detached.
    pub(super) async fn listen(
        self: Arc<Self>,
        idx: usize,
        mut stream: SessionStream,
        mut goodbye: watch::Receiver<bool>,
    ) -> anyhow::Result<Option<Duration>> {
        let mut took = None;
        let visit = |delivery: DeliveryRef<'_>| match delivery {
            DeliveryRef::Event(event) => {
                let sound = Sound::of(event);
                self.hear(idx, event, &sound);
                self.heard(&sound, 1, idx % DELAYS);
            }
            DeliveryRef::Gap(gap) => self.gap(idx, gap),
            DeliveryRef::Unread(unread) => self.records[idx].lock().news.push(News::of(unread)),
            DeliveryRef::Ephemeral(ephemeral) => self.tell(idx, self.subjects.word(&ephemeral)),
            DeliveryRef::Detached(reason) => self.end(idx, reason),
        };
        let mut visit = visit;
        loop {
            tokio::select! {
                biased;
                // Whoever sends it waits for all of these.
                Ok(()) = goodbye.changed(), if took.is_none() => {
                    // Never closed.
                    let _turn = self.detaching.acquire().await;
                    let begun = Instant::now();
                    loop {
                        match parting(stream.detach().await)? {
                            Parting::Detached => break took = Some(begun.elapsed()),
                            Parting::EndedBefore => break,
                            Parting::Later(pause) => tokio::time::sleep(pause).await,
                        }
                    }
                }
                goes_on = stream.read(DELIVERIES_AT_ONCE, &mut visit) => if !goes_on {
                    return Ok(took);
                }
            }
        }
    }

    /// What was heard and told up to the end of all sessions, and how late messages came. What was told twice, or is older than what was judged, is
    /// duplicated.
    pub(super) fn sums(&self) -> (Sums, Latencies) {
        let mut sums = Sums::default();
        for record in &self.records {
            let record = record.lock();
            let Record { tally, explained, gaps, told, end, news } = &*record;
            sums.deliveries += tally.deliveries;
            sums.duplicated += tally.duplicated + tally.early;
            // Every event that was heard is the one that its number says.
            sums.altered += tally.altered + u64::from(tally.marks != *explained);
            sums.gaps += u64::from(*gaps);
            sums.gaps_beyond += tally.gaps.len() as u64;
            sums.typing_told += u64::from(told.typing);
            sums.presence_told += u64::from(told.presence);
            sums.backwards += u64::from(told.backwards);
            sums.ended += u64::from(*end != Some(End::Asked));
            sums.bytes +=
                (size_of::<Record>() - size_of::<Tally>() + tally.bytes() + told.bytes() + size_of_val(&news[..]))
                    as u64;
        }
        let mut latencies = Latencies::default();
        self.delays.iter().for_each(|delays| latencies.add(std::mem::take(&mut *delays.lock())));
        (sums, latencies)
    }

    /// What sessions have heard from a number on, behind all that happened.
    pub(super) fn heard_from(&self, number: Number) -> u64 {
        self.records.iter().map(|record| record.lock().tally.numbers.count_from(number)).sum()
    }

    fn hear(&self, idx: usize, event: &Arc<Event>, sound: &Sound<'_>) {
        let mut record = self.records[idx].lock();
        match self.meddlers.iter().find(|(of, _)| *of == idx) {
            None => record.tally.hear(sound.event, sound.mark),
            Some((_, meddler)) => meddler.lock().pass(Arc::clone(event), |event| {
                let sound = Sound::of(event);
                record.tally.hear(sound.event, sound.mark);
            }),
        }
    }

    /// So many sessions have taken note of that.
    fn heard(&self, sound: &Sound<'_>, sessions: u64, of: usize) {
        if sound.bell.is_some() {
            self.bells.add(sessions);
        }
        if let EventKind::MessagePublished(message) = &sound.event.kind
            && let (Some(spoken), Some(pace)) = (Spoken::read(message.payload.bytes()), self.pace.get())
        {
            let delay = pace.due(spoken.number).elapsed();
            self.delays[of].lock().note_times(Kind::Deliver, delay, sessions);
        }
    }

    pub(super) fn tell(&self, idx: usize, word: Word) {
        self.records[idx].lock().told.hear(word, self.subjects.all().len());
        self.words.add(1);
    }

    pub(super) fn gap(&self, idx: usize, gap: Gap) {
        let mut record = self.records[idx].lock();
        record.tally.gap(gap);
        record.gaps += 1;
    }

    /// From now on sessions are asked to end.
    pub(super) fn part(&self) {
        self.parting.store(true, Ordering::SeqCst);
    }

    /// Waits until all sessions were told that they have ended, or nobody is told so any more.
    pub(super) async fn hear_ends(&self) {
        let all = self.seats.len() as u64;
        if let Waited::Stalled(ended) = self.ends.wait_for(all).await {
            warn!(sessions = all - ended, "detached sessions are not told that they have ended");
        }
    }

    fn end(&self, idx: usize, reason: DetachReason) {
        let mut record = self.records[idx].lock();
        let is_asked = reason == DetachReason::Requested && self.parting.load(Ordering::SeqCst) && record.end.is_none();
        record.end = Some(if is_asked { End::Asked } else { End::Strange });
        if let Some((_, meddler)) = self.meddlers.iter().find(|(of, _)| *of == idx) {
            meddler.lock().end(|event| {
                let sound = Sound::of(event);
                record.tally.hear(sound.event, sound.mark);
            });
        }
        drop(record);
        self.ends.add(1);
    }
}

/// What an attempt to detach a session came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parting {
    Detached,
    /// Which is counted.
    EndedBefore,
    /// The caller tries again after this time.
    Later(Duration),
}

/// What the answer to an attempt to detach a session says.
///
/// # Errors
/// If it is not detached, or that is not known.
pub(super) fn parting(answer: Result<Position, CallError>) -> anyhow::Result<Parting> {
    match answer {
        Ok(_) => Ok(Parting::Detached),
        Err(CallError::Overloaded { retry_after }) => Ok(Parting::Later(retry_after)),
        Err(CallError::Refused(_)) => Ok(Parting::EndedBefore),
        Err(error) => Err(error).context("a session is not detached"),
    }
}

impl Record {
    /// Of a session that hears what comes after a position.
    pub(super) fn new(at: Position) -> Self {
        Self {
            tally: Tally::new(at.epoch, at.seq.0),
            explained: 0,
            news: Vec::new(),
            gaps: 0,
            told: Told::default(),
            end: None,
        }
    }
}

impl Record {
    /// Whether what is told of now may have been lost to it.
    pub(super) fn has_lost(&self) -> bool {
        self.gaps > 0 || self.end.is_some()
    }
}

impl News {
    fn of(unread: &Unread) -> Self {
        Self { at: unread.at.seq.0, channels: unread.channels.as_slice().into() }
    }
}

/// Events that a batch consumer takes before it lets others run.
const EVENTS_AT_ONCE: usize = 64;
/// As many for a session.
const DELIVERIES_AT_ONCE: usize = 64;
const DELAYS: usize = 16;

#[cfg(test)]
mod tests {
    use guildhall_proto::{CommandError, Epoch, Seq, SessionId, UserId};

    use super::*;
    use crate::load::found::Spread;

    #[test]
    fn a_session_ends_well_that_was_asked_to_and_is_told_so_once() {
        let seat = |number| Seat::new(number, Spread { sessions: 5, active: 0, first: 1 }, UserId::MIN, [].into());
        let at = Position { epoch: Epoch(1), seq: Seq(2) };
        let ears = Ears::new((0..5).map(seat).collect(), at, Vec::new(), Arc::default());
        let ended = || ears.sums().0.ended;
        // As if it had been asked to, before anybody was.
        ears.end(0, DetachReason::Requested);
        ears.part();
        [1, 2, 3].iter().for_each(|idx| ears.end(*idx, DetachReason::Requested));
        assert_eq!(ended(), 2, "the first, and the last, which is told nothing");
        ears.end(3, DetachReason::Requested);
        assert_eq!(ended(), 3, "and who is told twice");
        ears.end(4, DetachReason::MemberLeft);
        assert_eq!(ended(), 3, "it has not ended for that");
    }

    #[test]
    fn whoever_cannot_be_detached_fails_the_load_unless_there_is_no_room_or_it_has_ended() {
        let (at, pause) = (Position { epoch: Epoch(1), seq: Seq(2) }, Duration::from_millis(3));
        assert_eq!(parting(Ok(at)).unwrap(), Parting::Detached);
        assert_eq!(parting(Err(CallError::Overloaded { retry_after: pause })).unwrap(), Parting::Later(pause));
        let ended = CallError::Refused(CommandError::UnknownSession { session: SessionId::MIN });
        assert_eq!(parting(Err(ended)).unwrap(), Parting::EndedBefore);
        for error in [CallError::OutcomeUnknown, CallError::Stopping] {
            assert!(parting(Err(error)).is_err());
        }
    }
}
