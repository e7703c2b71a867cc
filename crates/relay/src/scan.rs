//! One session's place in the ring, and what is for it from there on.
//!
//! Invariant: `cohort` is the session's as of just before the entry at `cursor`.

use std::ops::ControlFlow;
use std::sync::Arc;

use guildhall_proto::{Position, SessionId, UserId};
use guildhall_ring::{Cursor, Reader};

use crate::cohort::Cohort;
use crate::entry::{Entry, Fact};
use crate::session::{Delivery, Gap, SessionKey};

#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) key: SessionKey,
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
    pub(crate) cursor: Cursor,
    pub(crate) cohort: Arc<Cohort>,
    /// Changes of cohort that happened before the session was attached here, newest first.
    pub(crate) past: Vec<(Cursor, Arc<Cohort>)>,
    /// The last position the session knows: of its last delivery, or of its attach.
    pub(crate) known: Position,
}

/// Where a scan has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scanned {
    /// The entry at the cursor is for the session.
    Found,
    /// Nothing more is for it before the limit, where the cursor is now.
    End,
    /// The entry at the cursor has left the ring.
    Lost,
}

impl Scan {
    /// Delivers up to `max` of what is for the session before `limit`, then goes on to the next that is, without taking it.
    pub(crate) fn run(
        &mut self,
        ring: &Reader<Entry>,
        limit: Cursor,
        max: usize,
        mut visit: impl FnMut(Delivery<'_>),
    ) -> Scanned {
        if self.cursor >= limit {
            return Scanned::End;
        }
        let mut left = max;
        let mut found = false;
        let mut last = None;
        let mut cursor = self.cursor;
        let read = ring.read(&mut cursor, |at, entry| {
            if at >= limit {
                return ControlFlow::Break(());
            }
            let moved = self.moved(at, entry);
            let after = moved.unwrap_or(&self.cohort);
            if entry.is_for(self.user, self.session, &self.cohort, after) {
                if left == 0 {
                    found = true;
                    return ControlFlow::Break(());
                }
                left -= 1;
                match &entry.fact {
                    Fact::Event(event) => {
                        last = Some(event.position);
                        visit(Delivery::Event(event));
                    }
                    Fact::Hole { through } => {
                        let after = last.unwrap_or(self.known);
                        last = Some(*through);
                        visit(Delivery::Gap(Gap { after, through: *through }));
                    }
                }
            }
            if let Some(to) = moved.map(Arc::clone) {
                self.cohort = to;
                if self.past.last().is_some_and(|(past, _)| *past == at) {
                    self.past.pop();
                }
            }
            ControlFlow::Continue(())
        });
        self.cursor = cursor;
        self.known = last.unwrap_or(self.known);
        match read {
            Ok(_) if found => Scanned::Found,
            Ok(_) => Scanned::End,
            // A cursor ahead of the ring cannot be: the limit is at most its head.
            Err(_) => Scanned::Lost,
        }
    }

    /// Goes on to the next entry for the session before `limit`.
    pub(crate) fn seek(&mut self, ring: &Reader<Entry>, limit: Cursor) -> Scanned {
        self.run(ring, limit, 0, |_| {})
    }

    /// Jumps to where the session stands at the relay's head; the gap that it is to be told, if there was one.
    pub(crate) fn jump(&mut self, to: Cursor, through: Position) -> Gap {
        let gap = Gap { after: self.known, through };
        self.cursor = to;
        self.known = through;
        self.past.clear();
        gap
    }

    #[inline]
    fn moved<'a>(&'a self, at: Cursor, entry: &'a Entry) -> Option<&'a Arc<Cohort>> {
        match self.past.last() {
            Some((past, to)) if *past == at => Some(to),
            Some(_) | None => entry.moved(self.key),
        }
    }
}
