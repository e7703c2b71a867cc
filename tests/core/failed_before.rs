//! Histories that failed once, shortened: the setting, then the steps.
//!
//! They hold what they are named for as long as [`Step::of`](crate::steps::Step::of) reads numbers as it does. When that changes,
//! they are found anew: with the fault put back for a moment, the test finds them within some thousand histories.

/// A new role had a deleted one's id, and sessions that held the deleted one heard by the new one's rights.
const ROLE_BACK: (u64, &[u64]) = (
    9952905142561090442,
    &[
        16936159893591592004,
        16148651167570701697,
        17629829928506748100,
        6191597877573955009,
        8249071146688672009,
        18088741758712246707,
        10574595640961007205,
        7529282471630527728,
    ],
);

pub(crate) const FAILED_BEFORE: &[(u64, &[u64])] = &[ROLE_BACK];
