//! The checks: they see what was asked, what was answered, what owners let out and what sessions heard, and say which promise was
//! broken.

use std::panic::Location;

mod chronicle;
mod conduct;
mod given;
mod hearing;
mod ledger;

pub use chronicle::{Annals, Chronicle, Entry, Opening};
pub(crate) use conduct::Conduct;
pub(crate) use given::Given;
pub use hearing::{Begin, EarId, Ears, Heard, Reach};
pub(crate) use ledger::{By, Ledger, Made, Recovered, Told, Turn};

/// What Guildhall promises, as the design numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// 1: one owner acknowledges durable operations of an epoch.
    OneOwner,
    /// 2: epochs rise, and a position names one event for ever.
    Names,
    /// 3: what is acknowledged is there, once, and is not seen before it is stored.
    Durable,
    /// 4: a session hears in order, once, and is told what it has lost.
    Order,
    /// 5: a session hears nothing that its member may not see.
    Rights,
    /// 7: what waits is bounded.
    Bounds,
    /// 9: reads say at which position they are true, and are.
    Reads,
    /// 10: the past is heard by past rights.
    Past,
    /// What is asked comes to an answer, and what was for a session is heard, once nothing fails any more.
    Liveness,
    /// Nothing panics.
    Panic,
    /// Who answers for a guild had it from its coordinator, callers are sent where that has placed it, and find it there once it stays.
    Ways,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("promise {} ({promise:?}): {what}", promise.number())]
pub struct Breach {
    /// Which.
    pub promise: Promise,
    /// How.
    pub what: String,
    /// Which check of the simulation's says so.
    pub by: &'static Location<'static>,
}

impl Promise {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::OneOwner,
        Self::Names,
        Self::Durable,
        Self::Order,
        Self::Rights,
        Self::Bounds,
        Self::Reads,
        Self::Past,
        Self::Liveness,
        Self::Panic,
        Self::Ways,
    ];

    /// The number that the design gives it; those from 11 on are the simulation's own.
    pub const fn number(self) -> u8 {
        match self {
            Self::OneOwner => 1,
            Self::Names => 2,
            Self::Durable => 3,
            Self::Order => 4,
            Self::Rights => 5,
            Self::Bounds => 7,
            Self::Reads => 9,
            Self::Past => 10,
            Self::Liveness => 11,
            Self::Panic => 12,
            Self::Ways => 13,
        }
    }

    /// A breach of it, unless this holds.
    #[track_caller]
    pub(crate) fn require(self, holds: bool, what: impl FnOnce() -> String) -> Result<(), Breach> {
        // Not within a closure: the place would be that.
        if holds { Ok(()) } else { Err(self.breach(what())) }
    }

    #[track_caller]
    pub(crate) fn breach(self, what: impl Into<String>) -> Breach {
        Breach { promise: self, what: what.into(), by: Location::caller() }
    }
}
