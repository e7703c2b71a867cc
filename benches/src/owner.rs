//! An owner without its shell: guild, gate and ring, driven in turns by whoever measures them.

use std::any::Any;
use std::sync::Arc;

use guildhall_guild::{Gate, Guild, Input, ScanJob};
use guildhall_members::FoldJob;
use guildhall_proto::Event;
use guildhall_ring::{Cursor, RingConfig, Writer, ring};

use crate::worlds::NOW;

/// A guild with what its outcomes leave through.
pub struct Owner {
    /// The guild.
    pub guild: Guild,
    gate: Gate,
    ring: Writer<Arc<Event>>,
    effects: Vec<guildhall_guild::Effect>,
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
        Self { guild, gate: Gate::default(), ring, effects: Vec::new() }
    }

    /// One turn: what came, and a batch of what is under way; then the view, the gate, and the ring. The store takes records at once.
    pub fn turn(&mut self, inputs: impl IntoIterator<Item = Input>) -> Aside {
        for input in inputs {
            self.guild.handle(NOW, input, &mut self.effects);
        }
        if self.guild.has_work() {
            self.guild.proceed(NOW, &mut self.effects);
        }
        let view = self.guild.view();
        let admitted = self.gate.admit(&mut self.effects, view);
        if let Some((turn, records)) = admitted.append {
            drop(records);
            self.gate.settle(turn);
        }
        while let Some(outcomes) = self.gate.release() {
            for event in outcomes.events {
                self.ring.append(event);
            }
        }
        Aside { fold: admitted.fold, scans: admitted.scans, garbage: admitted.discard }
    }
}

impl Aside {
    /// Does what workers do, in place, and returns what the guild is to be told of it.
    pub fn run(self) -> Vec<Input> {
        drop(self.garbage);
        let folded = self.fold.map(|job| Input::FoldDone(job.run()));
        folded.into_iter().chain(self.scans.into_iter().map(|job| Input::ScanDone(job.run()))).collect()
    }
}
