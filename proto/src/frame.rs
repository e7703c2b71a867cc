//! Frames: the units in which encoded values cross a link, each with a header that says how long it is, of which kind and version, and
//! bears a sum of all that.
//!
//! A link has several ordered streams, its **lanes**; which kinds a lane carries, and in which order, is a table ([`Lane`]). Here is all that
//! can be decided without a socket: [`append`] writes a frame, and a [`FrameReader`], one for each lane, makes frames of bytes however they
//! are cut. A frame's body stays bytes: [`crate::codec`] decodes it.
//!
//! Invariants:
//! - a length is compared with its kind's cap before anything is allocated for it, and memory grows with the bytes that have come, not with
//!   those that were claimed;
//! - a reader keeps no more than the beginning of one frame;
//! - whatever is wrong with a lane's bytes is one [`FrameError`], after which that lane has no place to go on from.
//!
//! ```
//! use bytes::Bytes;
//! use guildhall_proto::frame::{self, FrameReader, Kind, Lane, Side};
//! use guildhall_proto::Version;
//!
//! let version = Version::new(1).expect("not 0");
//! let mut sent = Vec::new();
//! frame::append(Kind::Request, version, b"who is here?", &mut sent)?;
//!
//! let mut reader = FrameReader::new(Lane::Call(Side::Opener), version);
//! let mut came = Bytes::from(sent);
//! let mut rest = came.split_off(7); // The network cuts where it likes.
//! assert_eq!(reader.read(&mut came)?, None);
//! let request = reader.read(&mut rest)?.expect("the rest has come");
//! assert_eq!((request.kind, &request.body[..]), (Kind::Request, &b"who is here?"[..]));
//! reader.end()?;
//! # Ok::<(), guildhall_proto::frame::FrameError>(())
//! ```

mod kind;
mod reader;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::Version;
use crate::codec::{self, CodecError, Encode};

pub use kind::{Kind, Lane, Side};
pub use reader::FrameReader;

/// Bytes ahead of a frame's body: the sum, the body's length, the kind, the version.
pub const HEADER_BYTES: usize = 4 + COVERED_BYTES;

/// The most that the body of any frame may take. Each request, answer and event fits, but for an import, whose lines travel as chunks;
/// what is longer than this is cut into several chunks.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// One frame, read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// Its content. If it came in one piece, this is a part of the memory in which that lies, of perhaps much else: to keep it for long, copy it.
    pub body: Bytes,
}

/// What is wrong with the bytes of a lane. None of it can be mended: whoever reads it ends that lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No kind has this number.
    #[error("a frame of the unknown kind {number}")]
    UnknownKind {
        /// The number.
        number: u8,
    },
    /// The kind does not belong there: on another lane, from the other end, or not behind what came before.
    #[error("a frame of kind {kind:?} does not belong on {lane:?} there")]
    Misplaced {
        /// Of which kind the frame is.
        kind: Kind,
        /// Where it came.
        lane: Lane,
    },
    /// The body is of another version than was agreed.
    #[error("a frame of version {got}, where {want} was agreed")]
    WrongVersion {
        /// The frame's.
        got: u8,
        /// The lane's; 0 for hello and its answer.
        want: u8,
    },
    /// The body is empty, and this kind's may not be.
    #[error("a frame of kind {kind:?} without a body")]
    Empty {
        /// Of which kind.
        kind: Kind,
    },
    /// The body is, or is said to be, longer than this kind's may be.
    #[error("a frame of kind {kind:?} with {bytes} bytes; at most {max} are allowed", max = kind.bytes_max())]
    TooLong {
        /// Of which kind.
        kind: Kind,
        /// Bytes of the body.
        bytes: usize,
    },
    /// The frame is not what was sent.
    #[error("a frame of kind {kind:?} whose sum is wrong")]
    WrongSum {
        /// As which kind it came.
        kind: Kind,
    },
    /// Bytes follow behind the last frame that this lane may carry.
    #[error("bytes behind the last frame of {lane:?}")]
    Trailing {
        /// Where.
        lane: Lane,
    },
    /// The lane has ended within a frame, or where another had to follow.
    #[error("{lane:?} ended where more had to come")]
    Cut {
        /// Which.
        lane: Lane,
    },
}

impl FrameError {
    /// A stable name of what is wrong, for a counter.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::UnknownKind { .. } => "unknown_kind",
            Self::Misplaced { .. } => "misplaced",
            Self::WrongVersion { .. } => "wrong_version",
            Self::Empty { .. } => "empty",
            Self::TooLong { .. } => "too_long",
            Self::WrongSum { .. } => "wrong_sum",
            Self::Trailing { .. } => "trailing",
            Self::Cut { .. } => "cut",
        }
    }
}

/// Why a value did not become a frame.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The encoded value is no body of this kind.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The value cannot be encoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Appends a frame with this body to `buffer`. Hello and its answer are of no version: theirs is not looked at.
///
/// # Errors
/// [`FrameError::Empty`] or [`FrameError::TooLong`], with `buffer` as it was.
pub fn append(kind: Kind, version: Version, body: &[u8], buffer: &mut Vec<u8>) -> Result<(), FrameError> {
    check_length(kind, body.len())?;
    buffer.reserve(HEADER_BYTES + body.len());
    let start = begin(buffer);
    buffer.extend_from_slice(body);
    complete(kind, version, start, buffer);
    Ok(())
}

/// Appends a frame with the encoded `value` as its body: the same without a copy.
///
/// # Errors
/// As [`append`], or the codec's; `buffer` is as it was.
pub fn append_value<T: Encode>(
    kind: Kind,
    version: Version,
    value: &T,
    buffer: &mut Vec<u8>,
) -> Result<(), AppendError> {
    let start = begin(buffer);
    let encoded = codec::encode_into(value, buffer).map_err(AppendError::from);
    let checked = encoded.and_then(|()| Ok(check_length(kind, buffer.len() - start - HEADER_BYTES)?));
    match checked {
        Ok(()) => complete(kind, version, start, buffer),
        Err(_) => buffer.truncate(start),
    }
    checked
}

/// Leaves room for a header and says where it begins.
fn begin(buffer: &mut Vec<u8>) -> usize {
    let start = buffer.len();
    buffer.resize(start + HEADER_BYTES, 0);
    start
}

/// Writes the header of the frame whose body reaches from there to the end.
fn complete(kind: Kind, version: Version, start: usize, buffer: &mut [u8]) {
    let frame = &mut buffer[start..];
    let length = u32::try_from(frame.len() - HEADER_BYTES).expect("a body is at most its kind's cap long");
    frame[4..8].copy_from_slice(&length.to_le_bytes());
    frame[8] = kind.number();
    frame[9] = kind.version(version);
    let sum = sum(&frame[4..]);
    frame[..4].copy_from_slice(&sum);
}

fn check_length(kind: Kind, bytes: usize) -> Result<(), FrameError> {
    if bytes > kind.bytes_max() {
        return Err(FrameError::TooLong { kind, bytes });
    }
    if bytes < kind.bytes_min() {
        return Err(FrameError::Empty { kind });
    }
    Ok(())
}

/// The sum of a frame: of all that stands behind it, so it is one pass over bytes that lie together. TLS guards the way between two
/// processes; what this is to find are frames that were cut, mixed up or overwritten on either side of it, for which 32 bits do.
fn sum(covered: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = xxh3_64(covered).to_le_bytes();
    [a, b, c, d]
}

/// Bytes of a header behind its sum.
const COVERED_BYTES: usize = 4 + 1 + 1;

#[cfg(test)]
mod tests;
