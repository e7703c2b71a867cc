//! Reading a guild back: its checkpoint, part by part on the caller's workers, and the records since.
//!
//! Nothing is taken on trust: each part must have the hash that the manifest names, the parts must make a whole, and the records must
//! follow the checkpoint and each other without a hole.

use guildhall_log::{Head, LogError, LogReader, Place};
use guildhall_members::{Base, Dictionary, PartKind};
use guildhall_proto::{GuildId, Record, Structure};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::batch;
use super::checkpoint_writer::LOST_CHECKPOINT;
use super::directory::{CHECKPOINTS, RECORDS};
use super::manifest::{Content, Listed, Manifest, Of, Title};
use super::record_writer::LOST_RECORD;
use super::rows::{Entry, Spot};
use super::workers::{Alone, Workers, gather};
use crate::structure::{self, StructurePart};
use crate::{StoreError, StoredCheckpoint};

/// Both logs, for reading.
#[derive(Debug)]
pub(crate) struct Readers {
    pub(crate) records: LogReader,
    pub(crate) checkpoints: LogReader,
    /// The seed of the directory's content hashes.
    pub(crate) seed: u64,
}

/// All that is stored of a guild.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) checkpoint: Option<(Title, StoredCheckpoint)>,
    /// The records since, ascending without a hole.
    pub(crate) tail: Vec<Record>,
}

impl Readers {
    /// Reads what lies at these places.
    pub(crate) fn load(
        &self,
        guild: GuildId,
        checkpoint: Option<Spot>,
        entries: &[Entry],
        workers: &dyn Workers,
    ) -> Result<Found, StoreError> {
        let checkpoint = checkpoint.map(|spot| self.checkpoint(guild, spot, workers)).transpose()?;
        let covered = checkpoint.as_ref().map_or(0, |(title, _)| title.records);
        let tail = self.tail(guild, covered, entries, workers)?;
        Ok(Found { checkpoint, tail })
    }

    /// The bytes of a manifest.
    pub(crate) fn manifest(&self, spot: Spot) -> Result<Vec<u8>, StoreError> {
        let (head, bytes) = self.checkpoints.read_record(spot.place()).map_err(|error| unread(CHECKPOINTS, error))?;
        if head.kind == LOST_CHECKPOINT { Err(lost(CHECKPOINTS, spot)) } else { Ok(bytes) }
    }

    /// The bytes of a part, which must be those that the manifest names.
    pub(crate) fn part(&self, guild: GuildId, listed: &Listed<'_>) -> Result<Vec<u8>, StoreError> {
        let (hash, spot) = match listed.content {
            Content::Here(bytes) => return Ok(bytes.to_vec()),
            Content::There { hash, spot } => (hash, spot),
        };
        let bytes = self.checkpoints.read(spot.place()).map_err(|error| unread(CHECKPOINTS, error))?;
        if xxh3_128_with_seed(&bytes, self.seed) != hash {
            return Err(damaged(guild, "a part of its checkpoint is not the one that was written for it"));
        }
        Ok(bytes)
    }

    /// The bytes of some records.
    pub(crate) fn chunk(&self, entry: Entry) -> Result<Vec<u8>, StoreError> {
        self.record(entry.spot).map(|(_, bytes)| bytes)
    }

    /// The same with their head.
    pub(crate) fn record(&self, spot: Spot) -> Result<(Head, Vec<u8>), StoreError> {
        let (head, bytes) = self.records.read_record(spot.place()).map_err(|error| unread(RECORDS, error))?;
        if head.kind == LOST_RECORD { Err(lost(RECORDS, spot)) } else { Ok((head, bytes)) }
    }

    fn checkpoint(
        &self,
        guild: GuildId,
        spot: Spot,
        workers: &dyn Workers,
    ) -> Result<(Title, StoredCheckpoint), StoreError> {
        let bytes = self.manifest(spot)?;
        let manifest = Manifest::decode(&bytes).map_err(|error| damaged(guild, error))?;
        // Decoded in less time than it takes a worker to wake, which waits moreover for whoever has a higher priority.
        let workers = if manifest.is_whole() { &Alone } else { workers };
        let Manifest { title, parts } = manifest;
        if title.guild != guild {
            return Err(damaged(guild, "a checkpoint of another guild is in its place"));
        }
        let part = |listed: &Listed<'_>| self.part(guild, listed);
        let (structure, base) = join(guild, &parts, part, workers)?;
        let made_of = (structure.position, structure.records, structure.clock, base.len() as u64);
        if made_of != (title.position, title.records, title.clock, title.members) {
            return Err(damaged(guild, "the parts of its checkpoint are not of one moment"));
        }
        Ok((title, StoredCheckpoint { structure, base }))
    }

    fn tail(
        &self,
        guild: GuildId,
        covered: u64,
        entries: &[Entry],
        workers: &dyn Workers,
    ) -> Result<Vec<Record>, StoreError> {
        let shares: Vec<&[Entry]> = entries.chunks(ENTRIES_AT_ONCE).collect();
        let read = gather(workers, shares.len(), |share_idx| {
            let mut records = Vec::new();
            for entry in shares[share_idx] {
                let bytes = self.chunk(*entry)?;
                let chunk = batch::decode(&bytes).map_err(|error| damaged(guild, error))?;
                if chunk.last().is_none_or(|last| last.number != entry.last) {
                    return Err(damaged(guild, "records are not those that were expected there"));
                }
                records.extend(chunk);
            }
            Ok(records)
        })?;
        let mut tail: Vec<Record> = read.into_iter().flatten().collect();
        // A chunk is kept until the last of its records is covered.
        tail.drain(..tail.partition_point(|record| record.number <= covered));
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::TailCut.is_on() {
            tail.pop();
        }
        let is_dense = (covered + 1..).zip(&tail).all(|(number, record)| record.number == number);
        if is_dense { Ok(tail) } else { Err(damaged(guild, "a record is missing behind its checkpoint")) }
    }
}

/// Puts a checkpoint together from its parts, which `part` finds.
pub(crate) fn join<'a>(
    guild: GuildId,
    parts: &[Listed<'a>],
    part: impl Fn(&Listed<'a>) -> Result<Vec<u8>, StoreError> + Sync,
    workers: &dyn Workers,
) -> Result<(Structure, Base), StoreError> {
    let [structure, dictionary, sets, pages] =
        [Of::Structure, Of::Members(PartKind::Dictionary), Of::Members(PartKind::Sets), Of::Members(PartKind::Page)]
            .map(|of| parts.iter().filter(|listed| listed.of == of).collect::<Vec<_>>());
    let [dictionary] = dictionary[..] else {
        return Err(damaged(guild, "its checkpoint has not one table of roles"));
    };
    let structure = gather(workers, structure.len(), |at| {
        StructurePart::decode(&part(structure[at])?).map_err(|error| damaged(guild, error))
    })?;
    let structure = structure::join(structure).map_err(|error| damaged(guild, error))?;
    if structure.records.max(structure.position.seq.0) > NUMBER_MAX {
        return Err(damaged(guild, "its checkpoint numbers more than can ever have happened"));
    }
    let dictionary = Dictionary::decode(&part(dictionary)?).map_err(|error| damaged(guild, error))?;
    let sets = gather(workers, sets.len(), |at| {
        dictionary.decode_sets(&part(sets[at])?).map_err(|error| damaged(guild, error))
    })?;
    let table = dictionary.join(sets).map_err(|error| damaged(guild, error))?;
    let pages =
        gather(workers, pages.len(), |at| table.decode_page(&part(pages[at])?).map_err(|error| damaged(guild, error)))?;
    let base = table.assemble(pages).map_err(|error| damaged(guild, error))?;
    Ok((structure, base))
}

/// What of a guild is not as it must be.
pub(crate) fn damaged(guild: GuildId, what: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt { what: format!("guild {guild}: {what}") }
}

/// What stands for something that could not be read when it was moved there.
fn lost(log: &str, spot: Spot) -> StoreError {
    let Place { segment, offset, .. } = spot.place();
    StoreError::Corrupt {
        what: format!("{log}/{segment:012}.log: at offset {offset} lies what could not be read before"),
    }
}

/// Why a place in a log could not be read.
pub(crate) fn unread(log: &str, error: LogError) -> StoreError {
    let what = format!("{log}/{error}");
    match error {
        // The medium's word that it has lost what it had.
        LogError::Io { source, .. } if source.raw_os_error() == Some(EIO) => StoreError::Corrupt { what },
        LogError::Corrupt { .. } | LogError::Missing { .. } | LogError::Foreign { .. } | LogError::Format { .. } => {
            StoreError::Corrupt { what }
        }
        LogError::Full => StoreError::Full,
        LogError::Poisoned { .. }
        | LogError::Io { .. }
        | LogError::Exists { .. }
        | LogError::CommitFirst
        | LogError::TooLarge { .. } => StoreError::Unavailable { reason: what },
    }
}

/// Linux's number for an input or output error.
const EIO: i32 = 5;

/// Entries that a worker reads in one piece: some hundred microseconds.
const ENTRIES_AT_ONCE: usize = 64;

/// What no count of records or events comes to: whoever goes on counting from there comes to no end of numbers.
const NUMBER_MAX: u64 = u64::MAX >> 1;
