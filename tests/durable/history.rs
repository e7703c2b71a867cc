//! One history: several guilds, what happens to them one thing at a time, and the ends of the process that come between.

use guildhall_guild::{CheckpointConfig, GuildConfig};
use guildhall_log::MemoryFiles;
use guildhall_log::files::{Failure, Fault, Site};
use guildhall_members::MembersConfig;
use guildhall_proto::{Grant, Millis};
use guildhall_store::{EmbeddedConfig, EmbeddedCounts, IdentityError, OpenError, PendingClaim, StoreError};

use crate::commands::{Dice, command, is_spread};
use crate::disk::{Disk, Opened};
use crate::ledger::Ledger;
use crate::owner::{Owner, guild_id};
use crate::seen::Seen;

/// What is wrong with the world, so that the checks must fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cheat {
    None,
    IgnoredSyncs,
    EarlyAnswers,
}

pub(crate) struct History {
    dice: Dice,
    cheat: Cheat,
    disk: Disk,
    config: EmbeddedConfig,
    guild_config: GuildConfig,
    opened: Option<Opened>,
    places: Vec<Place>,
    now: Millis,
    /// Where the power is to go, if that is known.
    cut: Cut,
}

/// One guild, and who has it.
struct Place {
    ledger: Ledger,
    owner: Option<Owner>,
    claiming: Option<PendingClaim>,
    /// Up to which record turns were handed over; `None` once the process has ended since.
    handed: Option<u64>,
}

/// Where the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Between two steps.
    Between,
    Anywhere,
    AtSyncOfRecords,
    AtRemoval,
}

/// The power is gone.
struct PowerOff;

impl History {
    pub(crate) fn new(seed: u64, cheat: Cheat) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x2545_F491_4F6C_DD1D));
        let config = EmbeddedConfig {
            segment_bytes: SEGMENT_BYTES,
            slack_bytes: SEGMENT_BYTES * dice.below(3),
            small_bytes: [0, 1_000, 8_000][dice.below(3) as usize],
            ..EmbeddedConfig::default()
        };
        let members = MembersConfig {
            page_members: 16 + dice.below(64) as usize,
            fold_at: 8 + dice.below(64) as usize,
            inline_fold_members: if dice.one_in(2) { 0 } else { 64 },
        };
        let guild_config = GuildConfig {
            members,
            checkpoints: CheckpointConfig { changes_min: 5 + dice.below(40), ..CheckpointConfig::default() },
        };
        let place =
            |number| Place { ledger: Ledger::new(guild_id(number)), owner: None, claiming: None, handed: Some(0) };
        let places = (1..=2 + dice.below(3)).map(place).collect();
        let disk = Disk::default();
        let now = Millis(1_700_000_000_000);
        Self { dice, cheat, disk, config, guild_config, opened: None, places, now, cut: Cut::Between }
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self, seen: &mut Seen) {
        self.create(seen);
        self.open(seen);
        self.disk.records.ignore_sync(self.cheat == Cheat::IgnoredSyncs);
        for _ in 0..CUTS {
            self.arm();
            if self.dice.one_in(4) {
                // A few of these, and the outcomes from before are forgotten.
                self.now.0 += 4 * 60 * 1_000;
            }
            for _ in 0..self.dice.below(STEPS_MAX) {
                self.now.0 += self.dice.below(20);
                if self.step(seen).is_err() {
                    break;
                }
            }
            self.end(seen);
            self.open(seen);
            if self.dice.one_in(4) {
                power_off_at(&self.disk.records, Site::Any, self.dice.below(10));
            }
            // One that sleeps may sleep on, so that it is woken by a later process.
            while self.wake_all(false, seen).is_err() {
                seen.cuts_while_claiming += 1;
                self.end(seen);
                self.open(seen);
            }
            self.disk.mend();
        }
        self.check_all(seen);
        self.finish(seen);
        self.end(seen);
        self.open(seen);
        self.check_all(seen);
    }

    fn check_all(&mut self, seen: &mut Seen) {
        assert!(self.wake_all(true, seen).is_ok(), "the power is on");
    }

    fn create(&mut self, seen: &mut Seen) {
        if self.dice.one_in(8) {
            self.power_off_later(8);
        }
        while let Err(error) = self.disk.create(&self.config) {
            if matches!(error, OpenError::Exists) {
                return;
            }
            (seen.creations_cut, seen.power_cuts) = (seen.creations_cut + 1, seen.power_cuts + 1);
            self.power_cut();
            // The next attempt is not disturbed.
        }
        self.disk.mend();
    }

    /// Chooses when the power goes.
    fn arm(&mut self) {
        let Disk { records, checkpoints, .. } = &self.disk;
        self.cut = match self.dice.below(10) {
            0 => Cut::Between,
            1..4 => {
                power_off_at(records, Site::Any, self.dice.below(240));
                Cut::Anywhere
            }
            4..6 => {
                power_off_at(checkpoints, Site::Any, self.dice.below(80));
                Cut::Anywhere
            }
            6..8 => {
                power_off_at(records, Site::Sync, self.dice.below(80));
                Cut::AtSyncOfRecords
            }
            _ => {
                power_off_at(records, Site::Remove, self.dice.below(3));
                power_off_at(checkpoints, Site::Remove, self.dice.below(3));
                Cut::AtRemoval
            }
        };
    }

    /// Has the power go at one of the next changes of one of the directories.
    fn power_off_later(&mut self, changes: u64) {
        let files = self.disk.all()[self.dice.below(3) as usize];
        power_off_at(files, Site::Any, self.dice.below(changes));
    }

    fn power_cut(&mut self) {
        let unit_bytes = if self.dice.one_in(2) { 512 } else { 4_096 };
        self.disk.power_cut(self.dice.next(), unit_bytes);
    }

    /// The process ends: with the power, or alone.
    fn end(&mut self, seen: &mut Seen) {
        let opened = self.opened.take().unwrap();
        let EmbeddedCounts { carried, compacted, segments_freed, parts_kept, .. } = opened.store.counts();
        seen.carried += carried;
        seen.compacted += compacted;
        seen.segments_freed += segments_freed;
        seen.parts_kept += parts_kept;
        for place in &mut self.places {
            if let Some(owner) = place.owner.take() {
                owner.overhear(&mut place.ledger);
            }
            (place.claiming, place.handed) = (None, None);
        }
        drop(opened);
        if self.dice.one_in(8) {
            self.disk.kill();
            seen.kills += 1;
        } else {
            self.power_cut();
            seen.power_cuts += 1;
        }
    }

    /// Opens the store, and in about a third of all cases is cut in the midst of that.
    fn open(&mut self, seen: &mut Seen) {
        if self.dice.one_in(2) {
            self.power_off_later(7);
        }
        loop {
            match self.disk.open(&self.config) {
                Ok(opened) => {
                    for found in [&opened.report.records, &opened.report.checkpoints] {
                        seen.torn_tails += u64::from(found.torn.is_some());
                        seen.unmarked_ends += u64::from(found.unmarked > 0);
                    }
                    self.opened = Some(opened);
                    self.disk.mend();
                    return;
                }
                Err(OpenError::Log { .. } | OpenError::Identity(IdentityError::Io { .. })) => {
                    (seen.double_cuts, seen.power_cuts) = (seen.double_cuts + 1, seen.power_cuts + 1);
                    self.power_cut();
                    if let Err(error) = self.disk.copy().open(&self.config) {
                        panic!("with the power back: {error}");
                    }
                    if self.dice.one_in(3) {
                        self.power_off_later(7);
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// One thing that happens.
    fn step(&mut self, seen: &mut Seen) -> Result<(), PowerOff> {
        match self.dice.below(32) {
            0..4 => self.write_records(seen),
            4 => self.write_checkpoints(seen),
            _ => {
                let nth = self.dice.index(self.places.len()).unwrap();
                self.act(nth, seen);
                Ok(())
            }
        }
    }

    fn write_records(&mut self, seen: &mut Seen) -> Result<(), PowerOff> {
        let opened = self.opened.as_mut().unwrap();
        let before = opened.store.counts();
        if opened.records.step().is_ok() {
            return Ok(());
        }
        let after = opened.store.counts();
        seen.cuts_in_carrying += u64::from(after.carried > before.carried);
        seen.cuts_between_append_and_sync += u64::from(self.cut == Cut::AtSyncOfRecords);
        seen.cuts_in_truncation += u64::from(self.cut == Cut::AtRemoval);
        Err(PowerOff)
    }

    fn write_checkpoints(&mut self, seen: &mut Seen) -> Result<(), PowerOff> {
        let opened = self.opened.as_mut().unwrap();
        let before = opened.store.counts();
        if opened.checkpoints.step().is_ok() {
            return Ok(());
        }
        let after = opened.store.counts();
        seen.cuts_in_checkpoints += 1;
        seen.cuts_in_compaction += u64::from(after.compacted > before.compacted);
        seen.cuts_in_truncation += u64::from(self.cut == Cut::AtRemoval);
        Err(PowerOff)
    }

    /// One thing that happens to a guild.
    fn act(&mut self, nth: usize, seen: &mut Seen) {
        let early = self.cheat == Cheat::EarlyAnswers;
        let opened = self.opened.as_ref().unwrap();
        let Place { ledger, owner, claiming, handed } = &mut self.places[nth];
        let Some(owner) = owner else {
            match claiming.take() {
                Some(claim) if claim.is_settled() => self.settle(nth, claim, seen),
                Some(claim) => *claiming = Some(claim),
                None => *claiming = Some(opened.store.begin_claim(ledger.id, Grant(1)).expect("nothing is refused")),
            }
            return;
        };
        match self.dice.below(24) {
            0..9 if owner.is_ready() => {
                let asked = command(&mut self.dice, &ledger.live, ledger.ops.len() as u64);
                if !is_spread(&asked) || ledger.under_way() < 2 {
                    let op = ledger.issue(self.now, asked);
                    owner.ask(self.now, op, ledger, seen);
                }
            }
            9 if owner.is_ready() => retry_one(&mut self.dice, self.now, owner, ledger, seen),
            0..11 => owner.work(self.now, ledger, seen),
            11..14 => owner.proceed(self.now, ledger, seen),
            14..18 => {
                owner.end_turn(&opened.store, ledger, early);
                owner.hear(&opened.store, ledger, seen);
            }
            18..22 => owner.hear(&opened.store, ledger, seen),
            22 if (owner.is_drowsy() || self.dice.one_in(8)) && owner.fall_asleep(ledger) => {
                ledger.slept = Some(owner.position());
                *handed = Some(owner.handed);
                self.places[nth].owner = None;
                seen.fell_asleep += 1;
            }
            23 if self.dice.one_in(4) => self.retire(nth, seen),
            _ => {}
        }
    }

    /// An owner loses its guild to the next one; it may not know at once.
    fn retire(&mut self, nth: usize, seen: &mut Seen) {
        let store = &self.opened.as_ref().unwrap().store;
        let Place { ledger, owner, claiming, handed } = &mut self.places[nth];
        let Some(mut stale) = owner.take() else { return };
        *claiming = Some(store.begin_claim(ledger.id, Grant(1)).expect("nothing is refused"));
        *handed = Some(stale.handed);
        stale.end_turn(store, ledger, false);
        seen.stale_owners_refused += u64::from(stale.is_fenced());
        assert_eq!(*handed, Some(stale.handed), "the stale owner's turn was taken");
        stale.overhear(ledger);
        seen.retired += 1;
    }

    /// A claim is settled: the next owner begins.
    fn settle(&mut self, nth: usize, claim: PendingClaim, seen: &mut Seen) {
        let Place { ledger, owner, handed, .. } = &mut self.places[nth];
        let claim = match claim.finish() {
            Ok(claim) => claim,
            Err(error @ StoreError::Corrupt { .. }) => panic!("{error}"),
            Err(error) => panic!("the power is on, and there is room: {error}"),
        };
        let epoch = claim.epoch;
        let guild = ledger.take_over(claim, *handed, &self.guild_config, seen);
        let mut begun = Owner::new(guild, epoch, ledger.certain_records());
        *handed = Some(begun.handed);
        for op in ledger.worth_retrying(&mut self.dice) {
            begun.ask(self.now, op, ledger, seen);
        }
        *owner = Some(begun);
    }

    /// Brings the guilds back that are awake, or all; each must be what its ledger says.
    fn wake_all(&mut self, all: bool, seen: &mut Seen) -> Result<(), PowerOff> {
        for nth in 0..self.places.len() {
            if self.places[nth].owner.is_some() {
                continue;
            }
            let sleeps = self.places[nth].ledger.slept.is_some();
            if !all && sleeps && self.dice.one_in(2) {
                continue;
            }
            let opened = self.opened.as_mut().unwrap();
            let claim = match self.places[nth].claiming.take() {
                Some(claim) => claim,
                None => opened.store.begin_claim(self.places[nth].ledger.id, Grant(1)).expect("nothing is refused"),
            };
            if opened.drive().is_err() {
                return Err(PowerOff);
            }
            self.settle(nth, claim, seen);
        }
        Ok(())
    }

    /// Lets everything that was begun come to its end, and asks for all that was ever answered once more.
    fn finish(&mut self, seen: &mut Seen) {
        let early = self.cheat == Cheat::EarlyAnswers;
        self.disk.mend();
        for nth in 0..self.places.len() {
            let mut asked = false;
            for round in 0.. {
                assert!(round < 1_000, "it comes to no end");
                let opened = self.opened.as_mut().unwrap();
                let Place { ledger, owner, .. } = &mut self.places[nth];
                let owner = owner.as_mut().expect("all are awake");
                owner.work(self.now, ledger, seen);
                owner.proceed(self.now, ledger, seen);
                owner.end_turn(&opened.store, ledger, early);
                opened.drive().expect("the power is on");
                owner.hear(&opened.store, ledger, seen);
                if owner.is_quiet() && owner.is_ready() {
                    if asked {
                        break;
                    }
                    asked = true;
                    for op in 0..ledger.ops.len() {
                        if ledger.ops[op].acknowledged.is_some() {
                            owner.ask(self.now, op, ledger, seen);
                        }
                    }
                }
            }
        }
    }
}

/// Has the power go when so many operations of a kind have succeeded.
fn power_off_at(files: &MemoryFiles, site: Site, after: u64) {
    files.fail(Fault { site, after, times: u64::MAX, failure: Failure::PowerOff });
}

/// One of the operations again, whatever became of it.
fn retry_one(dice: &mut Dice, now: Millis, owner: &mut Owner, ledger: &mut Ledger, seen: &mut Seen) {
    let Some(nth) = dice.index(ledger.ops.len()) else { return };
    if ledger.may_be_retried(nth) {
        owner.ask(now, nth, ledger, seen);
    }
}

/// Two of them are taken from the disk ahead; a batch of an import, a page and all kept operations fit.
const SEGMENT_BYTES: u64 = 24 * 1024;
/// Ends of the process in one history.
const CUTS: u64 = 5;
/// Things that happen between two.
const STEPS_MAX: u64 = 1_500;
