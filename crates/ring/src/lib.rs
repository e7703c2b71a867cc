//! The bounded run of a guild's latest events: one writer, many readers by cursor, gaps told.
//!
//! [`ring()`] gives a [`Writer`], which the owner of the run keeps, and a [`Reader`], which is cloned for whoever listens. The
//! writer appends; a reader keeps a [`Cursor`] of its own, a plain number, and visits what lies from there to the head. Nothing
//! is copied for a reader and nothing is queued for it: one that is slow is a number that lags. When the bounds of the ring
//! pass it by, its next read says so with a [`Gap`], and it starts again from wherever the caller decides.
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use guildhall_ring::{Cursor, ReadError, RingConfig, Weigh, ring};
//!
//! struct Said(&'static str);
//!
//! impl Weigh for Said {
//!     fn weight_bytes(&self) -> usize {
//!         size_of::<Self>() + self.0.len()
//!     }
//! }
//!
//! // The first entry gets index 1, as the first event of a guild has number 1.
//! let config = RingConfig { entries_max: 2, bytes_max: 64 * 1024 };
//! let (mut writer, reader) = ring(config, Cursor(1));
//! let (mut listener, mut sleeper) = (reader.head(), reader.head());
//!
//! writer.append(Said("one"));
//! writer.append(Said("two"));
//! let mut heard = Vec::new();
//! let read = reader.read(&mut listener, |at, said| {
//!     heard.push((at.0, said.0));
//!     ControlFlow::Continue(())
//! })?;
//! assert!(read.at_head);
//! assert_eq!(heard, [(1, "one"), (2, "two")]);
//!
//! // A reader that does not come in time is told what it missed, and goes on where its owner sees fit.
//! writer.append(Said("three"));
//! let Err(ReadError::Gap(gap)) = reader.read(&mut sleeper, |_, _| ControlFlow::Continue(())) else {
//!     panic!("entry 1 has left the ring");
//! };
//! assert_eq!((gap.from, gap.tail, gap.head), (Cursor(1), Cursor(2), Cursor(4)));
//! sleeper = gap.tail;
//! assert_eq!(reader.read(&mut sleeper, |_, _| ControlFlow::Continue(()))?.entries, 2);
//! # Ok::<(), ReadError>(())
//! ```
//!
//! # How it works, and what it costs
//!
//! Entries lie in chunks of write-once slots, 4 slots at first and up to 256 as a ring grows, so that the ring of an idle guild
//! takes about 200 bytes. A directory of the chunks is replaced as a whole, behind an atomic pointer, when a chunk is opened or
//! evicted; between these an append writes a slot and then moves the head.
//!
//! | Operation | Cost |
//! |---|---|
//! | [`Writer::append`] | O(1); when a chunk is opened or evicted, O(chunks) more and the drop of what the chunk held |
//! | [`Reader::read`] | O(log chunks) once, then a load an entry; at the head, one load in all |
//! | [`Reader::head`], [`Cursor`] | a load; a number |
//!
//! No operation of a ring waits for another thread. Evicted entries are dropped by the writer, by whom it [hands them
//! to](Writer::append_evicting), or by the reader that is just visiting the
//! chunk they lie in: beside the ring itself, reads under way are all that keeps entries in memory. A chunk holds at most an
//! eighth of either bound, or one entry; no more than a chunk's rest goes that could have stayed.
//!
//! The write-once slot and the pointer swap are the standard library's `OnceLock` and the `arc-swap` crate. The protocol between
//! head, slots and directory runs under `loom`:
//! `RUSTFLAGS="--cfg loom" cargo test -p guildhall-ring --release --test loom`.
//!
//! Rings made by [`ring_within`] share a [`Budget`]: beside its own bounds each holds what it can lease there.
//!
//! # The latest of each subject
//!
//! What is only of interest while it is new goes into a keep-latest map ([`latest()`]) beside a ring: one value a subject, in the order
//! of the puts, read by a [`Version`] that the reader keeps. A later value takes the place of the one before it, so a slow reader
//! makes nothing wait, and finds each subject that changed once. When the map is full the oldest subjects leave, and the writer is told
//! how many.
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use guildhall_ring::{LatestConfig, Weigh, latest};
//!
//! struct Typed(u32);
//!
//! impl Weigh for Typed {
//!     fn weight_bytes(&self) -> usize {
//!         size_of::<Self>()
//!     }
//! }
//!
//! let (mut writer, reader) = latest(LatestConfig::default());
//! let mut at = reader.head();
//! writer.put("ada", Typed(1));
//! writer.put("bob", Typed(2));
//! writer.put("ada", Typed(3));
//! let mut heard = Vec::new();
//! reader.read(&mut at, |_, typed| {
//!     heard.push(typed.0);
//!     ControlFlow::Continue(())
//! });
//! assert_eq!(heard, [2, 3]);
//! ```
//!
//! | Operation | Cost, n subjects |
//! |---|---|
//! | [`LatestWriter::put`] | O(log n) under the map's lock |
//! | [`LatestReader::read`] | at the head one load; else O(log n + subjects visited) under the lock, beside other readers |
//!
//! # What it is not for
//!
//! It wakes nobody: whoever appends knows who waits. It is no queue: an entry is not handed to one reader but shown to all. It
//! has one writer: appends from several threads need an order first, and making that order is the owner's work.

#![warn(missing_docs)]

mod budget;
mod cursor;
mod directory;
mod latest;
mod reader;
mod shared;
mod sync;
mod weigh;
mod writer;

pub use budget::{Budget, FREE_BYTES};
pub use cursor::{Cursor, Gap, Read, ReadError};
pub use latest::{LatestConfig, LatestHeld, LatestReader, LatestWriter, Version, latest};
pub use reader::Reader;
pub use shared::{RingConfig, ring, ring_within};
pub use weigh::Weigh;
pub use writer::{Evicted, Writer};
