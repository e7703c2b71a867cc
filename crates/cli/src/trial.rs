//! A large guild on trial: what it looks like, what happens in it and who may see that, how long things took, and who meddles with a delivery.
//! `demo` and `load` share it.
//!
//! What sessions must hear is worked out from this, and from nothing of Guildhall's own.

pub(crate) mod bell;
pub(crate) mod checks;
pub(crate) mod fact;
pub(crate) mod findings;
pub(crate) mod founding;
pub(crate) mod latency;
pub(crate) mod rights;
pub(crate) mod shape;
pub(crate) mod tally;
pub(crate) mod tamper;
