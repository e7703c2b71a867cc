//! One owner: a guild with its gate, its ring and its keep-latest map, driven turn by turn as a node drives them.
//!
//! It performs nothing but on its own store; what it has to say to other hosts goes over the [`Wire`].

mod feeds;
mod saving;

use std::collections::{BTreeMap, VecDeque};
use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use guildhall_guild::{
    Call, CallId, Effect, Gate, Guild, Input, Operation, Outcomes, Purpose, SessionCall, Tell, TypingCall,
};
use guildhall_members::View;
use guildhall_proto::call::FeedId;
use guildhall_proto::{
    Command, CommandError, Ephemeral, Event, Grant, GuildId, Millis, Position, Sponsor, Subject, UserId,
};
use guildhall_ring::{
    Cursor, LatestConfig, LatestHeld, LatestReader, LatestWriter, Reader, RingConfig, Writer, latest, ring,
};
use guildhall_store::{Batch, Store, StoreError};

use super::machine::{Machine, Word};
use super::message::{Answered, Ask, Body, Calling, Happening, Job, NoAnswer, Owned};
use super::watch::Watch;
use super::wire::{End as LinkEnd, Lane, LinkId, Wire};
use crate::check::{Breach, By, Made, Promise, Turn};
use crate::queue::Micros;
use crate::seen::Seen;
use feeds::Feeding;
use saving::{Leaving, Saving};

pub(crate) struct Owner {
    pub(crate) owned: Owned,
    /// By which it was claimed.
    pub(crate) grant: Grant,
    guild: Guild,
    gate: Gate,
    /// The guild's own clock.
    clock: Millis,
    ring: Writer<Arc<Event>>,
    events: Reader<Arc<Event>>,
    telling: LatestWriter<Subject, Ephemeral>,
    told: LatestReader<Subject, Ephemeral>,
    config: OwnerConfig,
    /// What readers read.
    view: Option<View>,
    mailbox: VecDeque<Posted>,
    effects: Vec<Effect>,
    /// What has been made since the last turn was handed to the gate.
    made: Vec<Made>,
    calls: BTreeMap<CallId, Calling>,
    call_next: u64,
    /// Whether a turn is coming.
    is_called: bool,
    /// Jobs of workers that are under way.
    jobs: usize,
    saving: Saving,
    /// When it was last asked for anything.
    used: Micros,
    is_drowsy: bool,
    /// By link, which has one feed of a guild.
    feeds: BTreeMap<LinkId, Feeding>,
    /// Reads that wait for a position.
    parked: Vec<(Calling, UserId, Position)>,
    leaving: Option<Leaving>,
}

/// How an owner is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnerConfig {
    pub(crate) ring: RingConfig,
    pub(crate) mailbox_max: usize,
    pub(crate) inputs_max: usize,
    pub(crate) unsettled_max: usize,
    /// Changes at which a fold is due.
    pub(crate) fold_at: usize,
    pub(crate) sleep_after: Micros,
    /// What a turn takes at most.
    pub(crate) turn: Micros,
    /// What a job takes at most, but a fold.
    pub(crate) job: Micros,
    /// The same of a fold.
    pub(crate) fold: Micros,
    /// The bounds of what is told beside the events.
    pub(crate) told: LatestConfig,
}

/// What a node was asked.
#[derive(Debug)]
pub(crate) struct Posted {
    pub(crate) ask: Ask,
    pub(crate) calling: Calling,
}

impl Posted {
    /// Whether it is to create its guild.
    pub(crate) fn creates(&self) -> bool {
        matches!(&self.ask, Ask::Command { command, .. } if matches!(**command, Command::CreateGuild { .. }))
    }

    /// What its guild is wanted for.
    pub(crate) fn purpose(&self) -> Purpose {
        match &self.ask {
            Ask::Command { .. } if self.creates() => Purpose::Create,
            Ask::Command { command, .. } if command.is_durable() => Purpose::Change,
            Ask::Command { .. } | Ask::Read { .. } | Ask::Typing { .. } | Ask::Session { .. } | Ask::Feed { .. } => {
                Purpose::Use
            }
        }
    }

    /// Whether it is for this feed, or for any over this link.
    pub(crate) fn is_for(&self, link: LinkId, of: Option<FeedId>) -> bool {
        match self.ask {
            Ask::Feed { feed, .. } => self.calling.link == link && of.is_none_or(|of| of == feed),
            Ask::Command { .. } | Ask::Read { .. } | Ask::Typing { .. } | Ask::Session { .. } => false,
        }
    }
}

/// Why an owner ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    NoGuild,
    Asleep,
    StoreFailed(StoreError),
    Retired,
    /// The guild is to be elsewhere, or its node stops: that is what whoever asks is told. Or it may be claimed anew.
    Gone(Option<NoAnswer>),
}

/// What an owner acts on.
pub(crate) struct Around<'a> {
    pub(crate) machine: &'a mut Machine,
    pub(crate) wire: &'a mut Wire,
    pub(crate) watch: &'a mut Watch,
    /// What its node's clock shows.
    pub(crate) clock: Millis,
}

/// Answers a call, over the link that it came by.
pub(crate) fn reply(wire: &mut Wire, calling: Calling, answer: Result<Answered, NoAnswer>) {
    // A feed's news come behind its beginning, and what a session is told of its place in order.
    wire.send(calling.link, LinkEnd::Client, Lane::Loose, Body::Answer { calling, answer });
}

impl Owner {
    pub(crate) fn new(
        (owned, grant): (Owned, Grant),
        mut guild: Guild,
        clock: Millis,
        config: OwnerConfig,
        now: Micros,
    ) -> Self {
        let (ring, events) = ring(config.ring, Cursor::after(guild.position().seq));
        let (telling, told) = latest(config.told);
        let view = guild.view();
        Self {
            owned,
            grant,
            guild,
            gate: Gate::default(),
            clock,
            ring,
            events,
            telling,
            told,
            config,
            view,
            mailbox: VecDeque::new(),
            effects: Vec::new(),
            made: Vec::new(),
            calls: BTreeMap::new(),
            call_next: 0,
            is_called: false,
            jobs: 0,
            saving: Saving::default(),
            used: now,
            is_drowsy: false,
            feeds: BTreeMap::new(),
            parked: Vec::new(),
            leaving: None,
        }
    }

    pub(crate) fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    fn id(&self) -> GuildId {
        self.owned.guild
    }

    /// Begins: recovery may have left much to fold.
    pub(crate) fn begin(&mut self, around: &mut Around<'_>) -> Result<(), Breach> {
        self.guild.begin_fold_if_due(&mut self.effects);
        self.admit(around);
        self.release(around)?;
        around.wire.later(self.config.sleep_after, Happening::Doze(self.owned));
        Ok(())
    }

    /// Takes a request: reads and feeds are answered beside the owner, all else waits for its turn, or is refused at once.
    pub(crate) fn take_in(&mut self, posted: Posted, around: &mut Around<'_>) -> Result<(), Breach> {
        self.used = around.wire.now;
        let Posted { ask, calling } = posted;
        match ask {
            Ask::Read { user, at_least } => {
                self.parked.push((calling, user, at_least));
                return self.answer_parked(around);
            }
            Ask::Feed { at, feed, from } => self.listen(calling, at, feed, from, around),
            Ask::Command { .. } | Ask::Typing { .. } | Ask::Session { .. } => {
                if self.mailbox.len() >= self.config.mailbox_max {
                    around.watch.seen.overloaded += 1;
                    let retry_after = self.config.turn.0.max(1_000) * self.mailbox.len() as u64 / 8;
                    let retry_after = Duration::from_micros(retry_after.min(200_000));
                    reply(around.wire, calling, Err(NoAnswer::Overloaded { retry_after }));
                    return Ok(());
                }
                self.mailbox.push_back(Posted { ask, calling });
                self.call(around.wire);
            }
        }
        Ok(())
    }

    /// Folds take no longer than this from now on.
    pub(crate) fn hasten(&mut self, fold: Micros) {
        self.config.fold = fold;
    }

    /// Sees to it that a turn comes.
    fn call(&mut self, wire: &mut Wire) {
        if !self.is_called {
            self.is_called = true;
            let after = wire.between(Micros(1), self.config.turn);
            wire.later(after, Happening::Turn(self.owned));
        }
    }

    fn wants_inputs(&self) -> bool {
        self.gate.len() < self.config.unsettled_max && !self.guild.is_congested()
    }

    /// One turn. Whether the owner is to end with it.
    pub(crate) fn turn(&mut self, around: &mut Around<'_>) -> Result<Option<End>, Breach> {
        self.is_called = false;
        let Some(store) = around.machine.store() else { return Ok(None) };
        self.guild.set_room(store.has_room());
        self.clock = self.clock.max(around.clock);
        around.watch.seen.congested += u64::from(self.guild.is_congested() && !self.mailbox.is_empty());
        let unfolded = self.guild.unfolded();
        let (mut inputs, mut most) = (0, 1);
        while inputs < self.config.inputs_max && self.wants_inputs() {
            let Some(posted) = self.mailbox.pop_front() else { break };
            self.take(posted);
            inputs += 1;
        }
        let unsettled_max = WORK_UNSETTLED_MAX.min(self.config.unsettled_max.div_ceil(2));
        let may_work = self.wants_inputs() && self.gate.len() < unsettled_max && !self.is_leaving();
        if self.guild.has_work() && may_work {
            let before = self.effects.len();
            self.guild.proceed(self.clock, &mut self.effects);
            self.note(By::Batch, before);
            most = BATCH_MEMBERS;
        }
        self.check_unfolded(unfolded, most)?;
        self.admit(around);
        self.release(around)?;
        let end = self.rest(inputs, around)?;
        let is_leaving = self.is_leaving();
        if end.is_none() && !is_leaving && (!self.mailbox.is_empty() && self.wants_inputs() || self.guild.has_work()) {
            self.call(around.wire);
        } else if !is_leaving && self.guild.waits_for_room() && !self.is_called {
            self.is_called = true;
            around.wire.later(ROOM_PAUSE, Happening::Turn(self.owned));
        }
        around.machine.attend(around.wire);
        Ok(end)
    }

    /// Hands one request to the guild.
    fn take(&mut self, posted: Posted) {
        self.call_next += 1;
        let id = CallId(self.call_next);
        self.calls.insert(id, posted.calling);
        let before = self.effects.len();
        let (by, input) = match posted.ask {
            Ask::Command { op, actor, command } => {
                let operation = Operation::new(op, actor, (*command).clone()).expect("no command here is so large");
                (By::Call { id, op, actor, command }, Input::Command(Call { id, operation }))
            }
            Ask::Session { session, request } => (
                By::Session { id, session, request },
                Input::Session(SessionCall { id, session, sponsor: Sponsor::HERE, request }),
            ),
            Ask::Typing { user, channel } => {
                (By::Typing { id, user, channel }, Input::Typing(TypingCall { id, user, channel }))
            }
            Ask::Read { .. } | Ask::Feed { .. } => unreachable!("it is answered beside the owner"),
        };
        self.guild.handle(self.clock, input, &mut self.effects);
        self.note(by, before);
    }

    /// Keeps for the ledger what has just been made.
    fn note(&mut self, by: By, before: usize) {
        let mut made = Made {
            by,
            now: self.clock,
            has_room: self.guild.has_room(),
            events: Vec::new(),
            records: Vec::new(),
            answers: Vec::new(),
        };
        for effect in &self.effects[before..] {
            match effect {
                Effect::Append(event) => made.events.push(Arc::clone(event)),
                Effect::Record(record) => made.records.push(record.clone()),
                Effect::Answer(call, answer) => made.answers.push((*call, answer.clone())),
                Effect::Fold(_) | Effect::Scan(_) | Effect::Discard(_) | Effect::Tell(_) | Effect::Checkpoint(_) => {}
            }
        }
        self.made.push(made);
    }

    /// Hands the turn's effects to the gate, its records to the store and its jobs to workers.
    fn admit(&mut self, around: &mut Around<'_>) {
        if self.effects.is_empty() {
            return;
        }
        let view = self.guild.view();
        around.watch.admitted(self.guild.members_digest());
        let admitted = self.gate.admit(&mut self.effects, view);
        around.watch.ledger.admitted(self.id(), self.owned.epoch, Turn::of(take(&mut self.made)));
        if let Some((turn, records)) = admitted.append
            && let Some(store) = around.machine.store()
        {
            let Owned { guild, epoch, .. } = self.owned;
            store.append(Batch { guild, epoch, records }, around.machine.receipt(self.owned, Some(turn)));
        }
        for job in admitted.fold.map(Job::Fold).into_iter().chain(admitted.scans.into_iter().map(Job::Scan)) {
            self.give(job, around.wire);
        }
        around.machine.attend(around.wire);
    }

    /// Gives a worker something to do.
    fn give(&mut self, job: Job, wire: &mut Wire) {
        self.jobs += 1;
        let longest = match &job {
            Job::Fold(_) => self.config.fold,
            Job::Scan(_) | Job::Checkpoint(_) => self.config.job,
        };
        let after = wire.between(Micros(10), longest);
        wire.later(after, Happening::Done(self.owned, job));
    }

    /// A worker is done.
    pub(crate) fn done(&mut self, job: Job, around: &mut Around<'_>) -> Result<(), Breach> {
        self.jobs -= 1;
        let before = self.effects.len();
        match job {
            Job::Fold(job) => {
                around.watch.seen.folds += 1;
                self.guild.handle(self.clock, Input::FoldDone(job.run()), &mut self.effects);
            }
            Job::Scan(job) => self.guild.handle(self.clock, Input::ScanDone(job.run()), &mut self.effects),
            Job::Checkpoint(checkpoint) => self.write(checkpoint, around)?,
        }
        self.note(By::Job, before);
        self.admit(around);
        self.release(around)?;
        self.call(around.wire);
        Ok(())
    }

    /// The store has said something. The reason to end, if it has failed.
    pub(crate) fn hear(&mut self, word: Word, around: &mut Around<'_>) -> Result<Option<End>, Breach> {
        match word {
            Word::Turn(turn, told) => {
                if let Err(error) = self.gate.settle(turn, told) {
                    around.watch.seen.fenced += u64::from(matches!(error, StoreError::Fenced { .. }));
                    return Ok(Some(End::StoreFailed(error)));
                }
            }
            Word::Checkpoint(told) => self.saved(told.is_ok(), around),
        }
        self.release(around)?;
        self.call(around.wire);
        Ok(None)
    }

    /// Performs what the gate lets out, in order.
    fn release(&mut self, around: &mut Around<'_>) -> Result<(), Breach> {
        let mut is_news = false;
        while let Some(outcomes) = self.gate.release() {
            is_news |= !outcomes.events.is_empty() || !outcomes.told.is_empty();
            around.watch.released(self.owned, &outcomes)?;
            let Outcomes { told, events, view, answers, checkpoints } = outcomes;
            for tell in told {
                self.tell(tell, &mut around.watch.seen);
            }
            for event in events {
                self.ring.append(event);
            }
            self.view = view;
            for (call, answer) in answers {
                if let Some(calling) = self.calls.remove(&call) {
                    reply(around.wire, calling, Ok(Answered::Reply(answer)));
                }
            }
            for checkpoint in checkpoints {
                self.save(checkpoint, around.wire);
            }
            self.answer_parked(around)?;
        }
        if is_news {
            self.feed_all(around);
        }
        self.check_bounds()
    }

    fn tell(&mut self, tell: Tell, seen: &mut Seen) {
        match tell {
            Tell::Latest(ephemeral) => {
                seen.displaced_at_owners += self.telling.put(ephemeral.subject(), ephemeral) as u64;
            }
            Tell::Forget(user) => self.telling.remove(&Subject::of_user(user), |subject| subject.user == user),
        }
    }

    /// Answers reads of a member whose position the view has come to.
    fn answer_parked(&mut self, around: &mut Around<'_>) -> Result<(), Breach> {
        for (calling, user, at_least) in take(&mut self.parked) {
            let answer = match &self.view {
                Some(view) if view.position() >= at_least => {
                    around.watch.read(self.owned.guild, view, at_least, user)?;
                    Ok(guildhall_guild::Reply::Accepted(view.position()))
                }
                Some(_) => {
                    self.parked.push((calling, user, at_least));
                    continue;
                }
                None => Err(CommandError::UnknownGuild),
            };
            reply(around.wire, calling, Ok(Answered::Reply(answer)));
        }
        Ok(())
    }

    /// Promise 7: what waits here is bounded.
    fn check_bounds(&self) -> Result<(), Breach> {
        let entries = self.ring.head().since(self.ring.tail());
        let RingConfig { entries_max, bytes_max } = self.config.ring;
        let in_ring = entries <= entries_max as u64 && (self.ring.bytes() <= bytes_max || entries <= 1);
        Promise::Bounds.require(in_ring, || {
            format!("guild {}: a ring of {entries} events in {} bytes", self.id(), self.ring.bytes())
        })?;
        is_within(self.id(), "an owner's", self.config.told, self.told.held())?;
        let jobs_turns = self.config.unsettled_max + self.config.inputs_max;
        Promise::Bounds.require(self.gate.len() <= jobs_turns, || {
            format!("guild {}: {} turns wait for the store", self.id(), self.gate.len())
        })
    }

    /// The same of the changes that wait for a fold: once there are too many, none is taken. `most` is what may have been the last.
    fn check_unfolded(&self, before: usize, most: usize) -> Result<(), Breach> {
        let now = self.guild.unfolded();
        // Of those who have left meanwhile, some count still.
        let members = self.view.as_ref().map_or(0, View::len) + now;
        let bound = (UNFOLDED_FOLDS * self.config.fold_at).max(2 * members / UNFOLDED_SHARE);
        Promise::Bounds.require(now <= before || now < bound + most, || {
            format!("guild {}: {now} changes wait for a fold, {before} before, and {bound} may", self.id())
        })
    }

    /// Ends the owner: whoever waits is told, and relays hear the end behind all that was let out.
    pub(crate) fn end(mut self, end: &End, wire: &mut Wire) {
        for (_, calling) in take(&mut self.calls) {
            reply(wire, calling, Err(NoAnswer::Unknown));
        }
        let why = match end {
            End::Gone(Some(why)) => *why,
            End::Gone(None) | End::NoGuild | End::Asleep | End::StoreFailed(_) | End::Retired => NoAnswer::Unavailable,
        };
        self.turn_away_all(why, wire);
        self.end_feeds(end, wire);
    }

    /// Answers all that it has not begun.
    fn turn_away_all(&mut self, why: NoAnswer, wire: &mut Wire) {
        for posted in self.mailbox.drain(..) {
            reply(wire, posted.calling, Err(why));
        }
        for (calling, ..) in take(&mut self.parked) {
            reply(wire, calling, Err(why));
        }
    }

    /// Whether nothing is under way and nothing waits.
    pub(crate) fn is_quiet(&self) -> bool {
        self.mailbox.is_empty()
            && self.gate.is_empty()
            && self.jobs == 0
            && self.saving.is_done()
            && !self.guild.is_at_work()
            && self.parked.is_empty()
            && self.effects.is_empty()
            && !self.is_leaving()
            && self.is_fed()
    }

    /// Where the guild stands, as anyone may see.
    pub(crate) fn position(&self) -> Position {
        self.view.as_ref().map_or(Position { epoch: self.owned.epoch, ..Position::default() }, View::position)
    }
}

/// Promise 7: a keep-latest map holds no more than it may.
pub(crate) fn is_within(guild: GuildId, whose: &str, most: LatestConfig, held: LatestHeld) -> Result<(), Breach> {
    let LatestHeld { subjects, bytes } = held;
    let in_bounds = subjects <= most.subjects_max.max(1) && (bytes <= most.bytes_max || subjects <= 1);
    Promise::Bounds.require(in_bounds, || {
        format!("guild {guild}: {whose} keep-latest map has {subjects} subjects in {bytes} bytes: {most:?}")
    })
}

/// Folds' worth of changes from which on none is taken while a fold is under way.
const UNFOLDED_FOLDS: usize = 4;
/// The same, as one for so many members, if that is more.
const UNFOLDED_SHARE: usize = 16;
/// What a batch of a whole-guild change may add to them.
const BATCH_MEMBERS: usize = 96;
/// Turns that wait for the store, at which batches of whole-guild changes pause, or half of those there may be.
const WORK_UNSETTLED_MAX: usize = 12;
/// How often an owner looks for room that has something to carry on and none for it.
const ROOM_PAUSE: Micros = Micros::millis(100);
