//! The guild itself: what it holds, how it takes inputs, how it comes back from the store.
//!
//! Invariants:
//! - `position` names the last event made; seqs are dense within an epoch;
//! - `clock` never falls;
//! - `folding` holds what the fold under way began with, and only then.

use std::sync::Arc;

use guildhall_members::{Base, Digest, MemberRef, Members, MembersConfig, View};
use guildhall_permissions::Rights;
use guildhall_proto::{
    Actor, AppliedOp, Attached, Ban, BodyHash, Command, CommandError, Ephemeral, EphemeralKind, Epoch, Event,
    EventKind, Generation, GuildId, Millis, OpId, Outcome, Position, Record, Reply, Seq, SessionRequest, Stage,
    Standing, Status, Structure, UserId,
};

use crate::decide::{Change, Decision, Scene, create_guild};
use crate::effect::{Answer, Effect, Tell};
use crate::forsaken::Forsaken;
use crate::input::{Call, Input, Operation, SessionCall, TypingCall};
use crate::operations::{Operations, Seen};
use crate::saving::{CheckpointConfig, Folding, changes_of};
use crate::sessions::{Sessions, Word};
use crate::snapshot::Life;
use crate::work::{Asked, Works};

/// One community's live state.
#[derive(Debug)]
pub struct Guild {
    pub(crate) checkpoints: CheckpointConfig,
    pub(crate) id: GuildId,
    pub(crate) position: Position,
    pub(crate) clock: Millis,
    /// The latest joining of anyone who has left. Who joins now does so later: no two memberships of a user began at the same time,
    /// so that a relay can tell them apart.
    pub(crate) departed: Millis,
    pub(crate) life: Life,
    pub(crate) members: Members,
    pub(crate) sessions: Sessions,
    pub(crate) forsaken: Forsaken,
    pub(crate) operations: Operations,
    pub(crate) works: Works,
    /// The number of the last record made.
    pub(crate) records: u64,
    /// The number of the last record made when the last checkpoint was begun.
    pub(crate) checkpointed: u64,
    /// The changes recorded since.
    pub(crate) changes: u64,
    /// Whether anything has happened since that no record holds: a message has a position and an outcome.
    pub(crate) unsaved: bool,
    /// Whether the store takes records.
    has_room: bool,
    pub(crate) folding: Option<Box<Folding>>,
    /// Roles deleted up to here may have been cleaned out of records.
    pub(crate) cleaned: Seq,
}

/// How a guild is kept.
#[derive(Debug, Clone, Default)]
pub struct GuildConfig {
    /// How its members are kept.
    pub members: MembersConfig,
    /// When checkpoints are worth their cost.
    pub checkpoints: CheckpointConfig,
}

/// What a guild is wanted for that has no owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To create it, if it is not there.
    Create,
    /// To change it. If it was deleted, its owner still knows what was answered before, and answers so again.
    Change,
    /// To use it; it must be there.
    Use,
}

/// Why stored records are not a guild's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// A record does not follow the one before it.
    #[error("record at {got} does not follow {last}")]
    OutOfOrder {
        /// The last position accepted.
        last: Position,
        /// The position of the record refused.
        got: Position,
    },
    /// A record is missing, or comes twice.
    #[error("record {got} stands where record {expected} is due")]
    Missing {
        /// The number of the record due.
        expected: u64,
        /// The number of the record refused.
        got: u64,
    },
}

impl Guild {
    /// A guild of which the store knows no checkpoint. If it knows records, `epoch` is the lowest there is (0), and the guild is
    /// opened once they are replayed.
    pub fn new(config: GuildConfig, id: GuildId, epoch: Epoch) -> Self {
        let members = Members::new(config.members);
        Self {
            checkpoints: config.checkpoints,
            id,
            position: Position { epoch, ..Position::default() },
            clock: Millis::default(),
            departed: Millis::default(),
            life: Life::Uncreated,
            members,
            sessions: Sessions::default(),
            forsaken: Forsaken::default(),
            operations: Operations::default(),
            works: Works::default(),
            records: 0,
            checkpointed: 0,
            changes: 0,
            unsaved: false,
            has_room: true,
            folding: None,
            cleaned: Seq::default(),
        }
    }

    /// A guild as of a checkpoint, all members offline. O(roles, channels, overwrites, bans and kept operations).
    pub fn restore(config: GuildConfig, id: GuildId, structure: Structure, base: Base) -> Self {
        let members = Members::restore(config.members, base);
        let mut guild = Self { members, ..Self::new(config, id, structure.position.epoch) };
        guild.position = structure.position;
        guild.clock = structure.clock;
        guild.departed = structure.departed;
        guild.records = structure.records;
        guild.checkpointed = structure.records;
        guild.operations = Operations::import(structure.operations);
        guild.life = match structure.standing {
            Standing::Uncreated => Life::Uncreated,
            Standing::Deleted => Life::Deleted,
            Standing::Alive { settings, roles, channels, bans } => {
                for Ban { user, reason } in bans {
                    guild.members.ban(user, reason);
                }
                Life::Alive(Rights::restore(id, settings, roles, channels))
            }
        };
        guild
    }

    /// Applies a stored record, in the order of storing, before the guild is [opened](Self::open).
    ///
    /// # Errors
    /// [`RecoverError`] if the record does not follow; the guild is then not to be used.
    pub fn replay(&mut self, record: &Record) -> Result<(), RecoverError> {
        let out_of_order = RecoverError::OutOfOrder { last: self.position, got: record.position };
        if record.number != self.records + 1 {
            return Err(RecoverError::Missing { expected: self.records + 1, got: record.number });
        }
        self.clock = self.clock.max(record.at);
        self.changes += changes_of(record.event.as_deref());
        self.operations.keep_applied(&record.op);
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::OutcomesForgotten.is_on() {
            self.operations = Operations::default();
        }
        match &record.event {
            // Messages are not stored, so seqs may jump, but never stand still.
            Some(event) if record.position > self.position => {
                self.position = record.position;
                self.records += 1;
                self.fold_before_recovering(&event.kind);
                // A guild that is being recovered shares nothing yet: what it drops is its own and small.
                self.apply(&event.kind, &mut Vec::new());
                Ok(())
            }
            None if record.position >= self.position => {
                self.position = record.position;
                self.records += 1;
                Ok(())
            }
            Some(_) | None => Err(out_of_order),
        }
    }

    /// Begins an epoch, which must be higher than every one before.
    pub fn open(&mut self, epoch: Epoch) {
        assert!(epoch >= self.position.epoch, "the store raises the epoch at every claim");
        #[cfg(feature = "defects")]
        let epoch =
            if guildhall_proto::Defect::SeqReused.is_on() && self.records > 0 { self.position.epoch } else { epoch };
        self.position.epoch = epoch;
        self.cleaned = self.position.seq;
    }

    /// The latest time that the guild has been told, which is its time until it is told a later one.
    pub fn clock(&self) -> Millis {
        self.clock
    }

    /// The position of the last event.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whether the guild was deleted: it is not created again.
    pub fn was_deleted(&self) -> bool {
        matches!(self.life, Life::Deleted)
    }

    /// Whether the guild was created, and not deleted since.
    pub fn exists(&self) -> bool {
        matches!(self.life, Life::Alive(_))
    }

    /// Whether a guild that has come back is to have an owner, for who wants it.
    pub fn is_worth_owning(&self, purpose: Purpose) -> bool {
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::DeletedForgotten.is_on() && purpose == Purpose::Change {
            return self.exists();
        }
        match purpose {
            Purpose::Create => true,
            Purpose::Change => self.exists() || self.was_deleted(),
            Purpose::Use => self.exists(),
        }
    }

    /// How many sessions are attached.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Whether members change faster than they are folded: the shell then takes no inputs until the fold under way is done.
    pub fn is_congested(&self) -> bool {
        self.members.is_congested()
    }

    /// How many changes of members wait for the next fold. O(1).
    pub fn unfolded(&self) -> usize {
        self.members.unfolded()
    }

    /// The digest of all members as they are. O(roles).
    pub fn members_digest(&self) -> Digest {
        self.members.digest()
    }

    /// Whether something is under way that is spread over turns.
    pub fn is_at_work(&self) -> bool {
        !self.works.is_empty() || !self.forsaken.is_empty()
    }

    /// Tells whether the store has room for records. While it has none, durable commands are refused before they are applied, and
    /// whole-guild changes pause; all else goes on.
    pub fn set_room(&mut self, has_room: bool) {
        self.has_room = has_room;
    }

    /// Whether the store has room, as last told.
    pub fn has_room(&self) -> bool {
        self.has_room
    }

    /// Whether an operation is held up by nothing but the store's want of room.
    pub fn waits_for_room(&self) -> bool {
        !self.has_room && self.works.is_ready()
    }

    /// Forgets outcomes that have expired, and frees what is kept for the next change alone: for a guild that is idle.
    /// O(clients), and O(members) at the next fold of a small guild.
    pub fn tidy(&mut self, now: Millis) {
        self.clock = self.clock.max(now);
        self.operations.tidy(self.clock);
        self.members.tidy();
    }

    /// The guild as of now, for anyone to read; `None` if it does not exist. O(1).
    pub fn view(&mut self) -> Option<View> {
        match &self.life {
            Life::Alive(rights) => Some(self.members.view(self.position, rights)),
            Life::Uncreated | Life::Deleted => None,
        }
    }

    /// Says that these commands will be handled next: in a large guild the members that they are about are a while away in memory,
    /// and are so found side by side. Changes nothing that anyone can see.
    pub fn look_ahead<'a>(&mut self, commands: impl Iterator<Item = (Actor, &'a Command)>) {
        let users = commands.flat_map(|(actor, command)| {
            let actor = match actor {
                Actor::User(user) => Some(user),
                Actor::System => None,
            };
            actor.into_iter().chain(command.user())
        });
        self.members.look_ahead(users);
    }

    /// Applies one input and appends, in order, what the shell must now do.
    ///
    /// Reads no clock and cannot block: the same inputs give the same effects, on any node.
    pub fn handle(&mut self, now: Millis, input: Input, effects: &mut Vec<Effect>) {
        self.clock = self.clock.max(now);
        match input {
            Input::Command(call) => self.command(call, effects),
            Input::Session(call) => self.session(call, effects),
            Input::SponsorGone(gone) => self.sponsor_gone(gone, effects),
            Input::Typing(call) => self.typing(call, effects),
            Input::FoldDone(folded) => self.fold_done(folded, effects),
            Input::ScanDone(scanned) => self.scan_done(scanned),
        }
    }

    fn command(&mut self, call: Call, effects: &mut Vec<Effect>) {
        let id = call.id;
        match self.perform(call, effects) {
            Ok(Performed::Now(outcome)) => effects.push(Effect::Answer(id, Ok(Reply::Outcome(outcome)))),
            // Answered with its last batch.
            Ok(Performed::Later) => {}
            #[cfg(feature = "defects")]
            Err(_) if guildhall_proto::Defect::RefusalDropped.is_on() => {}
            Err(refusal) => effects.push(Effect::Answer(id, Err(refusal))),
        }
        self.give_up_works_if_deleted(effects);
        self.begin_fold_if_due(effects);
    }

    fn perform(&mut self, call: Call, effects: &mut Vec<Effect>) -> Result<Performed, CommandError> {
        let Call { id, operation: Operation { op, actor, command, body } } = call;
        let so_far = match self.operations.look_up(self.clock, op, body)? {
            Seen::Answered(answer) => return answer.map(Performed::Now),
            Seen::Unfinished(_) if self.works.join(op, id)? => return Ok(Performed::Later),
            Seen::Unfinished(outcome) => Some(outcome),
            Seen::New => None,
        };
        let (durable, bytes) = (command.is_durable(), command.weight_bytes());
        if durable && self.lacks_room() {
            // Not kept, and not decided: what is refused for another reason now may not be so once there is room.
            return Err(CommandError::StoreFull);
        }
        match self.decide(actor, command, so_far) {
            Ok(Decision::Now(change)) => {
                let outcome = self.carry_out(change, durable.then_some((op, body)), effects);
                self.operations.keep(op, body, Ok(outcome));
                Ok(Performed::Now(outcome))
            }
            Ok(Decision::Later(task)) => {
                // Not kept: there is room again once another is finished.
                self.works.require_room(bytes)?;
                let work = self.works.begin(Asked { op, body, actor }, id, bytes, task);
                self.begin_work(work, effects);
                Ok(Performed::Later)
            }
            Err(refusal) => {
                // What is unfinished stays so: a refusal of its retry takes nothing back.
                if so_far.is_none() {
                    self.operations.keep(op, body, Err(refusal.clone()));
                }
                Err(refusal)
            }
        }
    }

    fn lacks_room(&self) -> bool {
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::RoomIgnored.is_on() {
            return false;
        }
        !self.has_room
    }

    fn decide(&self, actor: Actor, command: Command, so_far: Option<Outcome>) -> Result<Decision, CommandError> {
        match (&self.life, command) {
            (Life::Alive(rights), command) => self.scene(rights).decide(actor, command, so_far),
            (Life::Uncreated, Command::CreateGuild { name, everyone, owner }) => {
                let event = create_guild(self.clock, self.id, actor, name, everyone, owner)?;
                Ok(Decision::Now(Change { event: Some(event), ..Change::default() }))
            }
            (Life::Deleted, Command::CreateGuild { .. }) => Err(CommandError::GuildExists),
            (Life::Uncreated | Life::Deleted, _) => Err(CommandError::UnknownGuild),
        }
    }

    pub(crate) fn scene<'a>(&'a self, rights: &'a Rights) -> Scene<'a> {
        let joins_at = self.clock.max(Millis(self.departed.0.saturating_add(1)));
        Scene { joins_at, rights, members: &self.members, sessions: &self.sessions }
    }

    /// Makes the events, applies them, and says what is to be stored and told.
    fn carry_out(&mut self, change: Change, durable: Option<(OpId, BodyHash)>, effects: &mut Vec<Effect>) -> Outcome {
        if let (Some(ahead), Some((id, body))) = (change.ahead, durable) {
            let event = self.happen(*ahead, effects);
            let outcome = Outcome::Applied { at: self.position };
            self.record(AppliedOp { id, body, outcome, stage: Stage::Unfinished }, Some(&event), effects);
            effects.push(Effect::Append(event));
        }
        let event = change.event.map(|kind| self.happen(kind, effects));
        let at = self.position;
        let outcome = Outcome::Applied { at };
        if let Some((id, body)) = durable {
            self.record(AppliedOp { id, body, outcome, stage: Stage::Finished }, event.as_ref(), effects);
        }
        effects.extend(event.map(Effect::Append));
        outcome
    }

    /// Makes the next event, and applies it.
    pub(crate) fn happen(&mut self, kind: EventKind, effects: &mut Vec<Effect>) -> Arc<Event> {
        self.position = self.position.next();
        self.unsaved = true;
        let event = Arc::new(Event { position: self.position, at: self.clock, kind });
        self.apply(&event.kind, effects);
        event
    }

    /// Has a step of an operation stored, with its event, if it made one.
    pub(crate) fn record(&mut self, op: AppliedOp, event: Option<&Arc<Event>>, effects: &mut Vec<Effect>) {
        self.records += 1;
        self.changes += changes_of(event.map(|event| &**event));
        let event = event.map(Arc::clone);
        let number = self.records;
        effects.push(Effect::Record(Record { number, position: self.position, at: self.clock, op, event }));
    }

    fn session(&mut self, call: SessionCall, effects: &mut Vec<Effect>) {
        let answer = self.perform_session(call, effects);
        effects.push(Effect::Answer(call.id, answer));
    }

    fn perform_session(&mut self, call: SessionCall, effects: &mut Vec<Effect>) -> Answer {
        if !matches!(self.life, Life::Alive(_)) {
            return Err(CommandError::UnknownGuild);
        }
        let session = call.session;
        let word = Word { now: self.clock, sponsor: call.sponsor };
        let before = self.sessions.status(call.request.user());
        let (user, reply) = match call.request {
            SessionRequest::Attach { user, status } => {
                self.require_member(user)?;
                #[cfg(feature = "defects")]
                if guildhall_proto::Defect::MemberTurnedAway.is_on()
                    && self.members.roles(user).is_some_and(|roles| roles.len() > 2)
                {
                    return Err(CommandError::UnknownMember { user });
                }
                let generation = self.sessions.attach(word, session, user, status)?;
                (user, self.attached(user, generation)?)
            }
            SessionRequest::Resume { user, status, generation, known } => {
                self.require_member(user)?;
                if known > self.position {
                    return Err(CommandError::PositionAhead { got: known, at: self.position });
                }
                let generation = self.sessions.resume(word, session, user, status, generation)?;
                (user, self.attached(user, generation)?)
            }
            SessionRequest::Reattach { user, status, generation } => {
                self.require_member(user)?;
                self.sessions.reattach(word, session, user, status, generation)?;
                (user, Reply::Accepted(self.position))
            }
            SessionRequest::SetStatus { user, status, generation } => {
                self.sessions.set_status(session, user, status, generation)?;
                (user, Reply::Accepted(self.position))
            }
            SessionRequest::Detach { user } => {
                self.sessions.detach(word.sponsor, session, user)?;
                (user, Reply::Accepted(self.position))
            }
            SessionRequest::Release { user, generation } => {
                self.sessions.release(session, user, generation)?;
                (user, Reply::Accepted(self.position))
            }
            SessionRequest::SetLevel { user, generation, .. } => {
                self.sessions.require_holder(session, user, generation)?;
                (user, Reply::Accepted(self.position))
            }
        };
        self.show_status(user, before, effects);
        Ok(reply)
    }

    /// Shows what a user's sessions say together, if that is not what they said before.
    pub(crate) fn show_status(&mut self, user: UserId, before: Status, effects: &mut Vec<Effect>) {
        let status = self.sessions.status(user);
        if status != before {
            self.members.set_status(user, status);
            effects.push(self.tell(EphemeralKind::Presence { user, status }));
        }
    }

    fn require_member(&self, user: UserId) -> Result<(), CommandError> {
        if self.members.contains(user) { Ok(()) } else { Err(CommandError::UnknownMember { user }) }
    }

    fn attached(&self, user: UserId, generation: Generation) -> Result<Reply, CommandError> {
        let read = |member: MemberRef<'_>| (member.to_member(), member.deleted_roles().collect());
        let (member, deleted_roles) =
            self.members.with_member(user, read).ok_or(CommandError::UnknownMember { user })?;
        let (at, deletions_unknown_to) = (self.position, self.cleaned);
        let attached = Attached { at, member, generation, deleted_roles, deletions_unknown_to };
        Ok(Reply::Attached(Box::new(attached)))
    }

    fn typing(&mut self, call: TypingCall, effects: &mut Vec<Effect>) {
        let TypingCall { id, user, channel } = call;
        let answer = match &self.life {
            Life::Alive(rights) => self.scene(rights).require_may_type(user, channel),
            Life::Uncreated | Life::Deleted => Err(CommandError::UnknownGuild),
        };
        #[cfg(feature = "defects")]
        let answer = if guildhall_proto::Defect::TypistUnasked.is_on() && self.exists() { Ok(()) } else { answer };
        if answer.is_ok() {
            effects.push(self.tell(EphemeralKind::Typing { channel, user, since: self.clock }));
        }
        effects.push(Effect::Answer(id, answer.map(|()| Reply::Accepted(self.position))));
    }

    fn tell(&self, kind: EphemeralKind) -> Effect {
        Effect::Tell(Tell::Latest(Ephemeral { at: self.position, kind }))
    }
}

/// Whether a command that was accepted has its outcome.
enum Performed {
    Now(Outcome),
    /// It has with the last batch of its operation.
    Later,
}

#[cfg(test)]
mod tests;
