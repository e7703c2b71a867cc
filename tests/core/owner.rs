//! The owner's side under test: guild, gate and ring, each answer and view held against the model.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::Arc;

use guildhall_guild::{
    Answer, Attached, Call, CallId, Effect, Gate, Guild, GuildConfig, Input, Reply, SessionCall, SessionRequest, TurnId,
};
use guildhall_members::{FoldJob, View};
use guildhall_proto::{
    Actor, ClientId, Command, CommandError, Epoch, Event, GuildId, Millis, OpId, Outcome, Position, Seq, SessionId,
};
use guildhall_ring::{Cursor, Reader, RingConfig, Writer, ring};

use crate::compare::{compare, compare_again};
use crate::model::{Accepted, Model, Scope, Verdict};
use crate::seen::Seen;
use crate::steps::GUILD;

pub(crate) struct Owner {
    guild: Guild,
    gate: Gate,
    ring: Writer<Arc<Event>>,
    pub(crate) now: Millis,
    pub(crate) model: Model,
    /// All events made, the one numbered 1 first.
    pub(crate) events: Vec<Arc<Event>>,
    effects: Vec<Effect>,
    turn: Turn,
    /// Turns admitted and not released, with the guild as of their ends.
    held: VecDeque<Held>,
    fold: Option<FoldJob>,
    /// What may be read, and the guild as of it.
    pub(crate) published: Option<(Option<View>, Model)>,
    answered: Vec<(OpId, Actor, Command, Answer)>,
    calls: u64,
}

/// What a turn should let out.
#[derive(Default)]
struct Turn {
    answers: Vec<(CallId, Answer)>,
    events: Vec<Arc<Event>>,
}

struct Held {
    turn: Turn,
    model: Model,
    /// To be settled; `None` once that is done, or if there is nothing to store.
    unsettled: Option<TurnId>,
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
        let owner = Self {
            guild: Guild::new(config, id, Epoch(1)),
            gate: Gate::default(),
            ring: writer,
            now: BEGINNING,
            model: Model::created(BEGINNING, create),
            events: Vec::new(),
            effects: Vec::new(),
            turn: Turn::default(),
            held: VecDeque::new(),
            fold: None,
            published: None,
            answered: Vec::new(),
            calls: 0,
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
                return None;
            }
        };
        let Accepted { after, scope, tally } = accepted;
        let at = self.at(after.seq);
        let changed = u32::try_from(after.members.len().abs_diff(self.model.members.len())).unwrap();
        match (tally, &command, &answer) {
            (Some((added, existing)), _, _) => {
                assert_eq!(answer, Ok(Reply::Outcome(Outcome::MembersAdded { at, added, existing })));
            }
            (None, Command::PruneMembers(_), _) => {
                assert_eq!(answer, Ok(Reply::Outcome(Outcome::MembersPruned { at, removed: changed })));
                seen.pruned += u64::from(changed);
            }
            (None, Command::ImportMembers(_), Ok(Reply::Outcome(Outcome::MembersImported { at: told, added, .. }))) => {
                assert_eq!((*told, *added), (at, changed));
                seen.imported += u64::from(changed);
            }
            (None, _, _) => {
                assert_eq!(answer, Ok(Reply::Outcome(Outcome::Applied { at })), "{command:?} by {actor:?}");
            }
        }
        seen.banned += u64::from(after.bans.len() > self.model.bans.len());
        assert_eq!(self.events.len() as u64, after.seq, "{command:?} by {actor:?}");
        let before = std::mem::replace(&mut self.model, after);
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
        let answer = self.handle(|id| Input::Command(Call { id, op, actor, command }));
        assert_eq!((answer, self.events.len() as u64), (first, self.model.seq));
        seen.retries += 1;
    }

    /// What a session asks; the answer leaves with its turn, under the id returned.
    pub(crate) fn session(&mut self, session: SessionId, request: SessionRequest) -> CallId {
        let at = self.at(self.model.seq);
        let model = &mut self.model;
        let owner = model.sessions.get(&session).map(|(user, _)| *user);
        let expected = match request {
            _ if !model.alive => None,
            SessionRequest::Attach { user, status } => match model.members.get(&user) {
                Some(member) if owner.is_none_or(|owner| owner == user) => {
                    model.sessions.insert(session, (user, status));
                    Some(Reply::Attached(attached(at, member.clone())))
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
            SessionRequest::Resume { .. } | SessionRequest::Reattach { .. } | SessionRequest::Release { .. } => {
                unreachable!("sessions of these histories do not come back")
            }
            SessionRequest::SetLevel { .. } => Some(Reply::Accepted(at)),
            SessionRequest::SetStatus { user, status } => {
                model.sessions.insert(session, (user, status));
                Some(Reply::Accepted(at))
            }
            SessionRequest::Detach { .. } => {
                model.sessions.remove(&session);
                Some(Reply::Accepted(at))
            }
        };
        let answer = self.handle(|id| Input::Session(SessionCall { id, session, request }));
        let answer = answer.ok().map(|reply| match reply {
            Reply::Attached(Attached { at, member, .. }) => Reply::Attached(attached(at, member)),
            reply @ (Reply::Accepted(_) | Reply::Outcome(_)) => reply,
        });
        assert_eq!(answer, expected);
        CallId(self.calls)
    }

    /// The guild must be the model, whether or not anyone may see it yet.
    pub(crate) fn check(&mut self, probe: u64) {
        compare(self.guild.view().as_ref(), &self.model, probe.rotate_left(32));
    }

    /// Ends the turn.
    pub(crate) fn end_turn(&mut self, seen: &mut Seen) {
        let view = self.guild.view();
        let admitted = self.gate.admit(&mut self.effects, view);
        if let Some(job) = admitted.fold {
            assert!(self.fold.replace(job).is_none(), "one fold is under way at a time");
        }
        let unsettled = admitted.append.map(|(turn, _)| turn);
        self.held.push_back(Held { turn: take(&mut self.turn), model: self.model.clone(), unsettled });
        seen.turns += 1;
    }

    /// The store has stored the records of one of the turns that wait for it.
    pub(crate) fn settle(&mut self, nth: usize, seen: &mut Seen) {
        let mut waiting: Vec<&mut Held> = self.held.iter_mut().filter(|held| held.unsettled.is_some()).collect();
        let last = waiting.len().saturating_sub(1);
        if let Some(turn) = waiting.get_mut(nth.min(last)).and_then(|held| held.unsettled.take()) {
            self.gate.settle(turn);
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
            let Held { turn, model, unsettled } = self.held.pop_front().expect("what leaves was admitted");
            assert!(unsettled.is_none(), "a turn has left before its records are stored");
            assert_eq!(outcomes.answers, turn.answers);
            assert!(outcomes.events.iter().map(Arc::as_ptr).eq(turn.events.iter().map(Arc::as_ptr)));
            for event in outcomes.events {
                let at = Cursor(event.position.seq.0);
                assert_eq!(self.ring.append(event), at);
            }
            assert_eq!(self.ring.head(), Cursor(model.seq + 1), "the ring reaches up to the view");
            compare_again(outcomes.view.as_ref(), &model);
            self.published = Some((outcomes.view, model));
            answers.extend(outcomes.answers);
        }
        assert!(self.held.front().is_none_or(|held| held.unsettled.is_some()), "a turn is held that may leave");
        answers
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
        let client = ClientId::new(1 + self.calls % 2).unwrap();
        let op = OpId { client, counter: self.calls + 1, issued_at: self.now };
        let answer = self.handle(|id| Input::Command(Call { id, op, actor, command: command.clone() }));
        self.answered.push((op, actor, command, answer.clone()));
        answer
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
        assert_eq!(self.turn.answers.len(), before + 1, "one call, one answer");
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
        for effect in &self.effects[before..] {
            match effect {
                Effect::Append(event) => {
                    self.events.push(Arc::clone(event));
                    self.turn.events.push(Arc::clone(event));
                }
                Effect::Answer(call, answer) => self.turn.answers.push((*call, answer.clone())),
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
