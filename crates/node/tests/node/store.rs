//! A store that fails, holds and panics when told to, around the one in memory.

use std::collections::BTreeSet;
use std::mem::take;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use guildhall_proto::{Epoch, Grant, GuildId};
use guildhall_store::{Batch, Claim, Known, MemoryStore, Store, StoreError, Stored, StoredCheckpoint};
use parking_lot::{Condvar, Mutex};

#[derive(Default)]
pub(crate) struct TestStore {
    inner: MemoryStore,
    script: Mutex<Script>,
    checkpoints_released: Condvar,
    claims: AtomicUsize,
    is_full: AtomicBool,
    /// Owners panic in their turns, at which they look for room.
    turns_panic: AtomicBool,
    refuses_claims: AtomicBool,
}

#[derive(Default)]
struct Script {
    mode: Mode,
    held: Vec<Held>,
    /// Owners with a hole in their records: as with any store, nothing of theirs is taken behind it.
    broken: BTreeSet<(GuildId, Epoch)>,
    /// Claims wait here.
    claim_gate: Option<mpsc::Receiver<()>>,
    /// Checkpoints wait.
    holds_checkpoints: bool,
}

/// What becomes of the next records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    #[default]
    Take,
    /// Nothing is stored or told until the release.
    HoldBefore,
    /// All is stored, and told at the release.
    HoldAfter,
    /// Refused, this many times.
    Refuse(usize),
    /// Panics in the owner's hands, once.
    Panic,
    /// Forgotten without a word, once.
    Forget,
    /// Checkpoints panic, records are taken.
    PanicAtCheckpoints,
    /// Checkpoints are refused, records are taken.
    RefuseCheckpoints,
}

enum Held {
    Untaken(Batch, Stored),
    Taken(Result<(), StoreError>, Stored),
}

impl TestStore {
    pub(crate) fn set(&self, mode: Mode) {
        self.script.lock().mode = mode;
    }

    /// Batches held.
    pub(crate) fn held(&self) -> usize {
        self.script.lock().held.len()
    }

    /// Lets out what is held, and holds no more.
    pub(crate) fn release(&self) {
        let held = take(&mut self.script.lock().held);
        self.let_out(held);
    }

    /// The same, the last first.
    pub(crate) fn release_backwards(&self) {
        let mut held = take(&mut self.script.lock().held);
        held.reverse();
        self.let_out(held);
    }

    /// Tells the owners of what is held that it was not taken, and holds no more.
    pub(crate) fn refuse_held(&self) {
        self.set(Mode::Take);
        let held = take(&mut self.script.lock().held);
        for held in held {
            let (Held::Untaken(_, stored) | Held::Taken(_, stored)) = held;
            stored(Err(StoreError::Unavailable { reason: String::from("the test says no") }));
        }
    }

    fn let_out(&self, held: Vec<Held>) {
        self.set(Mode::Take);
        for held in held {
            match held {
                Held::Untaken(batch, stored) => self.inner.append(batch, stored),
                Held::Taken(outcome, stored) => stored(outcome),
            }
        }
    }

    pub(crate) fn claims(&self) -> usize {
        self.claims.load(Ordering::SeqCst)
    }

    /// Makes the next claim wait for a word.
    pub(crate) fn hold_claim(&self) -> mpsc::Sender<()> {
        let (release, gate) = mpsc::channel();
        self.script.lock().claim_gate = Some(gate);
        release
    }

    /// Has every checkpoint wait from now on, or none any more.
    pub(crate) fn hold_checkpoints(&self, holds: bool) {
        self.script.lock().holds_checkpoints = holds;
        self.checkpoints_released.notify_all();
    }

    /// Has every claim fail from now on, or none any more.
    pub(crate) fn refuse_claims(&self, refuses: bool) {
        self.refuses_claims.store(refuses, Ordering::SeqCst);
    }

    pub(crate) fn turns_panic(&self, panic: bool) {
        self.turns_panic.store(panic, Ordering::SeqCst);
    }

    /// Has the store say from now on that it has no room, or has it again. It takes what it is given.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::SeqCst);
    }

    pub(crate) fn records(&self, guild: GuildId) -> usize {
        self.inner.records(guild)
    }
}

impl Store for TestStore {
    fn knows(&self, guild: GuildId) -> Result<Known, StoreError> {
        self.inner.knows(guild)
    }

    fn list(&self, after: Option<GuildId>, limit: usize) -> Result<Vec<GuildId>, StoreError> {
        self.inner.list(after, limit)
    }

    fn confirm(&self, guild: GuildId, epoch: Epoch, confirmed: Stored) {
        self.inner.confirm(guild, epoch, confirmed);
    }

    fn claim(&self, guild: GuildId, grant: Grant) -> Result<Claim, StoreError> {
        self.claims.fetch_add(1, Ordering::SeqCst);
        let gate = self.script.lock().claim_gate.take();
        if let Some(gate) = gate {
            gate.recv().expect("the test lets the claim go on");
        }
        if self.refuses_claims.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable { reason: String::from("the test lets nobody claim") });
        }
        self.inner.claim(guild, grant)
    }

    fn append(&self, batch: Batch, stored: Stored) {
        let mut script = self.script.lock();
        let owner = (batch.guild, batch.epoch);
        if script.broken.contains(&owner) {
            drop(script);
            return stored(Err(StoreError::Unavailable { reason: String::from("records before these are missing") }));
        }
        match script.mode {
            Mode::Take | Mode::PanicAtCheckpoints | Mode::RefuseCheckpoints => {
                drop(script);
                self.inner.append(batch, stored);
            }
            Mode::HoldBefore => script.held.push(Held::Untaken(batch, stored)),
            Mode::HoldAfter => {
                let (tell, told) = mpsc::channel();
                self.inner.append(batch, Box::new(move |outcome| tell.send(outcome).unwrap()));
                script.held.push(Held::Taken(told.recv().unwrap(), stored));
            }
            Mode::Refuse(times) => {
                script.mode = if times > 1 { Mode::Refuse(times - 1) } else { Mode::Take };
                script.broken.insert(owner);
                drop(script);
                stored(Err(StoreError::Unavailable { reason: String::from("the test says no") }));
            }
            Mode::Panic => {
                script.mode = Mode::Take;
                script.broken.insert(owner);
                drop(script);
                panic!("the store of this test panics");
            }
            Mode::Forget => {
                script.mode = Mode::Take;
                script.broken.insert(owner);
            }
        }
    }

    fn checkpoint(&self, guild: GuildId, epoch: Epoch, checkpoint: StoredCheckpoint, stored: Stored) {
        let mode = {
            let mut script = self.script.lock();
            self.checkpoints_released.wait_while(&mut script, |script| script.holds_checkpoints);
            script.mode
        };
        assert!(mode != Mode::PanicAtCheckpoints, "the checkpoints of this test panic");
        if mode == Mode::RefuseCheckpoints {
            return stored(Err(StoreError::Unavailable { reason: String::from("the test takes no checkpoint") }));
        }
        self.inner.checkpoint(guild, epoch, checkpoint, stored);
    }

    fn has_room(&self) -> bool {
        assert!(!self.turns_panic.load(Ordering::SeqCst), "the turns of this test panic");
        !self.is_full.load(Ordering::SeqCst)
    }
}
