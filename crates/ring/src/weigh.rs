//! How much memory an entry takes.

use std::sync::Arc;

use guildhall_proto::{Ephemeral, Event};

/// What can lie in a ring or a keep-latest map: it knows about how much memory it takes.
pub trait Weigh {
    /// Bytes of memory the entry keeps alive, about: what a bound in bytes counts. Asked once, when the entry is
    /// appended or put.
    fn weight_bytes(&self) -> usize;
}

impl Weigh for Event {
    fn weight_bytes(&self) -> usize {
        Self::weight_bytes(self)
    }
}

impl Weigh for Ephemeral {
    fn weight_bytes(&self) -> usize {
        size_of::<Self>()
    }
}

/// Counts the value as if the ring alone held it.
impl<T: Weigh> Weigh for Arc<T> {
    fn weight_bytes(&self) -> usize {
        T::weight_bytes(self)
    }
}
