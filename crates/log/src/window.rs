//! Reads of a file in order, through a buffer.

use std::io;

use crate::files::File;

/// A stretch of a file in memory, moved along as it is asked for.
///
/// Who reads on gets it in pieces of up to [`STEP_MAX_BYTES`]; who leaps, in pieces little longer than asked for.
pub(crate) struct Window<'f> {
    file: &'f dyn File,
    /// Where the file is not read beyond.
    limit: u64,
    from: u64,
    bytes: Vec<u8>,
    step_bytes: usize,
}

impl<'f> Window<'f> {
    /// A window on the bytes before `limit`, which the file is known to have.
    pub(crate) fn new(file: &'f dyn File, limit: u64) -> Self {
        Self { file, limit, from: 0, bytes: Vec::new(), step_bytes: STEP_MIN_BYTES }
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// The bytes at `offset`, or `None` if they do not all lie before the limit.
    pub(crate) fn bytes(&mut self, offset: u64, len: u64) -> io::Result<Option<&[u8]>> {
        let Some(end) = offset.checked_add(len).filter(|end| *end <= self.limit) else {
            return Ok(None);
        };
        let read_end = self.from + self.bytes.len() as u64;
        if offset < self.from || end > read_end {
            let leaps = offset < self.from || offset > read_end;
            self.step_bytes = if leaps { STEP_MIN_BYTES } else { (self.step_bytes * 2).min(STEP_MAX_BYTES) };
            self.fill(offset, len)?;
        }
        let at = index(offset - self.from);
        Ok(Some(&self.bytes[at..at + index(len)]))
    }

    /// As [`bytes`](Self::bytes), of a length known when compiled.
    pub(crate) fn array<const N: usize>(&mut self, offset: u64) -> io::Result<Option<&[u8; N]>> {
        Ok(self.bytes(offset, N as u64)?.and_then(|bytes| bytes.first_chunk()))
    }

    /// Where the last byte that is not zero ends, from `offset` to the limit.
    pub(crate) fn used_end(&mut self, offset: u64) -> io::Result<Option<u64>> {
        let (mut at, mut end) = (offset, None);
        while at < self.limit {
            let len = (STEP_MAX_BYTES as u64).min(self.limit - at);
            let bytes = self.bytes(at, len)?.unwrap_or_default();
            // Compared in blocks, for nearly all of it is zeros.
            let used = bytes.chunks(BLOCK).enumerate().rfind(|(_, block)| **block != ZEROS[..block.len()]);
            if let Some((n, block)) = used {
                let last = block.iter().rposition(|byte| *byte != 0).unwrap_or_default();
                end = Some(at + (n * BLOCK + last) as u64 + 1);
            }
            at += len;
        }
        Ok(end)
    }

    fn fill(&mut self, offset: u64, len: u64) -> io::Result<()> {
        let wanted = len.max(self.step_bytes as u64).min(self.limit - offset);
        self.bytes.clear();
        self.bytes.resize(index(wanted), 0);
        self.from = offset;
        read_exact(self.file, &mut self.bytes, offset)
    }
}

/// Fills the buffer.
///
/// # Errors
/// [`io::ErrorKind::UnexpectedEof`] if the file ends before.
pub(crate) fn read_exact(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => done += n,
        }
    }
    Ok(())
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a window is no longer than the room of its buffer")
}

const BLOCK: usize = 4096;
static ZEROS: [u8; BLOCK] = [0; BLOCK];

const STEP_MIN_BYTES: usize = 4 * 1024;
/// Enough that a call costs little beside what it reads.
const STEP_MAX_BYTES: usize = 256 * 1024;
