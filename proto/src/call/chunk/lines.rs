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
