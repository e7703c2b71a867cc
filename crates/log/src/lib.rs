//! A segmented append-only log: batches whole or not at all, many to one sync, torn ends cut off, corruption told.
//!
//! A [`Log`] is one directory of segments with one writer; any number of threads read records by their [`Place`] through its
//! [`LogReader`], also while it is written. A **batch** is what one caller appends: all of its records are kept or none. A **group** is what one
//! commit stores: any number of batches, one write, one sync. [`Queue`] gathers groups from many threads.
//!
//! ```
//! use std::sync::Arc;
//!
//! use guildhall_log::{Head, Kind, Log, LogConfig, LogId, MemoryFiles};
//!
//! const MEMO: Kind = Kind::new(1).expect("it is not zero");
//! let (files, id, config) = (Arc::new(MemoryFiles::default()), LogId(7), LogConfig::default());
//!
//! let mut log = Log::create(files.clone(), id, config)?;
//! let mut places = Vec::new();
//! let head = |seq| Head { kind: MEMO, guild: 1, epoch: 1, seq };
//! log.push(&[(head(1), b"two records,"), (head(2), b"one batch")], &mut places)?;
//! log.push(&[(head(3), b"another, in the same group")], &mut places)?;
//! log.commit()?; // Now all three are stored, and those who wait may be told. Then the next segment is made, if need be.
//! log.ensure_spare()?;
//! assert_eq!(log.reader().read(places[1])?, b"one batch");
//!
//! // The power goes in the middle of a group: nobody was told of it.
//! log.push(&[(head(4), b"lost")], &mut places)?;
//! drop(log);
//! files.power_cut(1, 512);
//! let mut seqs = Vec::new();
//! let (log, found) = Log::open(files, id, config, |_| false, |_place, head, _payload| seqs.push(head.seq))?;
//! assert_eq!((seqs, found.torn), (vec![1, 2, 3], None));
//! # Ok::<(), guildhall_log::LogError>(())
//! ```
//!
//! The log knows nothing of what it keeps: guild, epoch and seq are numbers that it hands back. It starts no thread and has no
//! runtime; [`Log::open`], [`Log::commit`], [`LogReader::read`] and whatever else says so waits for the disk where it is called. It is not
//! for more than one process at a time: whoever opens a log holds a lock on its directory.
//!
//! # What lies on the disk
//!
//! Segments, `000000000001.log` and on, each taken from the disk in full when it is made, so that a write never lacks room, and cut to what
//! is in it once it has a successor; and `spare.log`, the next one. A segment has a header (its log, its number, its length, **where the
//! segment before it ends**, the lowest segment that is live) and then records. A record has a head with a sum of its own and a payload
//! with another, both seeded with the log's id, the segment's number and the offset: bytes of another file, place or log are never
//! taken for good. After each sync a **mark** is written, a record of the log's own; it is on its way to the disk when those who wait
//! are told, and synced with the next group.
//!
//! # Why what is found after a crash is right
//!
//! Two orders are kept. A mark is written only after all before it was synced. A header is written only after all of the segment before
//! it, up to the end that the header tells, was synced, and after the file's name was; and behind a header nothing is written before it
//! is synced, and the segment before is cut to its end and that synced too.
//!
//! So whatever lies before a mark, or in a segment that has a successor, was synced: if it is bad, the disk or somebody has changed
//! it, which is **corruption** ([`LogError::Corrupt`], with file, record and offset). What lies behind the last mark of the last segment may be
//! the group that was being written: whole batches there are taken, up to the first that is not, and the rest is a **torn tail**
//! ([`Torn`]). Of the batches taken some may never have been told of, but all that were told of are among them, for they were synced.
//! To tell the two apart, a bad record is followed by a search for a mark, at each place where one may lie.
//!
//! What is taken is written and synced once more before anything else, since a process may have ended after a failed sync, which leaves
//! readers bytes that are not on the disk; then it is marked. A torn tail is not overwritten, for of what is written over it a part might
//! not reach the disk, and old bytes would stand behind new ones: the log goes on in the next segment, whose header tells where this one
//! ends, so nothing behind that is ever read again. If there is no room for a next segment, the log is readable, [`Log::push`] is
//! [`LogError::Full`], and the next open finds the same as this one. Where the last segment is followed by nothing but zeros, it goes
//! on.
//!
//! A last segment without a whole header is what a crash in the middle of a rotation leaves, if there are only zeros behind it and the
//! segment before it is not yet cut; otherwise it is corruption. A last segment that has been cut lacks its successor: that is corruption
//! too. So no file can vanish unnoticed. Truncation writes down which segment is now the oldest, syncs that, and then removes files;
//! opening goes on with it. Each of these steps is found done or undone, and finished the same way, so a crash while a log is opened is
//! like any other.
//!
//! What is not noticed: a last segment that is wiped or overwritten from some place on to its end, all marks behind that place included,
//! for that is how a crash might leave it; and files that are all replaced by older copies of themselves.
//!
//! # When the disk is full
//!
//! Only three things take room: the spare, when it is made, and the names in its making and renaming. Without it records go into the rest
//! of the active segment, which is why [`Log::has_spare`] is the time to refuse what can be refused: the rest is for what cannot. A
//! write that fails for lack of room all the same, as on file systems that never write in place, fails its group alone.
//!
//! # Costs
//!
//! | Operation | Cost |
//! |---|---|
//! | [`Log::push`] | one copy and two hashes of the payload's length; no wait |
//! | [`Log::commit`] | one write, one sync, one write of 48 bytes; at a rotation four syncs more |
//! | [`LogReader::read`] | one read of the record, one hash; one `open` more if the segment is not among the 64 in use |
//! | [`Log::open`] | reads all heads, payloads as wanted, and the last segment in full |
//!
//! Ideas from: the write-ahead logs of `PostgreSQL` (a record proves its place and its segment), LevelDB's log format (whole groups,
//! reused room), and Rebello et al., *Can Applications Recover from fsync Failures?* (2020), for what a failed sync leaves.

#![warn(missing_docs)]

mod error;
pub mod files;
mod queue;
mod reader;
mod record;
mod repair;
mod segment;
mod survey;
mod vacancy;
mod verify;
mod window;
mod writer;

pub use error::{Damage, LogError};
pub use files::{DirFiles, MemoryFiles};
pub use queue::{Queue, QueueConfig, Refused, Taken};
pub use reader::LogReader;
pub use record::{Head, Kind, Place};
pub use repair::{Repaired, foresee, heads, repair};
pub use survey::{Found, Torn};
pub use vacancy::{discard, vacant};
pub use verify::{Verified, identify, scan, verify};
pub use writer::{Log, LogConfig, LogId};
