//! What a guild is made of, piece by piece.

use std::sync::Arc;

use super::next;
use crate::call::bounds::PageLimit;
use crate::call::fault::{ChunkFault, ChunkFlaw};
use crate::codec::{Decode, Encode};
use crate::limits::{BANS_MAX, CHANNELS_MAX, MEMBERS_MAX, OVERWRITES_MAX, ROLES_MAX};
use crate::{Ban, Channel, Event, GuildSettings, Member, Overwrite, Role};

/// A piece of a guild. Each fits into a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Piece {
    /// Its own record: one, and the first.
    Settings(GuildSettings),
    /// A role; they ascend by id.
    Role(Role),
    /// A channel with its overwrites, which ascend by target; channels ascend by id.
    Channel(Channel, Vec<Overwrite>),
    /// Who is kept out; they ascend by user.
    Ban(Ban),
    /// What has happened; events ascend by position.
    Event(Arc<Event>),
    /// A member; they ascend by user, where they were not asked for by nick.
    Member(Member),
}

/// Of which kind a piece is. A run has its kinds in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PieceKind {
    Settings,
    Role,
    Channel,
    Ban,
    Event,
    Member,
}

/// Which pieces a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// Settings, roles, channels.
    Show,
    /// Members, ascending.
    Members {
        /// How many at most; `None` for all.
        limit: Option<u32>,
    },
    /// Members in the order of their nicks.
    Found {
        /// How many at most.
        limit: PageLimit,
    },
    /// Settings, roles, channels, then past events up to the position of the answer, then members.
    Feed {
        /// How many events at most.
        past: u32,
    },
    /// Settings, roles, channels, bans, members.
    Export,
}

/// Reads a run of pieces.
#[derive(Debug)]
pub struct PieceRun {
    course: Course,
    /// Kind and place of the last piece.
    last: Option<(PieceKind, Place)>,
    /// Pieces of its kind.
    of_kind: u64,
    taken: u64,
}

/// The place of a piece among those of its kind.
type Place = (u64, u64);

impl Piece {
    const fn kind(&self) -> PieceKind {
        match self {
            Self::Settings(_) => PieceKind::Settings,
            Self::Role(_) => PieceKind::Role,
            Self::Channel(..) => PieceKind::Channel,
            Self::Ban(_) => PieceKind::Ban,
            Self::Event(_) => PieceKind::Event,
            Self::Member(_) => PieceKind::Member,
        }
    }

    fn place(&self) -> Place {
        match self {
            Self::Settings(_) => (0, 0),
            Self::Role(role) => (role.id.get(), 0),
            Self::Channel(channel, _) => (channel.id.get(), 0),
            Self::Ban(ban) => (ban.user.get(), 0),
            Self::Event(event) => (event.position.epoch.0, event.position.seq.0),
            Self::Member(member) => (member.user.get(), 0),
        }
    }

    /// What is wrong with what it lists, if something is.
    fn flaw(&self) -> Option<ChunkFlaw> {
        match self {
            Self::Channel(_, overwrites) if overwrites.len() > OVERWRITES_MAX => {
                Some(ChunkFlaw::TooMany { max: OVERWRITES_MAX as u32 })
            }
            Self::Channel(_, overwrites) => {
                let ascends = overwrites.is_sorted_by(|before, after| before.target < after.target);
                (!ascends).then_some(ChunkFlaw::Disordered)
            }
            Self::Member(member) => {
                let ascends = member.roles.is_sorted_by(|before, after| before < after);
                (!ascends).then_some(ChunkFlaw::Disordered)
            }
            Self::Settings(_) | Self::Role(_) | Self::Ban(_) | Self::Event(_) => None,
        }
    }
}

impl Course {
    /// The kinds that it has.
    const fn kinds(self) -> &'static [PieceKind] {
        match self {
            Self::Show => &[PieceKind::Settings, PieceKind::Role, PieceKind::Channel],
            Self::Members { .. } | Self::Found { .. } => &[PieceKind::Member],
            Self::Feed { .. } => {
                &[PieceKind::Settings, PieceKind::Role, PieceKind::Channel, PieceKind::Event, PieceKind::Member]
            }
            Self::Export => {
                &[PieceKind::Settings, PieceKind::Role, PieceKind::Channel, PieceKind::Ban, PieceKind::Member]
            }
        }
    }

    /// How many of a kind it may have.
    const fn max(self, kind: PieceKind) -> u32 {
        match (kind, self) {
            (PieceKind::Settings, _) => 1,
            (PieceKind::Role, _) => ROLES_MAX as u32,
            (PieceKind::Channel, _) => CHANNELS_MAX as u32,
            (PieceKind::Ban, _) => BANS_MAX as u32,
            (PieceKind::Event, Self::Feed { past }) => past,
            (PieceKind::Event, Self::Show | Self::Members { .. } | Self::Found { .. } | Self::Export) => 0,
            (PieceKind::Member, Self::Members { limit: Some(limit) }) => limit,
            (PieceKind::Member, Self::Found { limit }) => limit.get(),
            (PieceKind::Member, Self::Members { limit: None } | Self::Show | Self::Feed { .. } | Self::Export) => {
                MEMBERS_MAX as u32
            }
        }
    }
}

impl PieceRun {
    /// For a run of this course.
    pub const fn new(course: Course) -> Self {
        Self { course, last: None, of_kind: 0, taken: 0 }
    }

    /// Appends the pieces of the next chunk to `pieces`.
    ///
    /// # Errors
    /// [`ChunkFault`]; what is good of the chunk has been appended. The run has no place to go on from.
    pub fn take(&mut self, mut chunk: &[u8], pieces: &mut Vec<Piece>) -> Result<(), ChunkFault> {
        while let Some(piece) = next::<Piece>(&mut chunk, self.taken)? {
            self.check(&piece).map_err(|flaw| self.fault(flaw))?;
            self.taken += 1;
            pieces.push(piece);
        }
        Ok(())
    }

    /// Says that the run has ended.
    ///
    /// # Errors
    /// [`ChunkFlaw::Incomplete`] if it had to begin with the guild's settings, and did not.
    pub fn end(self) -> Result<(), ChunkFault> {
        if self.begins_with_settings() && self.taken == 0 { Err(self.fault(ChunkFlaw::Incomplete)) } else { Ok(()) }
    }

    fn check(&mut self, piece: &Piece) -> Result<(), ChunkFlaw> {
        let kind = piece.kind();
        if !self.course.kinds().contains(&kind)
            || self.taken == 0 && self.begins_with_settings() != (kind == PieceKind::Settings)
        {
            return Err(ChunkFlaw::Misplaced);
        }
        if self.last.is_none_or(|(last, _)| last != kind) {
            self.of_kind = 0;
        }
        if self.of_kind >= u64::from(self.course.max(kind)) {
            return Err(ChunkFlaw::TooMany { max: self.course.max(kind) });
        }
        let place = match self.course {
            // By nick, of which several may be equal.
            Course::Found { .. } => (self.taken, 0),
            Course::Show | Course::Members { .. } | Course::Feed { .. } | Course::Export => piece.place(),
        };
        if self.last.is_some_and(|last| last >= (kind, place)) {
            return Err(ChunkFlaw::Disordered);
        }
        if let Some(flaw) = piece.flaw() {
            return Err(flaw);
        }
        self.last = Some((kind, place));
        self.of_kind += 1;
        Ok(())
    }

    fn begins_with_settings(&self) -> bool {
        self.course.kinds().contains(&PieceKind::Settings)
    }

    const fn fault(&self, flaw: ChunkFlaw) -> ChunkFault {
        ChunkFault { at: self.taken, flaw }
    }
}

#[cfg(test)]
mod tests;
