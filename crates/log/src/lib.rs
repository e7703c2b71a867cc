//! A segmented append-only log.
#![warn(missing_docs)]

mod error;
pub mod files;
mod queue;
mod reader;
mod record;
mod repair;
mod segment;
mod survey;
mod verify;
mod window;
mod writer;

pub use error::{Damage, LogError};
pub use files::{DirFiles, MemoryFiles};
pub use queue::{Queue, QueueConfig, Refused, Taken};
pub use reader::LogReader;
pub use record::{Head, Kind, Place};
pub use repair::{Repaired, repair};
pub use survey::{Found, Torn};
pub use verify::{Verified, identify, scan, verify};
pub use writer::{Log, LogConfig, LogId};
