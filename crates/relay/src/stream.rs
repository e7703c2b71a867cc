//! One session's own way to its deliveries: read by its task, without the relay.
//!
//! Relay and stream meet at a [`Door`]: the relay leaves there where a woken session goes on, and where an ended one stops.
//!
//! Invariants:
//! - a session that is not waiting, and is not just reading, has its cursor at an entry that is for it: so falling out of the ring
//!   is always a loss;
//! - the end of a session is left at its door before any entry behind that end is in the ring: so whoever sees such an entry, and
//!   looks at the door later, sees the end.

use std::fmt;
use std::sync::Arc;

use guildhall_proto::Position;
use guildhall_ring::{Cursor, Reader};
use parking_lot::Mutex;

use crate::cohort::Cohort;
use crate::entry::Entry;
use crate::scan::{Scan, Scanned};
use crate::session::{Delivery, DetachReason, Gap, Read, SessionKey};

/// What relay and stream tell each other. The lock is held for a few instructions, and is never contended for long.
#[derive(Debug)]
pub(crate) struct Door(Mutex<Place>);

#[derive(Debug)]
struct Place {
    at: At,
    /// The cohort of a waiting session, if it changed while it waited.
    cohort: Option<Arc<Cohort>>,
    /// Boxed: most sessions never look at it.
    end: Option<Box<End>>,
}

/// Where a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// At the head, without a position.
    Waiting,
    /// Woken: to go on from here.
    Woken(Cursor),
    /// Where its stream says.
    Reading,
}

/// Where and why a session ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    /// The first entry that it does not hear.
    pub(crate) at: Cursor,
    /// The position of the last that it may hear.
    pub(crate) position: Position,
    pub(crate) reason: DetachReason,
}

impl Door {
    pub(crate) fn new(at: At) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Place { at, cohort: None, end: None })))
    }

    /// Sends a waiting session on its way.
    #[inline]
    pub(crate) fn wake(&self, at: Cursor) {
        self.0.lock().at = At::Woken(at);
    }

    pub(crate) fn wait(&self) {
        let mut place = self.0.lock();
        place.at = At::Waiting;
        debug_assert!(place.cohort.is_none());
    }

    /// Tells a waiting session its new cohort.
    pub(crate) fn change_cohort(&self, cohort: Arc<Cohort>) {
        self.0.lock().cohort = Some(cohort);
    }

    /// Ends the session; one that waits goes on from `from` to hear so.
    pub(crate) fn end(&self, end: End, from: Cursor) -> Ending {
        let mut place = self.0.lock();
        place.end = Some(Box::new(end));
        if place.at == At::Waiting {
            place.at = At::Woken(from);
            Ending::Woken
        } else {
            Ending::Reading
        }
    }

    pub(crate) fn at(&self) -> At {
        self.0.lock().at
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.0.lock().end.is_some()
    }
}

/// How a session is told of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It was waiting and has been woken for it.
    Woken,
    /// It comes to it by itself.
    Reading,
}

/// One session's deliveries. It belongs to the session's task, may be sent to another thread, and outlives the session: what was
/// for it and is still in the ring can be read after its end was decided.
pub struct Stream {
    pub(crate) scan: Scan,
    pub(crate) door: Arc<Door>,
    pub(crate) ring: Reader<Entry>,
    /// To be told first. Boxed: most sessions never have one.
    pub(crate) gap: Option<Box<Gap>>,
    ended: bool,
}

impl Stream {
    pub(crate) fn new(scan: Scan, door: Arc<Door>, ring: Reader<Entry>) -> Self {
        Self { scan, door, ring, gap: None, ended: false }
    }

    /// The session's handle at its relay.
    pub fn key(&self) -> SessionKey {
        self.scan.key
    }

    /// The last position the session knows: of its last delivery, or of its attach.
    pub fn known(&self) -> Position {
        self.scan.known
    }

    /// Visits the next deliveries in order, at most `max` (0 counts as 1).
    ///
    /// Never waits for the relay. The visitor is shown what lies in the ring; what it wants to keep it clones. A session that
    /// has fallen out of the ring is told its gap after [`Relay::wait`](crate::Relay::wait), which is what [`Read::Idle`] asks for.
    pub fn read(&mut self, max: usize, mut visit: impl FnMut(Delivery<'_>)) -> Read {
        if self.ended {
            return Read::Ended;
        }
        // The head first, the door second: no entry below this head lies behind an end that the door does not show.
        let head = self.ring.head();
        let entered = self.enter();
        let mut left = max.max(1);
        if let Some(gap) = self.gap.take() {
            // Who was detached meanwhile has lost nothing behind its end.
            let through = entered.flatten().map_or(gap.through, |end| end.position.min(gap.through));
            if through > gap.after {
                visit(Delivery::Gap(Gap { after: gap.after, through }));
                left -= 1;
            }
        }
        let Some(end) = entered else {
            return Read::Waiting;
        };
        let limit = end.map_or(head, |end| end.at.min(head));
        let scanned = self.scan.run(&self.ring, limit, left, |delivery| {
            left -= 1;
            visit(delivery);
        });
        match (scanned, end) {
            (Scanned::Found, _) => Read::More,
            (Scanned::Lost | Scanned::End, None) => Read::Idle,
            (Scanned::Lost, Some(end)) => {
                self.gap = Some(Box::new(self.scan.jump(end.at, end.position)));
                // From there it is at its end: nothing more can be lost.
                if left == 0 { Read::More } else { self.read(left, visit) }
            }
            (Scanned::End, Some(end)) if self.scan.cursor < end.at => Read::Idle,
            (Scanned::End, Some(_)) if left == 0 => Read::More,
            (Scanned::End, Some(end)) => {
                visit(Delivery::Detached(end.reason));
                self.ended = true;
                Read::Ended
            }
        }
    }

    /// Takes what the relay left at the door; `None` if the session is waiting.
    fn enter(&mut self) -> Option<Option<End>> {
        let mut place = self.door.0.lock();
        match place.at {
            At::Waiting => return None,
            At::Woken(at) => {
                self.scan.cursor = at;
                place.at = At::Reading;
                if let Some(cohort) = place.cohort.take() {
                    self.scan.cohort = cohort;
                }
            }
            At::Reading => {}
        }
        Some(place.end.as_deref().copied())
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("key", &self.scan.key)
            .field("session", &self.scan.session)
            .field("cursor", &self.scan.cursor)
            .field("known", &self.scan.known)
            .finish_non_exhaustive()
    }
}
