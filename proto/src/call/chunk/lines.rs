//! The lines of an import.

use super::next;
use crate::call::fault::{ChunkFault, ChunkFlaw};
use crate::limits::{BULK_MEMBERS_MAX, ENCODED_BYTES_MAX};
use crate::{Command, NewMember};

/// Gathers the lines of an import.
#[derive(Debug, Default)]
pub struct LineRun {
    lines: Vec<NewMember>,
    bytes: usize,
}

impl LineRun {
    /// Adds the lines of the next chunk.
    ///
    /// # Errors
    /// [`ChunkFault`], also for more lines or bytes than one import may have. The run has no place to go on from.
    pub fn take(&mut self, mut chunk: &[u8]) -> Result<(), ChunkFault> {
        if chunk.len() > LINES_BYTES_MAX - self.bytes {
            return Err(self.fault(ChunkFlaw::TooLong { max: LINES_BYTES_MAX as u32 }));
        }
        self.bytes += chunk.len();
        while let Some(line) = next(&mut chunk, self.lines.len() as u64)? {
            if self.lines.len() == BULK_MEMBERS_MAX {
                return Err(self.fault(ChunkFlaw::TooMany { max: BULK_MEMBERS_MAX as u32 }));
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

/// Bytes of all lines: with them the command can be encoded, which its fingerprint needs.
const LINES_BYTES_MAX: usize = ENCODED_BYTES_MAX - 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Packer;
    use crate::limits::MEMBER_ROLES_MAX;
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
    fn a_line_too_many_is_told_and_a_byte_too_many_before_it_is_read() {
        let max = BULK_MEMBERS_MAX as u32;
        let fault = ChunkFault { at: u64::from(max), flaw: ChunkFlaw::TooMany { max } };
        assert_eq!(taken((0..=u64::from(max)).map(|nth| line(nth, 0))), Err(fault));

        // More roles a member than a guild allows, which is the guild's to refuse: whoever gathers them needs another bound.
        let long = |nth| line(nth, 20_000);
        let fits = (LINES_BYTES_MAX / codec::encode(&long(0)).unwrap().len()) as u64;
        codec::encode(&taken((0..fits).map(long)).unwrap()).unwrap();
        let fault = taken((0..=fits).map(long)).unwrap_err();
        assert_eq!(fault.flaw, ChunkFlaw::TooLong { max: LINES_BYTES_MAX as u32 });
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
