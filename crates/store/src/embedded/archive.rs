//! What a backup is written as: a title, and frames.
//!
//! A frame is a kind (8 bits), a length (32 bits), so many bytes, and a sum (64 bits) over all that and over the sum of the frame before: a frame
//! that is changed, missing, doubled or in another place shows. The last one says that it is the last. All numbers are
//! little-endian.

use std::io::{self, Read, Write};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::bytes::Malformed;

const TITLE: &[u8] = b"guildhall backup, format ";
const FORMAT_LINE: &[u8] = b"1\n";
/// A frame holds a part or a chunk: no more than what a segment of a log takes.
const FRAME_BYTES_MAX: u32 = 1024 * 1024 * 1024;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    Head,
    Guild,
    Part,
    Chunk,
    /// A guild that was damaged, and is not in the archive.
    LeftOut,
    End,
}

/// Why something is no archive, or not a whole one.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It begins as no archive does.
    #[error("it is no backup of Guildhall")]
    Title,
    /// It was written in another format.
    #[error("the backup is of another format than 1")]
    Format,
    /// It is cut short or changed.
    #[error("frame {frame}, at byte {offset}: {what}")]
    Damaged {
        /// Which frame, counted from 1.
        frame: u64,
        /// Where it begins.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
    /// It cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes frames.
pub(crate) struct FrameWriter<'w> {
    archive: &'w mut dyn Write,
    sum: u64,
    pub(crate) bytes: u64,
}

impl<'w> FrameWriter<'w> {
    pub(crate) fn begin(archive: &'w mut dyn Write) -> io::Result<Self> {
        archive.write_all(TITLE)?;
        archive.write_all(FORMAT_LINE)?;
        let bytes = (TITLE.len() + FORMAT_LINE.len()) as u64;
        Ok(Self { archive, sum: xxh3_64(TITLE), bytes })
    }

    pub(crate) fn frame(&mut self, frame: Frame, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len()).ok().filter(|length| *length <= FRAME_BYTES_MAX);
        let length = length.ok_or_else(|| io::Error::other("a frame is longer than any part is"))?;
        self.sum = sum(self.sum, frame.code(), length, body);
        self.archive.write_all(&[frame.code()])?;
        self.archive.write_all(&length.to_le_bytes())?;
        self.archive.write_all(body)?;
        self.archive.write_all(&self.sum.to_le_bytes())?;
        self.bytes += FRAME_HEAD_BYTES + u64::from(length) + SUM_BYTES;
        Ok(())
    }
}

/// Reads frames, of which it trusts none.
pub(crate) struct FrameReader<'r> {
    archive: &'r mut dyn Read,
    sum: u64,
    frames: u64,
    offset: u64,
    /// Where the frame that was read last begins.
    begin: u64,
}

impl<'r> FrameReader<'r> {
    pub(crate) fn begin(archive: &'r mut dyn Read) -> Result<Self, ArchiveError> {
        let mut title = vec![0; TITLE.len()];
        archive.read_exact(&mut title).map_err(|error| or_cut(error, ArchiveError::Title))?;
        if title != TITLE {
            return Err(ArchiveError::Title);
        }
        let mut format = [0; FORMAT_LINE.len()];
        archive.read_exact(&mut format).map_err(|error| or_cut(error, ArchiveError::Format))?;
        if format != FORMAT_LINE {
            return Err(ArchiveError::Format);
        }
        let offset = (TITLE.len() + FORMAT_LINE.len()) as u64;
        Ok(Self { archive, sum: xxh3_64(TITLE), frames: 0, offset, begin: offset })
    }

    /// The next frame. What it claims to be long is taken from the disk, not from the memory, before it is believed.
    pub(crate) fn frame(&mut self) -> Result<(Frame, Vec<u8>), ArchiveError> {
        self.frames += 1;
        self.begin = self.offset;
        let mut head = [0; FRAME_HEAD_BYTES as usize];
        self.archive.read_exact(&mut head).map_err(|error| or_cut(error, self.damaged("it is cut short")))?;
        let [code, length @ ..] = head;
        let length = u32::from_le_bytes(length);
        if length > FRAME_BYTES_MAX {
            return Err(self.damaged("it is longer than any frame"));
        }
        let mut body = Vec::new();
        self.archive.take(u64::from(length)).read_to_end(&mut body)?;
        if body.len() != length as usize {
            return Err(self.damaged("it is cut short"));
        }
        let mut found = [0; SUM_BYTES as usize];
        self.archive.read_exact(&mut found).map_err(|error| or_cut(error, self.damaged("it is cut short")))?;
        self.sum = sum(self.sum, code, length, &body);
        if u64::from_le_bytes(found) != self.sum {
            return Err(self.damaged("its sum does not match, or it does not belong here"));
        }
        let frame = Frame::from_code(code).map_err(|error| self.damaged(error))?;
        self.offset += FRAME_HEAD_BYTES + u64::from(length) + SUM_BYTES;
        Ok((frame, body))
    }

    /// That nothing follows; how many bytes there were.
    pub(crate) fn end(self) -> Result<u64, ArchiveError> {
        let mut byte = [0];
        match self.archive.read(&mut byte)? {
            0 => Ok(self.offset),
            _ => Err(self.damaged("something follows the end")),
        }
    }

    /// Something is wrong with the frame that was read last.
    pub(crate) fn damaged(&self, what: impl ToString) -> ArchiveError {
        ArchiveError::Damaged { frame: self.frames, offset: self.begin, what: what.to_string() }
    }
}

impl Frame {
    fn code(self) -> u8 {
        match self {
            Self::Head => 1,
            Self::Guild => 2,
            Self::Part => 3,
            Self::Chunk => 4,
            Self::End => 5,
            Self::LeftOut => 6,
        }
    }

    fn from_code(code: u8) -> Result<Self, Malformed> {
        match code {
            1 => Ok(Self::Head),
            2 => Ok(Self::Guild),
            3 => Ok(Self::Part),
            4 => Ok(Self::Chunk),
            5 => Ok(Self::End),
            6 => Ok(Self::LeftOut),
            _ => Err(Malformed("its kind is none of an archive's")),
        }
    }
}

fn sum(before: u64, code: u8, length: u32, body: &[u8]) -> u64 {
    let mut sum = Xxh3::with_seed(before);
    sum.update(&[code]);
    sum.update(&length.to_le_bytes());
    sum.update(body);
    sum.digest()
}

fn or_cut(error: io::Error, cut: ArchiveError) -> ArchiveError {
    if error.kind() == io::ErrorKind::UnexpectedEof { cut } else { error.into() }
}

const FRAME_HEAD_BYTES: u64 = 5;
const SUM_BYTES: u64 = 8;
