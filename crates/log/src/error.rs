//! What can be wrong with a log.

use std::fmt;
use std::io;

use rustix::io::Errno;

/// Why a log could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Bytes that were synced are not what was written. Nothing but an operator can decide how to go on: see [`repair`](crate::repair).
    #[error("{file}: record {record} at offset {offset} is corrupt: {what}")]
    Corrupt {
        /// The segment's file.
        file: String,
        /// Which record of this file, counted from 1, those of the log itself included; 0 for the file's header.
        record: u64,
        /// Where it begins, in bytes.
        offset: u64,
        /// What is wrong.
        what: Damage,
    },
    /// A file that must be there is not.
    #[error("{file} is missing")]
    Missing {
        /// Its name.
        file: String,
    },
    /// A whole file that belongs to another log, or to another place in this one.
    #[error("{file} belongs to another log or another place")]
    Foreign {
        /// Its name.
        file: String,
    },
    /// Written in a format that this version does not read.
    #[error("{file} is written in format {found}, this version reads {}", crate::segment::FORMAT)]
    Format {
        /// Its name.
        file: String,
        /// The format it names.
        found: u32,
    },
    /// There is a log already where one was to be made.
    #[error("there is a log already: {file}")]
    Exists {
        /// A file of it.
        file: String,
    },
    /// The batch begins the next segment, and the pending group ends in this one. Nothing is changed: [commit](crate::Log::commit), then
    /// push it again.
    #[error("the pending group must be committed first")]
    CommitFirst,
    /// The disk has no room for it. What was pending is dropped, the log is as before, and goes on when there is room.
    #[error("no room is left for the log")]
    Full,
    /// The batch is longer than a segment can ever take. Nothing is changed.
    #[error("a batch of {bytes} bytes is longer than the {limit} that a segment takes")]
    TooLarge {
        /// As it would lie in the log.
        bytes: u64,
        /// What a segment takes.
        limit: u64,
    },
    /// An earlier write or sync failed, so nothing is known of what is on the disk. The log must be opened again.
    #[error("the log is closed since an earlier failure: {why}")]
    Poisoned {
        /// That failure.
        why: String,
    },
    /// The operating system refused.
    #[error("{file}: cannot {doing}: {source}")]
    Io {
        /// The file, or `.` for the directory.
        file: String,
        /// What was tried.
        doing: &'static str,
        /// Its answer.
        source: io::Error,
    },
}

impl LogError {
    pub(crate) fn io(file: impl Into<String>, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |source| {
            if source.kind() == io::ErrorKind::NotFound {
                Self::Missing { file }
            } else {
                Self::Io { file, doing, source }
            }
        }
    }

    /// As [`io`](Self::io), where a lack of room is an answer.
    pub(crate) fn write(file: impl Into<String>, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let other = Self::io(file, doing);
        move |source| if is_full(&source) { Self::Full } else { other(source) }
    }
}

/// A disk without room, an owner of files without leave to take more, or a process or system that may open no more: nothing is in
/// doubt, and it may be otherwise in a moment.
pub(crate) fn is_full(error: &io::Error) -> bool {
    let may_open_none = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory)
        || may_open_none.contains(&error.raw_os_error())
}

/// What is wrong with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A segment's header is not what was written.
    Header,
    /// A file is shorter than what was written to it; for the last one: or what followed it is missing.
    Short,
    /// A record's head is not what was written there.
    Head,
    /// A record's payload is not what was written there.
    Body,
    /// A batch has no end.
    Batch,
    /// The records do not end where the segment does.
    End,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "the segment's header does not match its sum",
            Self::Short => "the file is shorter than it was, or what followed it is missing",
            Self::Head => "the record's head does not match its sum",
            Self::Body => "the record's payload does not match its sum",
            Self::Batch => "the batch that it belongs to has no end",
            Self::End => "the segment does not end with it",
        })
    }
}
