//! How a guild is folded and saved: when either is due, and what comes of it.
//!
//! A fold makes the next base of the members; it is due when many changed. A checkpoint is a fold whose outcome goes to the store,
//! with the structure as of its beginning; it is due when recovery would have much to replay. Most folds are none: in a large guild
//! scattered changes touch all pages, and each would be written for a few records.

use guildhall_members::Folded;
use guildhall_proto::{Event, EventKind, Seq};

use crate::effect::Effect;
use crate::guild::Guild;
use crate::snapshot::{Checkpoint, Life, StructureSeed};

/// How many changes are recorded until a checkpoint is due, beside those before sleep and at a clean end. Recovery replays as many;
/// a checkpoint writes up to the whole guild, for changes that are scattered touch all its pages.
///
/// What counts is members added and removed, and every other record as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointConfig {
    /// At least so many (default 1,024). Fewer: small guilds in use write themselves again and again. More: they replay longer, and the
    /// store keeps more records.
    pub changes_min: u64,
    /// One for so many members (default 8): with some 50 bytes a member, 400 bytes of checkpoint for a record of a few hundred.
    /// Fewer: the tails of large guilds are longer than they need be. More: their checkpoints are most of what the store writes.
    pub members_a_change: u64,
    /// At most so many (default 100,000), which are replayed in a fraction of half a second. Fewer: the largest guilds are written more
    /// often than they are worth. More: they come back late.
    pub changes_max: u64,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { changes_min: 1_024, members_a_change: 8, changes_max: 100_000 }
    }
}

impl CheckpointConfig {
    fn due_at(&self, members: usize) -> u64 {
        (members as u64 / self.members_a_change.max(1)).max(self.changes_min).min(self.changes_max).max(1)
    }
}

/// What a fold began with.
#[derive(Debug)]
pub(crate) struct Folding {
    /// Roles deleted up to here it cleans out.
    seq: Seq,
    /// The structure as of then, if a checkpoint is to be made of the fold's outcome.
    structure: Option<StructureSeed>,
}

impl Guild {
    /// Whether a fold is under way.
    pub fn is_folding(&self) -> bool {
        self.folding.is_some()
    }

    /// Tells that the store has not taken a checkpoint: what it alone would have held is not saved.
    pub fn checkpoint_refused(&mut self) {
        self.unsaved = true;
    }

    /// Whether the last checkpoint that was begun has all that happened, unless the store
    /// [refused](Self::checkpoint_refused) one since: then a guild restored from it goes on where this one is, which no records could
    /// promise, for they know nothing of messages.
    pub fn is_checkpointed(&self) -> bool {
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::SleepUnsaved.is_on() {
            return self.records == self.checkpointed;
        }
        self.records == self.checkpointed && !self.unsaved
    }

    /// Begins a checkpoint, and a fold before it if there is something to fold, though none is due. Does nothing while a fold is
    /// under way, or if the last checkpoint has all.
    pub fn checkpoint(&mut self, effects: &mut Vec<Effect>) {
        if !self.is_folding() && !self.is_checkpointed() {
            self.begin_fold(true, effects);
        }
    }

    /// Begins a fold when the overlay asks for it, and with it a checkpoint when that is worth it. The guild does so by itself behind every
    /// change; the shell calls this for one that was recovered, which may have replayed much.
    pub fn begin_fold_if_due(&mut self, effects: &mut Vec<Effect>) {
        if self.is_fold_due() {
            self.begin_fold(self.is_checkpoint_due(), effects);
        }
    }

    /// Whether [`begin_fold_if_due`](Self::begin_fold_if_due) would begin one.
    pub fn is_fold_due(&self) -> bool {
        self.folding.is_none() && (self.is_checkpoint_due() || self.members.fold_due())
    }

    fn is_checkpoint_due(&self) -> bool {
        // Of a deleted guild nothing but that is worth keeping.
        let just_deleted = matches!(self.life, Life::Deleted) && self.records > self.checkpointed;
        just_deleted || self.changes >= self.checkpoints.due_at(self.members.len())
    }

    fn begin_fold(&mut self, with_checkpoint: bool, effects: &mut Vec<Effect>) {
        let structure = with_checkpoint.then(|| {
            (self.checkpointed, self.changes, self.unsaved) = (self.records, 0, false);
            self.structure()
        });
        let folding = Folding { seq: self.position.seq, structure };
        match self.members.begin_fold() {
            None => {
                let checkpoint = folding.structure.map(|structure| Checkpoint { structure, base: self.members.base() });
                effects.extend(checkpoint.map(Effect::Checkpoint));
            }
            Some(job) if self.members.folds_inline() => self.install(job.run(), folding, effects),
            Some(job) => {
                self.folding = Some(Box::new(folding));
                effects.push(Effect::Fold(job));
            }
        }
    }

    pub(crate) fn fold_done(&mut self, folded: Folded, effects: &mut Vec<Effect>) {
        match self.folding.take() {
            Some(folding) => self.install(folded, *folding, effects),
            // The guild was deleted while the fold ran.
            None => effects.push(Effect::Discard(Box::new(folded))),
        }
    }

    fn install(&mut self, folded: Folded, folding: Folding, effects: &mut Vec<Effect>) {
        #[cfg(feature = "defects")]
        let folding = if guildhall_proto::Defect::StructureTooLate.is_on() {
            Folding { structure: folding.structure.map(|_| self.structure()), ..folding }
        } else {
            folding
        };
        let base = folded.base();
        if folded.cleans_roles() {
            self.cleaned = folding.seq;
        }
        let superseded = self.members.install(folded);
        effects.push(Effect::Discard(Box::new(superseded)));
        effects.extend(folding.structure.map(|structure| Effect::Checkpoint(Checkpoint { structure, base })));
    }

    fn structure(&self) -> StructureSeed {
        StructureSeed {
            position: self.position,
            records: self.records,
            clock: self.clock,
            departed: self.departed,
            standing: self.life.clone(),
            bans: self.members.bans().clone(),
            operations: self.operations.clone(),
        }
    }

    /// Recovery has no worker, and nobody reads while it runs: it folds where it stands, seldom, and at other moments than the owner did. A
    /// role that comes back was cleaned out of all members then, so it has to be now.
    pub(crate) fn fold_before_recovering(&mut self, next: &EventKind) {
        let comes_back = matches!(next, EventKind::RoleCreated { role } if self.members.is_masked(role.id));
        if (comes_back || self.members.fold_due_in_recovery())
            && let Some(job) = self.members.begin_fold()
        {
            let folded = job.run();
            drop(self.members.install(folded));
        }
    }
}

/// What a record adds to what recovery replays.
pub(crate) fn changes_of(event: Option<&Event>) -> u64 {
    let members = match event.map(|event| &event.kind) {
        Some(EventKind::MembersJoined { members }) => members.len(),
        Some(EventKind::MembersLeft { users }) => users.len(),
        Some(
            EventKind::GuildCreated { .. }
            | EventKind::GuildUpdated { .. }
            | EventKind::GuildDeleted
            | EventKind::RoleCreated { .. }
            | EventKind::RoleUpdated { .. }
            | EventKind::RoleDeleted { .. }
            | EventKind::RolesReordered { .. }
            | EventKind::ChannelCreated { .. }
            | EventKind::ChannelUpdated { .. }
            | EventKind::ChannelDeleted { .. }
            | EventKind::ChannelsReordered { .. }
            | EventKind::OverwriteChanged { .. }
            | EventKind::MemberJoined { .. }
            | EventKind::MemberUpdated { .. }
            | EventKind::MemberLeft { .. }
            | EventKind::MessagePublished(_)
            | EventKind::UserBanned { .. }
            | EventKind::UserUnbanned { .. },
        )
        | None => 1,
    };
    members.max(1) as u64
}
