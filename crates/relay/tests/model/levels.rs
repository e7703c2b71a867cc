//! The driver's part about levels: sessions that come to listen in another way, and summaries.

use guildhall_proto::{Level, Millis, Position, Status};
use guildhall_relay::ListenError;

use super::Driver;
use crate::session::{Change, Item, Model};

impl Driver {
    pub(super) fn tick(&mut self, a: u16) {
        self.now += u64::from(a % 8) * 1_000;
        let is_due = self.last_summary.is_none_or(|last| self.now >= last + 5_000);
        let is_told = |session: &Model| session.ear.level == Level::Passive;
        let has_passive =
            self.sessions.iter().any(|session| is_told(session) && (session.is_alive || self.is_pending(session)));
        let lengths = self.lengths();
        self.relay.tick(Millis(self.now), &mut self.woken);
        if is_due && has_passive && !self.news.is_empty() {
            self.last_summary = Some(self.now);
            let news = std::mem::take(&mut self.news);
            for session in self.sessions.iter_mut().filter(|session| session.is_alive && is_told(session)) {
                session.due.extend(session.unread(&self.world, self.fed, &news));
            }
            self.summaries.push((self.fed, news));
        }
        self.check_woken(&lengths);
    }

    pub(super) fn set_status(&mut self, a: u16, b: u16) {
        let Some(idx) = usize::from(a).checked_rem(self.sessions.len()) else { return };
        let (_, status) = level_and_status(b / 16);
        let accepted = self.accepted_at(idx, b);
        let session = &self.sessions[idx];
        let result = self.relay.set_status(session.key, status, accepted);
        let is_there = session.is_alive || self.is_pending(session);
        match result {
            Ok(at) if at > self.relay.position() => self.pending_ears.push((idx, at, Change::Status(status))),
            Ok(at) => {
                assert_eq!(at, self.relay.position());
                self.sessions[idx].switch(Change::Status(status), self.fed);
            }
            Err(ListenError::Unknown(_)) => assert!(!is_there),
            Err(ListenError::Switching { .. }) => self.counts.note("switches too many", true),
            Err(error @ (ListenError::TooOld { .. } | ListenError::PendingFull { .. })) => panic!("{error}"),
        }
        assert!(self.woken.is_empty());
    }

    fn accepted_at(&self, idx: usize, b: u16) -> Position {
        let accepted = match b % 3 {
            0 => self.fed,
            1 => (self.fed + u64::from(b % 7)).min(self.world.head()),
            _ => self.fed.saturating_sub(u64::from(b % 23)),
        };
        let from = self.sessions[idx].accepted;
        self.world.position(accepted.max(from), b.is_multiple_of(2)).max(self.world.position(from, true))
    }

    pub(super) fn set_level(&mut self, a: u16, b: u16) {
        let Some(idx) = usize::from(a).checked_rem(self.sessions.len()) else { return };
        let level = if self.sessions[idx].ear.level == Level::Active { Level::Passive } else { Level::Active };
        let accepted = self.accepted_at(idx, b);
        let lengths = self.lengths();
        let session = &self.sessions[idx];
        let result = match self.streams.get_mut(&idx) {
            Some(stream) => self.relay.set_level(stream, level, accepted, &mut self.woken),
            None => self.relay.set_level_batch(session.key, level, accepted),
        };
        let is_there = session.is_alive || self.is_pending(session);
        let at = match result {
            Ok(at) => at,
            Err(ListenError::Unknown(_)) => return assert!(!is_there),
            Err(ListenError::Switching { .. }) => return self.counts.note("switches too many", true),
            Err(ListenError::TooOld { .. }) => return self.counts.note("switches too old", true),
            Err(error @ ListenError::PendingFull { .. }) => panic!("{error}"),
        };
        assert!(is_there);
        assert!(at >= accepted || at.seq.0 >= accepted.seq.0);
        if at > self.relay.position() {
            assert_eq!(at, accepted);
            self.counts.note("levels ahead", true);
            self.pending_ears.push((idx, at, Change::Level(level)));
            return;
        }
        let at = at.seq.0;
        let session = &mut self.sessions[idx];
        let lags = !session.is_waiting && !session.due.is_empty();
        self.counts.note("level changes while lagging", lags);
        self.counts.note("levels in the past", at < self.fed);
        self.counts.note("levels that look back", session.is_waiting && level == Level::Active && at < self.fed);
        if session.is_stream {
            let bound = [accepted.seq.0, session.known, session.joined, self.run, session.switched].into_iter().max();
            let bound = bound.unwrap();
            if !session.is_lost && level == Level::Active {
                assert!(at <= bound, "{at} {bound} {session:?}");
            }
            if !session.is_lost && level == Level::Passive {
                let is_lost = |item: &Item| matches!(item, Item::Event(seq) if *seq > bound && *seq <= at);
                assert!(!session.due.iter().any(is_lost), "{at} {bound} {session:?}");
            }
            session.switched = at;
        } else {
            assert_eq!(at, self.fed);
        }
        session.switch(Change::Level(level), at);
        // What is after it is heard at the new level.
        if at < self.fed {
            let kept = session.due.iter().take_while(|item| item.place().is_some_and(|seq| seq <= at)).count();
            session.due.truncate(kept);
            for seq in at + 1..=self.fed {
                if self.world.is_for(seq, session.user, session.session, session.ear) {
                    session.due.push_back(Item::Event(seq));
                }
                if level == Level::Passive {
                    for (made_at, news) in self.summaries.iter().filter(|(made_at, _)| *made_at == seq) {
                        session.due.extend(session.unread(&self.world, *made_at, news));
                    }
                }
            }
        }
        self.check_woken(&lengths);
    }
}

pub(super) fn level_and_status(pick: u16) -> (Level, Status) {
    let level = if pick.is_multiple_of(2) { Level::Active } else { Level::Passive };
    (level, [Status::Online, Status::Offline, Status::Idle][usize::from(pick / 2 % 3)])
}
