//! All that the owners of one guild let out, by its name, whether the next owner knows of it or not.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included};
use std::sync::Arc;

use guildhall_proto::{Ephemeral, Epoch, Event, Position, Subject};

use crate::check::{Breach, Opening, Promise};

#[derive(Debug, Default)]
pub(super) struct Past {
    events: BTreeMap<Position, Arc<Event>>,
    /// Epochs that began without something that was let out before.
    broken: BTreeSet<Epoch>,
    /// All that was told of each subject, in order.
    told: BTreeMap<Subject, Vec<Ephemeral>>,
    /// Where the latest epoch began.
    opened: Position,
    head: Position,
}

impl Past {
    pub(super) fn add(&mut self, event: &Arc<Event>) -> Result<(), Breach> {
        let at = event.position;
        self.head = self.head.max(at);
        let known = self.events.entry(at).or_insert_with(|| Arc::clone(event));
        Promise::Names.require(known == event, || format!("{at} is {:?} and {:?}", known.kind, event.kind))
    }

    pub(super) fn tell(&mut self, ephemeral: Ephemeral) {
        self.told.entry(ephemeral.subject()).or_default().push(ephemeral);
    }

    pub(super) fn open(&mut self, opening: Opening) {
        let Opening { epoch, after } = opening;
        let begin = |epoch| Position { epoch, ..Position::default() };
        let last = self.events.range(begin(self.opened.epoch)..begin(epoch)).next_back();
        if last.map_or(self.opened.seq, |(last, _)| last.seq) > after.seq {
            self.broken.insert(epoch);
        }
        self.opened = Position { epoch, seq: after.seq };
        self.head = self.head.max(self.opened);
    }

    /// Where the latest owner is, as far as it has let out anything.
    pub(super) fn head(&self) -> Position {
        self.head
    }

    /// Whether a reader may come from one epoch into another without a gap.
    pub(super) fn is_continued(&self, from: Epoch, to: Epoch) -> bool {
        from >= to || self.broken.range((Excluded(from), Included(to))).next().is_none()
    }

    pub(super) fn find(&self, at: Position) -> Option<&Arc<Event>> {
        self.events.get(&at)
    }

    /// The events behind one position, up to and with another.
    pub(super) fn between(&self, after: Position, through: Position) -> impl Iterator<Item = &Arc<Event>> {
        // A range may not end before it begins.
        let range = (through > after).then(|| self.events.range((Excluded(after), Included(through))));
        range.into_iter().flatten().map(|(_, event)| event)
    }

    /// All that was told of a subject, in order.
    pub(super) fn told(&self, subject: Subject) -> &[Ephemeral] {
        self.told.get(&subject).map_or(&[], |told| &told[..])
    }
}
