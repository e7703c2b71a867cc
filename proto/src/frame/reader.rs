//! Makes frames of the bytes of one lane, however they are cut.

use std::mem;

use bytes::{Buf, Bytes};

use super::{Frame, FrameError, HEADER_BYTES, Kind, Lane, check_length, sum};
use crate::Version;

/// Reads what one end of a lane sends.
#[derive(Debug)]
pub struct FrameReader {
    lane: Lane,
    version: Version,
    /// The kind of the last frame.
    last: Option<Kind>,
    /// The beginning of a frame whose end has not come.
    begun: Vec<u8>,
    /// What is wrong with the lane.
    wrong: Option<FrameError>,
}

/// What a header says, checked.
#[derive(Debug, Clone, Copy)]
struct Header {
    kind: Kind,
    /// Of the whole frame.
    bytes: usize,
}

impl FrameReader {
    /// For what comes on `lane`, under the version that was agreed. On the lane of hello, where it is not yet, any will do.
    pub const fn new(lane: Lane, version: Version) -> Self {
        Self { lane, version, last: None, begun: Vec::new(), wrong: None }
    }

    /// Takes bytes from the front of `input` up to the end of the next frame, and returns that. `None` means that `input` is used up and
    /// the frame's end has yet to come.
    ///
    /// # Errors
    /// [`FrameError`], the same one from then on.
    pub fn read(&mut self, input: &mut Bytes) -> Result<Option<Frame>, FrameError> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        self.next(input).inspect_err(|error| self.fail(*error))
    }

    /// Whether the beginning of a frame has come, and not its end.
    pub fn is_within_frame(&self) -> bool {
        !self.begun.is_empty()
    }

    /// Bytes of memory that are kept for that beginning: at most twice what has come, and no more than the frame will have.
    pub fn kept_bytes(&self) -> usize {
        self.begun.capacity()
    }

    /// To be told that the lane has ended.
    ///
    /// # Errors
    /// [`FrameError::Cut`] if something was still to come, or what was wrong before.
    pub fn end(&self) -> Result<(), FrameError> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        if self.is_within_frame() || !self.lane.may_end(self.last) {
            return Err(FrameError::Cut { lane: self.lane });
        }
        Ok(())
    }

    fn next(&mut self, input: &mut Bytes) -> Result<Option<Frame>, FrameError> {
        if !input.is_empty() && self.lane.next(self.last).is_empty() {
            return Err(FrameError::Trailing { lane: self.lane });
        }
        if !self.is_within_frame() && input.len() >= HEADER_BYTES {
            let header = self.header(input)?;
            if input.len() >= header.bytes {
                return self.frame(header, input.split_to(header.bytes)).map(Some);
            }
            self.take(input, header.bytes);
            return Ok(None);
        }
        self.take(input, HEADER_BYTES);
        if self.begun.len() < HEADER_BYTES {
            return Ok(None);
        }
        let header = self.header(&self.begun)?;
        self.take(input, header.bytes);
        if self.begun.len() < header.bytes {
            return Ok(None);
        }
        let bytes = mem::take(&mut self.begun);
        self.frame(header, bytes.into()).map(Some)
    }

    /// What the header at the front of `bytes` says.
    fn header(&self, bytes: &[u8]) -> Result<Header, FrameError> {
        let header: [u8; HEADER_BYTES] = *bytes.first_chunk().expect("as many bytes as a header has are there");
        let [_, _, _, _, l0, l1, l2, l3, number, version] = header;
        let kind = Kind::find(number).ok_or(FrameError::UnknownKind { number })?;
        if !self.lane.next(self.last).contains(&kind) {
            return Err(FrameError::Misplaced { kind, lane: self.lane });
        }
        let want = kind.version(self.version);
        if version != want {
            return Err(FrameError::WrongVersion { got: version, want });
        }
        let body = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        check_length(kind, body)?;
        Ok(Header { kind, bytes: HEADER_BYTES + body })
    }

    /// Moves bytes from the front of `input` behind those of the frame that has begun, until that has `bytes`.
    fn take(&mut self, input: &mut Bytes, bytes: usize) {
        let begun = self.begun.len();
        let taken = input.len().min(bytes.saturating_sub(begun));
        if taken == 0 {
            return;
        }
        if self.begun.capacity() < begun + taken {
            // Twice what has come, so that bytes which come one by one are not copied each time; never for more than the frame.
            let room = (2 * (begun + taken)).min(bytes);
            self.begun.reserve_exact(room - begun);
        }
        self.begun.extend_from_slice(&input[..taken]);
        input.advance(taken);
    }

    /// The frame that is these bytes.
    fn frame(&mut self, Header { kind, .. }: Header, mut bytes: Bytes) -> Result<Frame, FrameError> {
        if bytes[..4] != sum(&bytes[4..]) {
            return Err(FrameError::WrongSum { kind });
        }
        self.last = Some(kind);
        bytes.advance(HEADER_BYTES);
        Ok(Frame { kind, body: bytes })
    }

    fn fail(&mut self, error: FrameError) {
        self.wrong = Some(error);
        self.begun = Vec::new();
    }
}
