//! An owner without its shell: guild, gate and ring, driven in turns by whoever measures them.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;

use guildhall_guild::{Gate, Guild, Input, ScanJob};
use guildhall_members::{FoldJob, View};
use guildhall_proto::Event;
use guildhall_ring::{Cursor, Evicted, RingConfig, Writer, ring};

use crate::worlds::NOW;

/// A guild with what its outcomes leave through.
pub struct Owner {
    /// The guild.
    pub guild: Guild,
    gate: Gate,
    ring: Writer<Arc<Event>>,
    effects: Vec<guildhall_guild::Effect>,
    /// The published one: what readers may have, the next turn must leave as it is.
    view: Option<View>,
}

/// What workers have to do after a turn.
pub struct Aside {
    fold: Option<FoldJob>,
    scans: Vec<ScanJob>,
    garbage: Vec<Box<dyn Any + Send>>,
}

impl Owner {
    /// Of a guild.
    pub fn new(guild: Guild) -> Self {
        let (ring, _) = ring(RingConfig { entries_max: 4_096, bytes_max: 8 << 20 }, Cursor(1));
        Self { guild, gate: Gate::default(), ring, effects: Vec::new(), view: None }
    }

    /// One turn: what came, and a batch of what is under way; then the view, the gate, and the ring. The store takes records at once.
    pub fn turn(&mut self, inputs: impl IntoIterator<Item = Input>) -> Aside {
        let mut inputs = inputs.into_iter();
        loop {
            let chunk: Vec<Input> = inputs.by_ref().take(CHUNK_INPUTS).collect();
            if chunk.is_empty() {
                break;
            }
            self.guild.look_ahead(chunk.iter().filter_map(|input| match input {
                Input::Command(call) => Some((call.operation.actor(), call.operation.command())),
                Input::Session(_)
                | Input::SponsorGone(_)
                | Input::Typing(_)
                | Input::FoldDone(_)
                | Input::ScanDone(_) => None,
            }));
            for input in chunk {
                self.guild.handle(NOW, input, &mut self.effects);
            }
        }
        if self.guild.has_work() {
            self.guild.proceed(NOW, &mut self.effects);
        }
        let view = self.guild.view();
        let mut admitted = self.gate.admit(&mut self.effects, view);
        let mut evicted = Evicted::default();
        if let Some((turn, records)) = admitted.append {
            drop(records);
            let Ok(()) = self.gate.settle(turn, Ok::<(), Infallible>(()));
        }
        while let Some(outcomes) = self.gate.release() {
            for event in outcomes.events {
                self.ring.append_evicting(event, &mut evicted);
            }
            admitted.discard.push(Box::new(std::mem::replace(&mut self.view, outcomes.view)));
        }
        admitted.discard.push(Box::new(evicted));
        Aside { fold: admitted.fold, scans: admitted.scans, garbage: admitted.discard }
    }
}

impl Aside {
    /// Whether a fold is to be run.
    pub fn has_fold(&self) -> bool {
        self.fold.is_some()
    }

    /// Does what workers do, in place, and returns what the guild is to be told of it.
    pub fn run(self) -> Vec<Input> {
        drop(self.garbage);
        let folded = self.fold.map(|job| Input::FoldDone(job.run()));
        folded.into_iter().chain(self.scans.into_iter().map(|job| Input::ScanDone(job.run()))).collect()
    }
}

/// Inputs that an owner takes out of its mailbox at once.
const CHUNK_INPUTS: usize = 32;
