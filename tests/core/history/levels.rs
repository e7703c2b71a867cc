//! Sessions that come to listen in another way, and the summaries for those who listen from afar.

use guildhall_guild::SessionRequest;
use guildhall_proto::{Level, Millis, Status};
use guildhall_relay::ListenError;

use super::fan_out::{same_keys, served};
use super::{History, pick};
use crate::listener::{Due, Listener};
use crate::model::Hearing;
use crate::steps::Way;

impl History {
    pub(super) fn set_status(&mut self, nth: usize, status: Status) {
        let attached = self.owner.model.sessions.iter().map(|(session, (user, _))| (*session, *user));
        let Some((session, user)) = pick(attached, nth) else {
            return;
        };
        let generation = self.owner.generations[&session];
        let call = self.owner.session(session, SessionRequest::SetStatus { user, status, generation });
        let told = self.owner.model.status(user);
        self.seen.presences_by_another_session += u64::from(told != status);
        self.ask_of(session, call, Due::Status(status));
    }

    pub(super) fn set_level(&mut self, nth: usize, level: Level) {
        let attached = self.owner.model.sessions.iter().map(|(session, (user, _))| (*session, *user));
        if let Some((session, user)) = pick(attached, nth) {
            let generation = self.owner.generations[&session];
            let call = self.owner.session(session, SessionRequest::SetLevel { user, level, generation });
            self.ask_of(session, call, Due::Level(level));
        }
    }

    /// Tells a relay of a session's new status.
    pub(super) fn deliver_status(&mut self, at: usize, accepted: u64, status: Status) {
        let listener = &mut self.listeners[at];
        let backend = &mut self.relays[listener.relay];
        let position = backend.places.position;
        let key = listener.key.expect("it was attached");
        match backend.relay.set_status(key, status, self.owner.at(accepted)) {
            Ok(told) => {
                assert_eq!(told.seq.0, accepted.max(position));
                assert!(listener.end.is_none(), "{listener:?}");
                listener.turn(accepted.max(position), Hearing { status, ..listener.hearing() });
                self.seen.statuses_told += 1;
            }
            Err(error) => self.refused(at, error, accepted),
        }
    }

    /// Tells a relay at which level a session listens from where it was accepted on.
    pub(super) fn deliver_level(&mut self, at: usize, accepted: u64, level: Level) {
        let listener = &mut self.listeners[at];
        let backend = &mut self.relays[listener.relay];
        let position = backend.places.position;
        let (key, mut woken) = (listener.key.expect("it was attached"), Vec::new());
        let accepted_at = self.owner.at(accepted);
        let told = match (&mut listener.stream, listener.way) {
            (Some(stream), _) => backend.relay.set_level(stream, level, accepted_at, &mut woken),
            (None, Way::Batch) => backend.relay.set_level_batch(key, level, accepted_at),
            (None, Way::Stream) => unreachable!("a stream is kept until its end is heard"),
        };
        let from = match told {
            Ok(told) => told.seq.0,
            Err(error) => {
                assert!(woken.is_empty());
                return self.refused(at, error, accepted);
            }
        };
        assert!(listener.end.is_none(), "{listener:?}");
        let hearing = Hearing { level, ..listener.hearing() };
        listener.told_at_turn = backend.told_count;
        if accepted > position {
            assert_eq!((from, woken.len()), (accepted, 0));
            listener.turn(from, hearing);
            self.seen.levels_ahead += 1;
            return;
        }
        if hearing == listener.hearing() {
            // Who was called for what is told is called again.
            assert!(woken.is_empty() || listener.waits && level == Level::Active);
            listener.is_called = false;
            return;
        }
        assert!(from >= accepted && from <= position, "{from} for {listener:?}");
        if listener.way == Way::Batch {
            assert_eq!(from, position);
        } else {
            must_hold_from(listener, level, accepted, from, backend.places.run_position());
        }
        let lags = !listener.waits && listener.next().is_some_and(|seq| seq <= position);
        self.seen.levels_changed += 1;
        self.seen.levels_changed_while_lagging += u64::from(lags);
        self.seen.levels_that_look_back += u64::from(listener.waits && level == Level::Active && from < position);
        listener.turn(from, hearing);
        // What lies behind the turn it is told, or not told, as it listens now.
        listener.news.retain(|news| news.seq <= from);
        if level == Level::Passive {
            let later = backend.places.summaries.iter().filter(|summary| summary.seq > from);
            later.for_each(|summary| listener.note_summary(summary, &mut self.seen));
        }
        let wakes = listener.waits && listener.has_something(position);
        // What was told meanwhile may be for it now: then it is woken for that, and waits.
        let is_called = listener.waits && level == Level::Active && !woken.is_empty();
        same_keys(woken, if wakes || is_called { vec![key] } else { vec![] });
        listener.waits &= !wakes;
        listener.is_called = false;
    }

    /// A relay refuses to have a session listen in another way: it must have its reason.
    fn refused(&mut self, at: usize, error: ListenError, accepted: u64) {
        let listener = &self.listeners[at];
        let places = &self.relays[listener.relay].places;
        match error {
            ListenError::Unknown(_) => assert!(listener.end.is_some(), "{error} for {listener:?}"),
            ListenError::Switching { .. } => assert!(listener.turns.len() > 8, "{error} for {listener:?}"),
            ListenError::TooOld { .. } => {
                assert!(!places.reaches_back_to(accepted), "{error} for {listener:?}");
                self.seen.levels_too_late += 1;
            }
            ListenError::PendingFull { .. } => {
                assert!(
                    accepted > places.position
                        && self.pending(listener.relay) >= self.relays[listener.relay].pending_max
                );
            }
        }
    }

    /// Attaches and turns that wait for a relay to reach their position.
    pub(super) fn pending(&self, relay: usize) -> usize {
        let position = self.relays[relay].places.position;
        let told = self.listeners.iter().filter(|listener| listener.relay == relay && listener.key.is_some());
        let ahead = |listener: &Listener| {
            let turns = listener.turns[1..].iter().filter(|turn| turn.0 > position).count();
            turns + usize::from(listener.accepted > position)
        };
        told.map(ahead).sum()
    }

    /// Time has passed for a relay: it makes the summary that is due.
    pub(super) fn tick(&mut self, relay: usize) {
        if self.relays[relay].is_lost {
            return;
        }
        let is_due = self.unread_due(relay).is_some_and(|due| due <= self.clock);
        let backend = &mut self.relays[relay];
        let mut woken = Vec::new();
        backend.relay.tick(Millis(self.clock), &mut woken);
        let mut expected = Vec::new();
        if is_due {
            backend.summarized = Some(self.clock);
            let position = backend.places.position;
            let summary = backend.places.summarize();
            let told = served(&mut self.listeners, relay).filter(|listener| listener.end.is_none());
            for listener in told.filter(|listener| listener.hearing_after(position).level == Level::Passive) {
                let before = listener.news.len();
                listener.note_summary(summary, &mut self.seen);
                if listener.waits && listener.news.len() > before {
                    expected.push(listener.key.expect("it is served"));
                    listener.waits = false;
                }
            }
        }
        same_keys(woken, expected);
    }

    /// From when on a relay should make a summary.
    pub(super) fn unread_due(&self, relay: usize) -> Option<u64> {
        let backend = &self.relays[relay];
        let position = backend.places.position;
        let mut own = self.listeners.iter().filter(|listener| listener.is_alive_at(relay));
        let is_told = own.any(|listener| listener.hearing_after(position).level == Level::Passive);
        let due = backend.summarized.map_or(0, |last| last + 5_000);
        (is_told && !backend.places.news.is_empty()).then_some(due)
    }
}

/// A stream's new level holds from where it was accepted, or as little later as may be.
fn must_hold_from(listener: &Listener, level: Level, accepted: u64, from: u64, run: u64) {
    let turned = listener.turns.last().map_or(0, |turn| turn.0);
    let lost = listener.lost_through.unwrap_or(0);
    let latest = [accepted, listener.known, listener.joined, turned, lost, run].into_iter().max().unwrap_or(0);
    match level {
        Level::Active => assert!(from <= latest, "active from {from}, not {latest} on: {listener:?}"),
        // What it has passed by without hearing any of it, it need not pass by again.
        Level::Passive => {
            let mut passed = listener.outstanding().skip_while(|seq| *seq <= latest);
            assert!(passed.next().is_none_or(|seq| seq > from), "passive from {from} on: {listener:?}");
        }
    }
}
