//! A store over a disk in memory, its writers stepped by hand, and what its guilds are made of.

use std::sync::{Arc, Mutex};

use guildhall_log::MemoryFiles;
use guildhall_members::{Base, Members, MembersConfig};
use guildhall_proto::{
    AppliedOp, BodyHash, ClientId, Epoch, Event, EventKind, Grant, GuildId, Member, MemberFlags, Millis, Nick, NodeId,
    OpId, Outcome, Position, Record, RoleId, Seq, Stage, Standing, Structure, UserId,
};
use guildhall_store::{
    Alone, Batch, CheckpointWriter, Claim, Directory, EmbeddedConfig, EmbeddedStore, Identity, OpenError, OpenReport,
    RecordWriter, Store, StoreError, StoreFailure, Stored, StoredCheckpoint,
};

/// The three directories of one store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    pub(crate) root: MemoryFiles,
    pub(crate) records: MemoryFiles,
    pub(crate) checkpoints: MemoryFiles,
}

impl Disk {
    /// A disk with an empty store.
    pub(crate) fn with_store(config: &EmbeddedConfig) -> Self {
        let disk = Self::default();
        disk.create(config).unwrap();
        disk
    }

    pub(crate) fn create(&self, config: &EmbeddedConfig) -> Result<(), OpenError> {
        EmbeddedStore::create(&self.directory(), &identity(1), config)
    }

    pub(crate) fn directory(&self) -> Directory {
        Directory::new(Arc::new(self.root.clone()), Arc::new(self.records.clone()), Arc::new(self.checkpoints.clone()))
    }

    pub(crate) fn all(&self) -> [&MemoryFiles; 3] {
        [&self.root, &self.records, &self.checkpoints]
    }

    pub(crate) fn copy(&self) -> Self {
        Self { root: self.root.copy(), records: self.records.copy(), checkpoints: self.checkpoints.copy() }
    }

    pub(crate) fn open(&self, config: &EmbeddedConfig) -> Result<Opened, OpenError> {
        let (store, records, checkpoints, report) =
            EmbeddedStore::open(self.directory(), config.clone(), Arc::new(Alone))?;
        Ok(Opened { store, records, checkpoints, report })
    }

    pub(crate) fn power_cut(&self, seed: u64, unit_bytes: u64) {
        for (n, files) in self.all().into_iter().enumerate() {
            files.power_cut(seed.wrapping_add(n as u64), unit_bytes);
        }
    }
}

/// A directory's identity, made of a number.
pub(crate) fn identity(number: u8) -> Identity {
    Identity::new(u128::from(number), NodeId::new(1).unwrap(), std::array::from_fn(|n| number ^ n as u8))
}

/// An open store and its writers.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: EmbeddedStore,
    pub(crate) records: RecordWriter,
    pub(crate) checkpoints: CheckpointWriter,
    pub(crate) report: OpenReport,
}

/// What a call with a callback came to; `None` until it is told.
pub(crate) type Told = Arc<Mutex<Option<Result<(), StoreError>>>>;

pub(crate) fn told() -> (Told, Stored) {
    let outcome = Told::default();
    let teller = Arc::clone(&outcome);
    let stored = move |stored| {
        let before = teller.lock().unwrap().replace(stored);
        assert_eq!(before, None, "told twice");
    };
    (outcome, Box::new(stored))
}

pub(crate) fn outcome(outcome: &Told) -> Option<Result<(), StoreError>> {
    outcome.lock().unwrap().clone()
}

impl Opened {
    /// Lets the writers do all there is to do.
    pub(crate) fn drive(&mut self) -> Result<(), StoreFailure> {
        loop {
            let records = self.records.step()?;
            let checkpoints = self.checkpoints.step()?;
            if !records && !checkpoints {
                return Ok(());
            }
        }
    }

    pub(crate) fn claim(&mut self, guild: GuildId, grant: u64) -> Result<Claim, StoreError> {
        let claim = self.store.begin_claim(guild, Grant(grant))?;
        let driven = self.drive();
        assert!(claim.is_settled() || driven.is_err(), "the writers have done all they can");
        claim.finish()
    }

    pub(crate) fn append(&self, guild: GuildId, epoch: Epoch, records: Vec<Record>) -> Told {
        let (outcome, stored) = told();
        self.store.append(Batch { guild, epoch, records }, stored);
        outcome
    }

    pub(crate) fn append_now(&mut self, guild: GuildId, epoch: Epoch, records: Vec<Record>) -> Result<(), StoreError> {
        let told = self.append(guild, epoch, records);
        drop(self.drive());
        outcome(&told).expect("told once the writers have done all they can")
    }

    pub(crate) fn save(&self, guild: GuildId, epoch: Epoch, checkpoint: StoredCheckpoint) -> Told {
        let (outcome, stored) = told();
        self.store.checkpoint(guild, epoch, checkpoint, stored);
        outcome
    }

    pub(crate) fn save_now(
        &mut self,
        guild: GuildId,
        epoch: Epoch,
        checkpoint: StoredCheckpoint,
    ) -> Result<(), StoreError> {
        let told = self.save(guild, epoch, checkpoint);
        drop(self.drive());
        outcome(&told).expect("told once the writers have done all they can")
    }
}

/// Segments of 4 KiB, so that everything happens soon.
pub(crate) fn tiny() -> EmbeddedConfig {
    EmbeddedConfig { segment_bytes: 4 * 1024, slack_bytes: 12 * 1024, small_bytes: 500, ..EmbeddedConfig::default() }
}

pub(crate) fn guild(number: u64) -> GuildId {
    GuildId::new(number).unwrap()
}

/// A record that names `users` users, `salt` telling it from others of its number.
pub(crate) fn record(epoch: Epoch, number: u64, salt: u64, users: u64) -> Record {
    let position = Position { epoch, seq: Seq(number) };
    let id = OpId { client: ClientId::MIN, counter: number, issued_at: Millis(salt) };
    let op = AppliedOp { id, body: BodyHash(salt), outcome: Outcome::Applied { at: position }, stage: Stage::Finished };
    let users =
        (1..=users).map(|user| UserId::new(user.wrapping_mul(salt | 1).max(1)).unwrap_or(UserId::MIN)).collect();
    let event = Event { position, at: Millis(salt), kind: EventKind::MembersLeft { users } };
    Record { number, position, at: Millis(salt), op, event: Some(Arc::new(event)) }
}

/// The guild that these records, from the first on, lead to: any function of them will do, if it differs when they do.
pub(crate) fn checkpoint(records: &[Record]) -> StoredCheckpoint {
    let last = records.last();
    let position = last.map_or(Position::default(), |record| record.position);
    let number = last.map_or(0, |record| record.number);
    let clock = records.iter().fold(7_u64, |clock, record| clock.wrapping_mul(31).wrapping_add(record.at.0));
    let structure = Structure {
        position,
        records: number,
        clock: Millis(clock),
        departed: Millis(clock / 2),
        standing: Standing::Uncreated,
        operations: Vec::new(),
    };
    StoredCheckpoint { structure, base: base(records) }
}

/// Some dozens of members on small pages, of which a record changes one.
fn base(records: &[Record]) -> Base {
    let config = MembersConfig { page_members: 4, fold_at: 1, inline_fold_members: usize::MAX };
    let mut members = Members::new(config);
    for record in records {
        let user = UserId::new(record.at.0 % 41 + 1).unwrap();
        members.put(&Member {
            user,
            nick: Nick::parse(&format!("n{}", record.number)).unwrap(),
            roles: vec![RoleId::new(record.number % 3 + 1).unwrap()],
            joined_at: Millis(record.at.0),
            flags: MemberFlags::NONE,
        });
    }
    match members.begin_fold() {
        Some(job) => {
            let folded = job.run();
            drop(members.install(folded));
            members.base()
        }
        None => members.base(),
    }
}

/// That two checkpoints hold the same guild.
pub(crate) fn assert_same(found: &StoredCheckpoint, expected: &StoredCheckpoint) {
    assert_eq!(found.structure, expected.structure);
    assert!(found.base.iter().eq(expected.base.iter()), "the members differ");
    assert_eq!(found.base.digest(), expected.base.digest());
}

/// Numbers from a seed.
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
