//! How the log of checkpoints is kept short.
//!
//! While more than half of the log is dead, each group writes what is live in the oldest segments again, as much as it has written of its own at
//! least, and segments in which nothing is live any more are given back. So the log comes down to twice what is live however fast checkpoints
//! come, as long as there is room and what is live can be read.

use std::collections::BTreeMap;

use guildhall_log::LogError;
use guildhall_proto::{Epoch, Grant, GuildId, Millis, Position};

use super::super::loading::damaged;
use super::super::manifest::{Content, Manifest, Title};
use super::super::rows::Spot;
use super::{CheckpointWriter, GROUP_BYTES, LOST_CHECKPOINT, MANIFEST, PART, Pending, WHOLE};
use crate::StoreError;

/// What becomes of what cannot be read when it is to be written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IfUnread {
    Leave,
    Lose,
}

impl CheckpointWriter {
    /// Writes some checkpoints again whose manifests or parts lie in the oldest segment, if most of the log is dead. Returns how many
    /// bytes.
    pub(super) fn compact(&mut self) -> Result<usize, LogError> {
        let guilds: Vec<(GuildId, Spot)>;
        let oldest = {
            let rows = self.shared.rows();
            let is_long = self.log.bytes() > 2 * rows.checkpoints.bytes() + self.shared.config.slack_bytes;
            let Some(oldest) = rows.checkpoints.oldest().filter(|_| is_long && self.log.has_spare()) else {
                return Ok(0);
            };
            if u64::from(oldest) >= self.log.active_segment() {
                return Ok(0);
            }
            self.suspects.forget_before(oldest);
            let spot = |guild| Some((guild, rows.guilds.get(&guild)?.checkpoint?));
            let is_due = |(_, spot): &(GuildId, Spot)| self.suspects.is_due(*spot);
            let all = rows.checkpoints.guilds_in(oldest).filter_map(spot);
            guilds = all.filter(is_due).take(COMPACTED_GUILDS).collect();
            oldest
        };
        let mut written = 0;
        for (guild, spot) in guilds {
            if written >= GROUP_BYTES {
                break;
            }
            let mut rewritten = self.rewrite(guild, spot, oldest, IfUnread::Leave)?;
            if let Err(error) = &rewritten
                && *error != StoreError::Full
            {
                self.shared.counters.unreadable.add(1);
                if !self.suspects.is_lost(spot, error) {
                    continue;
                }
                tracing::error!(%guild, %error, "a checkpoint of a guild is lost");
                self.shared.counters.lost.add(1);
                rewritten = self.rewrite(guild, spot, oldest, IfUnread::Lose)?;
            }
            match rewritten {
                Ok(bytes) => written += bytes,
                Err(_) => break,
            }
        }
        Ok(written)
    }

    /// Writes what of a checkpoint lies in one segment again.
    fn rewrite(
        &mut self,
        guild: GuildId,
        spot: Spot,
        oldest: u32,
        unread: IfUnread,
    ) -> Result<Result<usize, StoreError>, LogError> {
        let bytes = self.shared.readers.manifest(spot);
        let manifest = bytes.as_deref().map_err(Clone::clone);
        let manifest = manifest.and_then(|bytes| Manifest::decode(bytes).map_err(|error| damaged(guild, error)));
        let mut manifest = match (manifest, unread) {
            (Ok(manifest), _) => manifest,
            (Err(StoreError::Corrupt { .. }), IfUnread::Lose) => return self.lose(guild, spot),
            (Err(error), IfUnread::Leave | IfUnread::Lose) => return Ok(Err(error)),
        };
        let shares_before = manifest.shares(spot);
        let title = manifest.title;
        let mut written = 0;
        let mut moved = BTreeMap::new();
        for listed in &mut manifest.parts {
            let Some((hash, spot)) = listed.there().filter(|(_, spot)| spot.segment == oldest) else { continue };
            let spot = match moved.get(&hash) {
                Some(moved) => *moved,
                None => {
                    let part = match (self.shared.readers.part(guild, listed), unread) {
                        (Ok(part), _) => part,
                        // It has not the hash that the manifest names, and is never taken for what it was.
                        (Err(StoreError::Corrupt { .. }), IfUnread::Lose) => {
                            self.shared.readers.checkpoints.read_unchecked(spot.place())
                        }
                        (Err(error), IfUnread::Leave | IfUnread::Lose) => return Ok(Err(error)),
                    };
                    written += part.len();
                    match self.push_record(PART, &title, &part)? {
                        Ok(spot) => spot,
                        Err(error) => return Ok(Err(error)),
                    }
                }
            };
            moved.insert(hash, spot);
            listed.content = Content::There { hash, spot };
        }
        let kind = if manifest.is_whole() { WHOLE } else { MANIFEST };
        let bytes = manifest.encode();
        match self.push_record(kind, &title, &bytes)? {
            Ok(spot) => {
                let shares = manifest.shares(spot);
                self.pending.push(Pending { title, spot, shares, shares_before: Some(shares_before), stored: None });
                self.shared.counters.compacted.add(1);
                Ok(Ok(written + bytes.len()))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// Has something stand for a checkpoint whose manifest cannot be read, and gives up its parts, which nobody can find.
    fn lose(&mut self, guild: GuildId, spot: Spot) -> Result<Result<usize, StoreError>, LogError> {
        let epoch = self.shared.rows().guilds.get(&guild).map_or_else(Epoch::default, |row| row.epoch);
        // Of what it covered nothing is known; records that may be covered are kept.
        let (position, clock) = (Position::default(), Millis::default());
        let title = Title { guild, epoch, grant: Grant::default(), position, records: 0, clock, members: 0 };
        let bytes = self.shared.readers.checkpoints.read_unchecked(spot.place());
        let pushed = self.push_record(LOST_CHECKPOINT, &title, &bytes)?;
        Ok(pushed.map(|spot| {
            let shares = vec![(spot.segment, spot.bytes())];
            self.pending.push(Pending { title, spot, shares, shares_before: None, stored: None });
            bytes.len()
        }))
    }

    /// Gives back the segments before the first one in which something is live, and tells whether there were any.
    pub(super) fn give_back(&mut self) -> Result<bool, LogError> {
        let active = self.log.active_segment();
        let oldest = self.shared.rows().checkpoints.oldest().map_or(active, u64::from);
        let dead = self.log.segments().take_while(|(number, _)| *number < oldest).count();
        if dead == 0 {
            return Ok(false);
        }
        match self.log.truncate_before(oldest) {
            Ok(()) => {
                self.shared.counters.segments_freed.add(dead as u64);
                Ok(true)
            }
            // There is not even room to write that down: another time.
            Err(LogError::Full) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Checkpoints that one group writes again at most.
const COMPACTED_GUILDS: usize = 256;
