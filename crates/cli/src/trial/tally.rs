//! What one session has heard of numbered events: their numbers, and the sum of their marks, but not their contents.

use guildhall_client::Gap;
use guildhall_proto::{Epoch, Event, EventKind};

use super::bell::Bell;
use super::fact::{mark_at, mark_of};
use crate::checks::{Heard, Noted, Number};

/// What one session has heard.
#[derive(Debug)]
pub(crate) struct Tally {
    epoch: Epoch,
    pub(crate) numbers: Heard,
    /// The sum of the marks of all that was heard, each once and as of its number.
    pub(crate) marks: u64,
    /// Events that arrived, of whatever kind.
    pub(crate) deliveries: u64,
    pub(crate) duplicated: u64,
    /// Numbers that came after a higher one.
    pub(crate) late: Vec<Number>,
    /// Numbers from before the first that is kept.
    pub(crate) early: u64,
    /// Events that are not as they were made.
    pub(crate) altered: u64,
    pub(crate) gaps: Vec<Missed>,
}

/// What a session was told that it has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missed {
    /// The last number that it knows.
    pub(crate) after: Number,
    /// The last number that may be missing.
    pub(crate) through: Number,
    /// One more than the highest number that it had heard or passed by when it was told.
    pub(crate) next: Number,
}

impl Missed {
    /// Whether it is of what the session had heard or been told to be missing before, or ends before it begins.
    pub(crate) fn is_crooked(&self) -> bool {
        self.after < self.next - 1 || self.through < self.after
    }
}

impl Tally {
    /// A session that hears what comes after `accepted`.
    pub(crate) fn new(epoch: Epoch, accepted: Number) -> Self {
        Self {
            epoch,
            numbers: Heard::new(accepted + 1),
            marks: 0,
            deliveries: 0,
            duplicated: 0,
            late: Vec::new(),
            early: 0,
            altered: 0,
            gaps: Vec::new(),
        }
    }

    /// Takes note of an event with the mark that [`mark_of`] gives it. O(1).
    pub(crate) fn hear(&mut self, event: &Event, mark: Option<u64>) {
        self.deliveries += 1;
        let Some(mark) = mark.filter(|_| event.position.epoch == self.epoch) else {
            self.altered += 1;
            return;
        };
        let number = event.position.seq.0;
        let mut add = || self.marks = self.marks.wrapping_add(mark_at(number, mark));
        match self.numbers.note(number) {
            Noted::InOrder => add(),
            Noted::Late => {
                add();
                self.late.push(number);
            }
            Noted::Again => self.duplicated += 1,
            Noted::Early => self.early += 1,
        }
    }

    pub(crate) fn gap(&mut self, gap: Gap) {
        let (after, through) = (gap.after.seq.0, gap.through.seq.0);
        self.gaps.push(Missed { after, through, next: self.numbers.next() });
        self.numbers.pass(through.saturating_add(1));
    }

    /// What it takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.numbers.bytes() + size_of_val(&self.late[..]) + size_of_val(&self.gaps[..])
    }
}

/// An event as all its hearers take note of it: looked at once, whatever their number.
pub(crate) struct Sound<'a> {
    pub(crate) event: &'a Event,
    pub(crate) mark: Option<u64>,
    pub(crate) bell: Option<Bell>,
}

impl<'a> Sound<'a> {
    pub(crate) fn of(event: &'a Event) -> Self {
        let bell = if let EventKind::GuildUpdated { after, .. } = &event.kind { Bell::read(&after.name) } else { None };
        Self { event, mark: mark_of(&event.kind), bell }
    }
}
