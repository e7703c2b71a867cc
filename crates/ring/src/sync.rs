//! The primitives of the lock-free protocol, in one place, so that `loom` can stand in for them.
//!
//! A slot is written once and then read by many; a published value is replaced as a whole; the head is an atomic number.

#[cfg(loom)]
mod modelled;
#[cfg(not(loom))]
mod real;

#[cfg(loom)]
pub(crate) use modelled::{AtomicU64, Published, Slot};
#[cfg(not(loom))]
pub(crate) use real::{AtomicU64, Published, Slot};
