//! Drives a relay, its streams and its batch beside the model, and compares what they hear.

#[path = "levels.rs"]
mod levels;
#[path = "listening.rs"]
mod listening;

use std::collections::{BTreeMap, VecDeque};

use guildhall_proto::{ChannelId, EventKind, Level, Permissions, Position, SessionId, UserId};
use guildhall_relay::{Attach, AttachError, Batch, DetachReason, Opened, Relay, RelayConfig, SessionKey, Stream};
use guildhall_ring::RingConfig;

use crate::session::{Change, Item, Model};
use crate::world::{Ear, World, member, user};
use levels::level_and_status;

/// How often the things happened that the test is about.
#[derive(Debug, Default)]
pub(crate) struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    pub(crate) fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    fn note(&mut self, what: &'static str, happened: bool) {
        *self.0.entry(what).or_default() += u64::from(happened);
    }
}

pub(crate) struct Driver {
    world: World,
    relay: Relay,
    batch: Batch,
    /// The number of the last event the relay was fed, or resynced to.
    fed: u64,
    /// Where the present run of events began.
    run: u64,
    ring_entries: u64,
    sessions: Vec<Model>,
    streams: BTreeMap<usize, Stream>,
    pending: Vec<(usize, Position)>,
    pending_ears: Vec<(usize, Position, Change)>,
    /// By channel, the latest message since the last summary.
    news: BTreeMap<ChannelId, u64>,
    /// All summaries so far: where, and of which messages.
    summaries: Vec<(u64, BTreeMap<ChannelId, u64>)>,
    now: u64,
    last_summary: Option<u64>,
    slow_entries: u64,
    counts: Counts,
    woken: Vec<SessionKey>,
}

impl Driver {
    pub(crate) fn new(setup: u16) -> Self {
        let world = World::new(setup);
        let ring_entries = if setup.is_multiple_of(4) { 1_024 } else { 8 + u64::from(setup % 3) * 24 };
        let ring = RingConfig { entries_max: ring_entries as usize, bytes_max: 1024 * 1024 };
        let slow_entries = if setup.is_multiple_of(3) { 1_024 } else { 8 + u64::from(setup / 8 % 3) * 12 };
        let slow_ring = RingConfig { entries_max: slow_entries as usize, bytes_max: 1024 * 1024 };
        let config = RelayConfig { ring, slow_ring, ..RelayConfig::default() };
        let at = world.position(0, false);
        let (relay, batch) = Relay::new(config, world.rights[0].clone(), at);
        Self {
            world,
            relay,
            batch,
            fed: 0,
            run: 0,
            ring_entries,
            sessions: Vec::new(),
            streams: BTreeMap::new(),
            pending: Vec::new(),
            pending_ears: Vec::new(),
            news: BTreeMap::new(),
            summaries: Vec::new(),
            now: 0,
            last_summary: None,
            slow_entries,
            counts: Counts::default(),
            woken: Vec::new(),
        }
    }

    pub(crate) fn step(&mut self, (kind, a, b, c): (u8, u16, u16, u16)) {
        match kind {
            0..=83 => {
                let sessions: Vec<_> = self
                    .sessions
                    .iter()
                    .filter(|session| session.is_alive || session.accepted > self.fed)
                    .map(|session| (session.user, session.session))
                    .collect();
                self.world.random_event(a, b, c, &sessions);
            }
            84..=86 => self.tick(a),
            87..=89 => self.set_status(a, b),
            90..=139 => self.feed(u64::from(a % 4) + 1),
            140..=149 => self.feed(u64::from(a % 32)),
            150..=171 => self.attach(a, b, c),
            172..=179 => self.set_level(a, b),
            180..=189 => self.detach(a, b),
            190..=229 => self.read(usize::from(a), usize::from(b % 5) + 1),
            230..=237 => (0..self.sessions.len()).for_each(|idx| self.read_all(idx)),
            238..=247 => {
                self.read_batch(usize::from(a % 9) + 1);
            }
            248..=249 => self.resync(a),
            250..=252 => self.world.open_epoch(),
            253 if a % 8 == 0 => self.world.delete(),
            253..=255 => self.feed(1),
        }
    }

    /// Lets everybody hear everything, and says what happened in all.
    pub(crate) fn finish(mut self) -> Counts {
        self.feed(u64::MAX);
        for idx in 0..self.sessions.len() {
            self.read_all(idx);
        }
        while self.read_batch(usize::MAX) {}
        for session in &mut self.sessions {
            session.forgive();
        }
        for session in &self.sessions {
            assert!(session.due.is_empty(), "not heard: {session:?}");
            assert_eq!(session.is_over, !session.is_alive && !self.is_pending(session), "{session:?}");
        }
        let alive = self.sessions.iter().filter(|session| !session.is_over).count();
        assert_eq!(self.relay.sessions(), alive);
        let streams = self.sessions.iter().filter(|session| !session.is_over && session.is_stream).count();
        assert_eq!(self.relay.waiting(), streams);
        self.counts
    }

    fn is_pending(&self, session: &Model) -> bool {
        self.pending.iter().any(|(idx, _)| self.sessions[*idx].session == session.session)
    }

    fn feed(&mut self, count: u64) {
        for _ in 0..count {
            if let Some(epoch) = self.world.opened.get(&self.fed).copied()
                && epoch > self.relay.position().epoch
            {
                let at = self.relay.position();
                let lengths = self.lengths();
                assert_eq!(self.relay.open_epoch(epoch, Some(at), &mut self.woken), Ok(Opened::Continued));
                self.counts.note("epochs", true);
                self.settle();
                self.check_woken(&lengths);
            }
            if self.fed == self.world.head() {
                return;
            }
            self.feed_one();
        }
    }

    fn feed_one(&mut self) {
        let seq = self.fed + 1;
        let event = self.world.events[self.fed as usize].clone();
        let lengths = self.lengths();
        self.count_changes(seq);
        let stale = self.relay.apply(event.clone(), &mut self.woken).is_err();
        assert!(!stale);
        assert!(self.relay.apply(event, &mut self.woken).is_err(), "an event is applied once");
        self.fed = seq;
        let world = &self.world;
        for session in self.sessions.iter_mut().filter(|session| session.is_alive && session.accepted < seq) {
            if world.is_for(seq, session.user, session.session, session.ear) {
                session.due.push_back(Item::Event(seq));
                if let (Level::Passive, Some(mention)) = (session.ear.level, world.mention(seq)) {
                    self.counts.note(mention, true);
                }
            }
            self.counts.note("echoes left out", world.leaves_out(seq, session.session));
            let reason = if world.removes(seq, session.user) {
                self.counts.note("removals", true);
                DetachReason::MemberLeft
            } else if world.deletes(seq) {
                self.counts.note("deletions", true);
                DetachReason::GuildDeleted
            } else {
                continue;
            };
            session.end(reason);
        }
        let (published, deleted) = world.news(seq);
        if let Some(channel) = published.filter(|channel| world.rights[seq as usize].channel(*channel).is_some()) {
            self.news.insert(channel, seq);
        }
        if let Some(channel) = deleted {
            self.news.remove(&channel);
        }
        if world.deletes(seq) {
            // The relay ends those it never came to as well.
            assert!(self.pending.is_empty(), "nothing is accepted after the end");
        }
        self.settle();
        self.check_woken(&lengths);
    }

    fn count_changes(&mut self, seq: u64) {
        let (before, after) = (seq as usize - 1, seq as usize);
        let kind = &self.world.events[before].kind;
        self.counts.note("role deletions", matches!(kind, EventKind::RoleDeleted { .. }));
        for session in self.sessions.iter().filter(|session| session.is_alive) {
            let sees = |version: usize| -> Vec<_> {
                let roles = self.world.members[version].get(&session.user).cloned().unwrap_or_default();
                let rights = &self.world.rights[version];
                let view = Permissions::VIEW_CHANNEL;
                let sees = |id| rights.in_channel(session.user, &roles, id).is_some_and(|may| may.contains(view));
                rights.channels().map(|channel| channel.id).filter(|id| sees(*id)).collect()
            };
            let (was, is) = (sees(before), sees(after));
            self.counts.note("cohort changes", was != is);
            let lags = session.is_stream && !session.is_waiting && !session.due.is_empty();
            let is_revoked = was.iter().any(|channel| !is.contains(channel));
            self.counts.note("revokes while a reader lags", lags && is_revoked);
        }
    }

    /// Carries out in the model what waited for the relay's position.
    fn settle(&mut self) {
        let at = self.relay.position();
        let sessions = &mut self.sessions;
        self.pending.retain(|(idx, accepted)| {
            let is_due = *accepted <= at;
            if is_due {
                sessions[*idx].is_alive = true;
            }
            !is_due
        });
        let fed = self.fed;
        self.pending_ears.sort_by_key(|(_, accepted, _)| *accepted);
        self.pending_ears.retain(|(idx, accepted, change)| {
            let is_due = *accepted <= at;
            if is_due && sessions[*idx].is_alive {
                sessions[*idx].switch(*change, fed);
            }
            !is_due
        });
        for session in sessions.iter_mut() {
            if session.is_alive && session.detach_at.is_some_and(|accepted| accepted <= at) {
                session.end(DetachReason::Requested);
            }
        }
    }

    /// Those who waited and have something now, and nobody else, are woken.
    fn check_woken(&mut self, lengths: &BTreeMap<SessionKey, usize>) {
        let mut expected = Vec::new();
        for session in self.sessions.iter_mut().filter(|session| session.is_stream && session.is_waiting) {
            let before = lengths.get(&session.key).copied().unwrap_or(0);
            if session.due.len() > before {
                session.is_waiting = false;
                expected.push(session.key);
            }
        }
        expected.sort_unstable();
        self.woken.sort_unstable();
        assert_eq!(self.woken, expected, "woken at {}", self.fed);
        self.woken.clear();
    }

    fn lengths(&self) -> BTreeMap<SessionKey, usize> {
        self.sessions
            .iter()
            .filter(|session| session.is_waiting)
            .map(|session| (session.key, session.due.len()))
            .collect()
    }

    fn attach(&mut self, a: u16, b: u16, c: u16) {
        if self.sessions.iter().filter(|session| !session.is_over).count() > 24 || self.world.is_deleted() {
            return;
        }
        let head = self.world.head();
        let accepted = match a % 4 {
            0 | 1 => self.fed.saturating_sub(u64::from(b % 24)),
            2 => self.fed,
            _ => (self.fed + u64::from(b % 8)).min(head),
        };
        let who = user(u64::from(c));
        let members = (c / 8).is_multiple_of(4);
        let (level, status) = level_and_status(c / 64);
        let Some(roles) = self.world.members[accepted as usize].get(&who).cloned() else {
            return;
        };
        let position = self.world.position(accepted, b.is_multiple_of(2));
        // Both ways, side by side.
        for is_stream in [true, false] {
            let idx = self.sessions.len();
            let session = SessionId::new(idx as u64 + 1).unwrap();
            let attach = Attach { session, accepted: position, user: who, roles: &roles, members, level, status };
            let attached = if is_stream {
                self.relay.attach_stream(attach).map(|stream| {
                    let key = stream.key();
                    self.streams.insert(idx, stream);
                    key
                })
            } else {
                self.relay.attach_batch(attach, idx as u64)
            };
            let key = match attached {
                Ok(key) => key,
                Err(AttachError::TooOld { .. }) => {
                    assert!(
                        accepted < self.run
                            || self.fed - accepted > self.ring_entries / 2
                            || position < self.relay.position()
                    );
                    self.counts.note("attaches too old", true);
                    return;
                }
                Err(error) => panic!("{error}"),
            };
            assert!(accepted >= self.run);
            let is_ahead = position > self.relay.position();
            let mut model = Model {
                user: who,
                session,
                accepted,
                ear: Ear { level, is_online: status.is_online(), members },
                since: accepted,
                joined: self.fed,
                switched: 0,
                was_passive: level == Level::Passive,
                switches_while_lagging: level == Level::Passive && accepted < self.fed,
                is_alive: !is_ahead,
                detach_at: None,
                due: VecDeque::new(),
                known: accepted,
                is_over: false,
                is_stream,
                is_waiting: is_ahead && is_stream,
                is_lost: false,
                lost_items: 0,
                unsure_through: None,
                may_have_lost_nothing: false,
                ends_unsure: false,
                key,
            };
            if is_ahead {
                self.pending.push((idx, position));
                self.counts.note("attaches ahead", true);
            }
            self.counts.note("attaches in the past", accepted < self.fed);
            for seq in accepted + 1..=self.fed {
                if !model.is_alive {
                    break;
                }
                if self.world.is_for(seq, who, session, model.ear) {
                    model.due.push_back(Item::Event(seq));
                }
                let changed =
                    self.world.members[seq as usize].get(&who) != self.world.members[seq as usize - 1].get(&who);
                self.counts.note("changes of rights in the past", changed);
                if self.world.removes(seq, who) || self.world.deletes(seq) {
                    let is_removed = self.world.removes(seq, who);
                    model.end(if is_removed { DetachReason::MemberLeft } else { DetachReason::GuildDeleted });
                    self.counts.note("attaches already ended", true);
                }
            }
            model.is_waiting = is_stream && model.due.is_empty();
            self.sessions.push(model);
        }
    }

    fn detach(&mut self, a: u16, b: u16) {
        if self.sessions.is_empty() {
            return;
        }
        let pair = usize::from(a) % self.sessions.len() / 2 * 2;
        let from = self.sessions[pair].accepted;
        let accepted = match b % 3 {
            0 => self.fed,
            1 => (self.fed + u64::from(b % 7)).min(self.world.head()),
            _ => self.fed.saturating_sub(u64::from(b % 11)),
        };
        let accepted = accepted.max(from);
        let position = self.world.position(accepted, b.is_multiple_of(2)).max(self.world.position(from, true));
        for idx in [pair, pair + 1] {
            let Some(session) = self.sessions.get(idx) else { continue };
            if session.detach_at.is_some() {
                continue;
            }
            let mut lengths = self.lengths();
            let (key, is_pending) = (session.key, self.is_pending(session));
            let result = self.relay.detach(key, position, &mut self.woken);
            let session = &mut self.sessions[idx];
            assert_eq!(result.is_ok(), session.is_alive || is_pending, "{session:?}");
            if result.is_err() {
                continue;
            }
            session.detach_at = Some(position);
            if position > self.relay.position() {
                self.counts.note("detaches ahead", true);
                continue;
            }
            let last = if accepted < self.run { self.run } else { accepted };
            let before = session.due.len();
            session.due.retain(|item| item.place().is_none_or(|seq| seq <= last));
            lengths.insert(key, session.due.len());
            self.counts.note("detaches in the past", session.due.len() < before || accepted < self.fed);
            session.may_have_lost_nothing = session.is_lost;
            session.ends_unsure = session.was_passive && accepted < self.fed;
            session.end(DetachReason::Requested);
            self.check_woken(&lengths);
        }
    }

    fn resync(&mut self, a: u16) {
        let at = (self.fed + 1 + u64::from(a % 12)).min(self.world.head());
        if at <= self.fed || self.world.is_deleted() {
            return;
        }
        self.counts.note("resyncs", true);
        let lengths = self.lengths();
        let position = self.world.position(at, false);
        let members = self.world.members[at as usize].clone();
        let of = |who: UserId| members.get(&who).map(|roles| member(who, roles));
        let rights = self.world.rights[at as usize].clone();
        self.relay.resync(position, rights, of, &[], &mut self.woken).unwrap();
        let sessions = &mut self.sessions;
        self.pending.retain(|(idx, accepted)| {
            let is_due = *accepted < position;
            sessions[*idx].is_alive |= is_due;
            !is_due
        });
        for session in sessions.iter_mut().filter(|session| session.is_alive) {
            session.due.push_back(Item::Hole(at));
            if !members.contains_key(&session.user) {
                session.end(DetachReason::MemberLeft);
            }
        }
        self.fed = at;
        self.run = at;
        self.news.clear();
        self.settle();
        self.check_woken(&lengths);
    }
}
