//! A store made of an archive.
//!
//! Every guild is read as a claim would read it before it is written, and the directory is none of a store until the archive has been
//! read to its end: what is damaged leaves nothing behind that could be opened.

use std::io;
use std::sync::Arc;

use guildhall_log::{Head, Log, LogError, Place};
use guildhall_proto::{Epoch, Grant, GuildId, Millis, NodeId, Structure};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::archive::{ArchiveError, Frame, FrameReader};
use super::backup::BackupReport;
use super::batch;
use super::bytes::Cursor;
use super::checkpoint_writer::{MANIFEST, PART, WHOLE};
use super::config::EmbeddedConfig;
use super::directory::{CHECKPOINTS, Directory, RECORDS};
use super::identity::Identity;
use super::loading::join;
use super::manifest::{Content, Listed, Manifest, Of, Title};
use super::record_writer::{CLAIM, RECORD};
use super::rows::Spot;
use super::workers::Workers;
use super::{EmbeddedStore, OpenError, in_log};

/// Why an archive was not made into a store. The directory holds none, and the same or another can be restored into it.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The archive is not whole.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The directory cannot take it.
    #[error(transparent)]
    Store(#[from] OpenError),
}

/// Makes a store in a directory without one, of an archive. What an attempt before has left, which failed or was killed, is removed. It
/// is not open yet. Waits for the disk.
///
/// It is a node's of the archive's cluster. Every claim will give an epoch above all that the archive's store gave, and above all that it may
/// have given since: above the time `now`, in milliseconds since 1970, moved left by 22 bits; so what was lost with the old store cannot be taken for what
/// comes, if the clock is right: one that is behind the last restore's makes epochs that were given before. `random` are 40 bytes that nobody
/// else has.
///
/// # Errors
/// [`RestoreError`].
pub fn restore(
    archive: &mut dyn io::Read,
    directory: &Directory,
    node: NodeId,
    random: [u8; 40],
    now: Millis,
    config: &EmbeddedConfig,
    workers: Arc<dyn Workers>,
) -> Result<BackupReport, RestoreError> {
    let mut frames = FrameReader::begin(archive)?;
    let (frame, head) = frames.frame()?;
    let cluster = Cursor::new(&head).u128().map_err(|error| frames.damaged(error))?;
    if frame != Frame::Head {
        return Err(frames.damaged("it is not the head").into());
    }
    let mut identity = Identity::new(cluster, node, random);
    let (records, checkpoints) = EmbeddedStore::begin(directory, &identity, config)?;
    let mut into = Restoring {
        records: Target { log: records, name: RECORDS, pushed: 0, places: Vec::new() },
        checkpoints: Target { log: checkpoints, name: CHECKPOINTS, pushed: 0, places: Vec::new() },
        seed: identity.seed,
        small_bytes: config.small_bytes,
        workers,
        report: BackupReport::default(),
    };
    let (mut highest, mut granted) = (Epoch(0), Grant(0));
    let (guilds, given) = loop {
        let (frame, body) = frames.frame()?;
        match frame {
            Frame::Guild => {
                let (epoch, grant) = into.guild(&mut frames, &body)?;
                (highest, granted) = (highest.max(epoch), granted.max(grant));
            }
            Frame::LeftOut => {
                let (guild, reached) = left_out(&frames, &body)?;
                identity.reached.insert(guild, reached);
                into.report.left_out.push((guild, DAMAGED_BEFORE.to_owned()));
            }
            Frame::End => {
                let [guilds, epoch] = numbers(&frames, &body)?;
                break (guilds, Epoch(epoch));
            }
            Frame::Head | Frame::Part | Frame::Chunk => return Err(frames.damaged("it does not belong here").into()),
        }
    };
    if guilds != into.report.guilds {
        return Err(frames.damaged("there are not as many guilds as it says").into());
    }
    into.report.bytes = frames.end()?;
    into.records.commit()?;
    into.checkpoints.commit()?;
    identity.raise(highest.max(given), now);
    identity.grants_from = granted;
    identity.is_ready = true;
    identity.write(&*directory.root).map_err(OpenError::from)?;
    Ok(into.report)
}

/// Reads an archive to its end: what was cut, changed or left out on its way shows. That its guilds can be brought back was looked at when it was
/// written, and is again by [`restore`]. A part of one guild is in memory at a time.
///
/// # Errors
/// [`ArchiveError`].
pub fn prove(archive: &mut dyn io::Read) -> Result<BackupReport, ArchiveError> {
    let mut frames = FrameReader::begin(archive)?;
    if frames.frame()?.0 != Frame::Head {
        return Err(frames.damaged("it is not the head"));
    }
    let mut report = BackupReport::default();
    let guilds = loop {
        let (frame, body) = frames.frame()?;
        match frame {
            Frame::Guild => {
                let [_guild, _epoch, _grant, _checkpoint_epoch, n_parts, n_chunks] = numbers(&frames, &body)?;
                for _ in 0..n_parts {
                    part(&mut frames)?;
                }
                for _ in 0..n_chunks {
                    let records = batch::decode(&chunk(&mut frames)?.1).map_err(|error| frames.damaged(error))?;
                    report.records += records.len() as u64;
                }
                report.guilds += 1;
            }
            Frame::LeftOut => report.left_out.push((left_out(&frames, &body)?.0, DAMAGED_BEFORE.to_owned())),
            Frame::End => break numbers::<2>(&frames, &body)?[0],
            Frame::Head | Frame::Part | Frame::Chunk => return Err(frames.damaged("it does not belong here")),
        }
    };
    if guilds != report.guilds {
        return Err(frames.damaged("there are not as many guilds as it says"));
    }
    report.bytes = frames.end()?;
    Ok(report)
}

struct Restoring {
    records: Target,
    checkpoints: Target,
    seed: u64,
    small_bytes: usize,
    workers: Arc<dyn Workers>,
    report: BackupReport,
}

/// One of the two logs.
struct Target {
    log: Log,
    name: &'static str,
    pushed: usize,
    places: Vec<Place>,
}

impl Restoring {
    /// Takes a guild over, and returns its epoch and grant.
    fn guild(&mut self, frames: &mut FrameReader<'_>, body: &[u8]) -> Result<(Epoch, Grant), RestoreError> {
        let [guild, epoch, grant, checkpoint_epoch, n_parts, n_chunks] = numbers(frames, body)?;
        let guild = GuildId::new(guild).map_err(|error| frames.damaged(error))?;
        let (epoch, grant) = (Epoch(epoch), Grant(grant));
        let head = |kind, epoch: Epoch, seq| Head { kind, guild: guild.get(), epoch: epoch.0, seq };

        let mut parts = Vec::new();
        for _ in 0..n_parts {
            let (of, bytes) = part(frames)?;
            parts.push((of, bytes));
        }
        let mut covered = 0;
        if !parts.is_empty() {
            let here: Vec<Listed<'_>> =
                parts.iter().map(|(of, bytes)| Listed { of: *of, content: Content::Here(bytes) }).collect();
            let joined = join(guild, &here, |listed| Ok(listed.here().to_vec()), &*self.workers);
            let (structure, base) = joined.map_err(|error| frames.damaged(error))?;
            let Structure { position, records, clock, .. } = structure;
            let members = base.len() as u64;
            let title = Title { guild, epoch: Epoch(checkpoint_epoch), grant, position, records, clock, members };
            covered = records;
            self.checkpoint(title, here)?;
        }
        self.records.push(head(CLAIM, epoch, grant.0), &[])?;
        let mut next = covered + 1;
        for _ in 0..n_chunks {
            let (last, bytes) = chunk(frames)?;
            let records = batch::decode(&bytes).map_err(|error| frames.damaged(error))?;
            for record in records.iter().filter(|record| record.number > covered) {
                if record.number != next {
                    return Err(frames.damaged("a record is missing before it").into());
                }
                next += 1;
            }
            if records.last().is_none_or(|record| record.number != last) {
                return Err(frames.damaged("its records are not those that it names").into());
            }
            self.records.push(head(RECORD, epoch, last), &bytes)?;
            self.report.records += records.len() as u64;
        }
        self.report.guilds += 1;
        Ok((epoch, grant))
    }

    fn checkpoint(&mut self, title: Title, mut parts: Vec<Listed<'_>>) -> Result<(), RestoreError> {
        let bytes: usize = parts.iter().map(|part| part.here().len()).sum();
        let head = |kind| Head { kind, guild: title.guild.get(), epoch: title.epoch.0, seq: title.records };
        let is_small = bytes <= self.small_bytes;
        if !is_small {
            for part in &mut parts {
                let hash = xxh3_128_with_seed(part.here(), self.seed);
                let spot = self.checkpoints.push(head(PART), part.here())?;
                part.content = Content::There { hash, spot };
            }
        }
        let manifest = Manifest { title, parts };
        self.checkpoints.push(head(if is_small { WHOLE } else { MANIFEST }), &manifest.encode())?;
        Ok(())
    }
}

impl Target {
    fn push(&mut self, head: Head, bytes: &[u8]) -> Result<Spot, OpenError> {
        if self.pushed >= GROUP_BYTES {
            self.commit()?;
        }
        self.places.clear();
        let mut pushed = self.log.push(&[(head, bytes)], &mut self.places);
        if matches!(pushed, Err(LogError::CommitFirst | LogError::Full)) {
            self.commit()?;
            self.log.ensure_spare().map_err(in_log(self.name))?;
            self.places.clear();
            pushed = self.log.push(&[(head, bytes)], &mut self.places);
        }
        pushed.map_err(in_log(self.name))?;
        self.pushed += bytes.len();
        Ok(Spot::of(self.places[0]))
    }

    fn commit(&mut self) -> Result<(), OpenError> {
        self.pushed = 0;
        self.log.commit().map_err(in_log(self.name))
    }
}

/// The numbers with which a frame's body begins.
fn numbers<const N: usize>(frames: &FrameReader<'_>, body: &[u8]) -> Result<[u64; N], ArchiveError> {
    let mut cursor = Cursor::new(body);
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = cursor.u64().map_err(|error| frames.damaged(error))?;
    }
    Ok(numbers)
}

/// A guild that is not in the archive, and the number of its last record.
fn left_out(frames: &FrameReader<'_>, body: &[u8]) -> Result<(GuildId, u64), ArchiveError> {
    let [guild, reached] = numbers(frames, body)?;
    Ok((GuildId::new(guild).map_err(|error| frames.damaged(error))?, reached))
}

fn part(frames: &mut FrameReader<'_>) -> Result<(Of, Vec<u8>), ArchiveError> {
    let (frame, mut body) = frames.frame()?;
    if frame != Frame::Part || body.is_empty() {
        return Err(frames.damaged("a part of a checkpoint should be here"));
    }
    let of = Of::from_code(body.remove(0)).map_err(|error| frames.damaged(error))?;
    Ok((of, body))
}

fn chunk(frames: &mut FrameReader<'_>) -> Result<(u64, Vec<u8>), ArchiveError> {
    let (frame, body) = frames.frame()?;
    let chunk = body.split_first_chunk().map(|(last, bytes)| (u64::from_le_bytes(*last), bytes.to_vec()));
    match chunk {
        Some(chunk) if frame == Frame::Chunk => Ok(chunk),
        Some(_) | None => Err(frames.damaged("records should be here")),
    }
}

/// Bytes that are written before they are synced.
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// Why a guild is not in an archive; what exactly was damaged was said when that was written.
const DAMAGED_BEFORE: &str = "it was damaged when the backup was made";
