//! What the checkers of all commands share: marks on messages, who has heard which number, how far all have come, the verdict.
//!
//! Nothing here knows guilds, rights or relays.

mod heard;
mod progress;
mod spoken;
mod verdict;

pub(crate) use heard::{Heard, Noted};
pub(crate) use progress::{Progress, Waited};
pub(crate) use spoken::Spoken;
pub(crate) use verdict::{Verdict, peak_memory_bytes};

/// The number of what is heard: rises with the order in which it must be heard.
pub(crate) type Number = u64;
