//! The owner's side under test: guild, gate and ring, each answer and view held against the model.

mod recovery;
mod works;

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::mem::take;
use std::sync::Arc;

use guildhall_guild::{
    Answer, Attached, Call, CallId, Effect, Gate, Guild, GuildConfig, Input, Operation, Reply, ScanJob, SessionCall,
    SessionRequest, Tell, TurnId, TypingCall,
};
use guildhall_members::{FoldJob, View};
use guildhall_proto::{
    Actor, ChannelId, ChannelKind, ClientId, Command, CommandError, Ephemeral, EphemeralKind, Epoch, Event, Generation,
    GuildId, Member, Millis, OpId, Outcome, Permissions, Position, Record, Seq, SessionId, Sponsor, Subject, UserId,
};
use guildhall_ring::{Cursor, LatestConfig, LatestReader, LatestWriter, Reader, RingConfig, Writer, latest, ring};

use crate::compare::{compare, compare_again};
use crate::model::{Accepted, Model, Scope, Verdict};
use crate::places::Kept;
use crate::seen::Seen;
use crate::steps::GUILD;
use recovery::Stored;
use works::{Work, is_spread};

pub(crate) struct Owner {
    config: GuildConfig,
    guild: Guild,
    gate: Gate,
    ring: Writer<Arc<Event>>,
    /// What the ring must still hold.
    pub(crate) kept: Kept,
    pub(crate) now: Millis,
    pub(crate) model: Model,
    /// All events made, the one numbered 1 first.
    pub(crate) events: Vec<Arc<Event>>,
    effects: Vec<Effect>,
    turn: Turn,
    /// Turns admitted and not released, with the guild as of their ends.
    held: VecDeque<Held>,
    fold: Option<FoldJob>,
    /// A whole-guild change that has begun.
    work: Option<Work>,
    scan: Option<ScanJob>,
    /// What the store holds of turns that were released.
    stored: Stored,
    /// What may be read, and the guild as of it.
    pub(crate) published: Option<(Option<View>, Model)>,
    answered: Vec<(OpId, Actor, Command, Answer)>,
    /// What the guild has asked to be told since it was last looked at.
    tells: Vec<Tell>,
    latest: LatestWriter<Subject, Ephemeral>,
    pub(crate) told_reader: LatestReader<Subject, Ephemeral>,
    /// What that must hold: the latest of each subject, by how many were put by then.
    pub(crate) told: Vec<(u64, Ephemeral)>,
    pub(crate) told_count: u64,
    /// As which each session is held.
    pub(crate) generations: BTreeMap<SessionId, Generation>,
    calls: u64,
    /// Whether the guild was told anything since it was last compared.
    is_touched: bool,
}

/// What a turn should let out.
#[derive(Default)]
struct Turn {
    answers: Vec<(CallId, Answer)>,
    events: Vec<Arc<Event>>,
    tells: Vec<Tell>,
}

struct Held {
    turn: Turn,
    model: Model,
    /// To be settled; `None` once that is done, or if there is nothing to store.
    unsettled: Option<TurnId>,
    records: Vec<Record>,
    /// How many commands were answered by its end.
    answered: usize,
}

/// An event that was made: what the guild was before it, and whom it is for.
pub(crate) struct Made {
    pub(crate) before: Model,
    pub(crate) scope: Scope,
    pub(crate) seq: u64,
}

impl Owner {
    /// An owner of a guild that is not there yet; the model is already what `create` makes of it.
    pub(crate) fn new(config: GuildConfig, ring_entries: usize, create: &Command) -> (Self, Reader<Arc<Event>>) {
        let id = GuildId::new(GUILD).unwrap();
        let (writer, reader) = ring(RingConfig { entries_max: ring_entries, bytes_max: usize::MAX }, Cursor(1));
        let (latest, told_reader) = latest(LatestConfig::default());
        let owner = Self {
            guild: Guild::new(config.clone(), id, Epoch(1)),
            config,
            gate: Gate::default(),
            ring: writer,
            kept: Kept::new(ring_entries),
            now: BEGINNING,
            model: Model::created(BEGINNING, create),
            events: Vec::new(),
            effects: Vec::new(),
            turn: Turn::default(),
            held: VecDeque::new(),
            fold: None,
            work: None,
            scan: None,
            stored: Stored::default(),
            published: None,
            answered: Vec::new(),
            tells: Vec::new(),
            latest,
            told_reader,
            told: Vec::new(),
            told_count: 0,
            generations: BTreeMap::new(),
            calls: 0,
            is_touched: true,
        };
        (owner, reader)
    }

    pub(crate) fn at(&self, seq: u64) -> Position {
        Position { epoch: Epoch(1), seq: Seq(seq) }
    }

    /// Brings the guild to life.
    pub(crate) fn create(&mut self, command: Command) {
        let answer = self.call(Actor::System, command);
        assert_eq!(answer, Ok(Reply::Outcome(Outcome::Applied { at: self.at(1) })));
        assert_eq!(self.events.len(), 1);
    }

    /// A command, decided by guild and model alike.
    pub(crate) fn command(&mut self, actor: Actor, command: Command, seen: &mut Seen) -> Option<Made> {
        self.keep_up(seen);
        let verdict = self.model.decide(self.now, actor, &command);
        if is_spread(&command) && self.now.0.is_multiple_of(2) {
            self.begin(actor, command, matches!(verdict, Verdict::Refused));
            return None;
        }
        let answer = self.call(actor, command.clone());
        let accepted = match (verdict, &answer) {
            (Verdict::Accepted(accepted), _) => accepted,
            (Verdict::Either(accepted), Ok(_)) => {
                seen.roles_back += 1;
                accepted
            }
            (Verdict::Either(_), Err(refusal)) => {
                assert!(matches!(refusal, CommandError::RoleExists { .. }), "{refusal} for {command:?}");
                seen.refusals += 1;
                return None;
            }
            (Verdict::Refused, _) => {
                assert!(answer.is_err(), "{command:?} by {actor:?} should be refused, but came to {answer:?}");
                assert_eq!(self.events.len() as u64, self.model.seq);
                seen.refusals += 1;
                let keeps_out = |user| self.model.alive && actor == Actor::System && self.model.bans.contains_key(user);
                seen.kept_out += u64::from(matches!(&command, Command::AddMember(new) if keeps_out(&new.user)));
                return None;
            }
        };
        self.is_done(accepted, &command, &answer, seen)
    }

    /// A command was carried out: guild and model have come to the same.
    fn is_done(&mut self, accepted: Accepted, command: &Command, answer: &Answer, seen: &mut Seen) -> Option<Made> {
        let Accepted { after, scope } = accepted;
        let at = self.at(after.seq);
        let changed = u32::try_from(after.members.len().abs_diff(self.model.members.len())).unwrap();
        match (command, answer) {
            (Command::PruneMembers(_), _) => {
                assert_eq!(*answer, Ok(Reply::Outcome(Outcome::MembersPruned { at, removed: changed })));
                seen.pruned += u64::from(changed);
            }
            (Command::ImportMembers(_), Ok(Reply::Outcome(Outcome::MembersImported { at: told, added, .. }))) => {
                assert_eq!((*told, *added), (at, changed));
                seen.imported += u64::from(changed);
            }
            (_, _) => {
                assert_eq!(*answer, Ok(Reply::Outcome(Outcome::Applied { at })), "{command:?}");
            }
        }
        let has_sessions = self.model.sessions.len() > after.sessions.len();
        seen.banned += u64::from(after.bans.len() > self.model.bans.len());
        seen.unbanned += u64::from(after.bans.len() < self.model.bans.len());
        seen.banned_with_sessions += u64::from(has_sessions && matches!(command, Command::Ban { .. }));
        seen.pruned_with_sessions += u64::from(has_sessions && matches!(command, Command::PruneMembers(_)));
        seen.deleted_with_sessions += u64::from(has_sessions && matches!(command, Command::DeleteGuild));
        assert_eq!(self.events.len() as u64, after.seq, "{command:?}");
        let before = std::mem::replace(&mut self.model, after);
        let gone = before.members.keys().filter(|user| !self.model.members.contains_key(user));
        let gone: Vec<Tell> = gone.map(|user| Tell::Forget(*user)).collect();
        assert_eq!(take(&mut self.tells), gone, "{command:?}");
        seen.unchanged += u64::from(scope.is_none());
        seen.changed_while_folding += u64::from(scope.is_some() && self.fold.is_some());
        // A ban may make a second event; but nobody hears that.
        let seq = before.seq + 1;
        scope.map(|scope| Made { before, scope, seq })
    }

    /// An earlier command once more: the same answer, and nothing else.
    pub(crate) fn retry(&mut self, nth: usize, seen: &mut Seen) {
        let Some(at) = nth.checked_rem(self.answered.len()) else {
            return;
        };
        self.keep_up(seen);
        let (op, actor, command, first) = self.answered[at].clone();
        let operation = Operation::new(op, actor, command).unwrap();
        let answer = self.handle(|id| Input::Command(Call { id, operation }));
        assert_eq!((answer, self.events.len() as u64), (first, self.model.seq));
        seen.retries += 1;
    }

    /// What a session asks; the answer leaves with its turn, under the id returned.
    pub(crate) fn session(&mut self, session: SessionId, request: SessionRequest) -> CallId {
        let before = self.model.status(request.user());
        let at = self.at(self.model.seq);
        let model = &mut self.model;
        let owner = model.sessions.get(&session).map(|(user, _)| *user);
        let expected = match request {
            _ if !model.alive => None,
            SessionRequest::Resume { user, status, generation, known } => {
                let holds = owner == Some(user) && self.generations.get(&session) == Some(&generation);
                match model.members.get(&user).filter(|_| holds && known <= at) {
                    Some(member) => {
                        model.sessions.insert(session, (user, status));
                        Some(Reply::Attached(Box::new(attached(at, member.clone()))))
                    }
                    None => None,
                }
            }
            SessionRequest::Reattach { .. } => unreachable!("there is one owner in a history"),
            SessionRequest::Release { user, generation } => {
                let holds = owner == Some(user) && self.generations.get(&session) <= Some(&generation);
                holds.then(|| {
                    model.sessions.remove(&session);
                    Reply::Accepted(at)
                })
            }
            SessionRequest::Attach { user, status } => match model.members.get(&user) {
                Some(member) if owner.is_none_or(|owner| owner == user) => {
                    model.sessions.insert(session, (user, status));
                    Some(Reply::Attached(Box::new(attached(at, member.clone()))))
                }
                Some(_) | None => None,
            },
            SessionRequest::SetStatus { user, .. }
            | SessionRequest::SetLevel { user, .. }
            | SessionRequest::Detach { user }
                if owner != Some(user) =>
            {
                None
            }
            SessionRequest::SetLevel { .. } => Some(Reply::Accepted(at)),
            SessionRequest::SetStatus { user, status, .. } => {
                model.sessions.insert(session, (user, status));
                Some(Reply::Accepted(at))
            }
            SessionRequest::Detach { .. } => {
                model.sessions.remove(&session);
                Some(Reply::Accepted(at))
            }
        };
        let answer = self.handle(|id| Input::Session(SessionCall { id, session, sponsor: Sponsor::HERE, request }));
        let answer = answer.ok().map(|reply| match reply {
            Reply::Attached(answered) => {
                let Attached { at, member, generation, .. } = *answered;
                let later = self.generations.values().all(|before| *before < generation);
                assert!(later, "{generation:?} was given out before");
                self.generations.insert(session, generation);
                Reply::Attached(Box::new(attached(at, member)))
            }
            reply @ (Reply::Accepted(_) | Reply::Outcome(_)) => reply,
        });
        assert_eq!(answer, expected);
        let (user, status) = (request.user(), self.model.status(request.user()));
        let presence = Ephemeral { at, kind: EphemeralKind::Presence { user, status } };
        let expected = if status == before { vec![] } else { vec![Tell::Latest(presence)] };
        assert_eq!(take(&mut self.tells), expected, "{request:?}");
        CallId(self.calls)
    }

    /// A member types, or somebody who may not.
    pub(crate) fn type_in(&mut self, user: UserId, channel: ChannelId, seen: &mut Seen) {
        let needed = Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES;
        let model = &self.model;
        let is_text = model.channels.get(&channel).is_some_and(|room| room.channel.kind == ChannelKind::Text);
        let is_there = model.alive && is_text && model.members.contains_key(&user);
        let may = is_there && model.within(user, channel).contains(needed);
        let (at, since) = (self.at(model.seq), self.now);
        let answer = self.handle(|id| Input::Typing(TypingCall { id, user, channel }));
        assert_eq!(answer.ok(), may.then_some(Reply::Accepted(at)), "{user} types in {channel}");
        let typing = Tell::Latest(Ephemeral { at, kind: EphemeralKind::Typing { channel, user, since } });
        assert_eq!(take(&mut self.tells), if may { vec![typing] } else { vec![] });
        seen.typed += u64::from(may);
        seen.typing_refused += u64::from(!may);
    }

    fn put(&mut self, tell: Tell) {
        match tell {
            Tell::Latest(ephemeral) => {
                self.told_count += 1;
                self.told.retain(|(_, before)| before.subject() != ephemeral.subject());
                self.told.push((self.told_count, ephemeral));
                self.latest.put(ephemeral.subject(), ephemeral);
            }
            Tell::Forget(user) => {
                self.told.retain(|(_, before)| before.subject().user != user);
                self.latest.remove(&Subject::of_user(user), |subject| subject.user == user);
            }
        }
    }

    /// The guild must be the model, whether or not anyone may see it yet. Where it was told nothing since, it was just compared.
    pub(crate) fn check(&mut self, probe: u64) {
        if !take(&mut self.is_touched) {
            return;
        }
        compare(self.guild.view().as_ref(), &self.model, probe.rotate_left(32));
    }

    /// Ends the turn.
    pub(crate) fn end_turn(&mut self, seen: &mut Seen) {
        let view = self.guild.view();
        let mut admitted = self.gate.admit(&mut self.effects, view);
        self.scan = admitted.scans.pop().or(self.scan.take());
        if let Some(job) = admitted.fold {
            assert!(self.fold.replace(job).is_none(), "one fold is under way at a time");
        }
        let (unsettled, records) = admitted.append.map_or((None, vec![]), |(turn, records)| (Some(turn), records));
        let (turn, model, answered) = (take(&mut self.turn), self.model.clone(), self.answered.len());
        self.held.push_back(Held { turn, model, unsettled, records, answered });
        seen.turns += 1;
    }

    /// The store has stored the records of one of the turns that wait for it.
    pub(crate) fn settle(&mut self, nth: usize, seen: &mut Seen) {
        let mut waiting: Vec<&mut Held> = self.held.iter_mut().filter(|held| held.unsettled.is_some()).collect();
        let last = waiting.len().saturating_sub(1);
        if let Some(turn) = waiting.get_mut(nth.min(last)).and_then(|held| held.unsettled.take()) {
            let Ok(()) = self.gate.settle(turn, Ok::<(), Infallible>(()));
            seen.settled_out_of_order += u64::from(nth.min(last) > 0);
        }
    }

    pub(crate) fn turns_held(&self) -> usize {
        self.held.len()
    }

    /// Lets out what may leave, in the order in which a shell does, and returns the answers.
    pub(crate) fn release(&mut self) -> Vec<(CallId, Answer)> {
        let mut answers = Vec::new();
        while let Some(outcomes) = self.gate.release() {
            let held = self.held.pop_front().expect("what leaves was admitted");
            let Held { turn, model, unsettled, records, answered } = held;
            assert!(unsettled.is_none(), "a turn has left before its records are stored");
            assert_eq!(outcomes.answers, turn.answers);
            assert!(outcomes.events.iter().map(Arc::as_ptr).eq(turn.events.iter().map(Arc::as_ptr)));
            assert_eq!(outcomes.told, turn.tells);
            turn.tells.iter().for_each(|tell| self.put(*tell));
            for event in outcomes.events {
                let at = Cursor(event.position.seq.0);
                assert_eq!(self.ring.append(event), at);
                self.kept.append();
            }
            assert_eq!(self.ring.head(), Cursor(model.seq + 1), "the ring reaches up to the view");
            compare_again(outcomes.view.as_ref(), &model);
            self.stored.records.extend(records);
            self.stored.answered = answered;
            self.stored.checkpoint = outcomes.checkpoints.into_iter().last().or(self.stored.checkpoint.take());
            self.published = Some((outcomes.view, model));
            answers.extend(outcomes.answers);
        }
        assert!(self.held.front().is_none_or(|held| held.unsettled.is_some()), "a turn is held that may leave");
        answers
    }

    /// Lets the ring hold nothing beyond its newest event, or as much as before.
    pub(crate) fn squeeze(&mut self, is_squeezed: bool) {
        self.ring.set_bytes_max(if is_squeezed { 0 } else { usize::MAX });
        self.kept.squeeze(is_squeezed);
    }

    /// The fold under way is done.
    pub(crate) fn finish_fold(&mut self, seen: &mut Seen) {
        if let Some(job) = self.fold.take() {
            seen.folds_late += 1;
            self.feed(Input::FoldDone(job.run()));
        }
    }

    /// The shell takes no commands while the members change faster than they are folded.
    fn keep_up(&mut self, seen: &mut Seen) {
        if self.guild.is_congested() {
            // The job that the fold asked for may still be in the open turn.
            self.end_turn(seen);
            self.finish_fold(seen);
        }
    }

    fn call(&mut self, actor: Actor, command: Command) -> Answer {
        let op = self.next_op();
        let operation = Operation::new(op, actor, command.clone()).unwrap();
        let answer = self.handle(|id| Input::Command(Call { id, operation }));
        self.answered.push((op, actor, command, answer.clone()));
        answer
    }

    fn next_op(&mut self) -> OpId {
        self.calls += 1;
        let client = ClientId::new(1 + self.calls % 2).unwrap();
        OpId { client, counter: self.calls, issued_at: self.now }
    }

    fn handle(&mut self, input: impl FnOnce(CallId) -> Input) -> Answer {
        self.calls += 1;
        let call = CallId(self.calls);
        let before = self.turn.answers.len();
        self.feed(input(call));
        // What is spread over turns is here carried to its end in one.
        while self.turn.answers.len() == before {
            let scan = self.effects.iter().position(|effect| matches!(effect, Effect::Scan(_)));
            match scan.map(|at| self.effects.remove(at)) {
                Some(Effect::Scan(job)) => self.feed(Input::ScanDone(job.run())),
                _ => self.proceed(),
            }
        }
        // With the guild ends what it has begun.
        let given_up = self.turn.answers.get(before + 1).map(|(call, answer)| (*call, answer.clone()));
        if let Some(work) = self.work.take_if(|_| self.guild.was_deleted()) {
            assert_eq!(given_up, Some((work.call, Err(CommandError::UnknownGuild))));
            self.answered.push((work.op, work.actor, work.command, Err(CommandError::UnknownGuild)));
        } else {
            assert_eq!(given_up, None, "one call, one answer");
        }
        let (answered, answer) = self.turn.answers[before].clone();
        assert_eq!(answered, call);
        answer
    }

    fn feed(&mut self, input: Input) {
        let before = self.effects.len();
        self.guild.handle(self.now, input, &mut self.effects);
        self.now.0 += 1;
        self.note(before);
    }

    fn proceed(&mut self) {
        if self.guild.is_congested() {
            let job = self.fold.take().or_else(|| {
                let at = self.effects.iter().position(|effect| matches!(effect, Effect::Fold(_)))?;
                let Effect::Fold(job) = self.effects.remove(at) else { unreachable!("it is a fold's") };
                Some(job)
            });
            self.feed(Input::FoldDone(job.expect("a guild is congested while a fold is under way").run()));
        }
        let before = self.effects.len();
        // Still at the time of the command: a guild's clock does not fall.
        self.guild.proceed(BEGINNING, &mut self.effects);
        self.note(before);
    }

    fn note(&mut self, before: usize) {
        self.is_touched = true;
        for effect in &self.effects[before..] {
            match effect {
                Effect::Append(event) => {
                    self.events.push(Arc::clone(event));
                    self.turn.events.push(Arc::clone(event));
                }
                Effect::Answer(call, answer) => self.turn.answers.push((*call, answer.clone())),
                Effect::Tell(tell) => {
                    self.tells.push(*tell);
                    self.turn.tells.push(*tell);
                }
                Effect::Fold(_) | Effect::Scan(_) | Effect::Discard(_) | Effect::Record(_) | Effect::Checkpoint(_) => {}
            }
        }
    }

    /// Checkpoints among what the open turn is to let out.
    pub(crate) fn checkpoints(&self) -> usize {
        self.effects.iter().filter(|effect| matches!(effect, Effect::Checkpoint(_))).count()
    }
}

const BEGINNING: Millis = Millis(1_700_000_000_000);

/// What the model knows of an attach: it does not know how guilds number generations, and when they clean out deleted roles.
fn attached(at: Position, member: Member) -> Attached {
    let (generation, deletions_unknown_to) = Default::default();
    Attached { at, member, generation, deleted_roles: Vec::new(), deletions_unknown_to }
}
