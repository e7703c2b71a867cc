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
    /// Where its last record was made, if that is later.
    since: Position,
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

/// What the next owner goes on from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) command: &'a Command,
    pub(super) annals: &'a Annals,
    /// The position of its checkpoint.
    pub(super) covered: Position,
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
        (self.begun_at, self.since, self.endings) = (at, at, endings);
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
        self.since = batch.event.map_or(annals.position(), |event| event.position);
        Ok(())
    }

    /// The next owner has found in a checkpoint that it had come to this, and no record behind that: as far as its last record, or further
    /// by batches that changed nothing.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn is_found(&mut self, outcome: Outcome, found: &Found<'_>) -> Result<(), String> {
        match (found.command, outcome) {
            (
                Command::ImportMembers(lines),
                Outcome::MembersImported { lines: upto, added, existing, banned, stopped: None, .. },
            ) => {
                let before = self.taken();
                let fresh = before.fresh(lines, upto)?;
                if added != before.added {
                    return Err(format!("{added} users have joined, and {} by its records", before.added));
                }
                let passed: Vec<UserId> = fresh.iter().map(|line| line.user).collect();
                self.passed(&passed, before.told(existing, banned), found.annals, found.covered)?;
            }
            (Command::PruneMembers(_), Outcome::MembersPruned { removed, .. }) if removed as usize == self.pruned() => {
            }
            _ => return Err(format!("by its records it has come to {:?}", self.so_far)),
        }
        self.so_far = Some(outcome);
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
        let before = self.taken();
        let fresh = before.fresh(lines, upto)?;
        let joined: BTreeSet<UserId> = match batch.event.map(|event| &event.kind) {
            Some(EventKind::MembersJoined { members }) => members.iter().map(|member| member.user).collect(),
            Some(_) | None => BTreeSet::new(),
        };
        let passed: Vec<UserId> = fresh.iter().map(|line| line.user).filter(|user| !joined.contains(user)).collect();
        if passed.len() + joined.len() != fresh.len() || added as usize != before.added as usize + joined.len() {
            return Err(format!("{} lines were taken, and {} users have joined", fresh.len(), joined.len()));
        }
        self.passed(&passed, before.told(existing, banned), annals, annals.position())?;
        let upto = upto as usize;
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
        let pruned = self.pruned() + left.len();
        if removed as usize != pruned {
            return Err(format!("a prune has come to {pruned}"));
        }
        let Some(may_stay) = may_stay.filter(|_| batch.record.op.stage == Stage::Finished) else { return Ok(()) };
        let stays_while_there = !matches!(by, PruneBy::Role(_));
        let is_due = |user: &UserId| {
            let is_excused = left.contains(user) || stays_while_there && may_stay(*user);
            !is_excused
                && lives(self.begun_at, annals.position(), annals)
                    .all(|life| life.may_prune_one(batch.actor, by, *user))
        };
        match community.prunable(batch.actor, by).into_iter().find(is_due) {
            Some(user) => Err(format!("a prune is finished, and {user:?} is still there")),
            None => Ok(()),
        }
    }

    /// How many members a prune has removed.
    fn pruned(&self) -> usize {
        match self.so_far {
            Some(Outcome::MembersPruned { removed, .. }) => removed as usize,
            Some(Outcome::Applied { .. } | Outcome::MembersImported { .. }) | None => 0,
        }
    }

    /// Whether those of an import's lines who did not join were so many members and so many banned, each at some place up to this one
    /// where its line may have been taken.
    fn passed(
        &self,
        users: &[UserId],
        (members, banned): (usize, usize),
        annals: &Annals,
        through: Position,
    ) -> Result<(), String> {
        let count = |is: &dyn Fn(&Community, UserId) -> bool| {
            users.iter().filter(|user| lives(self.since, through, annals).any(|life| is(life, **user))).count()
        };
        let is_member = |life: &Community, user| life.members.contains_key(&user);
        let is_banned = |life: &Community, user| life.bans.contains_key(&user);
        let (once_members, once_banned) = (count(&is_member), count(&is_banned));
        let either = count(&|life, user| is_member(life, user) || is_banned(life, user));
        let all = users.len();
        if members + banned == all && either == all && members <= once_members && banned <= once_banned {
            return Ok(());
        }
        Err(format!(
            "of {all} lines {members} were of members and {banned} of the banned, and {once_members} and {once_banned} have been since"
        ))
    }
}

impl Taken {
    /// The lines up to this one that were not taken before.
    fn fresh(self, lines: &[NewMember], upto: u32) -> Result<&[NewMember], String> {
        lines.get(self.lines..upto as usize).ok_or_else(|| format!("it was at line {}", self.lines))
    }

    /// How many more lines are told to have been of members, and of the banned.
    fn told(self, existing: u32, banned: u32) -> (usize, usize) {
        (existing.wrapping_sub(self.existing) as usize, banned.wrapping_sub(self.banned) as usize)
    }
}

/// The guild at each place from one to another.
fn lives(from: Position, through: Position, annals: &Annals) -> impl Iterator<Item = &Community> {
    let later = annals.between(from, through).iter().map(|entry| &entry.after);
    [annals.as_of(from)].into_iter().chain(later).filter_map(|life| life.community())
}
