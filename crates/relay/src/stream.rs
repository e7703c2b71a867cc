//! One session's own way to its deliveries: read by its task, without the relay.
//!
//! Relay and stream meet at a [`Door`]: the relay leaves there where a woken session goes on, where one listens in another way, and
//! where an ended one stops.
//!
//! Invariants:
//! - a session that is not waiting, and is not just reading, has its cursor at an entry that is for it: so falling out of the ring
//!   is always a loss;
//! - the end of a session, and a switch, is left at its door before any entry behind it is in a ring: so whoever sees such an entry,
//!   and looks at the door later, sees the end;
//! - a waiting session has no switch before it: the latest at its door says how it listens.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use guildhall_proto::{Level, Position};
use guildhall_ring::{Cursor, Version};
use parking_lot::Mutex;

use crate::hearing::{Mark, Readers, Switch};
use crate::rare::Rare;
use crate::scan::{Moved, Scan, Scanned};
use crate::session::{Delivery, DetachReason, Gap, Read, SessionKey};
use crate::told::Ear;

/// What relay and stream tell each other. The lock is held for a few instructions, and is never contended for long.
#[derive(Debug)]
pub(crate) struct Door(Mutex<Place>);

#[derive(Debug)]
struct Place {
    at: At,
    /// The cohort of a waiting session, if it changed while it waited. Boxed, as the end is: most sessions never look at it.
    cohort: Option<Box<Moved>>,
    unheard: Unheard,
    /// Not yet taken in by the stream.
    switches: Rare<Switch>,
    /// Turns that the stream had before it when it last looked; it may have passed some since.
    switches_taken: u32,
    end: Option<Box<End>>,
}

/// Where a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// At the head, without a position.
    Waiting,
    /// Woken: to go on from here.
    Woken(Mark),
    /// Where its stream says.
    Reading,
}

/// Where and why a session ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    /// The first entry that it does not hear.
    pub(crate) at: Mark,
    /// The position of the last that it may hear.
    pub(crate) position: Position,
    pub(crate) reason: DetachReason,
    /// Whether a hole ends it: if it has a gap to be told, it is told it, however little that names.
    pub(crate) is_in_hole: bool,
}

impl Door {
    pub(crate) fn new(at: At) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Place {
            at,
            cohort: None,
            unheard: Unheard::default(),
            switches: Rare::default(),
            switches_taken: 0,
            end: None,
        })))
    }

    /// Sends a waiting session on its way. Of what was told up to `told` it has heard all that is for it, unless it was called.
    #[inline]
    pub(crate) fn wake(&self, at: Mark, told: Version) {
        let mut place = self.0.lock();
        place.at = At::Woken(at);
        place.unheard.begin(told);
    }

    /// Tells a waiting session that something told after `version` is for it; whether it was not told so before.
    #[inline]
    pub(crate) fn call(&self, version: Version) -> bool {
        let mut place = self.0.lock();
        debug_assert!(place.at == At::Waiting);
        place.unheard.begin(version)
    }

    pub(crate) fn wait(&self) {
        let mut place = self.0.lock();
        place.at = At::Waiting;
        place.switches_taken = 0;
        debug_assert!(place.cohort.is_none() && !place.unheard.is_set() && place.switches.is_empty());
    }

    /// Leaves a switch at the relay's head.
    pub(crate) fn switch(&self, switch: Switch) {
        let mut place = self.0.lock();
        if place.at == At::Waiting {
            place.switches = Rare::default();
            if switch.hearing.level == Level::Passive {
                place.unheard = Unheard::default();
            }
        }
        place.switches.push(switch);
    }

    /// Notes how many switches the stream has before it.
    pub(crate) fn note_switches(&self, switches: usize) {
        self.0.lock().switches_taken = few(switches);
    }

    /// Turns that the stream may have before it.
    pub(crate) fn switches(&self) -> usize {
        let place = self.0.lock();
        place.switches.len() + place.switches_taken as usize
    }

    /// Tells a waiting session its new cohort.
    pub(crate) fn change_cohort(&self, moved: Moved) {
        self.0.lock().cohort = Some(Box::new(moved));
    }

    /// Ends the session; one that waits goes on from `from` to hear so.
    pub(crate) fn end(&self, end: End, from: Mark) -> Ending {
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

    pub(crate) fn is_called(&self) -> bool {
        self.0.lock().unheard.is_set()
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.0.lock().end.is_some()
    }
}

/// From where on a session has not looked at what is told, if there is something for it. Set while it waits, when it is woken or called.
///
/// One more than the version, in the 8 bytes that an option of it has beside them: there is a door for each session.
#[derive(Debug, Default)]
struct Unheard(Option<NonZeroU64>);

impl Unheard {
    /// Sets it if it is not set; whether it was not.
    fn begin(&mut self, after: Version) -> bool {
        let is_new = self.0.is_none();
        self.0 = self.0.or(NonZeroU64::MIN.checked_add(after.0));
        is_new
    }

    fn take(&mut self) -> Option<Version> {
        self.0.take().map(|above| Version(above.get() - 1))
    }

    fn is_set(&self) -> bool {
        self.0.is_some()
    }
}

/// The number of a session's switches.
fn few(switches: usize) -> u32 {
    u32::try_from(switches).expect("a session has a few switches before it at most")
}

impl Place {
    /// What has changed while the session was waiting, and since it was woken.
    fn take_changes(&mut self) -> (Rare<Switch>, Option<Moved>) {
        (self.switches.take(), self.cohort.take().map(|moved| *moved))
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
    pub(crate) rings: Arc<Readers>,
    /// To be told first. Boxed: most sessions never have one.
    pub(crate) gap: Option<Box<Gap>>,
    pub(crate) ear: Ear,
}

impl Stream {
    /// The stream of a session that comes now. What was told before is not for it.
    pub(crate) fn new(scan: Scan, door: Arc<Door>, rings: Arc<Readers>, gap: Option<Gap>) -> Self {
        let ear = Ear { heard: rings.told.head(), is_called: door.at() != At::Waiting };
        Self { scan, door, rings, gap: gap.map(Box::new), ear }
    }

    /// The session's handle at its relay.
    pub fn key(&self) -> SessionKey {
        self.scan.who.key
    }

    /// The last position the session knows: of its last delivery, or of its attach.
    pub fn known(&self) -> Position {
        self.gap.as_ref().map_or(self.scan.known, |untold| untold.after)
    }

    /// Visits the next deliveries in order, at most `max` (0 counts as 1).
    ///
    /// Never waits for the relay. The visitor is shown what lies in the ring; what it wants to keep it clones. A session that
    /// has fallen out of the ring is told its gap after [`Relay::wait`](crate::Relay::wait), which is what [`Read::Idle`] asks for.
    pub fn read(&mut self, max: usize, mut visit: impl FnMut(Delivery<'_>)) -> Read {
        if self.scan.is_over {
            return Read::Ended;
        }
        // The head first, the door second: no entry below this head lies behind an end that the door does not show.
        let head = self.rings.head();
        let entered = self.enter();
        let mut left = max.max(1);
        if let Some(gap) = self.gap.take() {
            // Who was detached meanwhile has lost nothing behind its end. A hole is told however little the relay knows of it, and so is a
            // summary that was lost, which may come where all events were heard.
            let end = entered.flatten();
            let has_ended_before = end.is_some_and(|end| end.position <= gap.after && !end.is_in_hole);
            if !has_ended_before {
                let through = end.map_or(gap.through, |end| end.position.min(gap.through));
                visit(Delivery::Gap(Gap { after: gap.after, through }));
                left -= 1;
            }
        }
        let Some(end) = entered else {
            return self.hear(head.whole, left, visit, Read::Waiting);
        };
        let limit = end.map_or(head, |end| end.at.or_earlier(head));
        let scanned = self.scan.run(&self.rings, limit, left, |delivery| {
            left -= 1;
            visit(delivery);
        });
        match (scanned, end) {
            (Scanned::Found, _) => Read::More,
            (Scanned::Lost, None) => Read::Idle,
            (Scanned::End, None) => self.hear(head.whole, left, visit, Read::Idle),
            (Scanned::Lost, Some(end)) => {
                self.gap = Some(Box::new(self.scan.jump(end.at, end.position)));
                // From there it is at its end: nothing more can be lost.
                if left == 0 { Read::More } else { self.read(left, visit) }
            }
            (Scanned::End, Some(end)) if self.scan.cursor < end.at.of(self.scan.ring) => Read::Idle,
            (Scanned::End, Some(_)) if left == 0 => Read::More,
            (Scanned::End, Some(end)) => {
                visit(Delivery::Detached(end.reason));
                self.scan.is_over = true;
                Read::Ended
            }
        }
    }

    /// Delivers up to `max` of what was told beside the events, having read all of these up to `head`.
    ///
    /// The head was loaded before the door was looked at: no change of rights below it is still at the door.
    fn hear(&mut self, head: Cursor, max: usize, mut visit: impl FnMut(Delivery<'_>), then: Read) -> Read {
        if !self.ear.is_called {
            return then;
        }
        let mut left = max;
        while let Some((version, ephemeral)) = self.scan.next_told(&self.rings.told, &mut self.ear.heard, head) {
            if left == 0 {
                return Read::More;
            }
            left -= 1;
            self.ear.heard = version;
            visit(Delivery::Ephemeral(ephemeral));
        }
        // Who waits is called for what comes from now on; what is told behind the head it has still to look at.
        self.ear.is_called = then != Read::Waiting || self.ear.heard != self.rings.told.head();
        then
    }

    /// Has the session, which has just begun to wait at `head`, look for what is told, and says whether there is something for it.
    pub(crate) fn look(&mut self, head: Cursor) -> bool {
        self.ear.is_called = self.scan.next_told(&self.rings.told, &mut self.ear.heard, head).is_some();
        self.ear.is_called
    }

    /// Passes what was told so far.
    pub(crate) fn pass_told(&mut self) {
        self.ear = Ear { heard: self.rings.told.head(), is_called: false };
    }

    /// Takes what the relay left at the door; `None` if the session is waiting.
    pub(crate) fn enter(&mut self) -> Option<Option<End>> {
        let mut place = self.door.0.lock();
        match place.at {
            At::Waiting => {
                self.ear.take_call(place.unheard.take());
                if self.ear.is_called {
                    let cohort = place.cohort.take().map(|moved| *moved);
                    self.scan.change_waiting(place.switches.last(), cohort);
                }
                return None;
            }
            At::Woken(at) => {
                self.ear.take_call(place.unheard.take());
                let (switches, cohort) = place.take_changes();
                self.scan.stand_woken(at, switches, cohort);
                place.at = At::Reading;
            }
            At::Reading => self.scan.switches.extend(place.switches.take()),
        }
        place.switches_taken = few(self.scan.switches.len());
        Some(place.end.as_deref().copied())
    }

    /// Has a waiting session read on from `head`, in its present cohort.
    pub(crate) fn rouse(&mut self, head: Mark) {
        let mut place = self.door.0.lock();
        debug_assert!(place.at == At::Waiting);
        self.ear.take_call(place.unheard.take().or(Some(self.rings.told.head())));
        let (switches, cohort) = place.take_changes();
        self.scan.stand_woken(head, switches, cohort);
        place.at = At::Reading;
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("key", &self.scan.who.key)
            .field("session", &self.scan.who.session)
            .field("cursor", &self.scan.cursor)
            .field("known", &self.scan.known)
            .finish_non_exhaustive()
    }
}
