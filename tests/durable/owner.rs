//! One owner: the guild and its gate, driven as a node drives them, a step at a time.

use std::collections::VecDeque;
use std::mem::{replace, take};
use std::sync::{Arc, Mutex};

use guildhall_guild::{Call, Checkpoint, Effect, Gate, Guild, Input, Operation, ScanJob, TurnId};
use guildhall_members::FoldJob;
use guildhall_proto::{Actor, Epoch, GuildId, Millis, Position};
use guildhall_store::{Batch, Store, StoreError, StoredCheckpoint};

use crate::ledger::Ledger;
use crate::seen::Seen;

#[derive(Debug)]
pub(crate) struct Owner {
    guild: Guild,
    gate: Gate,
    epoch: Epoch,
    effects: Vec<Effect>,
    fold: Option<FoldJob>,
    scans: VecDeque<ScanJob>,
    inbox: Arc<Mutex<VecDeque<Word>>>,
    saving: bool,
    next_save: Option<Checkpoint>,
    is_drowsy: bool,
    /// Up to which record turns were handed over and not refused at once.
    pub(crate) handed: u64,
}

/// What the store says of something handed over.
#[derive(Debug)]
enum Word {
    Turn(TurnId, u64, Result<(), StoreError>),
    Checkpoint(u64, Position, Result<(), StoreError>),
}

impl Owner {
    pub(crate) fn new(guild: Guild, epoch: Epoch, handed: u64) -> Self {
        Self {
            guild,
            gate: Gate::default(),
            epoch,
            effects: Vec::new(),
            fold: None,
            scans: VecDeque::new(),
            inbox: Arc::default(),
            saving: false,
            next_save: None,
            is_drowsy: false,
            handed,
        }
    }

    /// Whether it takes commands now.
    pub(crate) fn is_ready(&self) -> bool {
        !self.is_drowsy && !self.guild.is_congested()
    }

    /// Hands an operation to the guild.
    pub(crate) fn ask(&mut self, now: Millis, nth: usize, ledger: &mut Ledger, seen: &mut Seen) {
        let id = ledger.call(nth);
        let (op, command) = (ledger.ops[nth].id, ledger.ops[nth].command.as_ref().clone());
        let before = self.effects.len();
        let operation = Operation::new(op, Actor::System, command).unwrap();
        self.guild.handle(now, Input::Command(Call { id, operation }), &mut self.effects);
        ledger.note_call(now, id, &self.effects[before..], seen);
    }

    /// Carries on with what is spread over turns.
    pub(crate) fn proceed(&mut self, now: Millis, ledger: &mut Ledger, seen: &mut Seen) {
        if self.guild.has_work() {
            let before = self.effects.len();
            self.guild.proceed(now, &mut self.effects);
            ledger.note_batch(now, &self.effects[before..], seen);
        }
    }

    /// Lets workers finish what they were given.
    pub(crate) fn work(&mut self, now: Millis, ledger: &mut Ledger, seen: &mut Seen) {
        let before = self.effects.len();
        if let Some(job) = self.fold.take() {
            seen.folds += 1;
            self.guild.handle(now, Input::FoldDone(job.run()), &mut self.effects);
        }
        if let Some(job) = self.scans.pop_front() {
            self.guild.handle(now, Input::ScanDone(job.run()), &mut self.effects);
        }
        ledger.note(&self.effects[before..]);
    }

    /// Ends the turn: hands its records to the store. With `early` it has the store's word before the store has given it.
    pub(crate) fn end_turn(&mut self, store: &dyn Store, ledger: &mut Ledger, early: bool) {
        if self.effects.is_empty() {
            return;
        }
        let view = self.guild.view();
        let admitted = self.gate.admit(&mut self.effects, view);
        let last = ledger.end_turn(self.guild.position());
        if let Some((turn, records)) = admitted.append {
            let inbox = Arc::clone(&self.inbox);
            if early {
                inbox.lock().unwrap().push_back(Word::Turn(turn, last, Ok(())));
            }
            let stored = move |told| inbox.lock().unwrap().push_back(Word::Turn(turn, last, told));
            store.append(Batch { guild: ledger.id, epoch: self.epoch, records }, Box::new(stored));
            if !self.is_fenced() {
                self.handed = last;
            }
        }
        if let Some(job) = admitted.fold {
            assert!(self.fold.replace(job).is_none(), "one fold is under way at a time");
        }
        self.scans.extend(admitted.scans);
    }

    /// Whether the store has refused a turn because of a later owner.
    pub(crate) fn is_fenced(&self) -> bool {
        let fenced = |word: &Word| matches!(word, Word::Turn(_, _, Err(StoreError::Fenced { .. })));
        self.inbox.lock().unwrap().iter().any(fenced)
    }

    /// What the store has said is said, though the owner comes to its end before it hears of it.
    pub(crate) fn overhear(&self, ledger: &mut Ledger) {
        for word in &*self.inbox.lock().unwrap() {
            match word {
                Word::Turn(_, records, Ok(())) => ledger.stored(*records),
                Word::Checkpoint(records, position, Ok(())) => ledger.checkpointed(*records, *position),
                Word::Turn(_, _, Err(_)) | Word::Checkpoint(_, _, Err(_)) => {}
            }
        }
    }

    /// Hears what the store says, and lets out what the gate lets out.
    pub(crate) fn hear(&mut self, store: &dyn Store, ledger: &mut Ledger, seen: &mut Seen) {
        for word in take(&mut *self.inbox.lock().unwrap()) {
            match word {
                Word::Turn(turn, records, Ok(())) => {
                    ledger.stored(records);
                    self.gate.settle(turn, Ok::<_, StoreError>(())).expect("the store has them");
                }
                Word::Checkpoint(records, position, told) => {
                    self.saving = false;
                    match told {
                        Ok(()) => ledger.checkpointed(records, position),
                        Err(error) => panic!("nobody else owns the guild, and there is room: {error}"),
                    }
                    seen.checkpoints += 1;
                }
                Word::Turn(_, _, Err(error)) => panic!("nobody else owns the guild, and there is room: {error}"),
            }
        }
        while let Some(outcomes) = self.gate.release() {
            ledger.released(&outcomes, seen);
            // One that is overtaken while it waits is covered by the later one.
            if let Some(latest) = outcomes.checkpoints.into_iter().next_back() {
                self.next_save = Some(latest);
            }
        }
        if !self.saving
            && let Some(Checkpoint { structure, base }) = self.next_save.take()
        {
            self.saving = true;
            let structure = structure.structure();
            let (records, position, inbox) = (structure.records, structure.position, Arc::clone(&self.inbox));
            let stored = move |told| inbox.lock().unwrap().push_back(Word::Checkpoint(records, position, told));
            store.checkpoint(ledger.id, self.epoch, StoredCheckpoint { structure, base }, Box::new(stored));
        }
    }

    /// Begins to fall asleep, or carries on with it: it takes no commands any more, and saves itself once nothing is to do. True
    /// once the guild sleeps.
    pub(crate) fn fall_asleep(&mut self, ledger: &Ledger) -> bool {
        let was_drowsy = replace(&mut self.is_drowsy, true);
        let waits = self.guild.is_at_work() || self.guild.is_folding() || self.saving || self.next_save.is_some();
        if waits || !self.gate.is_empty() || !self.effects.is_empty() {
            return false;
        }
        if was_drowsy && self.guild.is_checkpointed() {
            return true;
        }
        self.guild.checkpoint(&mut self.effects);
        assert_eq!(ledger.under_way(), 0, "it is not at work");
        self.effects.is_empty()
    }

    pub(crate) fn is_drowsy(&self) -> bool {
        self.is_drowsy
    }

    pub(crate) fn position(&self) -> Position {
        self.guild.position()
    }

    /// Whether nothing is held, asked or under way any more.
    pub(crate) fn is_quiet(&self) -> bool {
        self.gate.is_empty() && self.effects.is_empty() && !self.guild.is_at_work() && !self.guild.is_folding()
    }
}

/// The id of a guild of the history.
pub(crate) fn guild_id(number: u64) -> GuildId {
    GuildId::new(number).unwrap()
}
