//! How much memory an entry takes.

use std::sync::Arc;

use guildhall_proto::Event;

/// What can lie in a ring: it knows about how much memory it takes.
pub trait Weigh {
    /// Bytes of memory the entry keeps alive, about: what a ring's bound in bytes counts. Asked once, when the
    /// entry is appended.
    fn weight_bytes(&self) -> usize;
}

impl Weigh for Event {
    fn weight_bytes(&self) -> usize {
        Self::weight_bytes(self)
    }
}

/// Counts the value as if the ring alone held it.
impl<T: Weigh> Weigh for Arc<T> {
    fn weight_bytes(&self) -> usize {
        T::weight_bytes(self)
    }
}
