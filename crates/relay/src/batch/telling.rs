//! The batch's way through what is told beside the events.
//!
//! Each is shown at its place, where the roster has everybody's rights as of then, to who was there by then.
//!
//! Invariant: nothing beyond `limit` is shown: who came before that was told has been handed over, who came later may not.

use std::ops::ControlFlow;
use std::sync::Arc;

use guildhall_ring::{Cursor, Version};

use super::{BatchItem, Roster};
use crate::told::ToldReader;

#[derive(Debug, Default)]
pub(crate) struct Telling {
    heard: Version,
    limit: Version,
    /// Before this place there is nothing to be shown: so that one comparison an event is all where nothing is told.
    due: Cursor,
}

impl Telling {
    /// Goes as far as `limit` from now on.
    pub(super) fn extend(&mut self, limit: Version) {
        self.limit = limit;
        self.due = if self.heard < limit { Cursor(0) } else { NEVER };
    }

    /// Passes what is left: its place has left the ring.
    pub(super) fn skip(&mut self) {
        self.heard = self.limit;
        self.due = NEVER;
    }

    /// Shows what was told up to the place `at`.
    #[inline]
    pub(super) fn show(
        &mut self,
        told: &ToldReader,
        at: Cursor,
        roster: &Roster,
        visit: &mut impl FnMut(BatchItem<'_>),
    ) {
        while at >= self.due {
            self.show_next(told, at, roster, visit);
        }
    }

    fn show_next(&mut self, told: &ToldReader, at: Cursor, roster: &Roster, visit: &mut impl FnMut(BatchItem<'_>)) {
        let mut next = None;
        told.read(&mut self.heard, |version, told| {
            next = Some((version, Arc::clone(told)));
            ControlFlow::Break(())
        });
        match next.filter(|(version, _)| *version <= self.limit) {
            None => self.due = NEVER,
            Some((_, told)) if told.place > at => self.due = told.place,
            Some((version, told)) => {
                self.heard = version;
                let ephemeral = &told.ephemeral;
                roster.tell(&told, version, |tokens| visit(BatchItem::Ephemeral { ephemeral, tokens }));
            }
        }
    }
}

const NEVER: Cursor = Cursor(u64::MAX);
