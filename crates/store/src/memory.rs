//! The store that forgets when the process ends.
//!
//! Records are kept until a checkpoint covers them, so memory is bounded by how often guilds make checkpoints.

use std::collections::BTreeMap;
use std::mem::replace;
use std::ops::Bound;

use guildhall_proto::{Epoch, Grant, GuildId, Record};
use parking_lot::Mutex;

use crate::{Batch, Claim, Known, Store, StoreError, Stored, StoredCheckpoint};

/// Guilds' durable state in memory. Appends are stored when the call returns.
#[derive(Debug, Default)]
pub struct MemoryStore {
    guilds: Mutex<BTreeMap<GuildId, Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    epoch: Epoch,
    grant: Grant,
    checkpoint: Option<StoredCheckpoint>,
    records: Vec<Record>,
}

impl Kept {
    fn known(&self) -> Known {
        match &self.checkpoint {
            Some(checkpoint) if checkpoint.is_deleted() => Known::Deleted,
            None if self.records.is_empty() => Known::Nothing,
            Some(_) | None => Known::Something,
        }
    }
}

impl MemoryStore {
    /// How many records are kept of a guild, beside its checkpoint.
    pub fn records(&self, guild: GuildId) -> usize {
        self.guilds.lock().get(&guild).map_or(0, |kept| kept.records.len())
    }

    fn put(&self, guild: GuildId, epoch: Epoch, checkpoint: StoredCheckpoint) -> Result<(), StoreError> {
        let mut guilds = self.guilds.lock();
        let kept = guilds.entry(guild).or_default();
        if kept.epoch != epoch {
            return Err(StoreError::Fenced { got: epoch, current: kept.epoch });
        }
        let covered = checkpoint.structure.records;
        if kept.checkpoint.as_ref().is_some_and(|newer| newer.structure.records > covered) {
            return Ok(());
        }
        let uncovered = kept.records.partition_point(|record| record.number <= covered);
        // To the size: most guilds change little, and sleep.
        let left = kept.records.split_off(uncovered);
        let replaced = (replace(&mut kept.records, left), kept.checkpoint.replace(checkpoint));
        // Dropped without the lock, for which every owner that appends would wait.
        drop(guilds);
        drop(replaced);
        Ok(())
    }
}

impl Store for MemoryStore {
    fn knows(&self, guild: GuildId) -> Result<Known, StoreError> {
        let guilds = self.guilds.lock();
        Ok(guilds.get(&guild).map_or(Known::Nothing, Kept::known))
    }

    fn list(&self, after: Option<GuildId>, limit: usize) -> Result<Vec<GuildId>, StoreError> {
        let guilds = self.guilds.lock();
        let behind = guilds.range((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded));
        let there = behind.filter(|(_, kept)| kept.known() == Known::Something).map(|(guild, _)| *guild);
        Ok(there.take(limit).collect())
    }

    fn confirm(&self, guild: GuildId, epoch: Epoch, confirmed: Stored) {
        let current = self.guilds.lock().get(&guild).map_or(Epoch::default(), |kept| kept.epoch);
        confirmed(if epoch == current { Ok(()) } else { Err(StoreError::Fenced { got: epoch, current }) });
    }

    fn claim(&self, guild: GuildId, grant: Grant) -> Result<Claim, StoreError> {
        let mut guilds = self.guilds.lock();
        let kept = guilds.entry(guild).or_default();
        if grant < kept.grant {
            return Err(StoreError::StaleGrant { got: grant, seen: kept.grant });
        }
        kept.grant = grant;
        kept.epoch = Epoch(kept.epoch.0 + 1);
        Ok(Claim { epoch: kept.epoch, checkpoint: kept.checkpoint.clone(), tail: kept.records.clone() })
    }

    fn append(&self, batch: Batch, stored: Stored) {
        let outcome = {
            let mut guilds = self.guilds.lock();
            match guilds.get_mut(&batch.guild) {
                Some(kept) if kept.epoch == batch.epoch => {
                    kept.records.extend(batch.records);
                    Ok(())
                }
                Some(kept) => Err(StoreError::Fenced { got: batch.epoch, current: kept.epoch }),
                None => Err(StoreError::Fenced { got: batch.epoch, current: Epoch::default() }),
            }
        };
        // Told without the lock: whoever hears it may come back at once.
        stored(outcome);
    }

    fn checkpoint(&self, guild: GuildId, epoch: Epoch, checkpoint: StoredCheckpoint, stored: Stored) {
        let outcome = self.put(guild, epoch, checkpoint);
        stored(outcome);
    }

    fn has_room(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;

    use guildhall_members::{Members, MembersConfig};
    use guildhall_proto::{
        AppliedOp, BodyHash, ClientId, Event, EventKind, Millis, OpId, Outcome, Position, Seq, Stage, Standing,
        Structure,
    };

    use super::*;

    fn guild() -> GuildId {
        GuildId::new(1).unwrap()
    }

    fn record(epoch: Epoch, seq: u64) -> Record {
        let position = Position { epoch, seq: Seq(seq) };
        let id = OpId { client: ClientId::MIN, counter: seq, issued_at: Millis(1) };
        let outcome = Outcome::Applied { at: position };
        let op = AppliedOp { id, body: BodyHash(0), outcome, stage: Stage::Finished };
        let event = Event { position, at: Millis(1), kind: EventKind::GuildDeleted };
        Record { number: seq, position, at: Millis(1), op, event: Some(Arc::new(event)) }
    }

    fn append(store: &MemoryStore, epoch: Epoch, seqs: impl Iterator<Item = u64>) -> Result<(), StoreError> {
        let (told, outcome) = mpsc::channel();
        let records = seqs.map(|seq| record(epoch, seq)).collect();
        store.append(Batch { guild: guild(), epoch, records }, Box::new(move |stored| told.send(stored).unwrap()));
        outcome.recv().unwrap()
    }

    fn checkpoint(epoch: Epoch, seq: u64) -> StoredCheckpoint {
        let position = Position { epoch, seq: Seq(seq) };
        let standing = Standing::Deleted;
        let structure = Structure {
            position,
            records: seq,
            clock: Millis(1),
            departed: Millis(0),
            standing,
            operations: Vec::new(),
        };
        StoredCheckpoint { structure, base: Members::new(MembersConfig::default()).base().clone() }
    }

    fn save(store: &MemoryStore, epoch: Epoch, seq: u64) -> Result<(), StoreError> {
        let (told, outcome) = mpsc::channel();
        store.checkpoint(guild(), epoch, checkpoint(epoch, seq), Box::new(move |stored| told.send(stored).unwrap()));
        outcome.recv().unwrap()
    }

    fn confirm(store: &MemoryStore, epoch: Epoch) -> Result<(), StoreError> {
        let (told, outcome) = mpsc::channel();
        store.confirm(guild(), epoch, Box::new(move |confirmed| told.send(confirmed).unwrap()));
        outcome.recv().unwrap()
    }

    #[test]
    fn a_claim_raises_the_epoch_and_fences_the_owner_before() {
        let store = MemoryStore::default();
        let first = store.claim(guild(), Grant(3)).unwrap().epoch;
        append(&store, first, 1..=2).unwrap();
        let second = store.claim(guild(), Grant(3)).unwrap();
        assert!(second.epoch > first);
        assert_eq!(second.tail.len(), 2);

        let fenced = StoreError::Fenced { got: first, current: second.epoch };
        assert_eq!(append(&store, first, 3..=3), Err(fenced.clone()));
        assert_eq!((confirm(&store, first), confirm(&store, second.epoch)), (Err(fenced.clone()), Ok(())));
        assert_eq!(save(&store, first, 2), Err(fenced));
        assert_eq!(store.claim(guild(), Grant(3)).unwrap().tail.len(), 2);
    }

    #[test]
    fn a_claim_with_an_older_grant_is_refused() {
        let store = MemoryStore::default();
        store.claim(guild(), Grant(5)).unwrap();
        let refused = store.claim(guild(), Grant(4)).unwrap_err();
        assert_eq!(refused, StoreError::StaleGrant { got: Grant(4), seen: Grant(5) });
    }

    #[test]
    fn a_checkpoint_drops_the_records_it_covers_and_an_older_one_changes_nothing() {
        let store = MemoryStore::default();
        let epoch = store.claim(guild(), Grant(1)).unwrap().epoch;
        append(&store, epoch, 1..=5).unwrap();
        save(&store, epoch, 3).unwrap();
        assert_eq!(store.records(guild()), 2);
        save(&store, epoch, 1).unwrap();
        let claim = store.claim(guild(), Grant(1)).unwrap();
        assert_eq!(claim.checkpoint.unwrap().structure.position.seq, Seq(3));
        assert_eq!(claim.tail.iter().map(|record| record.position.seq.0).collect::<Vec<_>>(), [4, 5]);
    }

    #[test]
    fn a_guild_is_unknown_until_something_is_stored_and_cannot_be_written_unclaimed() {
        let store = MemoryStore::default();
        assert_eq!(store.knows(guild()), Ok(Known::Nothing));
        assert!(append(&store, Epoch(1), 1..=1).is_err());
        let epoch = store.claim(guild(), Grant(1)).unwrap().epoch;
        assert_eq!(store.knows(guild()), Ok(Known::Nothing), "a claim stores nothing of the guild");
        assert_eq!(store.list(None, 10), Ok(vec![]));
        append(&store, epoch, 1..=1).unwrap();
        assert_eq!(store.knows(guild()), Ok(Known::Something));
        assert_eq!(store.list(None, 10), Ok(vec![guild()]));
        assert_eq!((store.list(Some(guild()), 10), store.list(None, 0)), (Ok(vec![]), Ok(vec![])));
        save(&store, epoch, 1).unwrap();
        assert_eq!(store.list(None, 10), Ok(vec![]), "it is deleted");
    }
}
