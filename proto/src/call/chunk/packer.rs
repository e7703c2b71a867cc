//! Fills chunks with whole values.

use crate::codec::{self, CodecError, Encode};
use crate::frame::BODY_BYTES_MAX;

/// Puts values one behind the other, and gives out the bodies of chunks, each as full as whole values make it.
#[derive(Debug, Default)]
pub struct Packer(Vec<u8>);

impl Packer {
    /// Adds a value. If it does not fit behind those before it, they come back, as the body of a chunk.
    ///
    /// # Errors
    /// [`CodecError::TooLong`] if it is longer than a chunk may be, or that it cannot be encoded; it is left out then.
    pub fn push<T: Encode>(&mut self, value: &T) -> Result<Option<Vec<u8>>, CodecError> {
        let before = self.0.len();
        let encoded = codec::encode_into(value, &mut self.0);
        self.checked(before, encoded)
    }

    /// The same for a value that is encoded already.
    ///
    /// # Errors
    /// [`CodecError::TooLong`], likewise.
    pub fn push_encoded(&mut self, parts: &[&[u8]]) -> Result<Option<Vec<u8>>, CodecError> {
        let before = self.0.len();
        parts.iter().for_each(|part| self.0.extend_from_slice(part));
        self.checked(before, Ok(()))
    }

    /// What is left for a last chunk; `None` if nothing is.
    pub fn rest(self) -> Option<Vec<u8>> {
        (!self.0.is_empty()).then_some(self.0)
    }

    fn checked(&mut self, before: usize, encoded: Result<(), CodecError>) -> Result<Option<Vec<u8>>, CodecError> {
        let bytes = self.0.len() - before;
        let checked = if bytes > BODY_BYTES_MAX { Err(CodecError::TooLong { bytes }) } else { Ok(()) };
        if let Err(error) = encoded.and(checked) {
            self.0.truncate(before);
            return Err(error);
        }
        if self.0.len() <= BODY_BYTES_MAX {
            return Ok(None);
        }
        let behind = self.0.split_off(before);
        Ok(Some(std::mem::replace(&mut self.0, behind)))
    }
}
