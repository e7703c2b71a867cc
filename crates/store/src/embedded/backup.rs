//! All guilds into one archive, while owners go on.
//!
//! Guild by guild, each as it is stored when its turn comes: its checkpoint and the records since belong together, and guilds do not depend
//! on each other.

use std::io;

use guildhall_proto::{GuildId, Millis};

use super::archive::{Frame, FrameWriter};
use super::batch;
use super::bytes::Put;
use super::loading::damaged;
use super::manifest::{Manifest, Title};
use super::rows::{Entry, Spot};
use super::shared::Shared;
use crate::StoreError;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackupReport {
    /// Guilds in the archive.
    pub guilds: u64,
    /// Records that follow their checkpoints.
    pub records: u64,
    /// Bytes of the archive.
    pub bytes: u64,
    /// Guilds that are not in it, for they are damaged, each with what is wrong. The others are saved all the same, and a restore has these
    /// stay away until that is [accepted](super::Logs::accept).
    pub left_out: Vec<(GuildId, String)>,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A guild cannot be read, though it may be whole.
    #[error("guild {guild}: {error}")]
    Guild {
        /// Which.
        guild: GuildId,
        /// Why.
        error: StoreError,
    },
    /// The store has nothing that outlasts its process.
    #[error("this store keeps nothing that could be saved")]
    NothingLasts,
    /// The archive cannot be written.
    #[error("writing the archive: {0}")]
    Io(#[from] io::Error),
}

/// A guild as it lies in the logs.
struct Raw {
    title: Option<Title>,
    /// Each with the code of what it is a part of.
    parts: Vec<(u8, Vec<u8>)>,
    /// Each with the number of the last record in it.
    chunks: Vec<(u64, Vec<u8>)>,
    records: u64,
}

pub(crate) fn write(
    shared: &Shared,
    archive: &mut dyn io::Write,
    made_at: Millis,
) -> Result<BackupReport, BackupError> {
    let mut frames = FrameWriter::begin(archive)?;
    let mut head = Vec::new();
    head.put_u128(shared.identity.cluster);
    head.put_u64(shared.identity.node.get());
    head.put_u64(made_at.0);
    frames.frame(Frame::Head, &head)?;

    let mut report = BackupReport::default();
    let guilds: Vec<GuildId> = shared.rows().stored().collect();
    for guild in guilds {
        let read = |checkpoint, entries: &[Entry]| {
            // As a restore will: an archive that has something else in it would be refused as a whole.
            shared.readers.load(guild, checkpoint, entries, &*shared.workers)?;
            Raw::read(shared, guild, checkpoint, entries)
        };
        let raw = match shared.read(guild, None, read) {
            Ok(raw) => raw,
            Err(StoreError::Corrupt { what }) => {
                let mut body = Vec::new();
                body.put_u64(guild.get());
                body.put_u64(shared.rows().reached(guild));
                frames.frame(Frame::LeftOut, &body)?;
                report.left_out.push((guild, what));
                continue;
            }
            Err(error) => return Err(BackupError::Guild { guild, error }),
        };
        let (epoch, grant) = {
            let rows = shared.rows();
            rows.guilds.get(&guild).map_or_else(Default::default, |row| (row.epoch, row.grant))
        };
        let title = raw.title;
        let mut body = Vec::new();
        for number in [
            guild.get(),
            epoch.0,
            grant.max(title.map_or_else(Default::default, |title| title.grant)).0,
            title.map_or(0, |title| title.epoch.0),
            raw.parts.len() as u64,
            raw.chunks.len() as u64,
        ] {
            body.put_u64(number);
        }
        frames.frame(Frame::Guild, &body)?;
        for (of, bytes) in &raw.parts {
            body.clear();
            body.put_u8(*of);
            body.put(bytes);
            frames.frame(Frame::Part, &body)?;
        }
        for (last, bytes) in &raw.chunks {
            body.clear();
            body.put_u64(*last);
            body.put(bytes);
            frames.frame(Frame::Chunk, &body)?;
        }
        report.guilds += 1;
        report.records += raw.records;
    }
    // Also those of guilds that were claimed and never written.
    let highest = shared.rows().guilds.values().map(|row| row.epoch).max();
    let mut end = Vec::new();
    end.put_u64(report.guilds);
    end.put_u64(shared.identity.epochs_from.max(highest.unwrap_or_default()).0);
    frames.frame(Frame::End, &end)?;
    report.bytes = frames.bytes;
    archive.flush()?;
    Ok(report)
}

impl Raw {
    fn read(shared: &Shared, guild: GuildId, checkpoint: Option<Spot>, entries: &[Entry]) -> Result<Self, StoreError> {
        let mut raw = Self { title: None, parts: Vec::new(), chunks: Vec::new(), records: 0 };
        if let Some(spot) = checkpoint {
            let bytes = shared.readers.manifest(spot)?;
            let manifest = Manifest::decode(&bytes).map_err(|error| damaged(guild, error))?;
            for listed in &manifest.parts {
                raw.parts.push((listed.of.code(), shared.readers.part(guild, listed)?));
            }
            raw.title = Some(manifest.title);
        }
        for entry in entries {
            let bytes = shared.readers.chunk(*entry)?;
            raw.records += batch::decode(&bytes).map_err(|error| damaged(guild, error))?.len() as u64;
            raw.chunks.push((entry.last, bytes));
        }
        Ok(raw)
    }
}
