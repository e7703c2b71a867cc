//! The lines of an import.

use super::next;
use crate::call::fault::{ChunkFault, ChunkFlaw};
use crate::limits::{BULK_MEMBERS_MAX, MEMBER_ROLES_MAX};
use crate::{Command, NewMember};

/// Gathers the lines of an import.
#[derive(Debug, Default)]
pub struct LineRun {
    lines: Vec<NewMember>,
    roles: usize,
}

impl LineRun {
    /// Adds the lines of the next chunk.
    ///
    /// # Errors
    /// [`ChunkFault`], also for more lines than one import may have, or more roles in all. The run has no place to go on from.
    pub fn take(&mut self, mut chunk: &[u8]) -> Result<(), ChunkFault> {
        while let Some(line) = next::<NewMember>(&mut chunk, self.lines.len() as u64)? {
            if self.lines.len() == BULK_MEMBERS_MAX {
                return Err(self.fault(ChunkFlaw::TooMany { max: BULK_MEMBERS_MAX as u32 }));
            }
            self.roles += line.roles.len();
            if self.roles > ROLES_MAX {
                return Err(self.fault(ChunkFlaw::TooMany { max: ROLES_MAX as u32 }));
            }
            self.lines.push(line);
        }
        Ok(())
    }

    /// The command, once the run has ended.
    pub fn command(self) -> Command {
        Command::ImportMembers(self.lines)
    }

    const fn fault(&self, flaw: ChunkFlaw) -> ChunkFault {
        ChunkFault { at: self.lines.len() as u64, flaw }
    }
}

/// Roles of all lines together: with them the command takes less than 64 MiB and can be encoded. That a single line has too many is the
/// guild's to say.
const ROLES_MAX: usize = BULK_MEMBERS_MAX * MEMBER_ROLES_MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Packer;
    use crate::{MemberFlags, Nick, RoleId, UserId, codec};

    fn line(nth: u64, roles: usize) -> NewMember {
        let id = |nth: u64| u64::MAX - 1 - nth;
        NewMember {
            user: UserId::new(id(nth)).unwrap(),
            nick: Nick::parse("ada").unwrap(),
            roles: (0..roles as u64).map(|nth| RoleId::new(id(nth)).unwrap()).collect(),
            flags: MemberFlags::NONE,
        }
    }

    fn taken(lines: impl Iterator<Item = NewMember>) -> Result<Command, ChunkFault> {
        let (mut packer, mut run) = (Packer::default(), LineRun::default());
        for line in lines {
            if let Some(chunk) = packer.push(&line).unwrap() {
                run.take(&chunk)?;
            }
        }
        packer.rest().map_or(Ok(()), |chunk| run.take(&chunk))?;
        Ok(run.command())
    }

    #[test]
    fn the_largest_import_goes_through_and_can_be_encoded_behind() {
        let lines = || (0..BULK_MEMBERS_MAX as u64).map(|nth| line(nth, MEMBER_ROLES_MAX));
        let command = taken(lines()).unwrap();
        codec::encode(&command).unwrap();
        assert_eq!(command, Command::ImportMembers(lines().collect()));
        assert_eq!(taken(std::iter::empty()).unwrap(), Command::ImportMembers(Vec::new()));
    }

    #[test]
    fn a_line_too_many_is_told_and_a_role_too_many_in_all() {
        let max = BULK_MEMBERS_MAX as u32;
        let fault = ChunkFault { at: u64::from(max), flaw: ChunkFlaw::TooMany { max } };
        assert_eq!(taken((0..=u64::from(max)).map(|nth| line(nth, 0))), Err(fault));

        // More roles a member than a guild allows: whoever gathers them needs another bound.
        let long = |nth| line(nth, 25_000);
        codec::encode(&taken((0..100).map(long)).unwrap()).unwrap();
        let fault = ChunkFault { at: 100, flaw: ChunkFlaw::TooMany { max: 2_500_000 } };
        assert_eq!(taken((0..101).map(long)), Err(fault));
    }

    #[test]
    fn a_line_that_is_cut_or_none_is_told_with_its_place() {
        let lines = codec::encode(&(line(0, 0), line(1, 3))).unwrap();
        let first = codec::encode(&line(0, 0)).unwrap().len();
        for cut in 1..lines.len() {
            let taken = LineRun::default().take(&lines[..cut]);
            let fault = ChunkFault { at: u64::from(cut > first), flaw: ChunkFlaw::Undecodable };
            assert_eq!(taken, if cut == first { Ok(()) } else { Err(fault) }, "cut at {cut}");
        }
        // A chunk holds whole lines: the rest of one does not continue it.
        let mut run = LineRun::default();
        run.take(&lines[..first + 1]).unwrap_err();
    }
}
