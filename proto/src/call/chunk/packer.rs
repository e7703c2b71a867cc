//! Fills chunks with whole values.

use std::mem;

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
        Ok(Some(mem::replace(&mut self.0, behind)))
    }

    /// What is left for a last chunk; `None` if nothing is.
    pub fn rest(self) -> Option<Vec<u8>> {
        (!self.0.is_empty()).then_some(self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::Payload;

    fn payload(bytes: usize) -> Payload {
        Payload::new(vec![7; bytes]).unwrap()
    }

    #[test]
    fn a_chunk_is_filled_to_its_last_byte() {
        let mut packer = Packer::default();
        // Three bytes of a length above 250, and the payload.
        let quarter = payload(BODY_BYTES_MAX / 4 - 3);
        for _ in 0..4 {
            assert_eq!(packer.push(&quarter).unwrap(), None);
        }
        let full = packer.push(&payload(1)).unwrap().unwrap();
        assert_eq!((full.len(), packer.rest().unwrap().len()), (BODY_BYTES_MAX, 2));
    }

    #[test]
    fn what_is_too_long_for_a_chunk_is_left_out() {
        let mut packer = Packer::default();
        assert_eq!(packer.push(&payload(1)).unwrap(), None);
        let long = vec![0_u8; BODY_BYTES_MAX];
        assert!(matches!(packer.push(&long), Err(CodecError::TooLong { .. })));
        assert_eq!(packer.push(&9_u8).unwrap(), None);
        assert_eq!(packer.rest().unwrap(), [1, 7, 9]);
        assert_eq!(Packer::default().rest(), None);
    }

    proptest! {
        #[test]
        fn chunks_hold_whole_values_in_order_and_the_next_would_not_fit(sizes in vec(0_usize..60_000, 0..40)) {
            let mut packer = Packer::default();
            let mut chunks = Vec::new();
            for size in &sizes {
                chunks.extend(packer.push(&payload(*size)).unwrap());
            }
            chunks.extend(packer.rest());
            let mut read = Vec::new();
            let mut firsts = Vec::new();
            for chunk in &chunks {
                let mut left = &chunk[..];
                prop_assert!(!left.is_empty() && left.len() <= BODY_BYTES_MAX);
                firsts.push(read.len());
                while !left.is_empty() {
                    read.push(codec::decode_next::<Payload>(&mut left).unwrap().bytes().len());
                }
            }
            prop_assert_eq!(&read, &sizes);
            for (chunk, next) in chunks.iter().zip(firsts.iter().skip(1)) {
                let next = codec::encode(&payload(sizes[*next])).unwrap();
                prop_assert!(chunk.len() + next.len() > BODY_BYTES_MAX);
            }
        }
    }
}
