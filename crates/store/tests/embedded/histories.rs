//! Random histories of several guilds, cut by the power: at any operation of the disk, also while the store is opened again.
//!
//! After each cut every guild is claimed and compared with all that was ever handed over: what was acknowledged is there exactly once,
//! and behind it are whole batches, in order, or nothing; epochs rise; a checkpoint and the records behind it give the same guild.

use std::collections::BTreeMap;

use guildhall_log::files::{Failure, Fault, Site};
use guildhall_proto::{Epoch, GuildId, Record};
use guildhall_store::{EmbeddedConfig, IdentityError, OpenError, PendingClaim, StoreError};

use crate::world::{Dice, Disk, Opened, Told, assert_same, checkpoint, guild, outcome, record, tiny};

#[test]
fn what_was_acknowledged_survives_any_cut_once_and_in_order() {
    let mut seen = Seen::default();
    for seed in 0..1_000 {
        History::new(seed).run(&mut seen);
    }
    for (what, times) in [
        ("power cuts", seen.cuts),
        ("cuts while opening", seen.double_cuts),
        ("torn tails", seen.torn),
        ("unmarked ends", seen.unmarked),
        ("batches that were cut", seen.batches_cut),
        ("batches that were found though nobody was told", seen.batches_found),
        ("stale owners refused", seen.fenced),
        ("checkpoints read back", seen.checkpoints_read),
        ("records carried", seen.carried),
        ("checkpoints compacted", seen.compacted),
        ("segments given back", seen.freed),
        ("parts kept", seen.parts_kept),
        ("processes ended in order", seen.restarts),
        ("creations cut", seen.creations_cut),
    ] {
        assert!(times >= 40, "{what}: {times} in {seen:?}");
    }
}

#[test]
fn without_syncs_the_same_histories_lose_what_was_acknowledged() {
    let lost = (0..40).filter(|seed| {
        std::panic::catch_unwind(|| {
            let history = History::new(*seed);
            for files in history.disk.all() {
                files.ignore_sync(true);
            }
            history.run(&mut Seen::default());
        })
        .is_err()
    });
    assert!(lost.count() >= 30);
}

/// What happened, so that a test can tell that it did.
#[derive(Debug, Default)]
struct Seen {
    cuts: u64,
    double_cuts: u64,
    torn: u64,
    unmarked: u64,
    batches_cut: u64,
    batches_found: u64,
    fenced: u64,
    checkpoints_read: u64,
    carried: u64,
    compacted: u64,
    freed: u64,
    parts_kept: u64,
    restarts: u64,
    creations_cut: u64,
}

struct History {
    dice: Dice,
    disk: Disk,
    config: EmbeddedConfig,
    opened: Option<Opened>,
    guilds: BTreeMap<GuildId, Known>,
}

/// What must be stored of a guild, and what may be.
#[derive(Default)]
struct Known {
    /// All that was handed over and not refused, in order.
    batches: Vec<Handed>,
    /// The epochs of its owners, the last of which is in force.
    epochs: Vec<Epoch>,
    /// How far the last acknowledged checkpoint reaches.
    covered: u64,
    saves: Vec<(u64, Told)>,
    claiming: Option<PendingClaim>,
}

struct Handed {
    records: Vec<Record>,
    told: Told,
    /// Known to be stored: found, or acknowledged and noticed.
    is_stored: bool,
}

impl Known {
    fn records(&self) -> Vec<Record> {
        self.batches.iter().flat_map(|batch| batch.records.clone()).collect()
    }

    /// Takes note of what was acknowledged.
    fn notice(&mut self) {
        for batch in &mut self.batches {
            batch.is_stored |= outcome(&batch.told) == Some(Ok(()));
        }
        for (covered, told) in &self.saves {
            if outcome(told) == Some(Ok(())) {
                self.covered = self.covered.max(*covered);
            }
        }
        self.saves.retain(|(_, told)| outcome(told).is_none());
    }

    /// Records of batches known to be stored.
    fn stored(&self) -> Vec<Record> {
        let stored = self.batches.iter().take_while(|batch| batch.is_stored);
        stored.flat_map(|batch| batch.records.clone()).collect()
    }
}

impl History {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let config = EmbeddedConfig {
            slack_bytes: 4_096 * dice.below(5),
            small_bytes: [0, 500, 100_000][dice.below(3) as usize],
            ..tiny()
        };
        Self { dice, disk: Disk::default(), config, opened: None, guilds: BTreeMap::new() }
    }

    fn run(mut self, seen: &mut Seen) {
        self.create(seen);
        self.open(seen);
        for _ in 0..3 + self.dice.below(4) {
            if self.dice.below(4) > 0 {
                self.power_off_later(60);
            }
            for _ in 0..self.dice.below(150) {
                if self.act(seen).is_none() {
                    break;
                }
            }
            self.end(seen);
            self.open(seen);
            self.check_all(seen);
        }
    }

    fn create(&mut self, seen: &mut Seen) {
        if self.dice.below(4) == 0 {
            self.power_off_later(8);
        }
        while let Err(error) = self.disk.create(&self.config) {
            if matches!(error, OpenError::Exists) {
                return;
            }
            seen.creations_cut += 1;
            assert!(seen.creations_cut < 10_000, "the power came back, and yet it cannot be made: {error}");
            self.cut();
        }
    }

    /// Has the power go at some change of one of the directories.
    fn power_off_later(&mut self, changes: u64) {
        let files = self.disk.all()[if self.dice.below(2) == 0 { 1 } else { self.dice.below(3) as usize }];
        let after = self.dice.below(changes);
        files.fail(Fault { site: Site::Any, after, times: u64::MAX, failure: Failure::PowerOff });
    }

    fn cut(&mut self) {
        let unit = if self.dice.below(2) == 0 { 512 } else { 4_096 };
        self.disk.power_cut(self.dice.next(), unit);
    }

    /// The process ends: in order, or with the power.
    fn end(&mut self, seen: &mut Seen) {
        let opened = self.opened.take().unwrap();
        let counts = opened.store.counts();
        seen.carried += counts.carried;
        seen.compacted += counts.compacted;
        seen.freed += counts.segments_freed;
        seen.parts_kept += counts.parts_kept;
        for known in self.guilds.values_mut() {
            known.notice();
            known.claiming = None;
        }
        if self.dice.below(5) == 0 {
            for files in self.disk.all() {
                files.mend();
            }
            let mut opened = opened;
            if opened.drive().is_ok() {
                seen.restarts += 1;
                for known in self.guilds.values_mut() {
                    known.notice();
                }
                return;
            }
        }
        seen.cuts += 1;
        self.cut();
    }

    fn open(&mut self, seen: &mut Seen) {
        if self.dice.below(2) == 0 {
            self.power_off_later(12);
        }
        loop {
            match self.disk.open(&self.config) {
                Ok(opened) => {
                    for found in [&opened.report.records, &opened.report.checkpoints] {
                        seen.torn += u64::from(found.torn.is_some());
                        seen.unmarked += u64::from(found.unmarked > 0);
                    }
                    self.opened = Some(opened);
                    return;
                }
                // Whatever it says: nothing is damaged, but the power is gone.
                Err(OpenError::Log { .. } | OpenError::Identity(IdentityError::Io { .. })) => {
                    seen.double_cuts += 1;
                    assert!(seen.double_cuts < 10_000, "the power came back, and yet it cannot be opened");
                    self.cut();
                    if let Err(error) = self.disk.copy().open(&self.config) {
                        panic!("with the power back: {error}");
                    }
                    if self.dice.below(3) == 0 {
                        self.power_off_later(6);
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// One thing that owners or writers do. `None` when the power is gone.
    fn act(&mut self, seen: &mut Seen) -> Option<()> {
        let guild = guild(1 + self.dice.below(4));
        let opened = self.opened.as_mut()?;
        let known = self.guilds.entry(guild).or_default();
        match self.dice.below(20) {
            0 => {
                let claim = opened.store.begin_claim(guild, guildhall_proto::Grant(1)).ok()?;
                known.claiming = Some(claim);
            }
            1..=2 => {
                if let Some(claim) = known.claiming.take_if(|claim| claim.is_settled()) {
                    let epoch = claim.epoch();
                    match claim.finish() {
                        Ok(claim) => {
                            known.notice();
                            check(known, claim, seen, false);
                            known.epochs.push(epoch);
                        }
                        Err(StoreError::Unavailable { .. }) => return None,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            3..=10 => {
                // Mostly the owner in force, sometimes one that does not know yet.
                let back = if self.dice.below(6) == 0 { 2 } else { 1 };
                let epoch = *known.epochs.get(known.epochs.len().checked_sub(back)?)?;
                let next = known.records().last().map_or(0, |record| record.number) + 1;
                let n = 1 + self.dice.below(4);
                let users = if self.dice.below(8) == 0 { 40 } else { self.dice.below(6) };
                let records: Vec<_> =
                    (next..next + n).map(|number| record(epoch, number, self.dice.next() >> 8, users)).collect();
                let told = opened.append(guild, epoch, records.clone());
                match outcome(&told) {
                    None => known.batches.push(Handed { records, told, is_stored: false }),
                    Some(Err(StoreError::Fenced { .. })) => seen.fenced += 1,
                    Some(Err(StoreError::Unavailable { .. })) => return None,
                    other => panic!("{other:?}"),
                }
            }
            11..=12 => {
                known.notice();
                let epoch = *known.epochs.last()?;
                let stored = known.stored();
                let until = stored.len() as u64 - self.dice.below(stored.len() as u64 + 1) / 4;
                let covered = &stored[..until as usize];
                let told = opened.save(guild, epoch, checkpoint(covered));
                known.saves.push((until, told));
            }
            13..=17 => drop(opened.records.step().ok()?),
            _ => drop(opened.checkpoints.step().ok()?),
        }
        Some(())
    }

    fn check_all(&mut self, seen: &mut Seen) {
        let opened = self.opened.as_mut().unwrap();
        for files in self.disk.all() {
            files.mend();
        }
        for (guild, known) in &mut self.guilds {
            let claim = opened.claim(*guild, 1).unwrap();
            let epoch = claim.epoch;
            check(known, claim, seen, true);
            known.epochs.push(epoch);
        }
    }
}

/// Compares what a claim found with what must and may be there. After a cut what was not found will never come.
fn check(known: &mut Known, claim: guildhall_store::Claim, seen: &mut Seen, is_cut: bool) {
    assert!(known.epochs.iter().all(|epoch| *epoch < claim.epoch), "epochs rise");
    let all = known.records();
    let covered = claim.checkpoint.as_ref().map_or(0, |found| found.structure.records);
    assert!(covered >= known.covered, "an acknowledged checkpoint is gone");
    if let Some(found) = &claim.checkpoint {
        seen.checkpoints_read += 1;
        assert_same(found, &checkpoint(&all[..covered as usize]));
    }
    let found = covered as usize + claim.tail.len();
    assert_eq!(claim.tail, all[covered as usize..found], "the tail is not what was handed over");

    let must = known.stored().len();
    assert!(found >= must, "{found} of {must} acknowledged records are there");
    let mut end = 0;
    let whole = known.batches.iter().take_while(|batch| {
        end += batch.records.len();
        end <= found
    });
    let whole = whole.count();
    let records: usize = known.batches[..whole].iter().map(|batch| batch.records.len()).sum();
    assert_eq!(records, found, "a batch is there in part");
    for batch in &mut known.batches[..whole] {
        seen.batches_found += u64::from(is_cut && !batch.is_stored);
        batch.is_stored = true;
    }
    if is_cut {
        seen.batches_cut += (known.batches.len() - whole) as u64;
    } else {
        let told: Vec<_> = known.batches[whole..]
            .iter()
            .map(|batch| (outcome(&batch.told), batch.records[0].number, batch.records[0].position.epoch))
            .collect();
        assert_eq!(told, [], "a claim is behind all that was queued before it: {:?} {:?}", claim.epoch, known.epochs);
    }
    known.batches.truncate(whole);
    known.saves.clear();
}
