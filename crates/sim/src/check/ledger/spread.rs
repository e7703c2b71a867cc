//! Imports and prunes, which are carried out by and by: how far one is, and whether it has done what it says that it has.
//!
//! A batch that changes nothing leaves no record, so lines of an import may have been taken at any place since the last one. A prune
//! looks for its candidates where it begins; who has a session at any time from there on may stay.

use std::collections::BTreeSet;
use std::mem::take;
use std::sync::Arc;

use guildhall_guild::CallId;
use guildhall_proto::{
    Actor, Command, Event, EventKind, Millis, NewMember, Outcome, Position, PruneBy, Record, Stage, UserId,
};

use crate::check::Annals;
use crate::model::{Community, may_be_batch};

/// How far an operation is.
#[derive(Debug, Default)]
pub(super) struct Spread {
    /// Where it was begun by its present owner.
    begun_at: Position,
    /// How many sessions had ended by then.
    endings: u64,
    /// Where its last record was made, or else where its first owner took it up. The next owner may know from a checkpoint of batches
    /// that left no record.
    since: Option<Position>,
    /// Who waits for its end.
    waiting: BTreeSet<CallId>,
    /// What it has come to.
    so_far: Option<Outcome>,
}

/// One batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch<'a> {
    pub(super) actor: Actor,
    pub(super) command: &'a Command,
    pub(super) record: &'a Record,
    pub(super) event: Option<&'a Arc<Event>>,
    pub(super) now: Millis,
}

/// The lines of an import that were taken.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    lines: usize,
    added: u32,
    existing: u32,
    banned: u32,
}

impl Spread {
    pub(super) fn has_begun(&self) -> bool {
        self.so_far.is_some()
    }

    /// An owner takes it up.
    pub(super) fn begins(&mut self, at: Position, endings: u64) {
        (self.begun_at, self.endings) = (at, endings);
        self.since.get_or_insert(at);
    }

    /// How many sessions had ended when it began.
    pub(super) fn endings(&self) -> u64 {
        self.endings
    }

    pub(super) fn waits(&mut self, call: Option<CallId>) {
        self.waiting.extend(call);
    }

    /// Its owner is gone.
    pub(super) fn is_broken_off(&mut self) {
        self.waiting.clear();
    }

    /// It has come to its end: who waited until now.
    pub(super) fn give_up(&mut self) -> BTreeSet<CallId> {
        take(&mut self.waiting)
    }

    /// Whether a batch did what it says, on the guild as it is latest in the annals. Who may have had a session since the operation began
    /// `may_stay`; where that is not known, nobody asks whether a prune is complete.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn takes(
        &mut self,
        batch: &Batch<'_>,
        annals: &Annals,
        may_stay: Option<&dyn Fn(UserId) -> bool>,
    ) -> Result<(), String> {
        let community = annals.latest().community().ok_or("a batch of a guild that is not there")?;
        if let Some(event) = batch.event
            && !may_be_batch(community, event.at, batch.command, &event.kind)
        {
            return Err("a batch changes what it may not".to_owned());
        }
        if let Command::ImportMembers(lines) = batch.command {
            self.imports(lines, batch, annals, community)?;
        } else if let Command::PruneMembers(by) = batch.command {
            self.prunes(by, batch, annals, community, may_stay)?;
        }
        self.so_far = Some(batch.record.op.outcome);
        self.since = Some(batch.event.map_or(annals.position(), |event| event.position));
        Ok(())
    }

    fn taken(&self) -> Taken {
        match self.so_far {
            Some(Outcome::MembersImported { lines, added, existing, banned, .. }) => {
                Taken { lines: lines as usize, added, existing, banned }
            }
            Some(Outcome::Applied { .. } | Outcome::MembersPruned { .. }) | None => Taken::default(),
        }
    }

    fn imports(
        &self,
        lines: &[NewMember],
        batch: &Batch<'_>,
        annals: &Annals,
        community: &Community,
    ) -> Result<(), String> {
        let Outcome::MembersImported { lines: upto, added, existing, banned, stopped, .. } = batch.record.op.outcome
        else {
            return Err("an import comes to something else".to_owned());
        };
        let (before, upto) = (self.taken(), upto as usize);
        let fresh = lines.get(before.lines..upto).ok_or_else(|| format!("it was at line {}", before.lines))?;
        let joined: BTreeSet<UserId> = match batch.event.map(|event| &event.kind) {
            Some(EventKind::MembersJoined { members }) => members.iter().map(|member| member.user).collect(),
            Some(_) | None => BTreeSet::new(),
        };
        let passed: Vec<UserId> = fresh.iter().map(|line| line.user).filter(|user| !joined.contains(user)).collect();
        if passed.len() + joined.len() != fresh.len() || added as usize != before.added as usize + joined.len() {
            return Err(format!("{} lines were taken, and {} users have joined", fresh.len(), joined.len()));
        }
        let told = (existing.wrapping_sub(before.existing) as usize, banned.wrapping_sub(before.banned) as usize);
        let is_member = |community: &Community, user| community.members.contains_key(&user);
        let is_banned = |community: &Community, user| community.bans.contains_key(&user);
        let count = |is: &dyn Fn(UserId) -> bool| passed.iter().filter(|user| is(**user)).count();
        let now = (count(&|user| is_member(community, user)), count(&|user| is_banned(community, user)));
        if told.0 + told.1 != passed.len() || told != now {
            // Some were taken before now.
            let was = |is: fn(&Community, UserId) -> bool, user| self.lives(annals).any(|life| is(life, user));
            let once = (count(&|user| was(is_member, user)), count(&|user| was(is_banned, user)));
            let either = count(&|user| was(is_member, user) || was(is_banned, user));
            if told.0 + told.1 != passed.len() || either != passed.len() || told.0 > once.0 || told.1 > once.1 {
                return Err(format!(
                    "of {} lines {told:?} were of members and of the banned, and {now:?} are",
                    passed.len()
                ));
            }
        }
        let is_bad = |at: usize| {
            let user = lines[at].user;
            lines[..at].iter().any(|line| line.user == user) || !community.may_join(batch.now, &lines[at])
        };
        let is_finished = batch.record.op.stage == Stage::Finished;
        let is_right = match stopped {
            Some(_) => is_finished && upto < lines.len() && is_bad(upto),
            None => !is_finished || upto == lines.len(),
        };
        if is_right { Ok(()) } else { Err(format!("it ends at line {upto} of {}", lines.len())) }
    }

    fn prunes(
        &self,
        by: &PruneBy,
        batch: &Batch<'_>,
        annals: &Annals,
        community: &Community,
        may_stay: Option<&dyn Fn(UserId) -> bool>,
    ) -> Result<(), String> {
        let Outcome::MembersPruned { removed, .. } = batch.record.op.outcome else {
            return Err("a prune comes to something else".to_owned());
        };
        let left: BTreeSet<UserId> = match batch.event.map(|event| &event.kind) {
            Some(EventKind::MembersLeft { users }) => users.iter().copied().collect(),
            Some(_) | None => BTreeSet::new(),
        };
        let before = match self.so_far {
            Some(Outcome::MembersPruned { removed, .. }) => removed as usize,
            Some(Outcome::Applied { .. } | Outcome::MembersImported { .. }) | None => 0,
        };
        if removed as usize != before + left.len() {
            return Err(format!("a prune has come to {}", before + left.len()));
        }
        let Some(may_stay) = may_stay.filter(|_| batch.record.op.stage == Stage::Finished) else { return Ok(()) };
        let stays_while_there = !matches!(by, PruneBy::Role(_));
        let is_due = |user: &UserId| {
            let is_excused = left.contains(user) || stays_while_there && may_stay(*user);
            !is_excused
                && self.lives_since(self.begun_at, annals).all(|life| life.may_prune_one(batch.actor, by, *user))
        };
        match community.prunable(batch.actor, by).into_iter().find(is_due) {
            Some(user) => Err(format!("a prune is finished, and {user:?} is still there")),
            None => Ok(()),
        }
    }

    /// The guild at each place since its last record.
    fn lives<'a>(&self, annals: &'a Annals) -> impl Iterator<Item = &'a Community> {
        self.lives_since(self.since.unwrap_or(self.begun_at), annals)
    }

    fn lives_since<'a>(&self, since: Position, annals: &'a Annals) -> impl Iterator<Item = &'a Community> {
        let later = annals.between(since, annals.position()).iter().map(|entry| &entry.after);
        [annals.as_of(since)].into_iter().chain(later).filter_map(|life| life.community())
    }
}
