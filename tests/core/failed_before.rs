//! Histories that failed once, shortened: the setting, then the steps.
//!
//! They hold what they are named for as long as [`Step::of`](crate::steps::Step::of) reads numbers as it does. When that changes,
//! they are found anew: with the fault put back for a moment, the test finds them within some thousand histories.

/// A new role had a deleted one's id, and sessions that held the deleted one heard by the new one's rights.
const ROLE_BACK: (u64, &[u64]) = (
    16416794355601770210,
    &[2084591029239249814, 17441933413122830215, 3224447392413587305, 4792064859676462300, 13012527638897892720],
);

pub(crate) const FAILED_BEFORE: &[(u64, &[u64])] = &[ROLE_BACK];
