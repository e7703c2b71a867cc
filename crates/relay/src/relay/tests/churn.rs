//! Sessions that come and go: what is left of them is bounded, and those who read late still hear by their own rights.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::stage::Heard::{self, Detached, Event as Ev};
use super::stage::*;
use super::*;
use crate::entry::Scope;
use crate::{Attach, DetachReason};

const PAIRS: u64 = 100_000;
/// Everything that is kept for later use has reached its size by then.
const WARM_UP_PAIRS: u64 = 10_000;

impl Stage {
    fn leave(&mut self, key: SessionKey) {
        let now = self.relay.position();
        self.relay.detach(key, now, &mut self.woken).unwrap();
        self.woken.clear();
    }

    /// What the audiences in the ring take, each counted once.
    fn audience_bytes(&self) -> usize {
        let (mut seen, mut bytes) = (BTreeSet::new(), 0);
        let mut cursor = self.relay.ring.tail();
        let read = self.relay.rings.whole.read(&mut cursor, |_, entry| {
            if let Scope::Message { audience, .. } = &entry.scope
                && seen.insert(Arc::as_ptr(audience))
            {
                bytes += audience.bytes();
            }
            ControlFlow::Continue(())
        });
        assert!(read.is_ok());
        bytes
    }
}

/// A role that no other session holds: the session of that number is a cohort of its own.
fn own_role(number: u64) -> [RoleId; 1] {
    [RoleId::new(1_000 + number).unwrap()]
}

#[test]
fn attaches_and_detaches_without_events_leave_nothing_behind() {
    let mut stage = Stage::new();
    stage.say(HALL);
    let mut warm_bytes = 0;
    for number in 1..=PAIRS {
        let stream = stage.join(number, ADA, &own_role(number));
        stage.leave(stream.key());
        if number == WARM_UP_PAIRS {
            warm_bytes = stage.relay.memory_bytes();
        }
    }
    assert_eq!((stage.relay.sessions(), stage.relay.cohorts()), (0, 0));
    assert_eq!(stage.relay.memory_bytes(), warm_bytes);
    assert!(warm_bytes < 64 * 1024);
}

#[test]
fn an_event_in_each_session_keeps_the_memory_within_the_rings_bound() {
    let mut stage = Stage::new();
    let bytes_max = RingConfig::default().bytes_max;
    for number in 1..=PAIRS {
        let stream = stage.join(number, ADA, &own_role(number));
        stage.say(HALL);
        stage.leave(stream.key());
    }
    assert!(stage.audience_bytes() <= stage.relay.ring.bytes());
    assert!(stage.relay.ring.bytes() <= bytes_max);
    assert!(stage.relay.memory_bytes() < bytes_max + 128 * 1024);
}

#[test]
fn a_session_that_reconnects_for_each_message_among_many_cohorts_keeps_the_rings_bound() {
    let mut stage = Stage::new();
    let (bytes_max, cohorts) = (RingConfig::default().bytes_max, 10_000);
    let staying: Vec<_> = (1..=cohorts).map(|number| stage.join(number, BOB + number, &own_role(number))).collect();
    let before = stage.relay.memory_bytes();
    for number in 1..=5_000 {
        let stream = stage.join(cohorts + number, ADA, &own_role(cohorts + number));
        stage.say(HALL);
        stage.leave(stream.key());
    }
    assert_eq!(stage.relay.cohorts(), staying.len());
    // A bitmap over this many cohorts takes more than a kilobyte, so the ring holds fewer entries than it could.
    assert!(stage.relay.ring.head().0 - stage.relay.ring.tail().0 < 1_000);
    assert!(stage.audience_bytes() <= stage.relay.ring.bytes());
    assert!(stage.relay.ring.bytes() <= bytes_max);
    assert!(stage.relay.memory_bytes() < before + bytes_max + 64 * 1024);
}

#[test]
fn a_crowd_that_has_left_leaves_short_bitmaps_and_no_rows() {
    let mut stage = Stage::new();
    let crowd: Vec<_> = (1..=10_000).map(|number| stage.join(number, 100 + number, &own_role(number)).key()).collect();
    crowd.into_iter().for_each(|key| stage.leave(key));
    let alone = stage.join(1, ADA, &[]);
    stage.say(HALL);

    let cohort = stage.relay.slots.at(alone.key().idx).cohort;
    assert_eq!(cohort, 0);
    let audience = stage.relay.audiences.of(channel(HALL).id, &stage.relay.rights, &stage.relay.cohorts).unwrap();
    assert_eq!(audience.seen_by().words(), 1);
    assert!(stage.relay.cohorts.bytes() < 64 * 1024);
}

#[test]
fn who_reads_late_hears_by_its_own_rights_though_its_cohorts_number_is_anothers_by_then() {
    let mut stage = Stage::new();
    let mut worker = stage.join(1, ADA, &staff());
    let number = stage.relay.slots.at(worker.key().idx).cohort;
    let first = stage.say(OFFICE);
    stage.leave(worker.key());
    let mut guest = stage.join(2, BOB, &[]);
    assert_eq!(stage.relay.slots.at(guest.key().idx).cohort, number);
    stage.say(OFFICE);
    let said = stage.say(HALL);
    stage.leave(guest.key());
    let mut back = stage.join(3, ADA, &staff());
    assert_eq!(stage.relay.slots.at(back.key().idx).cohort, number);
    let last = stage.say(OFFICE);
    // Attached as of the beginning, in the cohort that has the number now: it decides by rule about what is older.
    let mut late = stage.attach(as_of(0, 4, BOB, &staff()));
    let mut late_guest = stage.attach(as_of(0, 5, BOB, &[]));

    let end = Detached(DetachReason::Requested);
    assert_eq!(stage.hear(&mut worker), [Ev(first), end.clone()]);
    assert_eq!(stage.hear(&mut guest), [Ev(said), end]);
    assert_eq!(stage.hear(&mut back), [Ev(last)]);
    assert_eq!(stage.hear(&mut late), [Ev(first), Ev(first + 1), Ev(said), Ev(last)]);
    assert_eq!(stage.hear(&mut late_guest), [Ev(said)]);
}

#[test]
fn a_batch_that_lags_tells_apart_the_cohorts_that_had_one_number_in_turn() {
    let mut stage = Stage::new();
    let mut heard: Vec<(u64, Heard)> = Vec::new();
    for token in 1..=6 {
        let is_staff = token % 2 == 1;
        let roles = if is_staff { &staff()[..] } else { &[] };
        let accepted = stage.relay.position();
        let attach = Attach { accepted, ..as_of(0, token, ADA, roles) };
        let key = stage.relay.attach_batch(attach, token).unwrap();
        assert_eq!(stage.relay.slots.at(key.idx).cohort, 0);
        let secret = stage.say(OFFICE);
        let said = stage.say(HALL);
        if token == 3 {
            // Handed over in the middle of a stay, read later.
            stage.relay.fill(&mut stage.batch);
        }
        stage.leave(key);
        heard.extend(is_staff.then_some((token, Ev(secret))));
        heard.extend([(token, Ev(said)), (token, Detached(DetachReason::Requested))]);
    }
    assert_eq!(stage.hear_batch(), heard);
}

#[test]
fn a_cohort_that_ends_with_an_event_gives_its_number_to_the_next() {
    let mut stage = Stage::new();
    let mut ada = stage.join(1, ADA, &[]);
    for change in 0..100 {
        let (before, after) = if change % 2 == 0 { (&[][..], &staff()[..]) } else { (&staff()[..], &[][..]) };
        stage.apply(updated(ADA, before, after));
        stage.say(OFFICE);
        assert!(stage.relay.slots.at(ada.key().idx).cohort < 2);
    }
    let heard = (1..=200).filter(|seq| seq % 4 != 0);
    assert_eq!(stage.hear(&mut ada), heard.map(Ev).collect::<Vec<_>>());
}
